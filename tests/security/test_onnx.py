"""ONNX files that name other files, that would take all memory, or that hold what no parser expects."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import layerscope as ls
from helpers.canary import SECRET
from layerscope.backends.onnx.checks import tensors_of
from layerscope.errors import ModelNotReadable

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
BATCH = np.ones((1, 4), np.float32)


def outside(name: str, location: str, kind: int = TensorProto.FLOAT, sizes: tuple[int, ...] = (4,)) -> TensorProto:
    """A tensor that has its numbers in another file."""
    tensor = TensorProto(name=name, data_type=kind, dims=sizes, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def model(*nodes: onnx.NodeProto, weights: tuple[TensorProto, ...] = (), **more: Any) -> onnx.ModelProto:
    """A model from `x` to `y`."""
    taken, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph(
        list(nodes), "g", [taken], [made], list(weights), sparse_initializer=more.pop("sparse", ())
    )
    return helper.make_model(graph, opset_imports=more.pop("opsets", OPSETS), ir_version=10, **more)


def add(weight: str, result: str = "y", data: str = "x") -> onnx.NodeProto:
    return helper.make_node("Add", [data, weight], [result])


def sparse(values: TensorProto, indices: TensorProto) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(values, indices, [4])


def branches(tensor: TensorProto, kind: str) -> onnx.NodeProto:
    """An `If` whose branch holds a tensor: as a weight, a constant or a sparse one."""
    made = helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 4])
    nodes, weights = [helper.make_node("Add", ["x", tensor.name], ["b"])], []
    if kind == "weight":
        weights = [tensor]
    else:
        nodes.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    body = helper.make_graph(nodes, "body", [], [made], weights)
    return helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body)


def indices() -> TensorProto:
    return numpy_helper.from_array(np.arange(4), "i")


def values() -> TensorProto:
    return numpy_helper.from_array(np.ones(4, np.float32), "w")


def function(tensor: TensorProto, version: int) -> onnx.ModelProto:
    """A model with a tensor in a function, which is inlined where its opset is the model's."""
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), add("w", "b", "a")]
    body = helper.make_function("own", "f", ["a"], ["b"], nodes, [helper.make_opsetid("", version)])
    return model(helper.make_node("f", ["x"], ["y"], domain="own"), functions=[body])


YES = numpy_helper.from_array(np.array(True), "yes")
PLACES = {
    "weight": lambda name: model(add("w"), weights=(outside("w", name),)),
    "constant": lambda name: model(helper.make_node("Constant", [], ["w"], value=outside("w", name)), add("w")),
    "values": lambda name: model(add("w"), sparse=[sparse(outside("w", name), indices())]),
    "indices": lambda name: model(add("w"), sparse=[sparse(values(), outside("i", name, TensorProto.INT64))]),
    "sparse constant": lambda name: model(
        helper.make_node("Constant", [], ["w"], sparse_value=sparse(outside("w", name), indices())), add("w")
    ),
    "branch": lambda name: model(branches(outside("w", name), "weight"), weights=(YES,)),
    "constant of a branch": lambda name: model(branches(outside("w", name), "constant"), weights=(YES,)),
    "function": lambda name: function(outside("w", name), 17),
    "function that stays": lambda name: function(outside("w", name), 16),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["above", "absolute", "link", "current folder"])
def test_no_file_outside_the_models_folder_is_read(canary, tmp_path, monkeypatch, place, kind):
    secret, folder = canary.secret / "numbers", tmp_path / "models"
    folder.mkdir()
    secret.write_bytes(np.full(8, SECRET, np.float32).tobytes())
    names = {
        "above": os.path.relpath(secret, folder),
        "absolute": str(secret),
        "link": "link",
        "current folder": "numbers",
    }
    if kind == "link":
        (folder / "link").symlink_to(secret)
    monkeypatch.chdir(canary.secret)  # where the runtime would look
    (folder / "evil.onnx").write_bytes(PLACES[place](names[kind]).SerializeToString())
    with canary.refused(ModelNotReadable):
        ls.open(folder / "evil.onnx", preprocess=None).capture(BATCH, "output")


@pytest.mark.parametrize("place", [place for place in PLACES if place != "function that stays"])
def test_data_beside_the_model_is_read_everywhere(tmp_path, place):
    """The same models with the file where it belongs: the checks leave them alone."""
    numbers = np.arange(4, dtype=np.int64) if place == "indices" else np.full(4, 2, np.float32)
    (tmp_path / "numbers").write_bytes(numbers.tobytes())
    (tmp_path / "good.onnx").write_bytes(PLACES[place]("numbers").SerializeToString())
    fm = ls.open(tmp_path / "good.onnx", preprocess=None).capture(BATCH, "output")[""]
    np.testing.assert_array_equal(fm.values.ravel(), np.full(4, 2 if place == "indices" else 3))


