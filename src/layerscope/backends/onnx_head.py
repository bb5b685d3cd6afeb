"""The last dense layer of an ONNX graph: a `Gemm`, or a `MatMul` with the bias added after it, whose weights are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto

from . import Head
from .onnx_graph import attributes
from .onnx_model import OnnxModel
from .onnx_stored import stored


def head(held: OnnxModel) -> Head | None:
    """The last such node, `None` where there is none."""
    for output in reversed(held.outputs):
        node = output.node
        if node.op_type not in ("Gemm", "MatMul") or node.domain not in ("", "ai.onnx"):
            continue
        weights = stored(held, node.input[1])
        if weights is None or weights.ndim != 2:
            continue
        if node.op_type == "MatMul":
            bias, tensor = _added(held, node.output[0])
            path = next((each.address.full for each in held.outputs if each.tensor == tensor), output.address.full)
            return Head(path, np.ascontiguousarray(weights.T), bias)
        return _gemm(held, node, output.address.full, weights)
    return None


def _gemm(held: OnnxModel, node: NodeProto, path: str, weights: np.ndarray) -> Head | None:
    given = _settings(node)
    if given.get("transA"):
        return None
    weights = weights if given.get("transB") else weights.T
    bias = stored(held, node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1) * np.float32(given.get("beta", 1.0)), len(weights))
    alpha = np.float32(given.get("alpha", 1.0))
    return Head(path, np.ascontiguousarray(weights * alpha), bias)


def _added(held: OnnxModel, tensor: str) -> tuple[np.ndarray | None, str]:
    """(the bias, the tensor after it) where the only reader of a product adds a stored vector."""
    readers = held.graph.taken_by.get(tensor, ())
    if len(readers) == 1:
        node = held.graph.nodes[readers[0]]
        others = [name for name in node.input if name != tensor]
        bias = stored(held, others[0]) if node.op_type == "Add" and len(others) == 1 else None
        if bias is not None and bias.size == max(bias.shape, default=0):
            return bias.reshape(-1), node.output[0]
    return None, tensor


def _settings(node: NodeProto) -> dict[str, Any]:
    return dict(attributes(node))
