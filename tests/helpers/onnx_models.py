"""Small ONNX models, and what ONNX's own reference implementation makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.reference import ReferenceEvaluator

from layerscope.backends.onnx.backend import OnnxBackend
from layerscope.core.layer import Layer

FLOAT = TensorProto.FLOAT
BACKEND = OnnxBackend(threads=1)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model_of(
    nodes: list[onnx.NodeProto],
    shape: list[Any],
    outputs: list[str],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    kind: int = FLOAT,
) -> onnx.ModelProto:
    """A model with one input `x`."""
    graph = make_graph(
        nodes,
        "tiny",
        [make_tensor_value_info("x", kind, shape)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    return make_model(graph, opset_imports=[make_opsetid("", opset)], ir_version=8 if opset < 19 else 10)


def table(model: Any, batch: Any) -> dict[str, Layer]:
    return {layer.path: layer for layer in BACKEND.layers(model, batch)}


def reference(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of a graph, by ONNX's own reference implementation."""
    return ReferenceEvaluator(model).run(None, feeds, intermediate=True)


def unoptimised(proto: onnx.ModelProto, batch: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor of a file by ONNX Runtime with all optimisations off."""
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(None, {"x": batch}), strict=True))


def assert_all_equal(
    model: onnx.ModelProto, batch: np.ndarray, tolerance: float = 1e-5, twin: onnx.ModelProto | None = None
) -> None:
    """Each layer, captured alone and together with all others, equals the reference on `twin` or the model itself."""
    layers = [layer for layer in BACKEND.layers(model, batch) if layer.path]
    expected = reference(twin or model, {"x": batch})
    together = BACKEND.capture(model, batch, [layer.path for layer in layers])
    assert list(together) == [layer.path for layer in layers]
    for layer in layers:
        reference_values = next(expected[name] for name in (layer.path, *layer.aliases) if name in expected)
        alone = BACKEND.capture(model, batch, [layer.path])[layer.path].values
        for values in (alone, together[layer.path].values):
            assert values.dtype == reference_values.dtype
            np.testing.assert_allclose(values, reference_values, rtol=tolerance, atol=tolerance, err_msg=layer.path)


def cnn(opset: int = 17) -> onnx.ModelProto:
    """Conv-BN-ReLU, a residual, pooling, Flatten, Gemm."""
    weights = {
        "w1": random(8, 3, 3, 3, seed=1),
        "w2": random(8, 8, 3, 3, seed=2) * 0.2,
        "w3": random(8, 5, seed=3),
        "b3": random(5, seed=9),
        **{f"bn{index}": np.abs(random(8, seed=4 + index)) + 0.1 for index in range(4)},
    }
    nodes = [
        make_node("Conv", ["x", "w1"], ["getitem_6"], "conv1", pads=[1, 1, 1, 1]),
        make_node("BatchNormalization", ["getitem_6", "bn0", "bn1", "bn2", "bn3"], ["norm"], "bn"),
        make_node("Relu", ["norm"], ["relu"], "act"),
        make_node("Conv", ["relu", "w2"], ["conv2_out"], "conv2", pads=[1, 1, 1, 1]),
        make_node("Add", ["conv2_out", "relu"], ["sum"], "residual"),
        make_node("Relu", ["sum"], ["relu2"], ""),
        make_node("MaxPool", ["relu2"], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        make_node("GlobalAveragePool", ["pooled"], ["gap"], "gap_node"),
        make_node("Flatten", ["gap"], ["flat"], "flatten"),
        make_node("Gemm", ["flat", "w3", "b3"], ["logits"], "fc"),
    ]
    return model_of(nodes, ["n", 3, 8, 6], ["logits"], weights, opset)


def fails_late() -> onnx.ModelProto:
    """A model whose last node can't run: it reshapes 6 numbers into 4."""
    nodes = [
        make_node("Relu", ["x"], ["early"], "early_node"),
        make_node("Reshape", ["early", "four"], ["late"], "late_node"),
    ]
    return model_of(nodes, ["n", 6], ["late"], {"four": np.array([4], np.int64)})
