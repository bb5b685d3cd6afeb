"""Receptive fields of the tensors of an ONNX graph: each operator in the form that the rules know, from its attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from ...core.receptive_field import MOST_PHASES, Sampling
from ..common.field import Positions, constant
from ..common.field_rules import STILL, Operation, by_name, depth_to_space, nary, space_to_depth, unary, unknown
from ..graph import field as graph_field
from .attention_ops import ATTENTIONS, is_attention
from .axes import Axes
from .graph import Graph, attributes

Rule = Callable[["Step"], Operation]


@dataclass(frozen=True)
class Step(graph_field.Step[str]):
    """One node and one of its outputs, with its attributes."""

    @property
    def kind(self) -> str:
        return str(self.operator.op_type)

    @cached_property
    def options(self) -> dict[str, Any]:
        """The attributes of the node."""
        return attributes(self.operator)

    def word(self, name: str, default: str) -> str:
        """An attribute that holds a word."""
        return bytes(self.options.get(name, default.encode())).decode()

    def numbers(self, index: int, attribute: str = "") -> list[Any]:
        """Constant numbers, from an input or (older opsets) an attribute; a `LookupError` where they are computed."""
        if attribute in self.options:
            return list(self.options[attribute])
        if len(self.names) <= index or not self.names[index]:
            return []
        value = self.flow.graph.constant(self.names[index])
        if value is None:
            raise LookupError("computed in the graph")
        return list(np.ravel(value).tolist())

    def along(self, default: int) -> int:
        """The axis that the node states."""
        return int(self.options.get("axis", default))

    def unfollowed(self) -> Operation:
        return unknown(self, f"{self.kind} isn't followed")


def _kernel(step: Step) -> list[int]:
    sizes = step.options.get("kernel_shape")
    if sizes:
        return list(sizes)
    index = 3 if step.kind.startswith("QLinear") else 1
    stored = step.flow.graph.initializers.get(step.flow.graph.weight_name(step.names[index]))
    return list(stored.dims[2:] if stored is not None else step.input(index).shape[2:])


def _window(step: Step) -> Operation:
    options, kernel, transposed = step.options, _kernel(step), step.kind == "ConvTranspose"
    if len(step.source.dims) != len(kernel) + 2:
        return step.unfollowed()
    padding = AUTO_PADDING.get(step.word("auto_pad", "NOTSET"), options.get("pads") or 0)
    if transposed and options.get("output_shape") and padding != "same":
        padding = "same_lower"
    return Operation(
        "transposed" if transposed else "window",
        [step.source],
        range(2, len(kernel) + 2),
        kernel=kernel,
        stride=options.get("strides") or 1,
        dilation=options.get("dilations") or 1,
        padding=padding if isinstance(padding, str | int) else padding[: len(kernel)],
    )


AUTO_PADDING = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}


def _reduce(step: Step) -> Operation:
    if step.kind.startswith("Arg"):
        return Operation("reduce", [step.source], [step.along(0)])
    axes = step.numbers(1, "axes")
    if not axes and step.options.get("noop_with_empty_axes"):
        return Operation("same", [step.source])
    return Operation("reduce", [step.source], axes or None)


def _normalize(step: Step) -> Operation:
    """Statistics over the axes from `axis` on."""
    rank = len(step.shape)
    return Operation("normalize", [step.source], range(step.along(-1) % rank, rank))


def _skip(step: Step) -> Operation:
    """A sum with what went past a block, and a norm over the channels of each token."""
    return Operation("normalize", [step.input(0).combine([step.input(1)])], [-1])


def _attention(step: Step) -> Operation:
    if not step.source.fields:
        return unknown(step, "queries that come from no image")
    return Operation("attention", [step.source], None)


def _attention_weights(step: Step) -> Operation:
    """The weights inside an attention operator, rank 4; keys and values that it gives besides aren't followed."""
    if len(step.shape) != 4 or not step.source.fields or step.source.shape[-2] != step.shape[-2]:
        return step.unfollowed()
    second = step.input(1) if len(step.names) > 1 and step.names[1] else step.source
    return Operation("weights", [step.source, second if second.fields else step.source])


