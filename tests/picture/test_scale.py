"""Scale: numbers to codes and back."""

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import layerscope as ls
from helpers.wording import raises, wording
from layerscope.arrays.ranges import extent_of, percentiles, raw_extent
from layerscope.core.note import kind_of
from layerscope.picture import codes as encoding
from layerscope.picture.codes import ABOVE, BELOW, CONSTANT, NAN, NEG_INF, POS_INF, TOP, encode
from layerscope.picture.colorbar import bar_ticks
from layerscope.picture.norms import Curve
from layerscope.picture.numbers import beyond_text, number, short_span, span_text
from layerscope.picture.palette import lut, palette
from layerscope.picture.scale_rules import Beyond
from layerscope.plots.overlay_paint import Paint

FINITE = st.floats(-1e6, 1e6, width=32)


def test_every_special_value_has_its_own_code_and_colour():
    scale = ls.Scale((0.0, 1.0))
    codes = scale.codes([0, 1, 0.5, -1, 2, np.nan, np.inf, -np.inf])
    assert codes.tolist() == [0, TOP, TOP // 2, BELOW, ABOVE, NAN, POS_INF, NEG_INF]
    marks = [BELOW, ABOVE, NAN, POS_INF, NEG_INF, CONSTANT]
    colors = {tuple(palette("viridis")[mark]) for mark in marks}
    assert len(colors) == len(marks)
    for name in ("viridis", "vik", "gray", "magma"):
        assert not colors & {tuple(color) for color in lut(name)}, name


def test_one_number_alone_has_a_code():
    scale = ls.Scale((-1.0, 3.0), norm="symlog")
    for value in (-2.0, -1.0, 0.5, 3.0, 4.0, np.nan, np.inf):
        assert scale.codes(value).shape == () and scale.codes(value) == scale.codes([value])[0]


def test_a_constant_map_is_flat_and_not_a_value():
    assert (ls.Scale((2.0, 2.0)).codes(np.full((3, 3), 2.0)) == CONSTANT).all()
    assert ls.Scale((2.0, 2.0)).decode(CONSTANT) == 2


def test_signed_values_are_centred_on_zero():
    scale = ls.Scale.fit(np.array([[[-1.0], [0.0], [3.0]]], np.float32))
    assert scale.colors == "vik"
    assert scale.center == 0
    codes = scale.codes([-1.0, 0.0, 3.0])
    assert codes.tolist() == [80, 120, 240], "0 in the middle, equal steps on both sides"
    assert ls.Scale.fit(np.array([[[0.0], [3.0]]], np.float32)).center is None


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=FINITE))
def test_decoding_gives_the_value_to_half_a_step(values):
    scale = ls.Scale.fit(values[None, ..., None], "layer")
    low, high = scale.limits
    assume(low < high)
    reach = max(abs(low), abs(high)) if scale.center is not None else (high - low) / 2
    step = 2 * reach / TOP
    decoded = scale.decode(scale.codes(values))
    assert np.abs(decoded - values).max() <= step * 0.501


