"""ONNX files, weights beside them, and what a file states about itself."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.helper import make_graph, make_node

from helpers.onnx_models import BACKEND, cnn, model_of, random, reference, table
from helpers.wording import raises
from layerscope.backends.onnx import cut as cut_module
from layerscope.backends.onnx.cut import cut
from layerscope.backends.onnx.files import SideFiles, stored
from layerscope.backends.onnx.graph import Graph, side_files
from layerscope.errors import ModelNotReadable

# -- external data files and large weights


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
    expected = reference(cnn(), {"x": batch})
    captures = BACKEND.capture(model, batch, ["conv2", "fc"])
    np.testing.assert_allclose(captures["conv2"].values, expected["conv2_out"], rtol=1e-5, atol=1e-5)
    assert table(model, batch)["fc"].shape == (1, 5)
    digest = BACKEND.facts(BACKEND.load(path)).digest
    content = bytearray((tmp_path / "there" / "weights.bin").read_bytes())
    content[5] ^= 1
    (tmp_path / "there" / "weights.bin").write_bytes(content)
    assert BACKEND.facts(BACKEND.load(path)).digest != digest
    (tmp_path / "there" / "weights.bin").unlink()
    with raises(ModelNotReadable):
        BACKEND.capture(BACKEND.load(path), batch, ["fc"])


@pytest.mark.parametrize("name", ["gone.bin", "", "../secret.bin", "/etc/hostname"])
def test_facts_read_side_files_from_the_models_folder_only(name: str, tmp_path: Path) -> None:
    path = save_with_side_file(tmp_path / "there")
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = name
    path.write_bytes(proto.SerializeToString())
    with raises(ModelNotReadable, name):
        BACKEND.facts(BACKEND.load(path))


@pytest.mark.parametrize("name", ["{folder}/weights.bin", "sub/../weights.bin", "C:weights.bin"])
def test_a_side_file_is_named_by_a_way_down_from_the_model_alone(name: str, tmp_path: Path) -> None:
    """Also where the other way leads to the right file: on another machine, it would lead to another one."""
    path = save_with_side_file(tmp_path / "there")
    (tmp_path / "there" / "sub").mkdir()
    (tmp_path / "there" / "C:weights.bin").write_bytes((tmp_path / "there" / "weights.bin").read_bytes())
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = name.format(
            folder=tmp_path / "there"
        )
    path.write_bytes(proto.SerializeToString())
    with raises(ModelNotReadable):
        BACKEND.capture(BACKEND.load(path), random(1, 3, 8, 6), ["conv1"])


def test_a_link_to_a_model_may_have_its_weights_beside_the_link(tmp_path: Path) -> None:
    path = save_with_side_file(tmp_path / "there")
    (tmp_path / "elsewhere").mkdir()
    path.rename(tmp_path / "elsewhere" / "abc")
    path.symlink_to(tmp_path / "elsewhere" / "abc")
    batch = random(1, 3, 8, 6)
    values = BACKEND.capture(BACKEND.load(path), batch, ["fc"])["fc"].values
    np.testing.assert_allclose(values, reference(cnn(), {"x": batch})["logits"], rtol=1e-5, atol=1e-5)


def test_large_weights_in_several_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_module, "LARGE", 0)
    path, batch = save_with_side_file(tmp_path / "there"), random(1, 3, 8, 6)
    (tmp_path / "there" / "more").mkdir()
    (tmp_path / "there" / "more" / "first.bin").write_bytes((tmp_path / "there" / "weights.bin").read_bytes())
    proto = onnx.load(path, load_external_data=False)
    first = next(tensor for tensor in proto.graph.initializer if tensor.name == "w1")
    next(entry for entry in first.external_data if entry.key == "location").value = "more/first.bin"
    path.write_bytes(proto.SerializeToString())
    values = BACKEND.capture(BACKEND.load(path), batch, ["fc"])["fc"].values
    np.testing.assert_allclose(values, reference(cnn(), {"x": batch})["logits"], rtol=1e-5, atol=1e-5)


def test_a_side_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = BACKEND.load(save_with_side_file(tmp_path / "there"))

    def refuses(*_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "open", refuses)
    with raises(ModelNotReadable, "'weights.bin'"):
        BACKEND.capture(model, random(1, 3, 8, 6), ["conv1"])


def test_numbers_of_four_bits_share_a_byte() -> None:
    for kind, numbers, size in (
        ("INT4", 3, 2),
        ("UINT4", 4, 2),
        ("FLOAT16", 3, 6),
        ("INT64", 3, 24),
        ("FLOAT4E2M1", 5, 3),
    ):
        tensor = onnx.TensorProto(data_type=onnx.TensorProto.DataType.Value(kind), dims=[numbers])
        assert stored(tensor) == size, kind


def test_side_files_of_several_tensors_in_one_attribute() -> None:
    tensors = [onnx.TensorProto(name=name, data_type=1, dims=[2]) for name in "ab"]
    for tensor in tensors:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=f"{tensor.name}.bin")
    model = model_of([make_node("Several", ["x"], ["y"], tensors=tensors)], [1], ["y"])
    assert side_files(model) == ["a.bin", "b.bin"]


def in_a_cache(folder: Path) -> Path:
    """A model in the layout of Hugging Face's cache: links to files whose names are checksums."""
    save_with_side_file(folder / "made")
    (folder / "blobs").mkdir()
    (folder / "snapshots" / "x" / "onnx").mkdir(parents=True)
    for name, blob in (("model.onnx", "abc"), ("weights.bin", "def")):
        (folder / "made" / name).rename(folder / "blobs" / blob)
        (folder / "snapshots" / "x" / "onnx" / name).symlink_to(Path("../../../blobs") / blob)
    return folder / "snapshots" / "x" / "onnx" / "model.onnx"


