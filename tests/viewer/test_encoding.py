"""What travels as float16 is what was there: no number becomes inf or 0, and no code of a scale is off by more than one."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import layerscope as ls
from helpers.arrays import noise
from layerscope.picture.codes import marked
from layerscope.picture.norms import Curve
from layerscope.viewer.encoding import decode
from layerscope.viewer.maps import map_payload
from layerscope.viewer.payload import unpack

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)
ANY = st.floats(width=32, allow_nan=True, allow_infinity=True)
SIZES = st.tuples(st.floats(-1, 1, width=32), st.integers(-126, 126)).map(lambda pair: float(np.ldexp(*pair)))


def planes_of(elements):
    return hnp.arrays(np.float32, SHAPES, elements=elements, fill=st.nothing())


def again(values):
    """The values `[height, width, channel]` as a page reads them from a payload."""
    meta, tensors = unpack(map_payload(ls.FeatureMap.of_array(values, "hwc")))
    return np.moveaxis(decode(tensors["values"], meta["exponent"], tensors.get("offsets")), 0, -1), tensors


@settings(deadline=None)
@given(planes_of(ANY | SIZES))
def test_nothing_becomes_infinite_or_zero_and_signs_stay(values):
    read, _ = again(values)
    np.testing.assert_array_equal(np.isnan(read), np.isnan(values))
    np.testing.assert_array_equal(np.where(np.isinf(values), values, 0), np.where(np.isinf(read), read, 0))
    np.testing.assert_array_equal(np.sign(np.nan_to_num(read)), np.sign(np.nan_to_num(values)))


@settings(deadline=None)
@given(planes_of(SIZES), st.floats(-1000, 1000, width=32), st.sampled_from(["linear", "log", "symlog"]))
@example(np.array([[[1.0], [2.0]]], np.float32), 1000.0, "linear")
@example(np.array([[[0.0], [6.0], [6.0], [5.75]]], np.float32), 0.0, "log")
def test_codes_are_off_by_one_at_most_whatever_the_norm(values, shift, norm):
    with np.errstate(over="ignore"):
        values = values + np.float32(shift)
    if not np.isfinite(values).all():
        return
    read, _ = again(values)
    for channel in range(values.shape[-1]):
        plane, other = values[..., channel], read[..., channel]
        for low, high in limits_of(plane, norm):
            mine, theirs = marked(plane, low, high, Curve(norm)), marked(other.clip(low, high), low, high, Curve(norm))
            inside = (plane >= low) & (plane <= high)
            off = np.abs(mine.astype(int) - theirs)[inside]
            assert off.max(initial=0) <= 1, (low, high)


def limits_of(plane, norm):
    """The limits that a scale of each channel has, whole and clipped."""
    shown = plane[plane > 0] if norm == "log" else plane
    for pair in ((0, 100), (1, 99)):
        if shown.size:
            low, high = np.percentile(shown.astype(np.float64), pair)
            if low < high and np.isfinite(high - low):
                yield low, high


@settings(deadline=None)
@given(planes_of(ANY | SIZES))
def test_statistics_are_those_of_the_true_values(values):
    _, tensors = again(values)
    table = ls.statistics(values, layout="hwc")
    for row, name in enumerate(
        ("min", "mean", "max", "deviation", "sparsity", "positive", "energy", "dead", "constant")
    ):
        np.testing.assert_array_equal(tensors["statistics"][row], table[name].astype(float))


@pytest.mark.parametrize(
    ("values", "dtype", "exponent"),
    [
        (noise(4, 8, 8), np.float16, 0),
        (np.maximum(noise(4, 8, 8), 0), np.float16, 0),
        (np.zeros((2, 3, 3), np.float32), np.float16, 0),
        (np.full((2, 3, 3), np.nan, np.float32), np.float16, 0),
        (noise(4, 8, 8) * np.float32(1e9), np.float16, None),
        (noise(4, 8, 8) * np.float32(1e-9), np.float16, None),
        (noise(4, 8, 8) / 64 + 4096, np.float16, 0),
        (np.geomspace(1e-30, 1e30, 64, dtype=np.float32).reshape(4, 4, 4), np.float32, 0),
    ],
    ids=["usual", "relu", "zeros", "nan", "large", "small", "far from 0", "sixty decades"],
)
def test_which_numbers_travel_as_float16(values, dtype, exponent):
    meta, tensors = unpack(map_payload(ls.FeatureMap.of_array(values, "hwc")))
    assert tensors["values"].dtype == dtype
    assert (meta["exponent"] == exponent) if exponent is not None else meta["exponent"] != 0
    read, _ = again(values)
    np.testing.assert_allclose(read, values, rtol=2**-10)


def test_only_channels_far_from_zero_have_an_offset():
    values = noise(8, 8, 3)
    values[..., 1] = values[..., 1] / 64 + 500
    _, tensors = again(values)
    assert tensors["values"].dtype == np.float16
    assert (tensors["offsets"] != 0).tolist() == [False, True, False]


def test_zero_stays_zero_where_a_channel_has_an_offset():
    values = np.full((16, 16, 1), 5.9, np.float32)
    values[:, :8] += np.linspace(0, 0.01, 128, dtype=np.float32).reshape(16, 8, 1)
    values[0, 0] = 0
    read, tensors = again(values)
    assert "offsets" in tensors and read[0, 0, 0] == 0


def test_blocks_of_any_size_give_the_same(monkeypatch):
    planes, whole = noise(5, 7, 9), None
    for size in (1 << 17, 40, 1):
        monkeypatch.setattr("layerscope.viewer.encoding.BLOCK", size)
        data = map_payload(ls.FeatureMap.of_array(np.moveaxis(planes, 0, -1), "hwc"))
        whole = whole or data
        assert data == whole
