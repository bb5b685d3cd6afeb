"""FeatureMap: frozen values, channels by their true number, files."""

import json
from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises
from layerscope.core.note import Note, kind_of
from layerscope.core.placement import Placement


def full():
    return ls.FeatureMap(
        noise(2, 4, 5, 6),
        ls.Layer("a/b", "Conv", "bhwc", (1, 4, 5, 6), 3, 2, "n", (4, 5), ("x",), (ls.Layer("a/b:0", "Conv"),)),
        ("one.jpg", "two.jpg"),
        (0, 1, 2, 3, 4, 9),
        placement=(Placement((10, 20), (4, 5), (0.0, 0.0, 10.0, 20.0)),) * 2,
        gradient=noise(2, 4, 5, 6),
        tokens=noise(2, 3, 6),
        dtype="float16",
        notes=(Note("layout", "read as bhwc"), "plain text"),
        provenance={"model": "m"},
        rows="row",
    )


def test_the_usual_name_of_a_layer_is_saved_where_it_has_one(tmp_path):
    fm = full()
    named = replace(fm, layer=replace(fm.layer, usual_name="ReLU6"))
    assert ls.load(named.save(tmp_path / "named.npz")).layer == named.layer


def test_values_are_read_only_and_the_callers_are_not():
    values = noise(1, 4, 4, 2)
    fm = ls.FeatureMap.of_array(values)
    with pytest.raises(ValueError, match="read-only"):
        fm.values[0] = 1
    values[0] = 1
    with pytest.raises(AttributeError):
        fm.rule = "x"


def test_channels_are_chosen_by_true_number():
    fm = full()
    assert fm.select([9, 2]).channels == (9, 2)
    assert np.array_equal(fm.select([9]).values[..., 0], fm.values[..., 5])
    assert np.array_equal(fm.select([9]).gradient[..., 0], fm.gradient[..., 5])
    assert fm.select(slice(1, 4)).channels == (1, 2, 3)
    assert fm.select(None) is fm
    with raises(ls.BadChannels, "7"):
        fm.select([7])


def test_one_image_of_several():
    fm = full()
    assert fm.image(-1).ids == ("two.jpg",)
    assert np.array_equal(fm.image(1).values[0], fm.values[1])
    with raises(ls.BadOption, "2", "1"):
        fm.image(2)


def test_a_saved_map_comes_back_whole(tmp_path):
    fm = full()
    back = ls.load(fm.save(tmp_path / "fm.npz"))
    for name in ("values", "gradient", "tokens"):
        assert np.array_equal(getattr(back, name), getattr(fm, name))
    for name in (
        "layer",
        "ids",
        "channels",
        "placement",
        "rule",
        "method",
        "of",
        "dtype",
        "notes",
        "provenance",
        "rows",
    ):
        assert getattr(back, name) == getattr(fm, name), name
    assert [kind_of(note) for note in back.notes] == ["layout", ""]
    with raises(ls.BadOption):
        fm.save(tmp_path / "fm.txt")


def test_a_file_of_an_older_version_is_read(tmp_path):
    full().save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    del about["note_kinds"], about["rows"]
    np.savez(tmp_path / "old.npz", **{**arrays, "about": np.array(json.dumps(about))})
    old = ls.load(tmp_path / "old.npz")
    assert old.notes == full().notes
    assert [kind_of(note) for note in old.notes] == ["", ""]
    assert old.rows == "image"


def test_files_that_are_no_maps_are_named(tmp_path):
    np.savez(tmp_path / "other.npz", a=1)
    np.savez(tmp_path / "objects.npz", about=np.array({"a": 1}, object))
    (tmp_path / "text.npz").write_text("no")
    for name in ("other.npz", "objects.npz", "text.npz", "missing.npz"):
        with raises(ls.BadOption):
            ls.load(tmp_path / name)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", "bool", "int64", "complex64"])
def test_every_type_becomes_float32_and_is_named(dtype):
    array = (np.arange(-8, 8).reshape(4, 4) if dtype != "uint8" else np.arange(16).reshape(4, 4)).astype(dtype)
    fm = ls.FeatureMap.of_array(array)
    assert fm.values.dtype == np.float32
    assert fm.dtype == dtype
    np.testing.assert_array_equal(fm.values[0, ..., 0], np.abs(array) if dtype == "complex64" else array)


