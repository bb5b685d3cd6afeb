"""Receptive fields of the tensors of a TFLite graph, from the settings of its operators, and the weights of each operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod

from ...core.receptive_field import Field, resized, transposed, window
from ..common.field import Places, constant, followed, plain
from ..graph.field import KnownFields, padding_same, regrouped
from .axes import POINTWISE, REDUCTIONS, AxesFlow
from .graph import Graph, Operator

# Operators whose constants are weights, and the place of the first; the constants of others are options.
WEIGHTS = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "FULLY_CONNECTED", "PRELU"), 1),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "BATCH_MATMUL", "GATHER", "EMBEDDING_LOOKUP"), 0),
}


SAME = 0


# Where an operator's options hold what a window is made of: strides and dilations, height first.
SETTINGS = {
    "CONV_2D": ((2, 1), (5, 4)),
    "DEPTHWISE_CONV_2D": ((2, 1), (6, 5)),
    "TRANSPOSE_CONV": ((2, 1), None),
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"), ((2, 1), None)),
}


POOL_SIZE = (4, 3)


def weights_of(graph: Graph, operator: Operator) -> dict[int, int]:
    """The stored weights that an operator reads, also through dequantisation, and how many numbers each has."""
    found: dict[int, int] = {}
    for index in operator.inputs[WEIGHTS.get(operator.name, len(operator.inputs)) :]:
        while index not in graph.data and index in graph.made_by and graph.operators[graph.made_by[index]].inputs:
            index = graph.operators[graph.made_by[index]].inputs[0]
        tensor = graph.tensors[index]
        if index not in graph.data and tensor.shape and graph.stored(tensor) is not None:
            found[index] = prod(size or 1 for size in tensor.shape)
    return found


class FieldFlow(KnownFields[int]):
    """What every tensor of the graph sees of the model's one image."""

    def __init__(self, graph: Graph, flow: AxesFlow) -> None:
        super().__init__(graph.inputs, flow)
        self.graph, self.flow = graph, flow
        for each in graph.operators:
            for index in each.outputs:
                if index in graph.data:
                    self._follow(each, index)

    def _follow(self, operator: Operator, output: int) -> None:
        first = next((self.places[index] for index in operator.inputs if index in self.places), None)
        shape = self.flow.shapes.get(output)
        if first is None or shape is None:
            return
        lost = [index for index in operator.inputs if index in self.graph.data and index not in self.places]
        rule = RULES.get(operator.name)
        if lost:
            made = first.lost(f"{self.graph.tensors[lost[0]].name!r} comes from another input", shape)
        elif rule is None or len(operator.outputs) > 1:
            made = first.lost(f"{operator.kind} isn't followed", shape)
        else:
            made = followed(partial(rule, Step(self, operator, shape)), first, operator.kind, shape)
        self.places[output] = made


class Step:
    """One operator, and the places of its inputs."""

    def __init__(self, flow: FieldFlow, operator: Operator, shape: tuple[int, ...]) -> None:
        self.flow, self.operator, self.shape = flow, operator, tuple(shape)

    @property
    def source(self) -> Places:
        return self.input(2 if self.operator.name == "TRANSPOSE_CONV" else 0)

    def input(self, at: int) -> Places:
        index = self.operator.inputs[at]
        known = self.flow.places.get(index)
        shape = self.flow.flow.shapes.get(index) or self.stored(at)
        return constant(shape) if known is None else known

    def stored(self, at: int) -> tuple[int, ...]:
        """The shape of an input as the file has it."""
        return tuple(size or 1 for size in self.flow.graph.tensors[self.operator.inputs[at]].shape)

    def numbers(self, at: int) -> list[int]:
        """Constant whole numbers; a `LookupError` where they are computed."""
        found = self.flow.graph.numbers(self.operator.inputs[at])
        if found is None:
            raise LookupError("not constant")
        return found

    def lost(self, what: str) -> Places:
        return self.source.lost(what, self.shape)


def _same(step: Step) -> Places:
    return step.source


def _merge(step: Step) -> Places:
    every = [step.input(at) for at in range(len(step.operator.inputs))]
    return every[0].over(every[1:])


