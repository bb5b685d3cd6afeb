"""The weights of a convolution in a TFLite file: `[filter, h, w, input]`, and for depthwise ones `[1, h, w, filter]`."""

from __future__ import annotations

import numpy as np

from . import Kernel
from .tflite_graph import Graph, Operator
from .tflite_stored import stored

AXES = {"CONV_2D": "ohwi", "TRANSPOSE_CONV": "ohwi", "CONV_3D": "dhwio", "DEPTHWISE_CONV_2D": "hwim"}


def kernel(graph: Graph, operator: Operator) -> Kernel | None:
    """The weights of a convolution, dequantised; `None` for other operators, computed weights and codes of four bits."""
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
        found = values[0].reshape(height, width, filters // multiplier, multiplier)
        return Kernel(np.ascontiguousarray(found), "hwim")
    if values is None or values.ndim != len(axes):
        return None
    given = graph.tensors[operator.inputs[0]].shape
    inputs = values.shape[axes.index("i")]
    groups = (given[-1] or inputs) // inputs if operator.name == "CONV_2D" and given else 1
    return Kernel(values, axes, max(1, groups))