def test_values_beyond_float32_are_noted():
    fm = ls.FeatureMap.of_array(np.array([[1e300, 1.0]]))
    assert np.isposinf(fm.values[0, 0, 0, 0])
    assert kind_of(fm.notes[-1]) == "overflow"


def test_other_libraries_arrays_are_read(monkeypatch):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="comes with onnx, JAX and TensorFlow")
    fm = ls.FeatureMap.of_array(np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3))
    assert fm.dtype == "bfloat16"
    assert fm.values.sum() == 15


def test_to_xarray_names_its_axes():
    pytest.importorskip("xarray", reason="an extra")
    array = full().to_xarray()
    assert array.dims == ("image", "h", "w", "channel")
    assert array.sel(channel=9).shape == (2, 4, 5)


def test_wrong_shapes_are_refused():
    for values, ids, channels in (
        (noise(1, 4, 4, 2), ("a", "b"), (0, 1)),
        (noise(1, 4, 4, 2), ("a",), (0,)),
        (noise(4), ("a",), (0,)),
        (noise(1, 4, 4, 2).astype(np.float64), ("a",), (0, 1)),
    ):
        with raises(ls.BadLayout):
            ls.FeatureMap(values, ls.Layer("x", "y"), ids, channels)


def test_numpy_reads_a_map_as_an_array():
    fm = full()
    assert np.array_equal(np.asarray(fm), fm.values)
    assert np.asarray(fm, np.float64).dtype == np.float64


def test_values_come_out_in_any_order_of_axes():
    fm = full()
    copy = fm.to_numpy("bchw")
    assert copy.shape == (2, 6, 4, 5) and copy.dtype == np.float32 and copy.flags.c_contiguous
    assert copy[1, 2, 3, 4] == fm.values[1, 3, 4, 2]
    copy[:] = 0
    assert fm.values.any()
    assert np.array_equal(fm.to_numpy(), fm.values) and fm.to_numpy().flags.writeable
    dense, sequence = ls.FeatureMap.of_array(noise(3, 7), "bc"), ls.FeatureMap.of_array(noise(2, 6, 4), "bnc")
    assert dense.to_numpy("cb").shape == (7, 3)
    assert np.array_equal(sequence.to_numpy("ncb"), np.einsum("bnc->ncb", sequence.values))
    assert ls.FeatureMap.of_array(noise(1, 2, 3, 4, 5)).to_numpy("bcdhw").shape == (1, 5, 2, 3, 4)
    for layout in ("bhw", "bchx", "bbhw", "bnc", 3):
        with raises(ls.BadLayout, "'bhwc'"):
            fm.to_numpy(layout)


def test_to_torch_gives_a_tensor_of_ones_own(monkeypatch):
    torch = pytest.importorskip("torch", reason="the tensor is torch's")
    fm = full()
    tensor = fm.to_torch()
    assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32
    assert torch.equal(tensor, torch.tensor(fm.values).permute(0, 3, 1, 2))
    tensor.zero_()
    assert fm.values.any()
    assert fm.to_torch("bhwc").shape == fm.shape
    assert ls.FeatureMap.of_array(noise(1, 2, 3, 4, 5)).to_torch().shape == (1, 5, 2, 3, 4)
    with raises(ls.BadLayout):
        fm.to_torch("hwc")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with raises(ls.BackendMissing):
        fm.to_torch()


@pytest.mark.parametrize("channels", [[1.5], ["1"], ["a"], [None], "mean > 0", [7], 7, 1.5, object()])
def test_what_is_no_channel_number_is_refused(channels):
    with pytest.raises(ls.BadChannels):
        ls.FeatureMap.of_array(np.zeros((1, 2, 2, 3))).select(channels)


def test_a_map_is_read_from_an_open_file(tmp_path):
    path = ls.FeatureMap.of_array(np.ones((1, 2, 2, 3))).save(tmp_path / "map.npz")
    with path.open("rb") as file:
        assert (ls.load(file).values == 1).all()


def test_a_long_row_looks_like_the_vector_of_one_image():
    with pytest.warns(ls.LayoutWarning, match=r"\(1, 25088\) was read as hw .* look like bc: pass layout='bc'"):
        fm = ls.FeatureMap.of_array(np.zeros((1, 25088), np.float32))
    assert fm.shape == (1, 1, 25088, 1)
    assert ls.FeatureMap.of_array(np.zeros((1, 25088), np.float32), "bc").shape == (1, 25088)