def _concatenate(step: Step) -> Operation:
    dim, flow = int(step.options["axis"]) % len(step.shape), step.flow
    names, parts = [name for name in step.names if name], step.inputs
    for index in [index for index, positions in enumerate(parts) if not positions.dims]:
        # A class token that is expanded to a computed shape: as many as there are in its weight.
        maker = flow.graph.made_by.get(names[index])
        weight = flow.shape_of(flow.graph.nodes[maker].input[0]) if maker is not None else ()
        shape = list(step.shape)
        shape[dim] = weight[dim] if len(weight) == len(shape) else shape[dim] - _sizes(parts, dim)
        parts[index] = constant(shape)
    return Operation("concatenate", parts, [dim])


def _sizes(parts: Sequence[Positions], dim: int) -> int:
    return sum(positions.shape[dim] for positions in parts if positions.dims)


def _matmul(step: Step) -> Operation:
    return Operation("matmul", [step.input(0), step.input(3 if step.kind == "QLinearMatMul" else 1)])


def _gemm(step: Step) -> Operation:
    """A matrix product with weights; either may be stored transposed."""
    operands = [step.input(0), step.input(3 if step.kind == "QGemm" else 1)]
    for index, option in enumerate(("transA", "transB")):
        if step.options.get(option):
            operands[index] = operands[index].permute([1, 0])
    return Operation("matmul", operands)


def _add_codes(step: Step) -> Operation:
    """Arithmetic on codes: each operand is followed by its scale and zero point."""
    return Operation("elementwise", [step.input(0), step.input(3)])


def _concatenate_codes(step: Step) -> Operation:
    """Scale and zero point of the result, then three inputs for each part."""
    parts = [step.input(index) for index in range(2, len(step.names), 3)]
    return Operation("concatenate", parts, [int(step.options["axis"])])


