"""What the axes of each tensor of a TFLite graph are, found by following the data from operator to operator.

Operators such as `CONV_2D` are channels-last by the standard; others move or drop axes in a way that they state; the rest
pass them on. Where none of that says anything, the operators that read the tensor are asked, and at last the rank
decides, which is then noted. The sizes of a tensor never say what an axis is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from ..common.axes import CHANNELS_LAST, add_classes, insert_axes, keep_sizes
from ..graph.axes import KnownAxes
from ..graph.walk import Order, order_after, readers_say, widened
from .graph import Graph, Operator, Part, slices

Shapes = Mapping[int, tuple[int, ...]]


CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}


IMAGES = CONVOLUTIONS | {
    *("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
    *("SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "LOCAL_RESPONSE_NORMALIZATION"),
}


VOLUMES = {"CONV_3D", "CONV_3D_TRANSPOSE"}


# The input that an operator of those above reads its picture from, where it isn't the first.
READS = {"TRANSPOSE_CONV": 2, "CONV_3D_TRANSPOSE": 2}


REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"}


# Operators that leave every axis of a picture where it is, so that a tensor's readers can be asked through them.
POINTWISE = {
    *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE", "QUANTIZE", "DEQUANTIZE", "CAST"),
    *("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "PRELU", "LEAKY_RELU", "ELU", "GELU", "HARD_SWISH", "LOGISTIC"),
    *("TANH", "EXP", "LOG", "SQRT", "RSQRT", "ABS", "NEG", "SQUARE", "FLOOR", "ROUND", "CEIL", "PAD", "PADV2"),
    *("MIRROR_PAD", "CONCATENATION", "SELECT", "SELECT_V2", "CUMSUM", "REVERSE_V2", "L2_NORMALIZATION", "FAKE_QUANT"),
    *("SLICE", "TILE", "BROADCAST_TO", "SPLIT", "SPLIT_V"),
}


NOT_PASSED_ON = {
    *("IF", "WHILE", "CALL", "CUSTOM", "TOPK_V2", "WHERE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5"),
    *("UNIQUE", "GATHER_ND", "SCATTER_ND", "EMBEDDING_LOOKUP", "RFFT2D", "MATRIX_DIAG", "SPARSE_TO_DENSE"),
}


class Axes(KnownAxes[int]):
    """The axes of every tensor with data, and the token grids met on the way to it.

    `spread` have pixels in the batch axis, as dilated convolutions and dense layers on pictures are computed: for these, which
    axes of which sizes lie in it, where a reshape can take them out again.
    """

    by_rank = CHANNELS_LAST | {1: "c"}

    def __init__(self, graph: Graph, shapes: Shapes, *, operators: Sequence[Operator] | None = None) -> None:
        super().__init__(graph.data, shapes)
        self.graph = graph
        self.spread: dict[int, tuple[str, tuple[int, ...]]] = {}
        for index in graph.inputs:
            self.settle(index, None)
        for operator in graph.operators if operators is None else operators:
            if outputs := [index for index in operator.outputs if index in graph.data]:
                self._follow(operator, outputs)

    def _follow(self, operator: Operator, outputs: Sequence[int]) -> None:
        inputs = [index for index in operator.inputs if index in self.axes]
        stated = state_channels_last(operator, self.rank(outputs[0]))
        if stated is not None:
            stated = self.turned(operator.inputs[READS.get(operator.name, 0)], stated)
        letters = self._output(operator, stated)
        if operator.name == "SPACE_TO_BATCH_ND":
            self.spread.update(dict.fromkeys(outputs, ("", ())))
        elif operator.name not in ("BATCH_TO_SPACE_ND", "RESHAPE"):
            held = [self.spread[index] for index in inputs if index in self.spread]
            self.spread.update(dict.fromkeys(outputs, held[0]) if held else {})
        derived = stated is None and self.unsure(inputs)
        named = stated is None and self.names_an_axis(letters, inputs)
        self.settle_all(outputs, letters, derived=derived, named=named)

    def _output(self, operator: Operator, stated: str | None) -> str | None:
        if stated is not None:
            if operator.name in CONVOLUTIONS:
                self._meet_patches(operator)
            return stated
        rule = Axes._reduce if operator.name in REDUCTIONS else RULES.get(operator.name)
        if rule is not None:
            return rule(self, operator) if operator.inputs else None
        return None if operator.name in NOT_PASSED_ON else self.inherit(operator.inputs, operator.outputs[0])

    def _first(self, operator: Operator) -> str | None:
        return self.axes.get(operator.inputs[0]) or None

    def _listed(self, operator: Operator, index: int = 1) -> list[int] | None:
        """The whole numbers of a constant input."""
        return self.graph.numbers(operator.inputs[index]) if len(operator.inputs) > index else None

    def _meet_patches(self, operator: Operator) -> None:
        """Remember the grid of a patch embedding: a convolution whose windows lie side by side."""
        shape, weight = self.shapes.get(operator.outputs[0]), self.graph.tensors[operator.inputs[1]].shape
        strides = (operator.setting(2, "i"), operator.setting(1, "i"))
        if operator.name == "CONV_2D" and shape and len(weight) == 4 and weight[1:3] == strides and min(strides) > 1:
            self._met.append((shape[1], shape[2]))

    def _transpose(self, operator: Operator) -> str | None:
        return self.permute(operator.inputs[0], self._listed(operator))

    def _reshape(self, operator: Operator) -> str | None:
        source, output, axes = operator.inputs[0], operator.outputs[0], self._first(operator)
        before, after = self.shapes.get(source), self.shapes.get(output)
        if axes is None or before is None or after is None:
            return None
        lead, sizes = self.spread.get(source, ("", ()))
        if lead and after[: len(lead)] == sizes and len(after) == len(lead) + len(axes) - 1:
            return lead + axes[1:]
        merged = [dim for dim in range(2, len(before)) if prod(before[:dim]) == after[0]] if after else []
        if source in self.spread:
            self.spread[output] = ("", ())
        elif merged and axes[0] == "b" and before[0] != after[0] and 0 not in (keep_sizes(before, after, 0) or ()):
            self.spread[output] = (axes[: merged[0]], before[: merged[0]])
        return self.reshape(source, output)

    def _dense(self, operator: Operator) -> str | None:
        rank, axes = self.rank(operator.outputs[0]), self._first(operator)
        if rank == 2:
            return "bc"
        return axes if axes is not None and len(axes) == rank and axes[-1] == "c" else None

    def _reduce(self, operator: Operator) -> str | None:
        return self._first(operator) if operator.setting(0) else self._pick(operator)

    def _pick(self, operator: Operator) -> str | None:
        """The axes after `ARG_MAX`, whose axis is always dropped."""
        return self.drop(operator.inputs[0], self._listed(operator))

    def _squeeze(self, operator: Operator) -> str | None:
        shape = self.shapes.get(operator.inputs[0])
        stated = operator.options.numbers(0, np.int32) if operator.options else None
        if shape is None:
            return None
        single = [dim for dim, size in enumerate(shape) if size == 1]
        return self.drop(operator.inputs[0], single if stated is None else [int(dim) for dim in stated])

    def _expand(self, operator: Operator) -> str | None:
        return self.insert(operator.inputs[0], self._listed(operator))

    def _pack(self, operator: Operator) -> str | None:
        return self.insert(operator.inputs[0], [operator.setting(1, "i")])

    def _unpack(self, operator: Operator) -> str | None:
        return self.drop(operator.inputs[0], [operator.setting(1, "i")])

    def _slice(self, operator: Operator) -> str | None:
        """The axes after a slice; those of which one index is picked are dropped, and new ones may come in."""
        source = operator.inputs[0]
        rank, parts = self.rank(source), self._parts(operator)
        if rank is None or parts is None or [part.dim for part in parts if part.dim is not None] != list(range(rank)):
            return None
        kept = self.drop(source, [part.dim for part in parts if part.picked and part.dim is not None])
        new = [index for index, part in enumerate(part for part in parts if not part.picked) if part.dim is None]
        return insert_axes(kept, new) if kept else None

    def _parts(self, operator: Operator) -> list[Part] | None:
        """What becomes of the dimensions in a `STRIDED_SLICE`."""
        rank, entries = self.rank(operator.inputs[0]), self.shapes.get(operator.inputs[1])
        entries = entries or tuple(size or 0 for size in self.graph.tensors[operator.inputs[1]].shape)
        return None if rank is None or len(entries) != 1 else slices(operator, rank, entries[0])

    def _one_hot(self, operator: Operator) -> str | None:
        return add_classes(self.axes.get(operator.inputs[0], ""), operator.setting(0, "i"))

    def _gather(self, operator: Operator) -> str | None:
        axis = operator.setting(0, "i")
        return self.gather(operator.inputs[0], operator.inputs[1], operator.outputs[0], axis)

    def _multiply(self, operator: Operator) -> str | None:
        """A product with weights keeps the axes; one of queries and keys is a picture for each head, which is a channel."""
        left, right = (self.axes.get(index) for index in operator.inputs[:2])
        if left and right and len(left) == len(right) > 2:
            left = left[:-2] + left[:-3:-1] if operator.setting(0) else left
            right = right[:-2] + right[:-3:-1] if operator.setting(1) else right

        def scores(queries: str, keys: str) -> str | None:
            rank = len(queries)
            axis = self._softmax_axis(operator.outputs[0], rank) if queries[-2] == keys[-1] == "n" else None
            pair = {rank - 1: "qk", rank - 2: "kq"}.get(-1 if axis is None else axis, "hw")
            return {3: "b" + pair, 4: "bc" + pair}.get(rank)

        return self.multiply(left, right, scores)

    def _softmax_axis(self, index: int, rank: int) -> int | None:
        """The axis of a tensor that a softmax further on goes along: that of the keys. `None` where there is none."""
        waiting = [(index, tuple(range(rank)))]
        for tensor, order in waiting:
            for step in self.graph.taken_by.get(tensor, ()):
                operator = self.graph.operators[step]
                output = operator.outputs[0]
                if operator.name == "SOFTMAX":
                    return order[-1]
                if operator.name == "TRANSPOSE" and (permutation := self._listed(operator)) is not None:
                    waiting.append((output, tuple(order[axis] for axis in permutation)))
                elif operator.name in {*POINTWISE, "RESHAPE"} and self.shapes.get(output) == self.shapes.get(tensor):
                    waiting.append((output, order))
        return None

    def from_readers(self, name: int, rank: int) -> str | None:
        """As its readers need them, looked for through steps that turn, add and drop axes, and pointwise ones."""
        return readers_say(
            name,
            rank,
            self.graph.taken_by,
            read=self._read,
            outputs=lambda step: self.graph.operators[step].outputs,
            silent=self.silent,
        )

    def _read(self, step: int, tensor: int, order: Order) -> str | Order | None:
        """What an operator says of a tensor that it reads: its axes, or where they lie in what it makes of them."""
        operator = self.graph.operators[step]
        reads = operator.inputs[READS.get(operator.name, 0) :][:1] == (tensor,)
        stated = state_channels_last(operator, len(order))
        if stated is not None and reads:
            return stated
        if operator.name in MOVES:
            return order_after(order, MOVES[operator.name](self, operator, len(order))) if reads else None
        same = all(self.rank(output) == len(order) for output in operator.outputs)
        return order if operator.name in POINTWISE and same else None

    def _turned(self, operator: Operator, rank: int) -> Order | None:
        permutation = self._listed(operator)
        known = permutation is not None and sorted(permutation) == list(range(rank))
        return tuple(permutation or ()) if known else None

    def _kept(self, operator: Operator, rank: int) -> Order | None:
        before, after = (self.shapes.get(index) for index in (operator.inputs[0], operator.outputs[0]))
        return None if before is None or after is None else keep_sizes(before, after)

    def _expanded(self, operator: Operator, rank: int) -> Order | None:
        return widened(rank, self._listed(operator))

    def _sliced(self, operator: Operator, rank: int) -> Order | None:
        parts = self._parts(operator)
        return None if parts is None else tuple(part.dim for part in parts if not part.picked)


MOVES = {
    "TRANSPOSE": Axes._turned,
    "RESHAPE": Axes._kept,
    "SQUEEZE": Axes._kept,
    "EXPAND_DIMS": Axes._expanded,
    "STRIDED_SLICE": Axes._sliced,
}


RULES = {
    "TRANSPOSE": Axes._transpose,
    "RESHAPE": Axes._reshape,
    "FULLY_CONNECTED": Axes._dense,
    "SQUEEZE": Axes._squeeze,
    "EXPAND_DIMS": Axes._expand,
    "PACK": Axes._pack,
    "UNPACK": Axes._unpack,
    "STRIDED_SLICE": Axes._slice,
    "GATHER": Axes._gather,
    "ONE_HOT": Axes._one_hot,
    "BATCH_MATMUL": Axes._multiply,
    "ARG_MAX": Axes._pick,
    "ARG_MIN": Axes._pick,
}


def state_channels_last(operator: Operator, rank: int | None) -> str | None:
    """The axes of what goes into and comes out of an operator that fixes them, `None` for all others."""
    if operator.name in IMAGES and rank == 4:
        return "bhwc"
    return "bdhwc" if operator.name in VOLUMES and rank == 5 else None