LAYOUTS = {
    ("NCHW", "nchw", "bchw", "BCHW", "channels_first"): (2, 4, 5, 3),
    ("nhwc", "NHWC", "bhwc", "channels_last"): (2, 3, 4, 5),
}


@pytest.mark.parametrize(("layout", "shape"), [(one, shape) for many, shape in LAYOUTS.items() for one in many])
def test_a_layout_is_understood_as_the_field_writes_it(layout, shape):
    values = noise(2, 3, 4, 5)
    fm = ls.FeatureMap.of_array(values, layout)
    assert fm.shape == shape
    np.testing.assert_array_equal(fm.values, np.moveaxis(values, 1, -1) if shape[-1] == 3 else values)
    assert fm.layer.axes in ("bchw", "bhwc")
    assert fm.to_numpy("NCHW").shape == (2, shape[-1], *shape[1:-1])


def test_layouts_of_one_image_of_volumes_and_of_tokens():
    image = noise(3, 4, 5)
    for layout in ("CHW", "chw", "channels_first"):
        assert ls.FeatureMap.of_array(image, layout).shape == (1, 4, 5, 3)
    assert ls.FeatureMap.of_array(image, "HWC").shape == (1, 3, 4, 5)
    assert ls.FeatureMap.of_array(noise(2, 3, 4, 5, 6), "NCDHW").shape == (2, 4, 5, 6, 3)
    for layout, tokens in (("bnc", 4), ("BNC", 4), ("bcn", 5)):
        fm = ls.FeatureMap.of_array(image, layout)
        assert fm.shape == (3, tokens, 9 - tokens)
        assert "n" in fm.layer.axes, "beside a batch, n is the tokens"
    assert ls.FeatureMap.of_array(noise(4, 5), "nc").shape == (1, 4, 5)
    with pytest.raises(ls.BadLayout, match="3 to 5 axes"):
        ls.FeatureMap.of_array(noise(4, 5), "channels_first")
    with pytest.raises(ls.BadLayout, match="one letter per axis"):
        ls.FeatureMap.of_array(image, 3)


def test_a_layout_warning_names_what_works_with_every_function():
    values = noise(1, 64, 16, 16)
    with pytest.warns(
        ls.LayoutWarning, match=r"where there is no such option, ls.FeatureMap.of_array\(array, 'bchw'\)"
    ):
        ls.mean(values)
    made = ls.mean(ls.FeatureMap.of_array(values, "bchw"))
    np.testing.assert_allclose(made.values[0, ..., 0], values[0].mean(0), atol=1e-6)
    with pytest.raises(ls.BadOption, match="a feature map knows its axes"):
        ls.heatmap(made, layout="bchw")
    with pytest.raises(ls.BadOption, match=r"fm.on_grid\(\(4, 4\)\)"):
        ls.heatmap(made, grid=(4, 4))


@pytest.mark.parametrize("draw", [ls.sheet, ls.mean, ls.statistics, ls.compare])
@pytest.mark.parametrize("second", [(1, 6, 6, 4), (1, 5, 5, 3)])
def test_a_list_of_several_outputs_asks_for_one(draw, second):
    outputs = [noise(1, 6, 6, 4), noise(*second)]
    for given in (outputs, tuple(outputs)):
        with pytest.raises(ls.BadOption, match=r"these are 2 \(of shapes \(1, 6, 6, 4\)") as caught:
            draw(given)
        assert ("np.concatenate(maps)" in str(caught.value)) is (second == (1, 6, 6, 4))
    assert ls.compare({"a": outputs[0], "b": outputs[1]}).title.startswith("a against b")


def test_a_list_of_one_output_is_that_one_and_rows_of_numbers_are_a_map():
    output = noise(1, 6, 6, 4)
    np.testing.assert_array_equal(ls.mean([output]).values, ls.mean(output).values)
    assert ls.FeatureMap.of_array([[1, 2, 3], [4, 5, 6]]).shape == (1, 2, 3, 1)
    assert ls.heatmap([np.arange(3), np.arange(3)]).cells[0].height > 0