@pytest.mark.parametrize("large", [100, cut_module.LARGE])
def test_links_of_a_download_cache_are_followed(large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_module, "LARGE", large)
    path, batch = in_a_cache(tmp_path), random(2, 3, 8, 6)
    (tmp_path / "snapshots" / "main").symlink_to("x")
    for link in (path, tmp_path / "snapshots" / "main" / "onnx" / "model.onnx"):
        model = BACKEND.load(link)
        values = BACKEND.capture(model, batch, ["fc"])["fc"].values
        np.testing.assert_allclose(values, reference(cnn(), {"x": batch})["logits"], rtol=1e-5, atol=1e-5)
        assert BACKEND.facts(model).digest == BACKEND.facts(BACKEND.load(path)).digest


def test_a_link_out_of_the_models_folders_is_refused(tmp_path: Path) -> None:
    path = in_a_cache(tmp_path)
    (tmp_path / "blobs" / "def").rename(tmp_path / "secret")
    (path.parent / "weights.bin").unlink()
    (path.parent / "weights.bin").symlink_to(tmp_path / "secret")
    for ask in (BACKEND.facts, lambda model: BACKEND.capture(model, random(1, 3, 8, 6), ["fc"])):
        with raises(ModelNotReadable, "'weights.bin'"):
            ask(BACKEND.load(path))


def test_a_side_file_that_is_truncated_or_nonsense(tmp_path: Path) -> None:
    path, batch = save_with_side_file(tmp_path / "there"), random(1, 3, 8, 6)
    beside = tmp_path / "there" / "weights.bin"
    beside.write_bytes(beside.read_bytes()[:1000])
    assert BACKEND.capture(BACKEND.load(path), batch, ["conv1"])["conv1"].values.shape == (1, 8, 8, 6)
    with raises(ModelNotReadable, "'weights.bin'", "1,000"):
        BACKEND.capture(BACKEND.load(path), batch, ["fc"])
    for key, value in (
        ("length", "12"),
        ("offset", "-4"),
        ("offset", "1" * 5000),
    ):
        proto = onnx.load(path, load_external_data=False)
        entries = proto.graph.initializer[0].external_data
        del entries[:]
        entries.add(key="location", value="weights.bin")
        entries.add(key=key, value=value)
        bad = tmp_path / "there" / "bad.onnx"
        bad.write_bytes(proto.SerializeToString())
        with raises(ModelNotReadable):
            BACKEND.capture(BACKEND.load(bad), batch, ["conv1"])


def test_large_weights_in_side_files_are_left_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_module, "LARGE", 100)
    path, batch = save_with_side_file(tmp_path / "there"), random(1, 3, 8, 6)
    model = BACKEND.load(path)
    part = cut(model.graph, ["logits"], model.files)
    assert (part.weights, part.root) == ({}, (tmp_path / "there").resolve())
    assert len(part.content) < 2500
    beside = tmp_path / "there" / "weights.bin"
    beside.write_bytes(beside.read_bytes()[:1000])
    assert BACKEND.capture(model, batch, ["conv1"])["conv1"].values.shape == (1, 8, 8, 6)
    with raises(ModelNotReadable, "'weights.bin'"):
        BACKEND.capture(model, batch, ["conv2"])


def test_an_early_layer_reads_no_later_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = save_with_side_file(tmp_path / "there"), []
    real = SideFiles.read
    monkeypatch.setattr(SideFiles, "read", lambda self, tensor: read.append(tensor.name) or real(self, tensor))
    model = BACKEND.load(path)
    BACKEND.layers(model, random(1, 3, 8, 6))
    assert read == []
    BACKEND.capture(model, random(1, 3, 8, 6), ["conv1"])
    assert read == ["w1"]