def _split(step: Step) -> Operation:
    """One of several parts, which lie in a row."""
    axis, before = step.along(0), list(step.operator.output).index(step.output)
    sizes = step.numbers(1, "split") or [-(-step.source.shape[axis] // len(step.operator.output))] * before
    return Operation("slice", [step.source], [axis], padding=-int(sum(sizes[:before])))


def _gather(step: Step) -> Operation:
    source, axis = step.source, step.along(0)
    if source.fields and len(step.shape) == len(source.dims) - 1:
        return Operation("pick", [source], [axis])
    if not source.fields or len(step.shape) != len(source.dims):
        return step.unfollowed()
    size = source.shape[axis]
    return Operation("take", [source], [axis], picks=[int(index) % size for index in step.numbers(1)])


def _tile(step: Step) -> Operation:
    positions = step.source
    for dim, (size, count) in enumerate(zip(positions.shape, step.numbers(1, "repeats"), strict=True)):
        positions = positions if count == 1 else positions.take(dim, np.tile(np.arange(size), int(count)))
    return Operation("same", [positions])


def _slice(step: Step) -> Operation:
    source = step.source
    if step.shape == source.shape and -1 not in step.numbers(4, "steps"):
        return Operation("same", [source])
    starts, strides = step.numbers(1, "starts"), step.numbers(4, "steps")
    dims = step.numbers(3, "axes") or list(range(len(starts)))
    sizes = [source.shape[dim] for dim in dims]
    starts = [start + size if start < 0 else start for start, size in zip(starts, sizes, strict=True)]
    fronts = [min(max(0, start), size - 1) for start, size in zip(starts, sizes, strict=True)]
    return Operation("slice", [source], dims, stride=strides or 1, padding=[-front for front in fronts])


def _pad(step: Step) -> Operation:
    if step.shape == step.source.shape:
        return Operation("same", [step.source])
    pads, axes = step.numbers(1, "pads"), step.numbers(3)
    if step.word("mode", "constant") == "wrap" and max(pads) > 0:
        return unknown(step, "a picture that is continued from its other end")
    count = len(pads) // 2
    return Operation("window", [step.source], axes or range(count), padding=[int(pad) for pad in pads[:count]])


def _resize(step: Step) -> Operation:
    mode, grid = step.word("mode", "nearest"), step.word("coordinate_transformation_mode", "half_pixel")
    rounding = ROUNDINGS[step.word("nearest_mode", "round_prefer_floor")]
    older = step.kind == "Upsample" or len(step.names) == 2  # before opset 11
    samplings = []
    for dim, scale in enumerate(_scales(step, older)):
        before, after = step.source.shape[dim], step.shape[dim]
        if older:
            rounding = "floor" if scale >= 1 else "ceil"
            sampling = Sampling(1 / scale, Fraction(0), rounding)
        else:
            corners = _corners(step, dim) if grid == "tf_crop_and_resize" else (Fraction(0), Fraction(1))
            sampling = _sampling(grid, (before, after), scale, corners)._replace(rounding=rounding)
        still = before == after and sampling[:2] == STILL[:2]
        samplings.append(STILL if still else sampling)
    antialias = bool(step.options.get("antialias"))
    return Operation("resize", [step.source], None, mode=mode, samplings=samplings, antialias=antialias)


ROUNDINGS = {"floor": "floor", "ceil": "ceil", "round_prefer_floor": "half down", "round_prefer_ceil": "half up"}


def _sampling(grid: str, sizes: tuple[int, int], scale: Fraction, corners: tuple[Fraction, Fraction]) -> Sampling:
    """Where a resize reads, from a size to another.

    Formula: ONNX operators, Resize, `coordinate_transformation_mode`.
    """
    before, after = sizes
    if grid == "asymmetric" or (grid == "pytorch_half_pixel" and after == 1):
        return Sampling(1 / scale)
    if grid in ("align_corners", "tf_crop_and_resize"):
        start, end = corners
        first, last = start * (before - 1), end * (before - 1)
        return Sampling((last - first) / (after - 1), first) if after > 1 else Sampling(1 / scale, (first + last) / 2)
    sampling = Sampling.by_centres(1 / scale)
    if grid == "half_pixel_symmetric":
        return sampling._replace(shift=sampling.shift + Fraction(before, 2) * (1 - after / (scale * before)))
    if grid not in ("half_pixel", "pytorch_half_pixel"):
        raise LookupError(grid)
    return sampling


def _scales(step: Step, older: bool) -> list[Fraction]:
    """By how much a resize enlarges each dimension; where the graph computes that, what follows from the sizes."""
    scales = [Fraction(after, before) for before, after in zip(step.source.shape, step.shape, strict=True)]
    dims = [int(dim) % len(scales) for dim in step.options.get("axes") or range(len(scales))]
    policy = step.word("keep_aspect_ratio_policy", "stretch")
    try:
        stated = step.numbers(1 if older else 2, "scales")
        sizes = [] if policy == "stretch" else step.numbers(3)
    except LookupError:
        if policy != "stretch":
            raise
        return scales
    if sizes:
        ratios = [Fraction(int(size), step.source.shape[dim]) for dim, size in zip(dims, sizes, strict=True)]
        stated = [min(ratios) if policy == "not_larger" else max(ratios)] * len(dims)
    for dim, scale in zip(dims, stated, strict=bool(stated)):
        scales[dim] = Fraction(scale).limit_denominator(MOST_PHASES)
    return scales


def _corners(step: Step, dim: int) -> tuple[Fraction, Fraction]:
    """The part of a dimension that is resized, from 0 to 1."""
    rank = len(step.shape)
    dims = [int(axis) % rank for axis in step.options.get("axes") or range(rank)]
    if dim not in dims:
        return Fraction(0), Fraction(1)
    region = step.numbers(1)
    start, end = (Fraction(region[dims.index(dim) + half]).limit_denominator(MOST_PHASES) for half in (0, len(dims)))
    return start, end


def _block(step: Step) -> int:
    return int(step.options["blocksize"])


RULES: dict[str, Rule] = by_name(
    (_window, "Conv FusedConv ConvInteger QLinearConv ConvTranspose MaxPool AveragePool LpPool QLinearAveragePool"),
    (
        unary("reduce", lambda step: range(2, len(step.shape))),
        "GlobalAveragePool GlobalMaxPool GlobalLpPool QLinearGlobalAveragePool",
    ),
    (unary("normalize", lambda step: step.along(-1)), "Softmax LogSoftmax Hardmax"),
    (_normalize, "LayerNormalization SimplifiedLayerNormalization RMSNormalization"),
    (_skip, "SkipLayerNormalization SkipSimplifiedLayerNormalization"),
    (_attention, " ".join(sorted(ATTENTIONS))),
    (unary("normalize", None), "InstanceNormalization GroupNormalization MeanVarianceNormalization"),
    (unary("reshape"), "Reshape Flatten Squeeze Unsqueeze"),
    (unary("permute", lambda step: step.options.get("perm") or range(len(step.shape))[::-1]), "Transpose"),
    (_concatenate, "Concat"),
    (_matmul, "MatMul FusedMatMul QLinearMatMul"),
    (_gemm, "Gemm FusedGemm QGemm"),
    (_gather, "Gather"),
    (_slice, "Slice"),
    (_tile, "Tile"),
    (_split, "Split"),
    (_pad, "Pad"),
    (_resize, "Resize Upsample"),
    (unary("expand"), "Expand"),
    (depth_to_space((2, 3), _block), "DepthToSpace"),
    (space_to_depth((2, 3), _block), "SpaceToDepth"),
    (
        nary("elementwise"),
        "Add Sub Mul Div Pow Min Max Sum Mean PRelu Where Mod And Or Xor Equal Less Greater LessOrEqual",
    ),
    (nary("elementwise"), "GreaterOrEqual BiasGelu"),
    (_add_codes, "QLinearAdd QLinearMul"),
    (_concatenate_codes, "QLinearConcat"),
    (
        unary("same"),
        "BatchNormalization LRN Dropout Cast Identity Clip Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid",
    ),
    (
        unary("same"),
        "HardSwish Tanh Softplus Softsign Gelu FastGelu QuickGelu Swish Mish ThresholdedRelu Erf Exp Log Sqrt",
    ),
    (unary("same"), "QLinearSigmoid QLinearLeakyRelu"),
    (unary("same"), "Reciprocal Abs Neg Floor Ceil Round Sign Not Sin Cos QuantizeLinear DequantizeLinear IsNaN"),
)


def _rule(graph: Graph, node: onnx.NodeProto) -> Rule | None:
    """How a node is translated, `None` for an operator that isn't followed."""
    if graph.is_function(node) or node.domain not in ("", "ai.onnx", "com.microsoft"):
        return None
    return _reduce if node.op_type.startswith(("Reduce", "ArgM")) else RULES.get(node.op_type)


class Fields(graph_field.FieldFlow[str]):
    """What every tensor of the graph sees of the model's one image."""

    step = Step

    def __init__(self, graph: Graph, axes: Axes) -> None:
        super().__init__([value.name for value in graph.inputs], axes)
        self.graph = graph
        for node in graph.nodes:
            translate = _rule(graph, node)
            for name in node.output:
                if name in graph.data:
                    inside = is_attention(node) and name != node.output[0]  # keys, values and weights
                    self.follow(
                        node, node.input, name, kind=node.op_type, rule=_attention_weights if inside else translate
                    )

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor that depends on no image."""
        stored = self.graph.initializers.get(name)
        shape = tuple(stored.dims) if stored is not None else self.axes.shapes.get(name)
        value = self.graph.constant(name) if shape is None else None
        return value.shape if value is not None else shape or ()
