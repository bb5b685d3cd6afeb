"""Receptive fields of the tensors of an ONNX graph: each operator in the form that the rules know, from its attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from ..common.field import Positions, constant
from ..common.field_rules import Operation, by_name, depth_to_space, nary, space_to_depth, unary, unknown
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
    if transposed and options.get("output_shape") and padding != "same_lower":
        padding = "same"
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


def _gather(step: Step) -> Operation:
    source, axis = step.source, step.along(0)
    if source.fields and len(step.shape) == len(source.dims) - 1:
        return Operation("pick", [source], [axis])
    if not source.fields or len(step.shape) != len(source.dims):
        return step.unfollowed()
    return Operation("split", [source], [axis])


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
    count = len(pads) // 2
    return Operation("window", [step.source], axes or range(count), padding=[int(pad) for pad in pads[:count]])


def _resize(step: Step) -> Operation:
    mode = step.word("mode", "nearest")
    grid = "asymmetric" if step.kind == "Upsample" else step.word("coordinate_transformation_mode", "half_pixel")
    sizes = zip(step.source.shape, step.shape, strict=True)
    if mode == "nearest":
        known = grid != "align_corners" and all(after % before == 0 for before, after in sizes)
        known = known and step.word("nearest_mode", "floor") != "ceil"
    else:
        known = mode in ("linear", "cubic") and grid in ("half_pixel", "pytorch_half_pixel", "align_corners")
    if not known or step.options.get("antialias"):
        return unknown(step, f"a resize of the kind {mode}, {grid} isn't followed")
    return Operation("resize", [step.source], None, mode=mode, corners=grid == "align_corners", scales=_scales(step))


def _scales(step: Step) -> list[float]:
    """By how much a resize enlarges each dimension, where the graph says it in numbers."""
    try:
        scales = step.numbers(1, "scales") if step.kind == "Upsample" else step.numbers(2)
    except LookupError:
        return []
    return scales if len(scales) == len(step.shape) else []


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
    (unary("split", lambda step: step.along(0)), "Split"),
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