@given(
    hnp.arrays(np.float32, (2, 5, 6, 7), elements=st.floats(-1e3, 1e3, width=32)),
    st.sampled_from(["nhwc", "nchw"]),
    st.integers(1, 7),
)
def test_the_fast_way_and_the_exact_way_agree_in_both_memory_orders(values, order, columns):
    if order == "nchw":
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    limits = raw_extent(values)[1]
    exact = limits[:, 0] == limits[:, 1]
    rows = -(-7 // columns)
    out = np.empty((rows, columns, 5, 6), np.uint8)
    encode(values[1], out, limits, exact=exact, extent=limits)
    for channel in range(7):
        expected = ls.Scale(tuple(limits[channel])).codes(values[1, ..., channel])
        got = out[channel // columns, channel % columns].astype(int)
        assert np.abs(got - expected.astype(int)).max() <= 1, "rounding at the border of two steps may differ"
        assert got.max() <= TOP or exact[channel]


LIMIT = st.floats(-1e3, 1e3, allow_subnormal=False) | st.sampled_from([0.0, 0.1, -0.3, 1.0])


@given(
    hnp.arrays(np.float32, (5, 6, 7), elements=st.floats(-1e3, 1e3, width=32) | st.sampled_from([0, 1.0, -1.0])),
    st.lists(st.tuples(LIMIT, LIMIT), min_size=7, max_size=7),
    st.sampled_from([None, 0.0]),
    st.sampled_from(["nhwc", "nchw"]),
    st.integers(1, 7),
)
def test_what_lies_beyond_limits_has_its_mark_to_the_last_bit_on_the_fast_way_too(
    values, limits, center, order, columns
):
    values[0, 0] = np.float32([low for low, _ in limits])  # right at a limit, or one step of float32 beside it
    limits = np.sort(np.array(limits), axis=1)
    limits[limits[:, 0] == limits[:, 1], 1] += 1
    if order == "nchw":
        values = np.ascontiguousarray(values.transpose(2, 0, 1)).transpose(1, 2, 0)
    out = np.empty((-(-7 // columns), columns, 5, 6), np.uint8)
    encode(values, out, limits, curve=Curve(center=center), exact=np.zeros(7, bool), extent=raw_extent(values[None])[0])
    for channel, (low, high) in enumerate(limits):
        plane = values[..., channel].astype(np.float64)
        got = out[channel // columns, channel % columns].astype(int)
        np.testing.assert_array_equal(got == BELOW, plane < low)
        np.testing.assert_array_equal(got == ABOVE, plane > high)
        inside = (plane >= low) & (plane <= high)
        expected = ls.Scale((low, high), center=center).codes(plane).astype(int)
        assert np.abs(got - expected)[inside].max(initial=0) <= 1


def test_a_sheet_cut_at_percentiles_takes_the_fast_way(monkeypatch):
    """One value at a time would take thirty times as long."""
    values = np.random.default_rng(0).standard_normal((1, 8, 8, 4)).astype(np.float32)
    monkeypatch.setattr(encoding, "marked", lambda *_: pytest.fail("a channel was encoded value by value"))
    for options in ({"clip": (5, 95)}, {"clip": (5, 95), "scale": "layer"}, {"scale": (-1, 1)}):
        picture = ls.sheet(values, **options)
        assert (picture.pixels == BELOW).any() and (picture.pixels == ABOVE).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("clip", [(0, 100), (1, 99), (33.3, 50), (0, 0.1)])
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (9, 7), (50, 41)])
def test_percentiles_are_those_of_numpy(dtype, clip, size):
    values = np.random.default_rng(0).standard_normal((2, *size, 3)).astype(dtype)
    values[1, ..., 2] = np.maximum(values[1, ..., 2], 0)  # many equal numbers
    exact = values.astype(np.float64)
    np.testing.assert_allclose(percentiles(values, clip), np.percentile(exact, clip), rtol=1e-12, atol=1e-15)
    for array in (values, np.ascontiguousarray(values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)):
        expected = np.moveaxis(np.percentile(exact, clip, axis=(1, 2)), 0, -1)
        np.testing.assert_allclose(percentiles(array, clip, True), expected, rtol=1e-12, atol=1e-15)
    values[0, 0, 0] = np.nan
    values[1, 0, 0] = -np.inf
    known = exact[np.isfinite(values)]
    expected = np.percentile(known, clip) if known.size else np.zeros(2)
    np.testing.assert_allclose(percentiles(values, clip), expected, rtol=1e-12, atol=1e-15)


def test_extents_ignore_what_is_not_finite():
    values = np.zeros((1, 2, 2, 4), np.float32)
    values[0, ..., 0] = [[1, np.nan], [3, np.inf]]
    values[0, ..., 1] = np.nan
    values[0, ..., 2] = [[-np.inf, -1], [0, 5]]
    extent = extent_of(values)[0]
    assert extent[0].tolist() == [1, 3]
    assert np.isnan(extent[1]).all()
    assert extent[2].tolist() == [-1, 5]
    assert extent[3].tolist() == [0, 0]


def test_numbers_far_from_zero_and_extreme_ranges_keep_their_steps():
    for base, span in ((1e6, 1.0), (0.0, 1e-38), (0.0, 3e38)):
        values = (base + np.linspace(0, 1, 64).reshape(1, 8, 8, 1) * span).astype(np.float32)
        picture = ls.sheet(values)
        codes = picture.codes(picture.cells[0])
        assert codes.min() == 0
        assert codes.max() == TOP
        assert (np.diff(codes.ravel().astype(int)) >= 0).all()


def test_clipped_limits_are_described_and_what_lies_beyond_has_the_colour_of_its_end():
    values = np.append(np.linspace(0, 1, 99), 1000).astype(np.float32).reshape(1, 10, 10, 1)
    scale = ls.Scale.fit(values, clip=(1, 98))
    assert scale.limits == pytest.approx(tuple(np.percentile(values, (1, 98))))
    wording(scale.describe(), "1", "98")
    codes = scale.codes(values)
    assert (codes == ABOVE).sum() == (values > scale.limits[1]).sum() == 2
    assert (codes == BELOW).sum() == 1
    table = scale.palette()
    assert table[ABOVE].tolist() == table[TOP].tolist()
    assert table[BELOW].tolist() == table[0].tolist()
    assert np.isnan(scale.decode(ABOVE)), "the code still tells what was cut from what lies at the limit"
    fixed = ls.Scale((0.0, 1.0)).palette()
    assert fixed[ABOVE].tolist() not in fixed[: TOP + 1].tolist(), "beyond limits that were given there is a mark"


def test_percentiles_of_each_channel_leave_broken_values_out():
    values = np.random.default_rng(0).standard_normal((2, 9, 9, 3)).astype(np.float32)
    values[0, 0, :, 1] = np.nan
    values[1, 1, 1, 2] = np.inf
    values[1, ..., 0] = np.nan
    limits = ls.Scale.fit(np.abs(values), "channel", clip=(10, 90)).limits
    for image, channel in np.ndindex(2, 3):
        known = np.abs(values[image, ..., channel][np.isfinite(values[image, ..., channel])])
        expected = np.percentile(known, (10, 90)) if known.size else (np.nan, np.nan)
        np.testing.assert_allclose(limits[image, channel], expected, rtol=1e-6)


def test_where_the_percentiles_leave_no_range_nothing_is_cut():
    values = np.zeros((1, 20, 20, 2), np.float32)
    values[0, 3, 4, 0] = 5
    values[..., 1] = np.linspace(0, 1, 400).reshape(20, 20)
    scale = ls.Scale.fit(values, "channel", clip=(1, 99))
    assert scale.limits[0, 0].tolist() == [0, 5]
    assert scale.limits[0, 1] == pytest.approx([0.01, 0.99])
    wording(scale.describe())
    picture = ls.heatmap(values[0, ..., 0], clip=(1, 99))
    assert picture.scale.limits == (0, 5)
    assert picture.scale.clip is None
    wording(picture.alt(), "1", "99")


def through_the_bar(rgb, bar, cell, zoom):
    """The values that a reader of the picture finds: a pixel's colour, looked for in the bar, and its position there."""
    column = rgb[bar.y : bar.y + bar.height, bar.x + 2].astype(int)
    value_at_row = bar.high + (np.arange(bar.height) + 0.5) / bar.height * (bar.low - bar.high)
    tile = rgb[cell.y : cell.y + cell.height : zoom, cell.x : cell.x + cell.width : zoom].astype(int)
    distance = np.abs(tile[:, :, None] - column).sum(-1)
    best = distance == distance.min(-1, keepdims=True)
    return (best * value_at_row).sum(-1) / best.sum(-1), tile


VALUES = np.random.default_rng(5).gamma(2.0, 1.0, (2, 24, 24, 6)).astype(np.float32) * [1, 2, 3, 4, 5, 6] - np.float32(
    4
)
RULES = {
    "layer": {"scale": "layer"},
    "images": {"scale": "images"},
    "fixed": {"scale": (-10, 60)},
    "fixed, some beyond": {"scale": (0, 8)},
    "Scale": {"scale": ls.Scale((-20.0, 70.0), "magma")},
    "shared": {"scale": ls.shared_scale(VALUES, VALUES * 2)},
    "shared and clipped": {"scale": ls.shared_scale(VALUES, VALUES * 2, clip=(5, 80))},
    "clipped": {"scale": "layer", "clip": (2, 95)},
    "clipped over the images": {"scale": "images", "clip": (2, 95)},
    "centred": {"scale": ls.Scale((-5.0, 50.0), center=10.0)},
    "another map": {"scale": "layer", "colors": "gray"},
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("image", [0, 1])
def test_pixels_read_through_the_bar_are_the_values(rule, image, tmp_path):
    values = VALUES.astype(np.float32)
    picture = ls.sheet(values, image=image, layout="bhwc", **RULES[rule])
    rgb = np.asarray(Image.open(picture.save(tmp_path / "a.png")).convert("RGB"))
    low, high = picture.bar.low, picture.bar.high
    assert (low, high) == picture.scale.limits
    center = picture.scale.center
    step = (max(high - center, center - low) * 2 if center is not None else high - low) / TOP
    assert picture.bar.height > TOP, "each step has a row of its own"
    cut = picture.scale.clip is not None
    for cell in picture.cells:
        value_read, tile = through_the_bar(rgb, picture.bar, cell, picture.zoom)
        expected = values[image, ..., cell.channel]
        inside = (expected >= low) & (expected <= high)
        assert np.abs(value_read - expected)[inside].max(initial=0) <= step
        for mark, beyond, y in ((ABOVE, expected > high, picture.bar.y - 4), (BELOW, expected < low, -4)):
            cap = rgb[y if y >= 0 else picture.bar.y + picture.bar.height + 4, picture.bar.x + 8]
            assert (tile[beyond] == picture.scale.palette()[mark]).all()
            if beyond.any():
                assert cap.tolist() == picture.scale.palette()[mark].tolist(), "the bar shows what lies beyond"
            if beyond.any() and cut:
                limit = picture.scale.codes([high if mark == ABOVE else low])
                assert cap.tolist() == picture.scale.palette()[limit[0]].tolist()
    expected = {
        "layer": values[image],
        "another map": values[image],
        "images": values,
        "clipped": np.percentile(values[image], (2, 95)),
        "clipped over the images": np.percentile(values, (2, 95)),
        "shared": np.stack([values, VALUES * 2]),
        "shared and clipped": np.percentile(np.stack([VALUES, VALUES * 2]), (5, 80)),
    }.get(rule)
    if expected is not None:
        assert (low, high) == pytest.approx((expected.min(), expected.max()), rel=1e-5), (
            "the limits are those of the rule"
        )
    tiles = values[image][..., [cell.channel for cell in picture.cells]]
    counts = [f"{count:,}" for count in ((tiles < low).sum(), (tiles > high).sum()) if count]
    lines = [line for line in picture.lines if kind_of(line) == "beyond"]
    assert len(lines) == bool(counts)
    for line in lines:
        wording(line, *counts)


def test_each_channel_in_its_own_range_reads_through_a_bar_of_that_range(tmp_path):
    values = VALUES.astype(np.float32)
    for clip in (None, (2, 95)):
        picture = ls.sheet(values, scale="channel", clip=clip, layout="bhwc")
        assert picture.bar is None, "a bar would be right for one tile only"
        rgb = np.asarray(Image.open(picture.save(tmp_path / "a.png")).convert("RGB"))
        for cell in picture.cells:
            alone = ls.heatmap(
                values[0, ..., cell.channel], scale=ls.Scale((cell.low, cell.high), picture.scale.colors, 0.0)
            )
            column = alone.rgb()
            bar = alone.bar
            both = np.zeros((max(rgb.shape[0], column.shape[0]), rgb.shape[1] + column.shape[1], 3), np.uint8)
            both[: rgb.shape[0], : rgb.shape[1]] = rgb
            both[: column.shape[0], rgb.shape[1] :] = column
            values_read, _ = through_the_bar(both, bar._replace(x=bar.x + rgb.shape[1]), cell, picture.zoom)
            expected = values[0, ..., cell.channel].clip(cell.low, cell.high)
            inside = expected == values[0, ..., cell.channel]
            assert np.abs(values_read - expected)[inside].max() <= 2 * max(abs(cell.low), abs(cell.high)) / TOP


def test_only_what_lies_beyond_is_counted():
    values = np.array([-1.0, 1.0, 2.0, 3.5, np.inf, -np.inf, np.nan])
    assert Beyond.of(values, (1.0, 2.0)) == Beyond(1, 1, -1.0, 3.5, 7)
    assert Beyond.of(values[-3:], (1.0, 2.0)) == Beyond()
    beyond = Beyond.of(np.array([[1.0, 5.0], [4.0, 6.0]]), np.array([[0.0, 3.0], [5.0, 6.0]]))
    assert (beyond.below, beyond.above) == (0, 1)
    dense = ls.strip(np.append(np.linspace(0, 1, 40), 90.0), clip=(5, 95))
    wording(dense.alt())
    wording(dense.alt(), "90")
    words = ls.heatmap(np.array([[0.0, 5.0], [2.0, 12.5]]), scale=(1, 3)).alt()
    wording(words, "1", "0", "2", "3", "12.5")
    assert "beyond" not in map(kind_of, ls.heatmap(np.array([[0.0, 5.0]])).lines)


def test_a_shared_scale_spans_layers_images_and_models():
    first, second = np.array([[0.0, 1.0]]), np.array([[2.0, 5.0], [3.0, 4.0]])
    assert ls.shared_scale(first, second).limits == (0, 5)
    assert ls.shared_scale({"a": first, "b": {"c": second}}).limits == (0, 5)
    assert ls.shared_scale([ls.FeatureMap.of_array(values) for values in (first, second)]).limits == (0, 5)
    signed = ls.shared_scale(first, -second)
    assert (signed.limits, signed.center, signed.colors) == ((-5, 1), 0.0, "vik")
    wording(signed.describe(), "−5", "1")
    moved = ls.shared_scale(first, second, center=2.0, colors="berlin")
    assert (moved.center, moved.colors) == (2.0, "berlin")
    both = np.concatenate([first.ravel(), second.ravel()])
    assert ls.shared_scale(first, second, clip=(20, 80)).limits == pytest.approx(tuple(np.percentile(both, (20, 80))))
    pictures = [ls.heatmap(values, scale=moved) for values in (first, second)]
    assert {(picture.bar.low, picture.bar.high) for picture in pictures} == {(0.0, 5.0)}
    broken = np.array([[np.nan, np.inf, 2.0]])
    assert ls.shared_scale(first, broken).limits == (0, 2)


def test_a_centre_without_a_colour_map_diverges():
    assert ls.Scale((0, 2), center=1).colors == "vik"
    assert ls.Scale((0, 2)).colors == "viridis"
    assert ls.Scale((0, 2), "gray", center=1).colors == "gray"
    scale = ls.Scale((0.0, 10.0), center=4.0)
    assert scale.codes([4.0, 10.0, 0.0, -2.0]).tolist() == [120, 240, 40, BELOW]
    assert ls.Scale.fit(np.zeros((1, 2, 2, 1)), center=3.0).center == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: ls.Scale((1.0, 0.0)),
        lambda: ls.Scale((np.nan, 1)),
        lambda: ls.Scale((0, 1), "virids"),
        lambda: ls.Scale((0, 1), center=np.inf),
        lambda: ls.Scale([1, 2, 3]),
        lambda: ls.Scale.fit(np.zeros((1, 2, 2, 1)), "tile"),
        lambda: ls.Scale.fit(np.zeros((1, 2, 2, 1)), "chanel"),
        lambda: ls.Scale((0, 1), per="rows"),
        lambda: ls.Scale((0, 1), clip=(3,)),
        lambda: ls.Scale.fit(np.zeros((1, 2, 2, 1)), clip=(50, 10)),
        lambda: ls.Scale.fit(np.zeros((1, 2, 2, 1)), clip=(-1, 50)),
        lambda: ls.Scale.fit(np.zeros((1, 2, 2, 1)), clip="1:99"),
        lambda: ls.sheet(np.zeros((2, 2, 2)), scale="layers"),
        lambda: ls.sheet(np.zeros((2, 2, 2)), scale=(0, 1), clip=(1, 99)),
        lambda: ls.sheet(np.zeros((2, 2, 2)), scale=3),
        lambda: ls.heatmap(np.zeros((2, 2)), scale=ls.Scale(np.zeros((1, 2, 2)))),
        lambda: ls.shared_scale(),
        lambda: ls.shared_scale({}),
        lambda: ls.shared_scale(np.full((2, 2), np.nan)),
        lambda: ls.shared_scale(ls.pca(np.random.default_rng(0).random((4, 4, 5)))),
        lambda: ls.shared_scale(np.zeros((2, 2)), clip=(9, 9)),
        lambda: ls.shared_scale(np.eye(2), center="x"),
        lambda: ls.shared_scale(np.zeros((2, 2)), colors="viridiss"),
    ],
)
def test_bad_scales_are_named(make):
    with raises(ls.BadScale):
        make()


def test_texts_of_nearly_equal_numbers_differ():
    assert short_span(0.9998, 1.0002, 3) == ("0.9998", "1.000")
    assert short_span(5.0, 5.0, 3) == ("5", "5")
    assert span_text(0.9998, 1.0002) == "0.9998…1.0002"
    assert span_text(1234.5, 1234.75) == "1234.5…1234.75"
    assert "0.9998…1.0002" in ls.Scale((0.9998, 1.0002)).describe()
    assert beyond_text(1.00004, 1.0, 0.0, 1.0) == "1.00004"


@pytest.mark.parametrize("limits", [(0, 1.2e-5), (0, 5e-4), (0, 0.0012), (1e6, 1000100), (-3, 7), (0, 123456)])
def test_the_numbers_of_a_bar_are_in_one_notation(limits):
    with_exponent = {"e" in text for value, text in bar_ticks(ls.Scale(limits)) if value}
    assert len(with_exponent) == 1


def test_a_limit_near_0_is_no_0_and_needs_no_row_of_zeros():
    assert [text for _, text in bar_ticks(ls.Scale((6.14e-6, 0.8)))] == ["0.8", "6.14e−6", "0.2", "0.4", "0.6"]
    assert [text for _, text in bar_ticks(ls.Scale((-0.0004, 3.0)))][:2] == ["3", "−0.0004"]


@pytest.mark.parametrize(
    "limits", [(13.5, 22.32), (0.00395, 0.0054), (5.648, 6.0), (0.4927, 1.355), (-2.37, 2.04), (0, 6)]
)
def test_the_numbers_of_a_bar_have_as_many_decimals_each(limits):
    texts = [text for value, text in bar_ticks(ls.Scale.within(limits)) if value]
    assert len({len(text.partition(".")[2]) for text in texts}) == 1
    for limit, text in zip(filter(None, limits[::-1]), texts, strict=False):
        assert float(text.replace("−", "-")) == pytest.approx(limit, abs=(limits[1] - limits[0]) / 200)


def test_numbers_are_short_and_never_lie_about_their_size():
    assert [number(value) for value in (0.0, -0.5, 1234.5, 12345.0, 1e-12, np.nan, np.inf)] == [
        "0",
        "−0.5",
        "1.23e3",
        "1.23e4",
        "1e−12",
        "NaN",
        "+inf",
    ]
    for value in (0.00123, 9.996, 123.4, -4567.0, 6e7):
        text = number(value).replace("−", "-")
        assert float(text) == pytest.approx(value, rel=5e-3)


@pytest.mark.parametrize(
    "scale",
    [
        ls.Scale((0.0, 2.0)),
        ls.Scale((-1.0, 3.0), "magma", 0.5, "shared", (1, 99)),
        ls.Scale([[(0.0, 1.0), (np.nan, np.nan)]], per="channel"),
    ],
)
def test_a_scale_goes_to_json_and_back(scale):
    again = ls.Scale.from_dict(json.loads(json.dumps(scale.to_dict(), allow_nan=False)))
    np.testing.assert_array_equal(again.limits, scale.limits)
    assert type(again.limits) is type(scale.limits)
    assert (again.colors, again.center, again.per, again.clip) == (scale.colors, scale.center, scale.per, scale.clip)


def test_a_scale_of_unknown_fields_is_an_error():
    for fields in ({"limits": [0, 1], "color": "magma"}, {"colors": "magma"}):
        with pytest.raises(ls.BadScale):
            ls.Scale.from_dict(fields)


@pytest.mark.parametrize("norm", ["linear", "symlog"])
@pytest.mark.parametrize("per", ["channel", "layer"])
def test_colours_beyond_percentiles_keep_the_sign_and_the_order_of_the_values(per, norm):
    random = np.random.default_rng(0)
    values = (random.standard_normal((1, 8, 8, 9)) + np.linspace(-4, 4, 9)).astype(np.float32)
    scale = ls.Scale.fit(values, per, (20, 90), norm=norm)
    shown = scale.palette()[:BELOW]
    for channel in range(9):
        ordered = np.sort(values[..., channel].ravel())
        colors = scale.palette()[scale.codes(ordered, 0, channel)]
        places = np.array([np.abs(shown.astype(int) - color).sum(1).argmin() for color in colors])
        assert (np.diff(places) >= 0).all()
        assert (places[ordered > 0] >= TOP // 2).all()
        assert (places[ordered < 0] <= TOP // 2).all()


def test_a_narrow_logarithmic_range_reads_apart_below_0_as_above():
    below, above = ls.Scale((-1.0002, -0.9998), norm="symlog"), ls.Scale((0.9998, 1.0002), norm="symlog")
    assert [*map(below.reading, below.limits)] == ["−1.0002", "−0.9998"]
    assert [*map(above.reading, above.limits)] == ["0.9998", "1.0002"]


def test_a_value_beyond_a_lower_limit_near_0_is_never_drawn_as_the_strongest_one():
    # By hand: the centre has code 120, 1 has code 240, so that the limit -0.1 has code 108, and -1 would have code 0.
    values = np.concatenate([np.linspace(-0.4, -0.1, 8), np.linspace(-0.099, 1, 392)]).reshape(20, 20)
    for sign, mark in ((1, BELOW), (-1, ABOVE)):
        shown = sign * values
        picture = ls.heatmap(shown, clip=(2, 100) if sign > 0 else (0, 98))
        table, codes = picture.scale.palette(), picture.codes(picture.cells[0])
        limit = picture.scale.limits[0 if sign > 0 else 1]
        cut = codes == mark
        assert cut.sum() == 8
        (at_limit,) = picture.scale.codes([limit])
        assert abs(int(at_limit) - (120 - sign * 12)) <= 1
        assert table[mark].tolist() == table[at_limit].tolist() != table[0 if sign > 0 else TOP].tolist()
        paint = Paint(ls.FeatureMap.of_array(shown), picture.scale, 0.6, True)
        assert paint.strengths[mark] == paint.strengths[at_limit] == pytest.approx(0.1, abs=0.01)
        assert paint.strengths[TOP if sign > 0 else 0] == 1


@pytest.mark.parametrize("scale", ["row", "cell"])
def test_in_a_comparison_of_many_ranges_too_no_weak_value_is_drawn_as_a_strong_one(scale):
    values = np.concatenate([np.linspace(-0.4, -0.1, 8), np.linspace(-0.099, 1, 392)]).reshape(20, 20)
    picture = ls.compare({"a": values, "b": -values / 2}, clip=(2, 98), scale=scale)
    first, second = (picture.codes(cell).ravel() for cell in picture.cells)
    assert (first == ABOVE).sum() == (second == BELOW).sum() == 8, "the strong ones are clipped"
    weak = np.argsort(values, axis=None)[:8]
    assert np.isin(first[weak], range(120)).all()
    assert np.isin(second[weak], range(121, TOP)).all()
