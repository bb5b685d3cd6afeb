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


# The options of QuantizeLinear that DequantizeLinear has as well, and all that it is copied with.
ALONG = ("axis", "block_size")
OPTIONS = (*ALONG, "output_dtype", "saturate")


# They move codes about or choose among them, and leave alone what a code stands for.
MOVES = {
    *("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity", "Expand", "Gather"),
    *("DepthToSpace", "SpaceToDepth", "Split", "Tile"),
}


@dataclass(frozen=True)
class Codes:
    """What the codes of a tensor stand for: the tensors with scale and zero point (`""`: 0).

    `options` say how several scales go along the tensor, as the operators take them that the standard has in `domain`: below
    opset 13 it has but one scale for a tensor, and no such option.
    """

    scale: str
    zero: str
    options: tuple[tuple[str, int], ...] = ()
    domain: str = ""

    @property
    def names(self) -> list[str]:
        """The tensors that say what the codes stand for."""
        return [name for name in (self.scale, self.zero) if name]

    @property
    def single(self) -> bool:
        """Whether there is one scale for the whole tensor, which a move can't take away from its axis."""
        return not any(name in ALONG for name, _ in self.options)

    def decode_node(self, tensor: str, into: str) -> onnx.NodeProto:
        """The node that turns the codes into values."""
        inputs = [tensor, self.scale, *([self.zero] if self.zero else [])]
        options = {name: value for name, value in self.options if name in ALONG}
        return onnx.helper.make_node("DequantizeLinear", inputs, [into], domain=self.domain, **options)

    def encode_node(self, values: str, into: str) -> onnx.NodeProto:
        """The node that turns values into codes; those beyond the range of the codes become its ends."""
        inputs = [values, *self.decode_node("", "").input[1:]]
        return onnx.helper.make_node("QuantizeLinear", inputs, [into], domain=self.domain, **dict(self.options))


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
        elif node.op_type in MOVES and node.input[0] in tensors and tensors[node.input[0]].single:
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
    named = node.input[zero] if len(node.input) > zero else ""
    if node.op_type != "QuantizeLinear":
        return Codes(node.input[scale], named)
    options = tuple((attribute.name, attribute.i) for attribute in node.attribute if attribute.name in OPTIONS)
    return Codes(node.input[scale], named, options, node.domain)
