"""The weights of a convolution in an ONNX graph: stored ones, also behind casts, transposes and codes."""

from __future__ import annotations

import numpy as np

from . import Kernel, turned
from .onnx_graph import attributes
from .onnx_model import OnnxModel, Output
from .onnx_stored import scaled, stored

SPACE = {1: "n", 2: "hw", 3: "dhw"}
# The places of the weights among an operator's inputs; those on codes have scale and zero point behind them.
WEIGHTS = {"Conv": 1, "ConvTranspose": 1, "QLinearConv": 3}


def kernel(held: OnnxModel, output: Output) -> Kernel | None:
    """The weights of the convolution that makes this output, `None` where another operator does or they are computed."""
    node = output.node
    if node.op_type not in WEIGHTS or node.domain not in ("", "ai.onnx"):
        return None
    at = WEIGHTS[node.op_type]
    values = stored(held, node.input[at])
    if values is None or not 3 <= values.ndim <= 5:
        return None
    if node.op_type == "QLinearConv":
        scale, zero = (stored(held, node.input[at + each]) for each in (1, 2))
        values = None if scale is None else scaled(values, scale, zero, 0)
        if values is None:
            return None
    given = attributes(node).get("group", 1)
    groups = given if isinstance(given, int) else 1
    if node.op_type == "ConvTranspose":
        values = turned(values, groups)
    return Kernel(np.ascontiguousarray(values, np.float32), "oi" + SPACE[values.ndim - 2], groups)