def _windows(step: Step) -> Places:
    operator, source = step.operator, step.source
    turned = operator.name == "TRANSPOSE_CONV"
    strides, dilations = SETTINGS[operator.name]
    pool = operator.name.endswith("_POOL_2D")
    kernel = [operator.setting(field, "i") for field in POOL_SIZE] if pool else step.stored(1)[1:3]
    rules: dict[int, Callable[[Field], Field]] = {}
    for at in range(2):
        stride = operator.setting(strides[at], "i")
        dilation = operator.setting(dilations[at], "i", 1) if dilations else 1
        before, after = source.shape[at + 1], step.shape[at + 1]
        small, large = (before, after) if turned else (after, before)
        total = padding_same(large, small, (kernel[at] - 1) * dilation + 1, stride)
        pad = total // 2 if operator.setting(0) == SAME else 0
        rules[at + 1] = partial(
            transposed if turned else window, kernel=kernel[at], stride=stride, dilation=dilation, padding=pad
        )
    return source.windowed(rules, step.shape)


def _reduced(step: Step) -> Places:
    return step.source.reduced(step.numbers(1), bool(step.operator.setting(0)))


def _viewed(step: Step) -> Places:
    return step.source.viewed(step.shape)


def _permuted(step: Step) -> Places:
    return step.source.permuted(step.numbers(1))


def _joined(step: Step) -> Places:
    every = [step.input(at) for at in range(len(step.operator.inputs))]
    return every[0].joined(every[1:], step.operator.setting(0, "i"))


def _mixed_last(step: Step) -> Places:
    """What a unit of one place depends on in all channels of it: a softmax, a dense layer."""
    mixed = step.source.mixed([-1])
    return replace(mixed, dims=(*mixed.dims[:-1], plain(step.shape)[-1]))


def _multiplied(step: Step) -> Places:
    pair = []
    for at in range(2):
        places = step.input(at)
        order = list(range(len(places.dims)))
        pair.append(places.permuted([*order[:-2], *order[:-3:-1]]) if step.operator.setting(at) else places)
    return pair[0].times(pair[1], step.shape)


def _padded(step: Step) -> Places:
    pads = step.numbers(1)
    rules = {dim: partial(window, kernel=1, padding=before) for dim, before in enumerate(pads[::2])}
    return step.source.windowed(rules, step.shape)


def _resized(step: Step) -> Places:
    source, operator = step.source, step.operator
    linear = operator.name == "RESIZE_BILINEAR"
    corners, half = (bool(operator.setting(field)) for field in ((2, 3) if linear else (0, 1)))
    whole = all(after % before == 0 for before, after in zip(source.shape, step.shape, strict=True))
    if (linear and not (corners or half)) or (not linear and (corners or not whole)):
        return step.lost(f"a {operator.kind} of this form isn't followed")
    rules = {
        dim: partial(
            resized,
            before=source.shape[dim],
            after=step.shape[dim],
            rule="linear" if linear else "nearest",
            corners=corners,
        )
        for dim in (1, 2)
    }
    return source.windowed(rules, step.shape)


def _regrouped(step: Step) -> Places:
    deeper = step.operator.name == "SPACE_TO_DEPTH"
    return regrouped(step.source, step.shape, (1, 2), step.operator.setting(0, "i"), deeper)


def _rules() -> dict[str, Callable[[Step], Places]]:
    apart = {"CONCATENATION", "PAD", "PADV2", "MIRROR_PAD", "CUMSUM", "REVERSE_V2", "L2_NORMALIZATION"}
    table: Sequence[tuple[Callable[[Step], Places], Sequence[str]]] = (
        (_merge, sorted(POINTWISE - apart)),
        (_windows, list(SETTINGS)),
        (_reduced, sorted(REDUCTIONS)),
        (_viewed, ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")),
        (_permuted, ("TRANSPOSE",)),
        (_joined, ("CONCATENATION",)),
        (_mixed_last, ("SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION", "FULLY_CONNECTED")),
        (_multiplied, ("BATCH_MATMUL",)),
        (_padded, ("PAD", "PADV2")),
        (_resized, ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")),
        (_regrouped, ("SPACE_TO_DEPTH", "DEPTH_TO_SPACE")),
        (_same, ("LOCAL_RESPONSE_NORMALIZATION",)),
    )
    return {name: rule for rule, names in table for name in names}


RULES = _rules()
