"""Layers of every shape, ready batches, models with several inputs: what the page gets of each."""

import numpy as np
import pytest
from torch import nn

import layerscope as ls
from helpers.viewer import KINDS, PHOTO, id_of, read, shapes_session, tiny_session, values_of
from layerscope.errors import BadOption, LayerNotCalled
from layerscope.testing import TinyBackend, tiny_model
from layerscope.viewer.session import Session


@pytest.fixture(scope="module")
def session():
    return shapes_session()


def captured(session, path):
    return session.scope.capture(PHOTO, path)[path]


@pytest.mark.parametrize("path", KINDS)
def test_a_layer_of_any_shape_is_that_of_the_capture(session, path):
    fm = captured(session, path)
    reply = session.answer("map", {"input": "i0", "layer": id_of(session, path)})
    meta, _ = read(reply)
    values = fm.values if fm.rows == "row" else fm.values[0]
    assert meta["axes"] == KINDS[path]
    assert meta["shape"] == [values.shape[-1], *values.shape[:-1]]
    np.testing.assert_allclose(values_of(reply), values, rtol=2**-11)


@pytest.mark.parametrize(("path", "kind"), [("tokens", "map"), ("windows", "volume"), ("boxes", "sequence")])
def test_tokens_on_a_grid_and_rows_that_are_no_images_have_the_kind_of_their_shape(session, path, kind):
    meta, _ = read(session.answer("map", {"input": "i0", "layer": id_of(session, path)}))
    assert meta["kind"] == kind


@pytest.mark.parametrize("path", ["map", "volume", "sequence", "vector", "scalar", "attention"])
def test_the_manifest_says_the_kind_that_the_map_has(session, path):
    manifest = session.answer("manifest").result
    (layer,) = [layer for layer in manifest["layers"] if layer["path"] == path]
    meta, tensors = read(session.answer("map", {"input": "i0", "layer": layer["id"]}))
    assert layer["kind_of"] == meta["kind"] == path
    assert [layer["channels"], *layer["spatial"]] == (meta["shape"] if path != "attention" else [2, 17, 17])
    assert layer["bytes"] == 2 * tensors["values"].size


