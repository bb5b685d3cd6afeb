"""Quantised ONNX graphs: which tensors hold codes, what the codes stand for, and what is one layer among them.

In a graph with QuantizeLinear and DequantizeLinear around its operators (QDQ), `Conv → QuantizeLinear → DequantizeLinear` is
one layer, shown as what goes on from it: the dequantised values. Operators on codes (`QLinearConv` …) say in their inputs
what their codes stand for. Formula: ONNX operators, DequantizeLinear, `(code - zero point) · scale`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

# The indices of scale and zero point of the output among an operator's inputs.
STATED = {
    "QuantizeLinear": (1, 2),
    "QLinearConv": (6, 7),
    "QLinearMatMul": (6, 7),
    "QLinearAdd": (6, 7),
    "QLinearMul": (6, 7),
    "QGemm": (7, 8),
    "QLinearConcat": (0, 1),
    "QLinearWhere": (7, 8),
    **dict.fromkeys(
        (
            *("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearReduceMean"),
            *("QLinearGlobalAveragePool", "QLinearAveragePool"),
        ),
        (3, 4),
    ),
}


# The indices of the codes among an operator's inputs; scale and zero point follow each.
READ = {
    **dict.fromkeys(("DequantizeLinear", "QLinearConv", "QLinearLeakyRelu", "QLinearSigmoid", "QGemm"), (0,)),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool"), (0,)),
    **dict.fromkeys(("QLinearMatMul", "QLinearAdd", "QLinearMul"), (0, 3)),
}


# They move codes about or choose among them, and leave alone what a code stands for.
MOVES = {
    *("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity", "Expand", "Gather"),
    *("DepthToSpace", "SpaceToDepth", "Split", "Tile"),
}


@dataclass(frozen=True)
class Codes:
    """What the codes of a tensor stand for: the tensors with scale and zero point (`""`: 0), and the axis of several scales."""

    scale: str
    zero: str
    axis: int = 1

    @property
    def names(self) -> list[str]:
        """The tensors that say what the codes stand for."""
        return [name for name in (self.scale, self.zero) if name]

    def decode_node(self, tensor: str, into: str) -> onnx.NodeProto:
        """The node that turns the codes into values."""
        inputs = [tensor, self.scale, *([self.zero] if self.zero else [])]
        return onnx.helper.make_node("DequantizeLinear", inputs, [into], axis=self.axis)

    def encode_node(self, values: str, into: str) -> onnx.NodeProto:
        """The node that turns values into codes; those beyond the range of the codes become its ends."""
        return onnx.helper.make_node(
            "QuantizeLinear", [values, *self.decode_node("", "").input[1:]], [into], axis=self.axis
        )


def codes_of(nodes: Sequence[onnx.NodeProto], data: set[str]) -> dict[str, Codes]:
    """Every tensor with data that holds codes, and what they stand for."""
    tensors: dict[str, Codes] = {}
    for node in nodes:
        if not any(name in data for name in node.output):
            continue
        if node.op_type in STATED:
            codes = _stated_codes(node)
            if codes is not None:
                tensors[node.output[0]] = codes
        elif node.op_type == "DynamicQuantizeLinear":
            tensors[node.output[0]] = Codes(node.output[1], node.output[2])
        elif node.op_type in MOVES and node.input[0] in tensors and _per_tensor(tensors[node.input[0]], nodes):
            tensors.update(dict.fromkeys(node.output, tensors[node.input[0]]))
    return tensors


def read_by(node: onnx.NodeProto, name: str) -> list[str]:
    """The tensors with scale and zero point (`""`: 0) by which a node reads the codes `name`, empty where it doesn't say."""
    if name not in node.input or node.op_type not in READ:
        return []
    index = list(node.input).index(name)
    if index not in READ[node.op_type]:
        return []
    return [*node.input[index + 1 : index + 3], ""][:2]


def _stated_codes(node: onnx.NodeProto) -> Codes | None:
    scale, zero = STATED[node.op_type]
    if len(node.input) <= scale or not node.input[scale]:
        return None  # QGemm without a scale for its output gives values
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    named = node.input[zero] if len(node.input) > zero else ""
    return Codes(node.input[scale], named, axis if node.op_type == "QuantizeLinear" else 1)


def _per_tensor(codes: Codes, nodes: Sequence[onnx.NodeProto]) -> bool:
    """Whether the codes have one scale for the whole tensor, which a move can't take away from its axis."""
    quantisers = [node for node in nodes if node.op_type == "QuantizeLinear" and node.input[1] == codes.scale]
    return not any(attribute.name == "axis" for quantiser in quantisers for attribute in quantiser.attribute)
