"""The last dense layer of a TFLite file."""

from __future__ import annotations

from math import prod

import numpy as np

from . import Head
from .tflite_graph import Graph
from .tflite_model import TfliteModel
from .tflite_run import dequantised


def head(held: TfliteModel) -> Head | None:
    """The last FULLY_CONNECTED whose weights are in the file, dequantised where they are codes."""
    for output in reversed(held.layers):
        operator = output.operator
        if operator.name != "FULLY_CONNECTED":
            continue
        weights = _stored(held.graph, operator.inputs[1])
        if weights is None or weights.ndim != 2:
            continue
        bias = _stored(held.graph, operator.inputs[2]) if len(operator.inputs) > 2 else None
        return Head(output.address.path, weights, bias, operator.activation.lower())
    return None


def _stored(graph: Graph, index: int) -> np.ndarray | None:
    tensor = graph.tensors[index]
    raw = graph.stored(tensor)
    shape = [each or 1 for each in tensor.shape]
    if raw is None or tensor.type in ("int4", "string") or raw.size != prod(shape) * np.dtype(tensor.type).itemsize:
        return None
    return dequantised(tensor, raw.view(tensor.type).reshape(shape)).astype(np.float32)