def test_a_tensor_in_every_place_is_visited():
    places = {*PLACES, "training"}
    found = {place for place in PLACES if any(tensor.external_data for tensor in tensors_of(PLACES[place]("file")))}
    trained = model(add("w"), weights=(values(),))
    trained.training_info.add().algorithm.initializer.append(outside("w", "file"))
    assert found | ({"training"} if any(tensor.external_data for tensor in tensors_of(trained)) else set()) == places


def doubling(depth: int) -> onnx.ModelProto:
    """Functions that call the one below twice: 2 to the `depth` nodes."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [helper.make_function("own", "f0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opsets)]
    for level in range(1, depth):
        calls = [helper.make_node(f"f{level - 1}", [source], [result], domain="own") for source, result in ("ac", "cb")]
        functions.append(helper.make_function("own", f"f{level}", ["a"], ["b"], calls, opsets))
    return model(helper.make_node(f"f{depth - 1}", ["x"], ["y"], domain="own"), functions=functions)


def calling_itself() -> onnx.ModelProto:
    body = helper.make_function("own", "f", ["a"], ["b"], [helper.make_node("f", ["a"], ["b"], domain="own")], OPSETS)
    return model(helper.make_node("f", ["x"], ["y"], domain="own"), functions=[body])


def sized(operator: str, inputs: list[str]) -> onnx.ModelProto:
    shape = numpy_helper.from_array(np.array([10**6, 10**6]), "s")
    return model(helper.make_node(operator, inputs, ["y"]), weights=(shape, values()))


def invalid(old: bytes, new: bytes) -> bytes:
    content = model(
        add("weight"), weights=(numpy_helper.from_array(np.ones(4, np.float32), "weight"),)
    ).SerializeToString()
    assert old in content and len(old) == len(new)
    return content.replace(old, new)


def unknown_type() -> onnx.ModelProto:
    return model(add("w"), weights=(TensorProto(name="w", data_type=99, dims=[4], raw_data=b"0" * 16),))


def negative() -> onnx.ModelProto:
    return model(add("w"), weights=(TensorProto(name="w", data_type=1, dims=[-4], raw_data=b"0" * 16),))


def wide(*sizes: int) -> onnx.ModelProto:
    taken, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [taken], [made])
    return helper.make_model(graph, opset_imports=OPSETS[:1], ir_version=10)


def deep(key: str) -> onnx.ModelProto:
    nested = model(add("w"), weights=(values(),))
    nested.metadata_props.add(key=key, value="[" * 100_000)
    return nested


FAULTS = {
    "nested functions": lambda: doubling(30),
    "recursion": calling_itself,
    "fill": lambda: sized("ConstantOfShape", ["s"]),
    "expand": lambda: sized("Expand", ["w", "s"]),
    "text": lambda: invalid(b"Add", b"A\xffd"),
    "name": lambda: invalid(b"weight", b"w\xff\xfe\xfdht"),
    "unknown type": unknown_type,
    "negative size": negative,
    "wide": lambda: wide(1, 3, 60_000, 60_000),
    "batch": lambda: wide(10**8, 3, 32, 32),
    "deep recipe": lambda: deep("layerscope.preprocess"),
    "deep labels": lambda: deep("layerscope.labels"),
    "nothing": lambda: b"",
    "no protobuf": lambda: b"\xff" * 64,
    "half": lambda: doubling(3).SerializeToString()[:-40],
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_named_error(canary, tmp_path, monkeypatch, name):
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "4GB")
    fault = FAULTS[name]()
    (tmp_path / "evil.onnx").write_bytes(fault if isinstance(fault, bytes) else fault.SerializeToString())
    with canary.refused(ModelNotReadable):
        ls.open(tmp_path / "evil.onnx")


@pytest.mark.limit("ONNX functions that call themselves")
def test_functions_that_unfold_without_end(limit, tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "4GB")
    for name in ("nested functions", "recursion"):
        (tmp_path / "evil.onnx").write_bytes(FAULTS[name]().SerializeToString())
        with limit.raises("evil.onnx"):
            ls.open(tmp_path / "evil.onnx")


def test_functions_within_reason_are_inlined(tmp_path):
    (tmp_path / "good.onnx").write_bytes(doubling(8).SerializeToString())
    layers = ls.open(tmp_path / "good.onnx", preprocess=None).layers(BATCH)
    assert sum(layer.kind == "Relu" for layer in layers) == 2**7


def test_a_proto_in_memory_is_counted_too(monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "4GB")
    with pytest.raises(ModelNotReadable, match="200,000"):
        ls.open(doubling(30))
