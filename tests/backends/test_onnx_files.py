"""ONNX files, weights beside them, and what a file says about itself."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import BACKEND, cnn, random, reference, table

from layerscope.backends import onnx_graph as graph_module
from layerscope.backends.onnx_graph import Graph, cut
from layerscope.errors import ModelNotReadable

# -- side files and large weights


def save_with_side_file(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save(cnn(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (folder / "weights.bin").exists()
    return path


def test_weights_in_a_side_file_of_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_with_side_file(tmp_path / "there")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    model, batch = BACKEND.load(Path("../there/model.onnx")), random(2, 3, 8, 6)
    wanted = reference(cnn(), {"x": batch})
    found = BACKEND.capture(model, batch, ["conv2", "fc"])
    np.testing.assert_allclose(found["conv2"].values, wanted["conv2_out"], rtol=1e-5, atol=1e-5)
    assert table(model, batch)["fc"].shape == (1, 5)
    digest = BACKEND.facts(BACKEND.load(path)).digest
    content = bytearray((tmp_path / "there" / "weights.bin").read_bytes())
    content[5] ^= 1
    (tmp_path / "there" / "weights.bin").write_bytes(content)
    assert BACKEND.facts(BACKEND.load(path)).digest != digest
    (tmp_path / "there" / "weights.bin").unlink()
    with pytest.raises(ModelNotReadable, match="side file"):
        BACKEND.capture(BACKEND.load(path), batch, ["fc"])


@pytest.mark.parametrize("name", ["gone.bin", "", "../secret.bin", "/etc/hostname"])
def test_facts_read_side_files_from_the_models_folder_only(name: str, tmp_path: Path) -> None:
    path = save_with_side_file(tmp_path / "there")
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    proto = onnx.load(path, load_external_data=False)
    for each in proto.graph.initializer:
        next(said for said in each.external_data if said.key == "location").value = name
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelNotReadable, match=rf"side file '{name}': it must lie where the \.onnx file is"):
        BACKEND.facts(BACKEND.load(path))


def test_a_proto_whose_side_files_were_not_loaded(tmp_path: Path) -> None:
    path = save_with_side_file(tmp_path / "there")
    with pytest.raises(ModelNotReadable, match=r"weights\.bin.*give the path"):
        BACKEND.capture(onnx.load(path, load_external_data=False), random(1, 3, 8, 6), ["conv1"])


def test_the_two_gigabyte_limit_counts_only_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "PROTOBUF_LIMIT", 2000)
    batch = random(1, 3, 8, 6)
    assert BACKEND.capture(cnn(), batch, ["conv1"])["conv1"].values.shape == (1, 8, 8, 6)
    with pytest.raises(ModelNotReadable, match="ask for earlier layers"):
        BACKEND.capture(cnn(), batch, ["conv2"])


@pytest.mark.parametrize("saved", [False, True])
def test_large_weights_are_given_beside_the_graph(saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "PROTOBUF_LIMIT", 200)
    monkeypatch.setattr(graph_module, "LARGE", 100)
    model = BACKEND.load(save_with_side_file(tmp_path / "there")) if saved else cnn()
    part = cut(Graph(cnn()), ["logits"], None)
    assert set(part.weights) == {"w1", "w2", "w3"}
    assert len(part.content) < 2000
    batch = random(2, 3, 8, 6)
    wanted = reference(cnn(), {"x": batch})
    found = BACKEND.capture(model, batch, ["conv1", "conv2", "fc"])
    gc.collect()
    for values in (found, BACKEND.capture(model, batch, ["conv1", "conv2", "fc"])):
        np.testing.assert_allclose(values["conv2"].values, wanted["conv2_out"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(values["fc"].values, wanted["logits"], rtol=1e-5, atol=1e-5)


# -- files and facts


def test_files_that_are_no_models(tmp_path: Path) -> None:
    for name, content in (("text.onnx", b"not a model at all"), ("empty.onnx", b""), ("half.onnx", None)):
        path = tmp_path / name
        path.write_bytes(cnn().SerializeToString()[:200] if content is None else content)
        with pytest.raises(ModelNotReadable, match=rf"{name} is no ONNX model, or a damaged one"):
            BACKEND.load(path)
    with pytest.raises(ModelNotReadable, match="there is no file"):
        BACKEND.load(tmp_path / "absent.onnx")
    good = tmp_path / "good.onnx"
    onnx.save(cnn(), good)
    with pytest.raises(ModelNotReadable, match="leave weights out"):
        BACKEND.load(good, weights=good)


def test_facts(tmp_path: Path) -> None:
    model = cnn()
    model.metadata_props.add(key="layerscope.labels", value="cat\ndog")
    model.metadata_props.add(key="layerscope.preprocess", value='{"divide": 255.0}')
    path = tmp_path / "a.onnx"
    onnx.save(model, path)
    facts = BACKEND.facts(BACKEND.load(path))
    assert (facts.name, facts.labels, facts.recipe) == ("tiny", ("cat", "dog"), {"divide": 255.0})
    assert (facts.inputs[0].name, facts.inputs[0].axes, facts.inputs[0].shape) == ("x", "bchw", (None, 3, 8, 6))
    assert facts.framework.startswith("onnxruntime ")
    assert facts.source == "the model's metadata"
    assert facts.digest == BACKEND.facts(BACKEND.load(path)).digest != BACKEND.facts(cnn()).digest
    plain = BACKEND.facts(cnn())
    assert (plain.labels, plain.recipe, plain.source) == (None, None, "")


def test_broken_metadata_is_named() -> None:
    model = cnn()
    model.metadata_props.add(key="layerscope.preprocess", value="{")
    with pytest.raises(ModelNotReadable, match=r"layerscope\.preprocess"):
        BACKEND.facts(model)
