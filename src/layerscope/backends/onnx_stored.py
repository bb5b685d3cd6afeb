"""The numbers that an ONNX graph stores, also behind casts, transposes and codes."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from .onnx_files import loaded
from .onnx_graph import attributes
from .onnx_model import OnnxModel

PASSED = ("Cast", "Identity", "Transpose", "DequantizeLinear")


def stored(held: OnnxModel, name: str) -> np.ndarray | None:
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
    values = stored(held, node.input[0]) if node.op_type in PASSED else None
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
    scale = stored(held, node.input[1])
    zero = stored(held, node.input[2]) if len(node.input) > 2 and node.input[2] else None
    axis = given.get("axis", 1)
    if scale is None or given.get("block_size") or not isinstance(axis, int):
        return None
    return scaled(codes, scale, zero, axis)


def scaled(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, axis: int) -> np.ndarray | None:
    """`(code - zero) * scale`, with one scale or one along an axis."""
    if scale.ndim > 1:
        return None
    shape = [1] * codes.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    return np.asarray((codes - (0 if zero is None else zero.reshape(shape))) * scale.reshape(shape), np.float32)
