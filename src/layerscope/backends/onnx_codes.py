"""Codes of quantised operators in an ONNX graph, and what turns them back into values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import onnx

# where the scale of the output stands among the inputs, its zero point behind it
SCALES = {
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), 6),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"), 3),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool"), 3),
    "QGemm": 7,
    "QLinearConcat": 0,
    "QuantizeLinear": 1,
}
PASSED_ON = {"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity"}


class Coding(NamedTuple):
    """The tensors with the scale and the zero point of codes, one number each."""

    scale: str
    zero: str


def codings(nodes: Iterable[onnx.NodeProto], constant: Callable[[str], np.ndarray | None]) -> dict[str, Coding]:
    """How the codes of each tensor that quantised operators make become values, `(code - zero point) * scale`.

    `constant` gives the value of a constant tensor.
    Those of a QuantizeLinear are left out: the DequantizeLinear behind it has their values.
    """
    found: dict[str, Coding] = {}
    explicit = set()
    for node in nodes:
        at = SCALES.get(node.op_type)
        if at is not None and len(node.input) > at + 1 and node.input[at + 1] and _single(constant(node.input[at])):
            found[node.output[0]] = Coding(node.input[at], node.input[at + 1])
            if node.op_type == "QuantizeLinear":
                explicit.add(node.output[0])
        elif node.op_type in PASSED_ON and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return {name: coding for name, coding in found.items() if name not in explicit}


def _single(value: np.ndarray | None) -> bool:
    return value is not None and value.size == 1
