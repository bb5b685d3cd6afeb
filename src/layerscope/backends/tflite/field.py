"""Receptive fields of the tensors of a TFLite graph: each operator in the form that the rules know, from its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..common.field_rules import Operation, depth_to_space, nary, space_to_depth, unary, unknown
from ..graph import field as graph_field
from .axes import POINTWISE, REDUCTIONS, Axes
from .graph import Graph, Operator

SAME = 0
POOLS = ("MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D")
POOL_SIZE = (4, 3)
STRIDES = (2, 1)
# Where the options of a convolution hold its dilations, height first.
DILATIONS = {"CONV_2D": (5, 4), "DEPTHWISE_CONV_2D": (6, 5)}


@dataclass(frozen=True)
class Step(graph_field.Step[int]):
    """One operator and its output."""

    operator: Operator

    def stored(self, index: int) -> tuple[int, ...]:
        """The shape of an input as the file has it."""
        return tuple(size or 1 for size in self.flow.graph.tensors[self.names[index]].shape)

    def numbers(self, index: int) -> list[int]:
        """Constant whole numbers; a `LookupError` where they are computed."""
        values: list[int] | None = self.flow.graph.numbers(self.names[index])
        if values is None:
            raise LookupError("computed in the graph")
        return values


Rule = Callable[[Step], Operation]


def _window(step: Step) -> Operation:
    operator, transposed = step.operator, step.operator.name == "TRANSPOSE_CONV"
    kernel = [operator.setting(field, "i") for field in POOL_SIZE] if operator.name in POOLS else step.stored(1)[1:3]
    return Operation(
        "transposed" if transposed else "window",
        [step.input(2) if transposed else step.source],
        (1, 2),
        kernel=kernel,
        stride=[operator.setting(field, "i") for field in STRIDES],
        dilation=[operator.setting(field, "i", 1) for field in DILATIONS.get(operator.name, ())] or 1,
        padding="same" if operator.setting(0) == SAME else "valid",
    )


def _matmul(step: Step) -> Operation:
    operands = []
    for index in range(2):
        positions = step.input(index)
        order = list(range(len(positions.dims)))
        operands.append(positions.permute([*order[:-2], *order[:-3:-1]]) if step.operator.setting(index) else positions)
    return Operation("matmul", operands)


def _pad(step: Step) -> Operation:
    return Operation("window", [step.source], None, padding=step.numbers(1)[::2])


def _resize(step: Step) -> Operation:
    operator = step.operator
    linear = operator.name == "RESIZE_BILINEAR"
    corners, half = (bool(operator.setting(field)) for field in ((2, 3) if linear else (0, 1)))
    multiple = all(after % before == 0 for before, after in zip(step.source.shape, step.shape, strict=True))
    if not (corners or half if linear else multiple and not corners):
        return unknown(step, f"a {operator.kind} of this form isn't followed")
    return Operation("resize", [step.source], (1, 2), mode="linear" if linear else "nearest", corners=corners)


def _block(step: Step) -> int:
    return step.operator.setting(0, "i")


RULES: dict[str, Rule] = {
    **dict.fromkeys(POINTWISE - {"MIRROR_PAD", "CUMSUM", "REVERSE_V2"}, nary("elementwise")),
    **dict.fromkeys((*DILATIONS, *POOLS, "TRANSPOSE_CONV"), _window),
    **dict.fromkeys(REDUCTIONS, unary("reduce", lambda step: step.numbers(1))),
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), unary("reshape")),
    "TRANSPOSE": unary("permute", lambda step: step.numbers(1)),
    "CONCATENATION": nary("concatenate", lambda step: step.operator.setting(0, "i")),
    **dict.fromkeys(("SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"), unary("normalize", [-1])),
    "FULLY_CONNECTED": unary("dense"),
    "BATCH_MATMUL": _matmul,
    **dict.fromkeys(("PAD", "PADV2"), _pad),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    "SPACE_TO_DEPTH": space_to_depth((1, 2), _block),
    "DEPTH_TO_SPACE": depth_to_space((1, 2), _block),
    "LOCAL_RESPONSE_NORMALIZATION": unary("same"),
}


class Fields(graph_field.FieldFlow[int]):
    """What every tensor of the graph sees of the model's one image."""

    step = Step

    def __init__(self, graph: Graph, axes: Axes) -> None:
        super().__init__(graph.inputs, axes)
        self.graph = graph
        for operator in graph.operators:
            rule = RULES.get(operator.name) if len(operator.outputs) == 1 else None
            for output in operator.outputs:
                if output in graph.data:
                    self.follow(operator, operator.inputs, output, kind=operator.kind, rule=rule)

    def shape_of(self, name: int) -> tuple[int, ...]:
        """The shape of a tensor that depends on no image."""
        return super().shape_of(name) or tuple(size or 1 for size in self.graph.tensors[name].shape)
