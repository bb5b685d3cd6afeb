"""The weights of a convolution in an ONNX graph: stored ones, also behind casts, transposes and codes."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from . import Kernel, turned
from .onnx_files import loaded
from .onnx_graph import attributes
from .onnx_model import OnnxModel, Output

SPACE = {1: "n", 2: "hw", 3: "dhw"}
# The places of the weights among an operator's inputs; those on codes have scale and zero point behind them.
WEIGHTS = {"Conv": 1, "ConvTranspose": 1, "QLinearConv": 3}
PASSED = ("Cast", "Identity", "Transpose", "DequantizeLinear")


def kernel(held: OnnxModel, output: Output) -> Kernel | None:
    """The weights of the convolution that makes this output, `None` where another operator does or they are computed."""
    node = output.node
    if node.op_type not in WEIGHTS or node.domain not in ("", "ai.onnx"):
        return None
    at = WEIGHTS[node.op_type]
    values = _stored(held, node.input[at])
    if values is None or not 3 <= values.ndim <= 5:
        return None
    if node.op_type == "QLinearConv":
        scale, zero = (_stored(held, node.input[at + each]) for each in (1, 2))
        values = None if scale is None else _scaled(values, scale, zero, 0)
        if values is None:
            return None
    given = attributes(node).get("group", 1)
    groups = given if isinstance(given, int) else 1
    if node.op_type == "ConvTranspose":
        values = turned(values, groups)
    return Kernel(np.ascontiguousarray(values, np.float32), "oi" + SPACE[values.ndim - 2], groups)


def _stored(held: OnnxModel, name: str) -> np.ndarray | None:
    """The numbers of a stored tensor in float32; `None` for what the model computes from its input or in another way."""
    tensor = held.graph.initializers.get(name)
    if tensor is not None:
        return _floats(numpy_helper.to_array(loaded(tensor, held.files)))
    at = held.graph.made_by.get(name)
    if at is None or name in held.graph.data:
        return None
    node = held.graph.nodes[at]
    if node.op_type == "Constant":
        value = attributes(node).get("value")
        return _floats(numpy_helper.to_array(value)) if isinstance(value, TensorProto) else None
    values = _stored(held, node.input[0]) if node.op_type in PASSED else None
    if values is None:
        return None
    if node.op_type == "Transpose":
        order = attributes(node).get("perm")
        return values.transpose(order if isinstance(order, list) else None)
    return _dequantised(held, node, values) if node.op_type == "DequantizeLinear" else values


def _floats(values: np.ndarray) -> np.ndarray | None:
    return values.astype(np.float32) if values.dtype.kind in "fiu" else None


def _dequantised(held: OnnxModel, node: NodeProto, codes: np.ndarray) -> np.ndarray | None:
    given = attributes(node)
    scale = _stored(held, node.input[1])
    zero = _stored(held, node.input[2]) if len(node.input) > 2 and node.input[2] else None
    axis = given.get("axis", 1)
    if scale is None or given.get("block_size") or not isinstance(axis, int):
        return None
    return _scaled(codes, scale, zero, axis)


def _scaled(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, axis: int) -> np.ndarray | None:
    """`(code - zero) * scale`, with one scale or one along an axis."""
    if scale.ndim > 1:
        return None
    shape = [1] * codes.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    return np.asarray((codes - (0 if zero is None else zero.reshape(shape))) * scale.reshape(shape), np.float32)
