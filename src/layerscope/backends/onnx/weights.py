"""The numbers that an ONNX graph stores, also behind casts, transposes and codes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, numpy_helper

from ..common.axes import SPACE
from ..protocol import Head, Kernel, turned
from .files import load_inside
from .graph import Graph, attributes
from .model import OnnxModel

PASSED = ("Cast", "Identity", "Transpose", "DequantizeLinear")


def stored(model: OnnxModel, name: str) -> np.ndarray | None:
    """The numbers of a stored tensor in float32; `None` for what the model computes from its input or in another way."""
    tensor = model.graph.initializers.get(name)
    if tensor is not None:
        return _floats(numpy_helper.to_array(load_inside(tensor, model.files)))
    step = model.graph.made_by.get(name)
    if step is None or name in model.graph.data:
        return None
    node = model.graph.nodes[step]
    if node.op_type == "Constant":
        value = attributes(node).get("value")
        if not isinstance(value, TensorProto):
            return None
        return _floats(numpy_helper.to_array(load_inside(value, model.files)))
    values = stored(model, node.input[0]) if node.op_type in PASSED else None
    if values is None:
        return None
    if node.op_type == "Transpose":
        order = attributes(node).get("perm")
        return values.transpose(order if isinstance(order, list) else None)
    return _dequantise(model, node, values) if node.op_type == "DequantizeLinear" else values


def _floats(values: np.ndarray) -> np.ndarray | None:
    return values.astype(np.float32) if values.dtype.kind in "fiu" else None


def _dequantise(model: OnnxModel, node: NodeProto, codes: np.ndarray) -> np.ndarray | None:
    options = attributes(node)
    scale = stored(model, node.input[1])
    zero = stored(model, node.input[2]) if len(node.input) > 2 and node.input[2] else None
    axis = options.get("axis", 1)
    if scale is None or options.get("block_size") or not isinstance(axis, int):
        return None
    return scale_codes(codes, scale, zero, axis)


def scale_codes(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, axis: int) -> np.ndarray | None:
    """`(code - zero) * scale`, with one scale or one along an axis."""
    if scale.ndim > 1:
        return None
    shape = [1] * codes.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    return np.asarray((codes - (0 if zero is None else zero.reshape(shape))) * scale.reshape(shape), np.float32)


def head(model: OnnxModel, batch: Any) -> Head | None:
    """The last such node, `None` where there is none."""
    for output in reversed(model.outputs):
        node = output.operator
        if node.op_type not in ("Gemm", "MatMul") or node.domain not in ("", "ai.onnx"):
            continue
        weights = stored(model, node.input[1])
        if weights is None or weights.ndim != 2:
            continue
        if node.op_type == "MatMul":
            bias, tensor = _added_bias(model, node.output[0])
            path = next((other.address.full for other in model.outputs if other.tensor == tensor), output.address.full)
            return Head(path, np.ascontiguousarray(weights.T), bias)
        return _gemm(model, node, output.address.full, weights)
    return None


def _gemm(model: OnnxModel, node: NodeProto, path: str, weights: np.ndarray) -> Head | None:
    options: dict[str, Any] = dict(attributes(node))
    if options.get("transA"):
        return None
    weights = weights if options.get("transB") else weights.T
    bias = stored(model, node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1) * np.float32(options.get("beta", 1.0)), len(weights))
    alpha = np.float32(options.get("alpha", 1.0))
    return Head(path, np.ascontiguousarray(weights * alpha), bias)


def _added_bias(model: OnnxModel, tensor: str) -> tuple[np.ndarray | None, str]:
    """(the bias, the tensor after it) where the only reader of a product adds a stored vector."""
    readers = model.graph.taken_by.get(tensor, ())
    if len(readers) == 1:
        node = model.graph.nodes[readers[0]]
        others = [name for name in node.input if name != tensor]
        bias = stored(model, others[0]) if node.op_type == "Add" and len(others) == 1 else None
        if bias is not None and bias.size == max(bias.shape, default=0):
            return bias.reshape(-1), node.output[0]
    return None, tensor


# The indices of the weights among an operator's inputs; those on codes have scale and zero point behind them.
WEIGHTS = {"Conv": 1, "ConvTranspose": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}


def kernel(model: OnnxModel, path: str, batch: Any) -> Kernel | None:
    """The weights of the convolution at `path`, `None` where another operator is or they are computed."""
    node = next(iter(model.find([path]).values())).operator
    if node.op_type not in WEIGHTS or node.domain not in ("", "ai.onnx", "com.microsoft"):
        return None
    index = WEIGHTS[node.op_type]
    values = stored(model, node.input[index])
    if values is None or not 3 <= values.ndim <= 5:
        return None
    if node.op_type in ("QLinearConv", "ConvInteger"):
        sums = node.op_type == "ConvInteger"
        scale = _scale_of_sums(model, node.output[0]) if sums else stored(model, node.input[index + 1])
        given = node.input[index + 2 :][:1]
        values = (
            None if scale is None else scale_codes(values, scale, stored(model, given[0]) if any(given) else None, 0)
        )
        if values is None:
            return None
    group = attributes(node).get("group", 1)
    groups = group if isinstance(group, int) else 1
    if node.op_type == "ConvTranspose":
        values = turned(values, groups)
    return Kernel(np.ascontiguousarray(values, np.float32), "oi" + SPACE[values.ndim - 2], groups)


def _scale_of_sums(model: OnnxModel, tensor: str) -> np.ndarray | None:
    """The scale of the weights of integer sums: what is stored of the factors by which their only readers multiply them."""
    graph = model.graph
    for _ in range(MOST_STEPS):
        readers = graph.taken_by.get(tensor, ())
        node = graph.nodes[readers[0]] if len(readers) == 1 else None
        if node is None or node.op_type not in ("Cast", "Mul"):
            return None
        if node.op_type == "Mul":
            factor = next(name for name in node.input if name != tensor)
            made = graph.made_by.get(factor)
            inputs = graph.nodes[made].input if made is not None and graph.nodes[made].op_type == "Mul" else [factor]
            known = [scale for name in inputs if (scale := stored(model, name)) is not None]
            return known[0].reshape(-1) if len(known) == 1 else None
        tensor = node.output[0]
    return None


MOST_STEPS = 3  # a cast, and the product


FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}


CODES = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT4, onnx.TensorProto.UINT4}


# Their constants are options, no weights.
NO_WEIGHTS = {"Resize", "Upsample", "Clip", "Pad", "Dropout", "QuantizeLinear", "DequantizeLinear", "TopK", "Range"}


# Where the weights are among the inputs of operators on codes; the others are scales and zero points.
STORED = {"QLinearConv": (3, 8), "QLinearMatMul": (3,), "QGemm": (3, 6), "ConvInteger": (1,), "MatMulInteger": (1,)}


def weights_of(graph: Graph, node: onnx.NodeProto) -> dict[str, int]:
    """The stored weights that a node reads, also through casts and dequantisation, and how many numbers each has."""
    sizes: dict[str, int] = {}
    if node.op_type in NO_WEIGHTS:
        return sizes
    inputs, kinds = list(node.input), FLOATS | CODES
    if node.op_type in STORED:
        inputs = [inputs[index] for index in STORED[node.op_type] if index < len(inputs)]
        kinds |= {onnx.TensorProto.INT32}  # biases of convolutions on codes
    for name in inputs:
        tensor = graph.initializers.get(graph.weight_name(name)) if name and name not in graph.data else None
        if tensor is not None and len(tensor.dims) and tensor.data_type in kinds:
            sizes[tensor.name] = prod(tensor.dims)
    return sizes
