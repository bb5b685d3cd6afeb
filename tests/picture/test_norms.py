"""Linear, logarithmic and symmetric logarithmic scales: what is drawn reads back, on the fast way and on the exact one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, warns, wording
from layerscope.arrays.ranges import raw_extent
from layerscope.core.note import kind_of
from layerscope.picture.codes import ABOVE, BELOW, CONSTANT, NAN, NEG_INF, POS_INF, TOP, encode
from layerscope.picture.colorbar import bar_ticks
from layerscope.picture.norms import NORMS, Curve, decades
from layerscope.plots.overlay_paint import Paint
from layerscope.testing import TinyBackend, tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:norm='log' shows nothing:layerscope.LayerscopeWarning")


def spread(norm, exponent, magnitudes, seed=0):
    """float32 `[1, 5, 6, 7]` over so many magnitudes around 10 to the `exponent`; of both signs but for the logarithm."""
    random = np.random.default_rng(seed)
    values = 10.0 ** (exponent + random.uniform(-magnitudes, magnitudes, (1, 5, 6, 7)))
    signs = 1 if norm == "log" else random.choice([-1, 1], values.shape)
    return np.float32(np.clip(values, 1e-37, 3e38) * signs)


def half_a_step(scale, value):
    """How far what is read back may lie from a value: that far along the curve."""
    curve = scale.curve.over(*scale.limits)
    low, high = scale.limits
    reach = max(abs(low), abs(high))
    ends = (low, high) if scale.center is None else (-reach, reach)
    first, last = map(curve.forward, ends)
    step = (last - first) / TOP
    place = curve.forward(value)
    return curve.inverse(place - step * 0.501), curve.inverse(place + step * 0.501)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("exponent", [-30, -12, -3, 0, 3, 12, 30])
@pytest.mark.parametrize("magnitudes", [0.01, 0.5, 6])
def test_a_value_reads_back_within_half_a_step(norm, exponent, magnitudes):
    values = spread(norm, exponent, magnitudes)
    scale = ls.Scale.fit(values, norm=norm)
    codes = scale.codes(values)
    assert codes.max() <= TOP
    least, most = half_a_step(scale, values.astype(np.float64))
    read = scale.decode(codes)
    assert ((read >= least) & (read <= most)).all()
    assert codes[values == values.max()].tolist() == [scale.end_codes[1]] or scale.center == 0


@pytest.mark.parametrize("order", ["nhwc", "nchw"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("exponent", [-36, -30, -12, 0, 12, 30, 37])
def test_the_fast_way_and_the_exact_way_agree(norm, exponent, dtype, order):
    values = spread(norm, exponent, 3).astype(dtype)
    values[0, 0, 0, :3] = 0
    if norm == "log":
        values[0, 1, 1, 2] *= -1
    if order == "nchw":
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    scale = ls.Scale.fit(values, "channel", norm=norm)
    raw, limits = raw_extent(values)[0], scale.limits[0]
    out = np.empty((2, 4, 5, 6), np.uint8)
    encode(values[0], out, limits, curve=scale.curve, exact=limits[:, 0] == limits[:, 1], extent=raw)
    for channel in range(7):
        got = out[channel // 4, channel % 4].astype(int)
        expected = scale.codes(values[0, ..., channel], 0, channel).astype(int)
        np.testing.assert_array_equal(got > TOP, expected > TOP)
        assert np.abs(got - expected).max() <= 1


@settings(deadline=None)  # the first drawing loads faces of type
@given(
    hnp.arrays(np.float32, (1, 3, 4, 5), elements=st.floats(width=32)),
    st.sampled_from(NORMS),
    st.sampled_from(["channel", "layer"]),
    st.sampled_from([None, (1, 99), (20, 80)]),
)
def test_any_values_are_drawn_or_refused_by_name_and_each_mark_is_true(values, norm, per, clip):
    try:
        picture = ls.sheet(values, norm=norm, scale=per, clip=clip)
    except ls.BadScale:
        finite = values[np.isfinite(values)]
        assert norm == "log"
        assert finite.max() <= 0
        return
    for cell in picture.cells:
        plane, codes = values[0, ..., cell.channel], picture.codes(cell)
        np.testing.assert_array_equal(codes == NAN, np.isnan(plane))
        np.testing.assert_array_equal(codes == POS_INF, plane == np.inf)
        np.testing.assert_array_equal(codes == NEG_INF, plane == -np.inf)
        finite = np.isfinite(plane)
        if np.isfinite(cell.low):
            np.testing.assert_array_equal((codes == BELOW) & finite, (plane < cell.low) & finite)
            np.testing.assert_array_equal((codes == ABOVE) & finite, (plane > cell.high) & finite)
        read = picture.decode(cell)[codes <= TOP]
        assert np.isfinite(read).all()


def test_log_begins_at_the_least_value_above_0_of_what_shares_a_range():
    values = np.array([[[[4.0, -1.0, 0.0, 3.0], [0.0, -2.0, 0.0, 3.0], [0.5, 0.0, 0.0, 3.0]]]])
    own = ls.Scale.fit(values, "channel", norm="log")
    assert own.limits[0].tolist() == [[0.5, 4.0], [0.0, 0.0], [0.0, 0.0], [3.0, 3.0]]
    assert ls.Scale.fit(values, norm="log").limits == (0.5, 4.0)
    assert own.codes(values[0, 0, :, 0]).tolist() == [240, BELOW, 0]
    assert own.codes(values[0, 0, :, 1], channel=1).tolist() == [BELOW, BELOW, CONSTANT]
    sheet = ls.sheet(np.maximum(noise(1, 12, 12, 4), 0), norm="log")
    assert all(cell.low > 0 for cell in sheet.cells)
    clipped = ls.Scale.fit(
        np.array([[[-5.0], [0.0], *[[value] for value in 10.0 ** np.arange(5)]]]), clip=(25, 75), norm="log"
    )
    assert clipped.limits == (10.0, 1000.0), "the percentiles are those of the values that have a logarithm"


def test_what_has_no_logarithm_is_refused_or_said():
    with raises(ls.BadScale, "symlog"):
        ls.heatmap(-np.arange(1.0, 5.0).reshape(2, 2), norm="log")
    with raises(ls.BadScale, "symlog"):
        ls.heatmap(np.eye(4), scale=(0, 5), norm="log")
    with raises(ls.BadScale, "symlog"):
        ls.Scale((1.0, 2.0), center=1.5, norm="log")
    with raises(ls.BadScale, "0"):
        ls.Scale((1.0, 2.0), center=1.5, norm="symlog")
    with raises(ls.BadScale, "'log'"):
        ls.sheet(noise(1, 4, 4, 2), norm="logg")
    with raises(ls.BadScale, "symlog"):
        ls.compare({"a": -np.ones((1, 4, 4, 1)) - noise(1, 4, 4, 1) ** 2}, norm="log")
    with raises(ls.BadScale, "symlog"):
        ls.shared_scale(np.array([[-2.0, -1.0]]), norm="log")
    some = np.array([[0.0, 1.0], [10.0, 100.0]])
    said = ls.heatmap(some, norm="log").alt()
    assert "25% of all; 0 and below have no logarithm" in said
    assert "ogarithmic scale" in said
    for norm in ("linear", "symlog"):
        assert "no logarithm" not in ls.heatmap(some, norm=norm).alt()
    tiles = ls.sheet(np.dstack([some, [[-1.0, 0.0], [-2.0, -3.0]]]), norm="log")
    assert tiles.cells[1].note == "none above 0"
    assert ls.heatmap(np.zeros((2, 2)), norm="log").pixels.max() > TOP, "a dead map is dead by any norm"


def test_symlog_is_centred_on_0_and_says_where_it_is_linear():
    scale = ls.Scale.fit(np.array([[[-20.0], [500.0]]]), norm="symlog")
    assert scale.center == 0
    assert scale.codes([0.0, 500.0, -500.0 + 480.0]).tolist()[:2] == [120, 240]
    within = 500 / 1000
    inside = scale.decode(np.arange(240))
    inside = inside[np.abs(inside) < within * 0.99]
    np.testing.assert_allclose(np.diff(inside), np.diff(inside)[0], rtol=1e-9)
    assert "0.5" in scale.notes()[0]
    assert "±0.5" in ls.heatmap(np.array([[-20.0, 500.0]]), norm="symlog").alt()
    one_sided = ls.Scale.fit(np.array([[[0.0], [500.0]]]), norm="symlog")
    assert one_sided.center is None
    assert one_sided.codes([0.0, 500.0]).tolist() == [0, 240]


@pytest.mark.parametrize("limits", [(1e-12, 1.0), (2e-3, 300.0), (3.0, 4.0), (1e-30, 1e30), (5.0, 5.0)])
@pytest.mark.parametrize("norm", NORMS)
def test_ticks_of_the_bar_have_both_limits_and_lie_where_they_read_back(norm, limits):
    scale = ls.Scale(limits, norm=norm)
    ticks = [value for value, _ in bar_ticks(scale)]
    assert {*limits} <= {*ticks}
    assert len(ticks) <= 16
    np.testing.assert_allclose(scale.at(scale.places(ticks)), ticks, rtol=1e-9)
    rising = np.diff(scale.at(np.linspace(0, 1, 50)))
    assert (rising > 0).all() or limits[0] == limits[1]


def test_ticks_of_many_magnitudes_are_powers_of_ten():
    assert [text for _, text in bar_ticks(ls.Scale((2e-4, 30.0), norm="log"))][2:] == [
        "0.001",
        "0.01",
        "0.1",
        "1",
        "10",
    ]
    signed = [text for _, text in bar_ticks(ls.Scale.within((-50.0, 500.0), norm="symlog"))]
    assert {"−10", "−1", "0", "1", "10", "100"} <= {*signed}
    assert decades(1e-30, 1e30)[0] == 1e-27


def test_a_norm_is_kept_in_files_and_older_files_are_linear():
    scale = ls.Scale((1.0, 100.0), norm="log")
    again = ls.Scale.from_dict(json.loads(json.dumps(scale.to_dict())))
    assert again.norm == "log"
    assert again.codes([1.0, 10.0, 100.0]).tolist() == [0, 120, 240]
    assert ls.Scale.from_dict({"limits": [0.0, 2.0]}).norm == "linear"
    assert "logarithmic" in scale.describe()


@pytest.mark.parametrize("norm", ["log", "symlog"])
def test_a_norm_reaches_every_picture_with_a_scale(norm, tmp_path):
    values = 10.0 ** noise(2, 6, 8, 4)
    rule = ls.Scale((0.01, 100.0), norm=norm)
    pictures = [
        ls.sheet(values, norm=norm),
        ls.sheet(values, scale="layer", norm=norm),
        ls.sheet(values, scale="images", norm=norm),
        ls.sheet(values, scale=(0.01, 100), norm=norm),
        ls.sheet(values, scale=rule),
        ls.sheet(values, clip=(1, 99), norm=norm),
        next(ls.pages(values, norm=norm)),
        ls.heatmap(values[0, ..., 0], norm=norm),
        ls.strip(values[:, 0], layout="bnc", norm=norm),
        ls.bars(values[0, 0, 0], norm=norm),
        ls.compare({"a": values[..., :1], "b": 2 * values[..., :1]}, norm=norm),
        ls.montage(values[:1, :, :, None, :1], norm=norm, layout="bdhwc"),
    ]
    for picture in pictures:
        assert picture.scale.norm == norm
        assert "ogarithm" in picture.alt()
    for scale in ("all", "row", "column", "cell"):
        table = ls.compare({"a": values[..., :1], "b": 2 * values[..., :1]}, norm=norm, scale=scale)
        for cell in table.cells:
            plane = (values if cell.note.startswith("a") else 2 * values)[cell.image, ..., 0]
            np.testing.assert_allclose(table.decode(cell), plane, rtol=0.2, atol=0.01)
    ls.animate(values, tmp_path / "a.gif", channel=0, norm=norm)
    assert ls.shared_scale(values, norm=norm).norm == norm


def test_a_scale_of_ones_own_keeps_its_norm_unless_another_is_asked_for():
    values, log = np.array([[1.0, 100.0]]), ls.Scale((1.0, 100.0), norm="log")
    assert ls.heatmap(values, scale=log).scale.norm == "log"
    assert ls.heatmap(values, scale=log, norm="linear").scale.norm == "linear"
    assert ls.heatmap(values, scale=(1, 100), norm="log").scale.norm == "log"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("limits", [(1e-9, 1.0), (1e-30, 1e-20), (1e10, 1e25)])
def test_matplotlibs_norm_gives_the_same_colours(norm, limits):
    pytest.importorskip("matplotlib")
    low, high = limits
    values = np.geomspace(low, high, 300).reshape(15, 20)
    picture = ls.heatmap(values, norm=norm)
    axes = picture.to_matplotlib().axes[0]
    (image,) = axes.images
    shown = np.round(image.cmap(image.norm(image.get_array()))[..., :3] * 255).astype(np.uint8)
    codes = picture.codes(picture.cells[0])
    np.testing.assert_array_equal(shown, picture.palette()[codes])


def test_colours_and_groups_have_no_norm():
    fm = ls.pca(noise(1, 6, 6, 8))
    with raises(ls.BadOption, "norm"):
        ls.heatmap(fm, norm="log")
    with raises(ls.BadOption, "norm"):
        ls.heatmap(ls.clusters(noise(1, 6, 6, 8), 2), norm="log")
    with raises(ls.BadOption, "norm"):
        ls.compare({"a": fm}, combine=None, norm="symlog")


def test_on_a_photo_opacity_follows_the_norm_and_what_has_no_logarithm_is_bare():
    photo = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    fm = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit").capture(photo, "conv1")["conv1"]
    values = np.full((1, *fm.spatial, 1), 1e-4, np.float32)
    values[0, 0, 0], values[0, -1, -1], values[0, 0, -1] = 1.0, 0.01, 0.0
    fm = replace(ls.mean(fm), values=values)
    colors = {norm: ls.Scale((1e-4, 1.0), norm=norm) for norm in ("linear", "log")}
    covers = {
        norm: Paint(fm, rule, 1.0, False).covers[rule.codes(values[0, ..., 0]), 3] for norm, rule in colors.items()
    }
    assert covers["log"][0, 0] == covers["linear"][0, 0] == 255
    assert covers["log"][-1, -1] == pytest.approx(255 / 2, abs=2)
    assert covers["linear"][-1, -1] < 5
    assert covers["log"][0, -1] == covers["log"][1, 1] == 0
    picture = ls.overlay(fm, norm="log")
    assert "below the limits" not in [text.text for text in picture.texts]
    assert "no logarithm" in picture.alt()


def test_bars_of_a_logarithm_begin_at_a_power_of_ten():
    picture = ls.bars(np.array([0.2, 0.03, 0.004, 0.0, 0.0005]), norm="log", top=5)
    lengths = [cell.width for cell in picture.cells]
    assert picture.scale.limits == pytest.approx((1e-4, 0.2))
    assert lengths[4] == 1
    expected = np.log10(np.array([0.2, 0.03, 0.004, 0.0005]) / 1e-4) / np.log10(0.2 / 1e-4)
    np.testing.assert_allclose(np.array(lengths[:4]) / lengths[0], expected, atol=0.01)
    assert "0.0001" in picture.alt()


def test_place_is_forward_in_float32():
    values = np.float32(spread("symlog", 0, 6)[0])
    for curve in (Curve("log"), Curve("symlog").over(-2.0, 300.0)):
        out = np.empty_like(values)
        positive = np.abs(values) if curve.norm == "log" else values
        curve.place(positive, np.float32(curve.within), out)
        np.testing.assert_allclose(out, curve.forward(positive), rtol=2e-6, atol=2e-6)


def test_pictures_of_two_norms_are_no_frames_of_one_animation(tmp_path):
    values = np.array([[1.0, 10.0], [50.0, 100.0]])
    frames = [ls.heatmap(values, scale=(1, 100), norm=norm) for norm in ("linear", "log")]
    with raises(ls.BadScale, "scale"):
        ls.animate(frames, tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"norm": "log"}, "0 or below"),
        ({"norm": "log", "clip": (5, 95)}, "0 or below, or under the lower percentile"),
        ({"norm": "log", "scale": (0.1, 1)}, "0 or below, or below the limits"),
        ({"scale": (0.1, 1)}, "below the limits"),
    ],
)
def test_the_legend_says_what_lies_below_the_limits(options, words):
    values = noise(8, 8).clip(0)
    picture = ls.heatmap(values, **options)
    assert words in [line.text for line in picture.drawing.texts(picture.cells)]


@pytest.mark.parametrize("bar", [True, False])
def test_tiles_with_ranges_of_their_own_say_what_has_no_logarithm(bar):
    values = noise(1, 6, 6, 4).clip(0)
    sheet = ls.sheet(values, norm="log", bar=bar)
    texts = [line.text for line in sheet.drawing.texts(sheet.cells)]
    assert "0 or below" in texts and "below the limits" not in texts
    assert ("lowest above 0" in texts) == bar
    wording(next(line for line in sheet.lines if kind_of(line) == "beyond"))
    compared = ls.compare({"a": values[..., :1], "b": values[..., 1:2]}, norm="log", scale="cell")
    assert "0 or below" in [line.text for line in compared.drawing.texts(compared.cells)]


@pytest.mark.filterwarnings("error")
def test_values_below_0_that_a_logarithm_leaves_out_are_warned_of():
    with warns(ls.LayerscopeWarning, "norm='log'", "50%", "norm='symlog'"):
        ls.heatmap(np.array([[-2.0, -1.0], [1.0, 2.0]]), norm="log")
    ls.heatmap(np.array([[0.0, 0.0], [1.0, 2.0]]), norm="log")
    ls.heatmap(np.array([[-2.0, -1.0], [1.0, 2.0]]), norm="symlog")


def test_by_log_a_dead_map_is_drawn_and_one_below_0_is_refused():
    assert "dead" in " ".join(ls.heatmap(np.zeros((4, 4, 1), np.float32), norm="log").lines)
    with pytest.raises(ls.BadScale):
        ls.heatmap(np.full((4, 4, 1), -1, np.float32), norm="log")
