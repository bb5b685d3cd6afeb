"""Scale: numbers to codes and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import layerscope as ls
from layerscope.encoding import ABOVE, BELOW, CONSTANT, NAN, NEG_INF, POS_INF, TOP, encode, extent_of, raw_extent
from layerscope.scale import lut, number, palette

FINITE = st.floats(-1e6, 1e6, width=32)


def test_every_special_value_has_its_own_code_and_colour():
    scale = ls.Scale((0.0, 1.0))
    codes = scale.codes([0, 1, 0.5, -1, 2, np.nan, np.inf, -np.inf])
    assert codes.tolist() == [0, TOP, TOP // 2, BELOW, ABOVE, NAN, POS_INF, NEG_INF]
    marks = [BELOW, ABOVE, NAN, POS_INF, NEG_INF, CONSTANT]
    colors = {tuple(palette("viridis")[each]) for each in marks}
    assert len(colors) == len(marks)
    for name in ("viridis", "vik", "gray", "magma"):
        assert not colors & {tuple(each) for each in lut(name)}, name


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
    if low == high:
        return
    reach = max(abs(low), abs(high)) if scale.center is not None else (high - low) / 2
    step = 2 * reach / TOP
    found = scale.decode(scale.codes(values))
    assert np.abs(found - values).max() <= step * 0.501


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
    encode(values[1], limits, None, exact, out, limits)
    for channel in range(7):
        wanted = ls.Scale(tuple(limits[channel])).codes(values[1, ..., channel])
        got = out[channel // columns, channel % columns].astype(int)
        assert np.abs(got - wanted.astype(int)).max() <= 1, "rounding at the border of two steps may differ"
        assert got.max() <= TOP or exact[channel]


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


def test_clipped_limits_say_so_and_mark_what_lies_beyond():
    values = np.append(np.linspace(0, 1, 99), 1000).astype(np.float32).reshape(1, 10, 10, 1)
    scale = ls.Scale.fit(values, clip=(0, 98))
    assert scale.limits[1] < 2
    assert "cut at the percentiles 0 and 98" in scale.describe()
    assert (scale.codes(values) == ABOVE).sum() == 2
    each = ls.Scale.fit(np.concatenate([values, values * 0], -1), "channel", clip=(0, 98))
    assert each.limits.shape == (1, 2, 2)
    with pytest.raises(ls.BadScale, match="percentiles"):
        ls.Scale.fit(values, clip=(50, 10))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ls.Scale((1.0, 0.0)), "lower one first"),
        (lambda: ls.Scale((np.nan, 1)), "finite"),
        (lambda: ls.Scale((0, 1), "virids"), "Did you mean 'viridis'"),
        (lambda: ls.Scale((0, 1), center=np.inf), "center"),
        (lambda: ls.Scale([1, 2, 3]), "limits"),
        (lambda: ls.Scale.fit(np.zeros((1, 2, 2, 1)), "tile"), "'channel', 'layer'"),
    ],
)
def test_bad_scales_are_named(make, match):
    with pytest.raises(ls.BadScale, match=match):
        make()


def test_numbers_are_short_and_never_lie_about_their_size():
    assert [number(each) for each in (0.0, -0.5, 1234.5, 12345.0, 1e-12, np.nan, np.inf)] == [
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
