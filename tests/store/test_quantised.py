"""Maps in bytes: how near what is read lies to what the model gave, and what isn't a finite number."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import layerscope as ls
from helpers.stores import contents, small_scan, write_images
from layerscope.store.quantised import STEPS, codes_of, lowest, values_of
from layerscope.testing.tiny import Step, TinyModel


def half_a_step(values, low, high):
    """How far off a value may be that is read: half a step, and the rounding of float32."""
    span = (high.astype(np.float64) - low)[..., None, None]
    return span / STEPS / 2 * (1 + 1e-6) + np.abs(values.astype(np.float64)) * 2**-24 + 2**-150


def finite_ends(maps):
    """The smallest and largest finite value of each map, one after another; NaN where there is none."""
    ends = np.full((2, *maps.shape[:2]), np.nan, np.float32)
    for at in np.ndindex(maps.shape[:2]):
        values = maps[at][np.isfinite(maps[at])]
        if values.size:
            ends[(0, *at)], ends[(1, *at)] = values.min(), values.max()
    return ends


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(arrays.arrays(np.float32, (2, 2, 3, 2), elements=st.floats(width=32)))
def test_values_come_back_within_half_a_step_and_others_as_they_were(maps):
    low, high = finite_ends(maps)
    assert np.array_equal(lowest(maps), low, equal_nan=True)
    codes = codes_of(maps, low, high)
    back = values_of(codes, low, high)
    finite = np.isfinite(maps)
    assert codes.dtype == np.uint8 and back.dtype == np.float32
    assert np.array_equal(back[~finite], maps[~finite], equal_nan=True)
    off = np.abs(back[finite].astype(np.float64) - maps[finite])
    assert (off <= half_a_step(maps, low, high)[finite]).all()


def test_the_ends_of_a_map_and_a_map_that_is_the_same_everywhere_are_exact():
    maps = np.array([[[[0.1, 0.7], [0.3, -2.5]], [[3.3, 3.3], [3.3, 3.3]]]], np.float32)
    low, high = finite_ends(maps)
    back = values_of(codes_of(maps, low, high), low, high)
    assert back[0, 0, 0, 1] == maps[0, 0, 0, 1] and back[0, 0, 1, 1] == maps[0, 0, 1, 1]
    assert np.array_equal(back[0, 1], maps[0, 1])


def odd(x):
    """A channel as it is, one with NaN, one with both infinities, one without any number, one beyond float16."""
    one = x[:, 0]
    values = np.stack([one] * 5, 1).astype(np.float32)
    values[:, 1, 2, 3] = np.nan
    values[:, 2, 0, 0], values[:, 2, 0, 1] = np.inf, -np.inf
    values[:, 3] = np.nan
    values[:, 4] *= 1e9
    return values


def odd_model():
    return TinyModel([Step("odd", "Odd", "bchw", odd), Step("flat", "Mean", "bc", lambda x: x[:, :2].mean((2, 3)))])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    images = write_images(tmp_path_factory.mktemp("quantised") / "images")
    (images / "5.png").write_bytes(b"no image")
    return images


@pytest.fixture(scope="module")
def stores(images):
    return {
        dtype: small_scan(images, images.parent / dtype, ["odd", "flat"], model=odd_model(), keep="maps", dtype=dtype)
        for dtype in ("float32", "uint8")
    }


@pytest.mark.parametrize("layer", ["odd", "flat"])
def test_a_store_in_bytes_reads_as_one_in_floats(stores, layer):
    exact, near = (stores[dtype].feature_map(layer, range(24)).values for dtype in ("float32", "uint8"))
    assert near.dtype == np.float32 and near.shape == exact.shape
    maps = np.moveaxis(exact, -1, 1).reshape(24, exact.shape[-1], -1, 1)
    back = np.moveaxis(near, -1, 1).reshape(maps.shape)
    finite = np.isfinite(maps)
    assert np.isnan(maps[5]).all() and (finite.any() and (layer == "flat" or not finite.all(1).all()))
    assert np.array_equal(back[~finite], maps[~finite], equal_nan=True)
    off = np.abs(back[finite].astype(np.float64) - maps[finite])
    assert (off <= half_a_step(maps, *finite_ends(maps))[finite]).all()
    assert layer == "flat" or off.max() > 0


def test_xarray_reads_what_is_looked_at_as_values(stores):
    whole = stores["uint8"].feature_map("odd", range(24)).values
    data = stores["uint8"].maps("odd")
    assert data.dims == ("image", "odd_channel", "odd_y", "odd_x") and data.dtype == np.float32
    part = data.isel(image=[7, 3], odd_channel=slice(1, 3), odd_y=2)
    assert np.array_equal(part.values, np.moveaxis(whole, -1, 1)[[7, 3], 1:3, 2], equal_nan=True)
    assert data.sel(image="4.png", odd_channel=0).shape == (8, 8)


def test_statistics_and_top_images_are_those_of_the_models_own_values(stores):
    for layer in stores["uint8"].layers:
        one, other = (stores[dtype].stats(layer) for dtype in ("float32", "uint8"))
        assert one.to_csv() == other.to_csv()
    assert stores["uint8"].top("odd", 0, k=4).cells


def test_a_lost_scale_and_a_flipped_one_are_found_and_made_anew(images, tmp_path):
    def scanned():
        return small_scan(images, tmp_path / "store", ["odd"], model=odd_model(), keep="maps", dtype="uint8")

    scanned()
    whole = contents(tmp_path / "store")
    for spoil in (lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[::-1])):
        spoil(tmp_path / "store/pooled.zarr/odd/min/c/1/0")
        assert "pooled.zarr/odd/min/c/1/0" in str(ls.check_store(tmp_path / "store"))
        scanned()
        assert contents(tmp_path / "store") == whole


def test_bytes_need_half_of_the_room_that_is_stated_for_float16(images, tmp_path):
    from layerscope.store.estimate import estimate

    sizes = {}
    for dtype in ("float16", "uint8"):
        made = small_scan(images, tmp_path / dtype, ["conv1"], keep="maps", dtype=dtype)
        sizes[dtype] = estimate(made.storage, made.plan, images=1000, seconds=1).size
    values = sum(len(kept.channels) * kept.positions for kept in made.plan.layers) * 1000
    scales = sum(len(kept.channels) for kept in made.plan.layers) * 4 * 1000
    assert sizes["float16"] - sizes["uint8"] == values - scales