def test_constants_inside_nodes_and_bodies_may_lie_in_side_files(tmp_path: Path) -> None:
    shift = onnx.numpy_helper.from_array(random(300, seed=3), "shift")
    inner = make_graph(
        [make_node("Add", ["x", "inner"], ["z"])],
        *("branch", [], [onnx.ValueInfoProto(name="z")]),
        [onnx.numpy_helper.from_array(random(300, seed=4), "inner")],
    )
    nodes = [
        make_node("Constant", [], ["shift"], "constant", value=shift),
        make_node("Add", ["x", "shift"], ["y"], "added"),
        make_node("ReduceSum", ["y"], ["sum"], "sum", keepdims=0),
        make_node("Greater", ["sum", "sum"], ["never"], "never"),
        make_node("If", ["never"], ["chosen"], "choice", then_branch=inner, else_branch=inner),
    ]
    model, batch = model_of(nodes, [2, 300], ["chosen"]), random(2, 300)
    expected = reference(model, {"x": batch})
    path = tmp_path / "model.onnx"
    onnx.save(
        *(model, path),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
        convert_attribute=True,
    )
    loaded_model = BACKEND.load(path)
    assert side_files(loaded_model.proto) == ["weights.bin"]
    captures = BACKEND.capture(loaded_model, batch, ["added", "choice"])
    np.testing.assert_array_equal(captures["added"].values, expected["y"])
    np.testing.assert_array_equal(captures["choice"].values, expected["chosen"])


def test_a_proto_whose_side_files_were_not_loaded(tmp_path: Path) -> None:
    path = save_with_side_file(tmp_path / "there")
    with raises(ModelNotReadable, "weights.bin"):
        BACKEND.capture(onnx.load(path, load_external_data=False), random(1, 3, 8, 6), ["conv1"])


@pytest.mark.limit("a part of an ONNX model")
def test_the_two_gigabyte_limit_counts_only_the_cut(limit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_module, "PROTOBUF_LIMIT", 2000)
    batch = random(1, 3, 8, 6)
    assert BACKEND.capture(cnn(), batch, ["conv1"])["conv1"].values.shape == (1, 8, 8, 6)
    with limit.raises():
        BACKEND.capture(cnn(), batch, ["conv2"])


@pytest.mark.parametrize("saved", [False, True])
def test_large_weights_are_given_beside_the_graph(saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_module, "PROTOBUF_LIMIT", 200)
    monkeypatch.setattr(cut_module, "LARGE", 100)
    model = BACKEND.load(save_with_side_file(tmp_path / "there")) if saved else cnn()
    part = cut(Graph(cnn()), ["logits"], None)
    assert set(part.weights) == {"w1", "w2", "w3"}
    assert len(part.content) < 2000
    batch = random(2, 3, 8, 6)
    expected = reference(cnn(), {"x": batch})
    captures = BACKEND.capture(model, batch, ["conv1", "conv2", "fc"])
    gc.collect()
    for values in (captures, BACKEND.capture(model, batch, ["conv1", "conv2", "fc"])):
        np.testing.assert_allclose(values["conv2"].values, expected["conv2_out"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(values["fc"].values, expected["logits"], rtol=1e-5, atol=1e-5)


# -- files and facts


def test_files_that_are_no_models(tmp_path: Path) -> None:
    for name, content in (("text.onnx", b"not a model at all"), ("empty.onnx", b""), ("half.onnx", None)):
        path = tmp_path / name
        path.write_bytes(cnn().SerializeToString()[:200] if content is None else content)
        with raises(ModelNotReadable, name):
            BACKEND.load(path)
    with raises(ModelNotReadable):
        BACKEND.load(tmp_path / "absent.onnx")
    good = tmp_path / "good.onnx"
    onnx.save(cnn(), good)
    with raises(ModelNotReadable):
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
    with raises(ModelNotReadable, "layerscope.preprocess"):
        BACKEND.facts(model)


@pytest.mark.limit("ONNX external data files")
def test_side_files(limit, tmp_path):
    batch, load = random(1, 3, 8, 6), BACKEND.load
    path = save_with_side_file(tmp_path / "there")
    beside = tmp_path / "there" / "weights.bin"
    content = beside.read_bytes()
    beside.write_bytes(content[:1000])
    assert BACKEND.capture(load(path), batch, ["conv1"])["conv1"].values.shape == (1, 8, 8, 6)
    with limit.raises("'weights.bin'"):
        BACKEND.capture(load(path), batch, ["fc"])
    beside.unlink()
    with limit.raises("weights.bin"):
        BACKEND.capture(load(path), batch, ["fc"])
    (tmp_path / "outside.bin").write_bytes(content)
    beside.symlink_to(tmp_path / "outside.bin")
    with limit.raises("'weights.bin'"):
        BACKEND.capture(load(path), batch, ["fc"])
