"""The conformance suite on ONNX graphs: from both of PyTorch's exporters, from files, and with other inputs."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_node

from helpers.onnx_models import model_of
from layerscope.backends.onnx.backend import OnnxBackend
from layerscope.backends.onnx.names import SCOPES
from layerscope.testing import BackendTests

NETWORK = [
    ("conv1", make_node("Conv", ["first", "conv1.weight", "conv1.bias"], ["a"], pads=[1, 1, 1, 1])),
    ("act", make_node("Relu", ["a"], ["b"])),
    ("conv2", make_node("Conv", ["b", "conv2.weight", "conv2.bias"], ["c"], strides=[2, 2])),
    ("act", make_node("Relu", ["c"], ["d"])),
    ("", make_node("ReduceMean", ["d"], ["e"], axes=[2, 3], keepdims=0)),
    ("head", make_node("Gemm", ["e", "head.weight", "head.bias"], ["y"], transB=1)),
]
# A graph can't raise an error of its own words, but ONNX Runtime's error names the node that failed. This Reshape is to
# a size that depends on the values, so that no one can find out without running it: [4, number of non-zeros, 997, 991].
FAILING = [
    ("", make_node("NonZero", ["b"], ["where"])),
    ("", make_node("Shape", ["where"], ["found"])),
    ("", make_node("Concat", ["found", "large"], ["wrong"], axis=0)),
    ("", make_node("Reshape", ["b", "wrong"], ["broken"], "failed in the middle")),
]


def network(parameters: Mapping[str, np.ndarray], fail: bool, shape: list[Any], axes: str = "bchw") -> onnx.ModelProto:
    """The suite's network with the modules of its nodes in their metadata, as `torch.onnx.export` writes them."""
    turn = make_node("Transpose", ["x"], ["first"], perm=[axes.index(axis) for axis in "bchw"])
    steps = [("", turn), *NETWORK]
    weights = dict(parameters)
    if fail:
        steps[3:3] = FAILING
        weights["large"] = np.array([997, 991])
    model = model_of([node for _, node in steps], shape, ["y"], weights)
    for (scope, _), node in zip(steps, model.graph.node, strict=True):
        node.metadata_props.add(key=SCOPES, value=repr(["", *([scope] if scope else []), node.op_type.lower()]))
        if fail and "c" in node.output:
            node.input[0] = "broken"
    return model


def scopes(node: onnx.NodeProto) -> list[str]:
    """What `network` wrote: the model itself, a module or nothing, and the node's own name."""
    return list(ast.literal_eval(node.metadata_props[0].value))


def with_norm(model: onnx.ModelProto, mean: np.ndarray, variance: np.ndarray) -> onnx.ModelProto:
    """The network with a BatchNormalization behind its first convolution."""
    initializers = {"one": np.ones_like(mean), "zero": np.zeros_like(mean), "mean": mean, "variance": variance}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in initializers.items())
    position = next(position for position, node in enumerate(model.graph.node) if "a" in node.input)
    model.graph.node[position].input[0] = "normed"
    model.graph.node.insert(position, make_node("BatchNormalization", ["a", *initializers], ["normed"], "norm"))
    return model


class TestOnnx(BackendTests):
    def backend(self) -> OnnxBackend:
        return OnnxBackend(threads=1)

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        return network(parameters, fail, ["n", 3, 8, 8])

    def normed(self, parameters: Mapping[str, np.ndarray], mean: np.ndarray, variance: np.ndarray) -> Any:
        return with_norm(self.build(parameters), mean, variance)

    def state(self, model: Any) -> bytes:
        return hashlib.sha256(model.SerializeToString(deterministic=True)).digest()


class TestNamesOfTheOlderExporter(TestOnnx):
    """Modules are part of the nodes' names: `/act/Relu`, `/act/Relu_1`."""

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        model = super().build(parameters, fail)
        numbers: dict[str, int] = {}
        for node in model.graph.node:
            *_, scope, _ = scopes(node)
            del node.metadata_props[:]
            name = f"/{scope}/{node.op_type}" if scope else f"/{node.op_type}"
            number = numbers[name] = numbers.get(name, -1) + 1
            node.name = node.name or (f"{name}_{number}" if number else name)
        return model


class TestNodesWithoutModules(TestOnnx):
    """Every node stands for itself, so no layer has two calls."""

    shared = False
    paths = {"conv1": "conv1", "act": "act|act_2", "conv2": "conv2", "head": "head"}

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        model = super().build(parameters, fail)
        for node in model.graph.node:
            *_, scope, _ = scopes(node)
            node.name = node.name or ("act_2" if "d" in node.output else scope)
            del node.metadata_props[:]
        return model


class TestChannelsLast(TestOnnx):
    """A graph from TensorFlow begins with a transpose."""

    axes = "bhwc"

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        return network(parameters, fail, ["n", 8, 8, 3], "bhwc")


class TestOneImageAtATime(TestOnnx):
    """The file fixes the batch at one image."""

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        return network(parameters, fail, [1, 3, 8, 8])


class TestFile(TestOnnx):
    beside = False

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        weights = hashlib.sha256(b"".join(values.tobytes() for values in parameters.values())).hexdigest()[:8]
        return self.saved(super().build(parameters, fail), f"{'bad' if fail else 'good'}-{weights}")

    def normed(self, parameters: Mapping[str, np.ndarray], mean: np.ndarray, variance: np.ndarray) -> Any:
        return self.saved(with_norm(super().build(parameters), mean, variance), "normed")

    def saved(self, model: onnx.ModelProto, name: str) -> Any:
        path = self.folder / f"{name}.onnx"
        beside = {"save_as_external_data": True, "location": f"{path.stem}.bin", "size_threshold": 0}
        path.with_suffix(".bin").unlink(missing_ok=True)  # onnx appends to it
        onnx.save(model, path, **(beside if self.beside else {}))
        return self.backend().load(path)

    def state(self, model: Any) -> bytes:
        return super().state(model.proto) + b"".join(file.read_bytes() for file in sorted(self.folder.iterdir()))


class TestFileWithWeightsBesideIt(TestFile):
    beside = True

    def normed(self, parameters: Mapping[str, np.ndarray], mean: np.ndarray, variance: np.ndarray) -> Any:
        return None  # statistics that lie in a file of their own aren't read
