"""The numbers that a TFLite file stores, dequantised."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..protocol import Head, Kernel
from .graph import NUMPY, Graph, Operator
from .model import TfliteModel
from .run import dequantise

# Only this one gives what it is given in another type.
PASSED = ("DEQUANTIZE",)


def stored(graph: Graph, index: int) -> np.ndarray | None:
    """A stored tensor in float32, also behind a DEQUANTIZE (weights in float16)."""
    while index in graph.made_by:
        before = graph.operators[graph.made_by[index]]
        if before.name not in PASSED or index in graph.data:
            return None
        index = before.inputs[0]
    tensor = graph.tensors[index]
    raw = graph.stored(tensor)
    if raw is None or tensor.type not in NUMPY:
        return None
    dtype, shape = np.dtype(tensor.type), [size or 1 for size in tensor.shape]
    if raw.size != prod(shape) * dtype.itemsize:
        return None
    return dequantise(tensor, raw.view(dtype).reshape(shape)).astype(np.float32)


def head(model: TfliteModel, batch: Any) -> Head | None:
    """The last FULLY_CONNECTED whose weights are in the file, dequantised where they are codes."""
    for output in reversed(model.outputs):
        operator = output.operator
        if operator.name != "FULLY_CONNECTED":
            continue
        weights = stored(model.graph, operator.inputs[1])
        if weights is None or weights.ndim != 2:
            continue
        bias = stored(model.graph, operator.inputs[2]) if len(operator.inputs) > 2 else None
        return Head(output.address.path, weights, bias, operator.activation.lower())
    return None


AXES = {"CONV_2D": "ohwi", "TRANSPOSE_CONV": "ohwi", "CONV_3D": "dhwio", "DEPTHWISE_CONV_2D": "hwim"}


def kernel(model: TfliteModel, path: str, batch: Any) -> Kernel | None:
    """The weights of a convolution, dequantised; `None` for other operators, computed weights and 4-bit ones."""
    graph, (output,) = model.graph, model.find([path]).values()
    operator = output.operator
    if operator.name not in AXES or len(operator.inputs) < 2:
        return None
    values = stored(graph, operator.inputs[1])
    axes = AXES[operator.name]
    if operator.name == "DEPTHWISE_CONV_2D" and values is not None:
        if values.shape[0] != 1:
            return None
        # One input channel for each filter; with a multiplier of m, m filters in a row share it.
        multiplier = max(1, operator.setting(3, "i", 1))
        height, width, filters = values.shape[1:]
        grouped = values[0].reshape(height, width, filters // multiplier, multiplier)
        return Kernel(np.ascontiguousarray(grouped), "hwim")
    if values is None or values.ndim != len(axes):
        return None
    shape = graph.tensors[operator.inputs[0]].shape
    inputs = values.shape[axes.index("i")]
    groups = (shape[-1] or inputs) // inputs if operator.name == "CONV_2D" and shape else 1
    return Kernel(values, axes, max(1, groups))


# Operators whose constants are weights, and the index of the first; the constants of others are options.
WEIGHTS = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "FULLY_CONNECTED", "PRELU"), 1),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "BATCH_MATMUL", "GATHER", "EMBEDDING_LOOKUP"), 0),
}


def weights_of(graph: Graph, operator: Operator) -> dict[int, int]:
    """The stored weights that an operator reads, also through dequantisation, and how many numbers each has."""
    sizes: dict[int, int] = {}
    for index in operator.inputs[WEIGHTS.get(operator.name, len(operator.inputs)) :]:
        while index not in graph.data and index in graph.made_by and graph.operators[graph.made_by[index]].inputs:
            index = graph.operators[graph.made_by[index]].inputs[0]
        tensor = graph.tensors[index]
        if index not in graph.data and tensor.shape and graph.stored(tensor) is not None:
            sizes[index] = prod(size or 1 for size in tensor.shape)
    return sizes
