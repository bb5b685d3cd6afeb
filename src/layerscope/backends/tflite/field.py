"""Receptive fields of the tensors of a TFLite graph: each operator in the form that the rules know, from its settings."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from ...core.receptive_field import Sampling
from ..common.field import Positions
from ..common.field_rules import STILL, Operation, depth_to_space, nary, space_to_depth, unary, unknown
from ..graph import field as graph_field
from ..graph.model import Output
from .axes import POINTWISE, REDUCTIONS, Axes
from .blocks import APART, JOINING, SPREADING, Blocks, inside, whole
from .graph import Graph, Operator, slices

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

    def unfollowed(self) -> Operation:
        return unknown(self, f"a {self.operator.kind} of this form isn't followed")


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
    """Formula: TensorFlow Lite, `reference/resize_bilinear.h` and `resize_nearest_neighbor.h`."""
    linear = step.operator.name == "RESIZE_BILINEAR"
    corners, half = (bool(step.operator.setting(field)) for field in ((2, 3) if linear else (0, 1)))
    samplings = []
    for before, after in list(zip(step.source.shape, step.shape, strict=True))[1:3]:
        ratio = Fraction(before - 1, after - 1) if corners and after > 1 else Fraction(before, after)
        if linear:
            sampling = Sampling.by_centres(ratio) if half else Sampling(ratio)
        else:
            sampling = Sampling(ratio, ratio / 2 if half else Fraction(0), "half up" if corners else "floor")
        samplings.append(STILL if before == after else sampling)
    return Operation("resize", [step.source], (1, 2), mode="linear" if linear else "nearest", samplings=samplings)


def _slice(step: Step) -> Operation:
    return Operation("slice", [step.source], None, padding=[-start for start in step.numbers(1)])


def _strided(step: Step) -> Operation:
    """Every so many positions of each dimension; those of which one is picked go, and new ones of one come in."""
    begins, strides, source = step.numbers(1), step.numbers(3), step.source
    sizes, fronts, steps = iter(step.shape), [], []
    shape = []
    for dim, entry, picked in slices(step.operator, len(source.dims), len(begins)):
        size = 1 if picked else next(sizes)
        if dim is None:
            continue
        begin, stride = (0, 1) if entry is None else (begins[entry], strides[entry])
        if entry is not None and step.operator.setting(0, "i") >> entry & 1 and not picked:
            begin = 0 if stride > 0 else -1
        before = source.shape[dim]
        fronts.append(-min(max(begin + before if begin < 0 else begin, 0), before - 1))
        steps.append(stride)
        shape.append(size)
    sliced = Operation("slice", [source], None, stride=steps, padding=fronts).after(shape)
    return Operation("reshape", [sliced])


def _reverse(step: Step) -> Operation:
    return Operation("flip", [step.source], step.numbers(1))


def _gather(step: Step) -> Operation:
    axis, picks = step.operator.setting(0, "i"), step.numbers(1)
    if step.operator.setting(1, "i") or len(step.shape) != len(step.source.dims):
        return step.unfollowed()
    return Operation("take", [step.source], [axis], picks=picks)


def _split(step: Step) -> Operation:
    """One of several parts, which lie in a row."""
    equal, before = step.operator.name == "SPLIT", step.operator.outputs.index(step.output)
    (axis,), source = step.numbers(0 if equal else 2), step.input(1 if equal else 0)
    sizes = [step.shape[axis]] * before if equal else step.numbers(1)[:before]
    if -1 in sizes:
        return step.unfollowed()
    return Operation("slice", [source], [axis], padding=-sum(sizes))


def _unpack(step: Step) -> Operation:
    axis = step.operator.setting(1, "i") % len(step.source.dims)
    shape = [*step.shape[:axis], 1, *step.shape[axis:]]
    picked = Operation("slice", [step.source], [axis], padding=-step.operator.outputs.index(step.output)).after(shape)
    return Operation("reshape", [picked])


def _block(step: Step) -> int:
    return step.operator.setting(0, "i")


def _spread(step: Step) -> Operation:
    """Blocks of pixels into the batch axis, or back from there: on the whole picture only what is padded or cut off."""
    sign, fronts = 1 if step.operator.name == SPREADING else -1, step.numbers(2)[::2]
    return Operation("window", [step.source], range(1, len(fronts) + 1), padding=[sign * front for front in fronts])


def _in_blocks(rule: Rule, held: Collection[Blocks], step: Step) -> Operation:
    operation = inside(rule(step), next(iter(held))) if len(held) == 1 else None
    return operation or unknown(step, APART)


RULES: dict[str, Rule] = {
    **dict.fromkeys(POINTWISE - {"CUMSUM", "TILE"}, nary("elementwise")),
    **dict.fromkeys((*DILATIONS, *POOLS, "TRANSPOSE_CONV"), _window),
    **dict.fromkeys(REDUCTIONS, unary("reduce", lambda step: step.numbers(1))),
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), unary("reshape")),
    "TRANSPOSE": unary("permute", lambda step: step.numbers(1)),
    "CONCATENATION": nary("concatenate", lambda step: step.operator.setting(0, "i")),
    **dict.fromkeys(("SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"), unary("normalize", [-1])),
    "FULLY_CONNECTED": unary("dense"),
    "BATCH_MATMUL": _matmul,
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _pad),
    **dict.fromkeys((SPREADING, JOINING), _spread),
    "SLICE": _slice,
    "STRIDED_SLICE": _strided,
    "REVERSE_V2": _reverse,
    "GATHER": _gather,
    **dict.fromkeys(("SPLIT", "SPLIT_V"), _split),
    "UNPACK": _unpack,
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    "SPACE_TO_DEPTH": space_to_depth((1, 2), _block),
    "DEPTH_TO_SPACE": depth_to_space((1, 2), _block),
    "LOCAL_RESPONSE_NORMALIZATION": unary("same"),
}


class Fields(graph_field.FieldFlow[int]):
    """What every tensor of the graph sees of the model's one image; `blocks` are those whose pixels lie in the batch axis."""

    step = Step

    def __init__(self, graph: Graph, axes: Axes) -> None:
        super().__init__(graph.inputs, axes)
        self.graph = graph
        self.blocks: dict[int, Blocks] = {}
        for operator in graph.operators:
            parts = operator.name in ("SPLIT", "SPLIT_V", "UNPACK")
            rule = RULES.get(operator.name) if parts or len(operator.outputs) == 1 else None
            held = {self.blocks[index] for index in operator.inputs if index in self.blocks}
            for output in operator.outputs:
                if output not in graph.data:
                    continue
                if operator.name == SPREADING:
                    self.blocks[output] = tuple(graph.numbers(operator.inputs[1]) or ())
                elif held and operator.name != JOINING:
                    self.blocks[output] = next(iter(held))
                own = partial(_in_blocks, rule, held) if held and rule and operator.name != JOINING else rule
                self.follow(operator, operator.inputs, output, kind=operator.kind, rule=own)

    def get(self, output: Output[int, Operator]) -> Positions | None:
        """The positions of one output."""
        positions = super().get(output)
        if positions is None or output.tensor not in self.blocks:
            return positions
        return positions.give_up(APART, self.axes.shapes[output.tensor])

    def shape_after(self, output: int) -> tuple[int, ...] | None:
        """The shape of the positions that an operator leaves: that of the whole picture, where its blocks lie in the batch."""
        shape = super().shape_after(output)
        return whole(shape, self.blocks[output]) if shape and output in self.blocks else shape

    def shape_of(self, name: int) -> tuple[int, ...]:
        """The shape of a tensor that depends on no image."""
        return super().shape_of(name) or tuple(size or 1 for size in self.graph.tensors[name].shape)