@pytest.mark.parametrize("path", [path for path in KINDS if path not in ("windows", "boxes")])
def test_figures_are_those_of_statistics(session, path):
    table = ls.statistics(captured(session, path), 0)
    meta, tensors = read(session.answer("map", {"input": "i0", "layer": id_of(session, path)}))
    for name, row in zip(meta["figures"], tensors["statistics"], strict=True):
        np.testing.assert_array_equal(row, table[name].astype(float), err_msg=name)
    np.testing.assert_array_equal(tensors["peak"], table["peak"][:, 1:])
    flat = captured(session, path).values[0].reshape(-1, len(table)).astype(np.float64)
    expected = np.percentile(flat, range(101), axis=0).T
    np.testing.assert_allclose(tensors["percentiles"][:-1], expected, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(tensors["percentiles"][-1], np.percentile(flat, range(101)), rtol=1e-6, atol=1e-12)
    least = np.where(flat > 0, flat, np.inf).min(0)
    np.testing.assert_array_equal(tensors["least"], least)


@pytest.mark.parametrize("path", KINDS)
def test_a_single_value_of_any_shape_is_exact(session, path):
    id = id_of(session, path)
    meta, _ = read(session.answer("map", {"input": "i0", "layer": id}))
    channels, *sizes = meta["shape"]
    position = [size - 1 for size in sizes]
    reply = session.answer("probe", {"input": "i0", "layer": id, "channel": channels - 1, "position": position})
    values = captured(session, path).values
    assert np.float32(reply.result["value"]) == values.ravel()[-1]
    assert np.float32(reply.result["text"].replace("−", "-")) == values.ravel()[-1]


@pytest.mark.parametrize("path", KINDS)
@pytest.mark.parametrize("what", ["sheet", "combined"])
def test_a_layer_of_any_shape_has_its_pictures(session, path, what):
    view = {"input": "i0", "layer": id_of(session, path), "mode": "mean", "slice": 1, "query": 3}
    reply = session.answer("picture", {"view": view, "what": what})
    assert reply.buffers[0].startswith(b"\x89PNG") and reply.result["width"] > 50


def test_prefix_tokens_come_beside_the_grid(session):
    fm = captured(session, "tokens")
    meta, tensors = read(session.answer("map", {"input": "i0", "layer": id_of(session, "tokens")}))
    assert meta["prefix"] == ["cls"] and meta["grid"] == [4, 4]
    np.testing.assert_array_equal(tensors["tokens"], fm.tokens[0].T)


def test_attention_weights_say_where_their_keys_lie(session):
    meta, tensors = read(session.answer("map", {"input": "i0", "layer": id_of(session, "attention")}))
    assert (meta["prefix"], meta["grid"], meta["axes"]) == (["cls"], [4, 4], ["query", "key"])
    assert tensors["row_cells"].shape == tensors["column_cells"].shape == (4, 2)
    assert tensors["row_cells"][[0, -1]].ravel().tolist()[::3] == [0, 12]


def test_a_layer_that_produced_nothing_is_listed_and_says_why(session):
    (spare,) = [each for each in session.answer("manifest").result["layers"] if each["path"] == "spare"]
    assert spare["kind_of"] == "none" and spare["bytes"] == 0 and "did not run" in spare["note"]
    with pytest.raises(LayerNotCalled):
        session.answer("map", {"input": "i0", "layer": spare["id"]})


def test_each_call_of_a_layer_is_a_layer():
    session = tiny_session()
    maps = session.scope.capture(PHOTO, "act")
    for path in ("act:0", "act:1"):
        reply = session.answer("map", {"input": "i0", "layer": id_of(session, path)})
        np.testing.assert_allclose(values_of(reply), maps[path].values[0], rtol=2**-11)


def test_the_layers_chosen_are_those_listed():
    session = tiny_session(layers=["conv2", "act:0"])
    manifest = session.answer("manifest").result
    assert [layer["path"] for layer in manifest["layers"]] == ["act:0", "conv2"]
    assert manifest["first"]["layer"] == "l0"


def test_images_of_a_ready_batch_have_maps_and_no_photos():
    batch = np.random.default_rng(1).random((3, 3, 8, 8), np.float32)
    session = Session(ls.open(tiny_model(), backend=TinyBackend(), preprocess=None), batch)
    manifest = session.answer("manifest").result
    assert [(each["name"], each["width"]) for each in manifest["inputs"]] == [
        ("image 0", 0), ("image 1", 0), ("image 2", 0)
    ]  # fmt: skip
    assert manifest["caps"]["upload"] is False
    fm = session.scope.capture(batch, "conv1")["conv1"]
    for row in range(3):
        reply = session.answer("map", {"input": f"i{row}", "layer": "l0"})
        np.testing.assert_allclose(values_of(reply), fm.values[row], rtol=2**-11)
    meta, tensors = read(reply)
    assert meta["placement"] is None and "row_cells" not in tensors
    with pytest.raises(BadOption, match="no photo"):
        session.answer("photo", {"input": "i0"})
    with pytest.raises(BadOption, match="ready"):
        session.answer("add", {"name": "cat.png"}, [b"data"])
    view = {"input": "i2", "layer": "l0", "mode": "mean"}
    assert session.answer("picture", {"view": view, "what": "sheet"}).buffers
    with pytest.raises(BadOption, match="photo"):
        session.answer("picture", {"view": view, "what": "overlay"})


class Two(nn.Module):
    """A model with two inputs."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 4, 3)

    def forward(self, image, depth):
        return self.left(image) + self.right(depth)


def test_a_model_with_several_inputs():
    draw = np.random.default_rng(2)
    batch = (draw.random((2, 3, 9, 9), np.float32), draw.random((2, 1, 9, 9), np.float32))
    session = Session(ls.open(Two().eval(), preprocess=None), batch)
    fm = session.scope.capture(batch, "right")["right"]
    reply = session.answer("map", {"input": "i1", "layer": id_of(session, "right")})
    np.testing.assert_allclose(values_of(reply), fm.values[1], rtol=2**-11)


def test_a_session_without_images_takes_them_later():
    session = tiny_session(None)
    manifest = session.answer("manifest").result
    assert manifest["inputs"] == [] and manifest["first"]["input"] == ""
    png = ls.sheet(np.zeros((1, 4, 4, 2), np.float32)).png()
    added = session.answer("add", {"name": "sheet.png"}, [png]).result
    assert added["id"] == "i0" and session.answer("map", {"input": "i0", "layer": "l0"}).buffers
