"""What the axes of each tensor of an ONNX graph are, found by following the data from operator to operator.

Operators such as `Conv` are channels-first by the standard; others move or drop axes in a way that they state; the rest
pass them on. Where none of that says anything, the operators that read the tensor are asked, and at last the rank
decides, which is then noted. The sizes of a tensor never say what an axis is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import onnx

from ...errors import ModelNotReadable
from ..common.axes import CHANNELS_FIRST, CHANNELS_LAST, PICTURES_FIRST, add_classes, keep_sizes
from ..graph.axes import KnownAxes
from ..graph.walk import Order, order_after, readers_say, widened, without
from . import recurrent
from .attention_ops import axes_of, is_attention
from .graph import Graph, attributes
from .transformer_ops import SCORES, attention_axes, channels_last, einsum_axes, prefix_names

Shapes = Mapping[str, tuple[int, ...] | None]


CONVOLUTIONS = {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "FusedConv", "DeformConv"}


FIRST = CONVOLUTIONS | {
    *(
        "MaxPool",
        "AveragePool",
        "LpPool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "GlobalLpPool",
        "MaxUnpool",
        "MaxRoiPool",
    ),
    *("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN", "DepthToSpace", "SpaceToDepth"),
    *("RoiAlign", "GridSample", "ReorderOutput", "QLinearAveragePool", "QLinearGlobalAveragePool", "Upsample"),
}


BLOCKED = "com.microsoft.nchwc"


REDUCTIONS = ("Reduce", "ArgMax", "ArgMin")


NOT_PASSED_ON = {
    *("If", "Loop", "Scan", "NonZero", "TopK", "NonMaxSuppression", "Compress", *recurrent.OPERATORS),
}


class Axes(KnownAxes[str]):
    """The axes of every tensor with data, and the token grids met on the way to it.

    `blocked` are in the layout that ONNX Runtime gives convolutions in files that it has optimised, which nobody else can read.
    `of_two` gives the shapes for two images: where steps come before images, those of one don't tell what a reshape does.
    """

    by_rank = PICTURES_FIRST | {1: "c"}

    def __init__(
        self,
        graph: Graph,
        shapes: Shapes,
        *,
        nodes: Sequence[onnx.NodeProto] | None = None,
        of_two: Callable[[], Shapes] = dict,
    ) -> None:
        super().__init__(graph.data, shapes)
        self.graph, self._of_two = graph, of_two
        self.blocked: set[str] = set()
        self.without_images = False  # whether the axis of a single image went with all others of size one
        self.prefix: tuple[str, ...] = ()
        for value in graph.inputs:
            self.settle(value.name, None)
        for node in graph.nodes if nodes is None else nodes:
            if outputs := [name for name in node.output if name in graph.data]:
                self._follow(node, outputs)

    @classmethod
    def of_inputs(cls, graph: Graph) -> Axes:
        """The axes of the inputs alone, as what reads them needs them."""
        stated = {value.name: value.shape for value in graph.takes.values()}
        shapes = {name: tuple(size or 1 for size in shape) for name, shape in stated.items() if shape}
        return cls(graph, shapes, nodes=())

    def _follow(self, node: onnx.NodeProto, outputs: list[str]) -> None:
        inputs = [name for name in node.input if name in self.axes]
        reordered = node.op_type == "ReorderOutput"
        if not reordered and (node.domain == BLOCKED or any(name in self.blocked for name in inputs)):
            self.blocked.update(outputs)
            self.axes.update(dict.fromkeys(outputs, ""))
            return
        if is_attention(node) or node.op_type in recurrent.OPERATORS:
            self._settle_each(node, outputs)
            return
        rank = self.rank(node.output[0])
        stated = self._as_turned(node, state_channels_first(node, rank)) or attention_axes(self.graph, node, rank)
        last = self._stated_last(node) if stated is None else None
        letters = last or self._output(node, stated)
        if node.op_type == "Concat":
            self.prefix = prefix_names(self.graph, node) or self.prefix
        open_ = last is None and stated is None
        derived = (open_ and self.unsure(inputs)) or (last is not None and not self.images(node.output[0], last))
        self.settle_all(outputs, letters, derived=derived, named=open_ and self.names_an_axis(letters, inputs))

    def _as_turned(self, node: onnx.NodeProto, stated: str | None) -> str | None:
        """The axes that an operator fixes; which is height and which width is as in what it reads, where that is known."""
        return self.turned(node.input[0], stated) if stated and node.input else stated

    def _settle_each(self, node: onnx.NodeProto, outputs: list[str]) -> None:
        """The axes of what a whole attention or a recurrent operator gives, each of its outputs its own."""
        attention = is_attention(node)
        stated = axes_of(0, self.rank(outputs[0])) if attention else None
        if stated and not self.images(outputs[0], stated):
            self.derived.update(outputs)
        for index, name in enumerate(node.output):
            if name in outputs:
                self.settle_all(
                    [name], axes_of(index, self.rank(name)) if attention else recurrent.axes_of(node, index)
                )

    def _stated_last(self, node: onnx.NodeProto) -> str | None:
        """The axes after an operator that works on channels last, where nothing before it is sure of other ones."""
        sure = bool(node.input) and node.input[0] in self.axes and self.certain(node.input[0])
        if sure or not channels_last(self.graph, node):
            return None
        return CHANNELS_LAST.get(self.rank(node.output[0]) or 0)

    @cached_property
    def counts(self) -> set[int]:
        """How many images go into the model: the sizes of its inputs along their axes of images."""
        inputs = [(self.shapes.get(value.name), self.axes[value.name]) for value in self.graph.inputs]
        return {shape[max(0, letters.find("b"))] for shape, letters in inputs if shape}

    def images(self, name: str, letters: str | None = None) -> bool:
        """Whether the rows of a tensor (along `b` of `letters`) can be the images: windows are more than images went in."""
        shape, axis = self.shapes.get(name), (letters or self.axes.get(name, "")).find("b")
        return bool(shape) and 0 <= axis < len(shape or ()) and (shape or ())[axis] in self.counts

    def _output(self, node: onnx.NodeProto, stated: str | None) -> str | None:
        if stated is not None:
            if node.op_type in CONVOLUTIONS:
                self._meet_patches(node)
            return stated
        rule = Axes._reduce if node.op_type.startswith(REDUCTIONS) else RULES.get(node.op_type)
        if rule is not None:
            return rule(self, node) if node.input else None
        opaque = node.op_type in NOT_PASSED_ON or self.graph.is_function(node)
        return None if opaque else self.inherit(node.input, node.output[0])

    def _meet_patches(self, node: onnx.NodeProto) -> None:
        """Remember the grid of a patch embedding: a convolution whose windows lie side by side."""
        options = attributes(node)
        strides: Any = options.get("strides") or ()
        shape = self.shapes.get(node.output[0])
        weight = self.graph.initializers.get(self.graph.weight_name(node.input[1])) if len(node.input) > 1 else None
        kernel: Any = options.get("kernel_shape") or (tuple(weight.dims[2:]) if weight is not None else ())
        if shape and len(shape) == 4 and strides and list(kernel) == list(strides) and min(kernel) > 1:
            self._met.append((shape[2], shape[3]))

    def _transpose(self, node: onnx.NodeProto) -> str | None:
        order: Any = attributes(node).get("perm") or range(self.rank(node.input[0]) or 0)[::-1]
        return self.permute(node.input[0], order)

    @cached_property
    def two(self) -> Shapes:
        """The shapes for two images, where the graph has steps in front of images."""
        if not any(node.op_type in recurrent.OPERATORS for node in self.graph.nodes):
            return {}
        try:
            return self._of_two()
        except ModelNotReadable:  # it takes one alone, whatever its inputs say
            return {}

    def _reshape(self, node: onnx.NodeProto) -> str | None:
        letters = self.reshape(node.input[0], node.output[0])
        one, two = self.shapes.get(node.output[0]), self.two.get(node.output[0])
        if not letters or one is None or two is None or len(one) != len(two) or "b" not in letters:
            return letters
        images = [axis for axis, (size, more) in enumerate(zip(one, two, strict=True)) if more != size]
        if len(images) != 1 or images[0] == letters.index("b"):
            return letters
        rest = letters.replace("b", "")
        rest = rest.replace("h", "n") if len(rest) == 2 else rest
        return rest[: images[0]] + "b" + rest[images[0] :]

    def _listed(self, node: onnx.NodeProto) -> list[int] | None:
        """The axes that a node names, as an attribute (older opsets) or a constant input."""
        dims: Any = attributes(node).get("axes")
        if dims is None and len(node.input) > 1:
            value = self.graph.constant(node.input[1])
            dims = None if value is None else value.ravel().tolist()
        return None if dims is None else [int(dim) for dim in dims]

    def _reduce(self, node: onnx.NodeProto) -> str | None:
        options = attributes(node)
        if options.get("keepdims", 1):
            return self.axes.get(node.input[0]) or None
        single: Any = options.get("axis", 0)
        return self.drop(node.input[0], [single] if node.op_type.startswith("Arg") else self._listed(node))

    def _squeeze(self, node: onnx.NodeProto) -> str | None:
        dims, shape = self._listed(node), self.shapes.get(node.input[0])
        if dims is None and shape is not None:
            dims = [dim for dim, size in enumerate(shape) if size == 1]
            self.without_images |= "b" in [self.axes.get(node.input[0], "")[dim : dim + 1] for dim in dims]
        return self.drop(node.input[0], dims)

    def _unsqueeze(self, node: onnx.NodeProto) -> str | None:
        return self.insert(node.input[0], self._listed(node))

    def _one_hot(self, node: onnx.NodeProto) -> str | None:
        return add_classes(self.axes.get(node.input[0], ""), int(str(attributes(node).get("axis", -1))))

    def _gather(self, node: onnx.NodeProto) -> str | None:
        axis = int(str(attributes(node).get("axis", 0)))
        return self.gather(node.input[0], node.input[1], node.output[0], axis)

    def _multiply(self, node: onnx.NodeProto) -> str | None:
        """A product; of queries and keys it is a channel for each head."""
        left, right = (self.axes.get(name) for name in node.input[:2])
        return self.multiply(left, right, lambda queries, keys: SCORES.get(len(queries)))

    def _einsum(self, node: onnx.NodeProto) -> str | None:
        sure = [self.axes.get(name, "") if name in self.axes and self.certain(name) else "" for name in node.input]
        operands = sure if any(sure) else [self.axes.get(name, "") for name in node.input]
        equation = attributes(node).get("equation", b"")
        return einsum_axes(equation.decode() if isinstance(equation, bytes) else "", operands)

    def _dense(self, node: onnx.NodeProto) -> str | None:
        return "bc"

    def from_readers(self, name: str, rank: int) -> str | None:
        """As its readers need them, looked for through steps that turn, add and drop axes, and pointwise ones."""

        def outputs(step: int) -> list[str]:
            return [tensor for tensor in self.graph.nodes[step].output if tensor]

        return readers_say(name, rank, self.graph.taken_by, read=self._read, outputs=outputs, silent=self.silent)

    def _read(self, step: int, tensor: str, order: Order) -> str | Order | None:
        """What a node says of a tensor that it reads: its axes, or where they lie in what it makes of them."""
        node, first = self.graph.nodes[step], self.graph.nodes[step].input[:1] == [tensor]
        if node.op_type in recurrent.OPERATORS:
            return recurrent.axes_read(node, tensor)
        stated = state_channels_first(node, len(order)) if first else None
        if stated is not None:
            return stated
        if is_attention(node):
            return "bnc" if len(order) == 3 and tensor in node.input[:3] else None
        if node.op_type in MOVES:
            return order_after(order, MOVES[node.op_type](self, node, len(order))) if first else None
        passes = node.op_type not in (*RULES, *NOT_PASSED_ON, *FIRST) and not node.op_type.startswith(REDUCTIONS)
        ranks = {self.rank(name) for name in node.output if name}
        return order if passes and ranks <= {len(order), None} else None

    def _turned(self, node: onnx.NodeProto, rank: int) -> Order | None:
        permutation: Any = attributes(node).get("perm") or range(rank - 1, -1, -1)
        return tuple(permutation) if sorted(permutation) == list(range(rank)) else None

    def _kept(self, node: onnx.NodeProto, rank: int) -> Order | None:
        before, after = (self.shapes.get(name) for name in (node.input[0], node.output[0]))
        return None if before is None or after is None else keep_sizes(before, after)

    def _squeezed(self, node: onnx.NodeProto, rank: int) -> Order | None:
        return without(rank, self._listed(node))

    def _unsqueezed(self, node: onnx.NodeProto, rank: int) -> Order | None:
        return widened(rank, self._listed(node))

    def _picked(self, node: onnx.NodeProto, rank: int) -> Order | None:
        index = self.graph.constant(node.input[1])
        kept = tuple(range(rank))
        if index is not None and not index.ndim:
            return without(rank, [int(str(attributes(node).get("axis", 0)))])
        return kept if index is not None and index.ndim == 1 else None


MOVES = {
    "Transpose": Axes._turned,
    "Reshape": Axes._kept,
    "Squeeze": Axes._squeezed,
    "Unsqueeze": Axes._unsqueezed,
    "Gather": Axes._picked,
}


RULES = {
    "Transpose": Axes._transpose,
    "Reshape": Axes._reshape,
    "Squeeze": Axes._squeeze,
    "Unsqueeze": Axes._unsqueeze,
    "Gather": Axes._gather,
    "OneHot": Axes._one_hot,
    "Einsum": Axes._einsum,
    **dict.fromkeys(("MatMul", "MatMulInteger", "FusedMatMul"), Axes._multiply),
    **dict.fromkeys(("Flatten", "Gemm", "FusedGemm"), Axes._dense),
}


def state_channels_first(node: onnx.NodeProto, rank: int | None) -> str | None:
    """The axes of what goes into and comes out of an operator that fixes them, `None` for all others."""
    if rank is None or (node.domain == BLOCKED and node.op_type != "ReorderOutput"):
        return None
    if node.op_type.startswith("Nhwc") or (node.op_type in FIRST and attributes(node).get("channels_last")):
        return "bhwc" if rank == 4 else None
    return CHANNELS_FIRST.get(rank) if node.op_type in FIRST else None
