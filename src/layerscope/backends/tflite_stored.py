"""The numbers that a TFLite file stores, dequantised."""

from __future__ import annotations

from math import prod

import numpy as np

from .tflite_graph import NUMPY, Graph
from .tflite_run import dequantised

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
    return dequantised(tensor, raw.view(dtype).reshape(shape)).astype(np.float32)
