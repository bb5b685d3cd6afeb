"""What each operator of ONNX does to receptive fields, from its attributes and constant inputs."""

from __future__ import annotations

# MOVED
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx

from ...core.receptive_field import Field, resized, transposed, window
from ..common.field import Factor, Places, constant, plain
from ..graph.field import padding_same, regrouped
from .attention import ATTENTIONS
from .axes import AxesFlow
from .graph import attributes


def _same(step: Step) -> Places:
    return step.source


def _merge(step: Step) -> Places:
    every = step.inputs()
    return every[0].over(every[1:])


def _kernel(step: Step) -> list[int]:
    said = step.said.get("kernel_shape")
    if said:
        return list(said)
    at = 3 if step.node.op_type.startswith("QLinear") else 1
    stored = step.graph.initializers.get(step.graph.weight_name(step.node.input[at]))
    return list(stored.dims[2:]) if stored is not None else list(step.input(at).shape[2:])


def _windows(step: Step) -> Places:
    source, kernel = step.source, _kernel(step)
    count, turned = len(kernel), step.node.op_type == "ConvTranspose"
    strides = step.said.get("strides") or [1] * count
    dilations = step.said.get("dilations") or [1] * count
    pads = step.said.get("pads") or [0] * 2 * count
    auto = bytes(step.said.get("auto_pad", b"NOTSET")).decode()
    if len(source.dims) != count + 2:
        return step.lost()
    rules: dict[int, Callable[[Field], Field]] = {}
    for at, (size, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
        pad = pads[at]
        before, after = source.shape[at + 2], step.shape[at + 2]
        small, large = (before, after) if turned else (after, before)
        if auto.startswith("SAME") or (turned and step.said.get("output_shape")):
            total = padding_same(large, small, (size - 1) * dilation + 1, stride)
            pad = total - total // 2 if auto == "SAME_LOWER" else total // 2
        elif auto == "VALID":
            pad = 0
        rules[at + 2] = partial(
            transposed if turned else window, kernel=size, stride=stride, dilation=dilation, padding=pad
        )
    return source.windowed(rules, step.shape)


def _global(step: Step) -> Places:
    return step.source.reduced(range(2, len(step.shape)), keep=True)


def _reduced(step: Step) -> Places:
    keep, source = bool(step.said.get("keepdims", 1)), step.source
    if step.node.op_type.startswith("Arg"):
        return source.reduced([int(step.said.get("axis", 0))], keep)
    axes = step.values(1, "axes")
    if axes is None:
        return step.lost("the axes of a reduction are computed")
    return source if not axes and step.said.get("noop_with_empty_axes") else source.reduced(axes or None, keep)


def _over_axis(step: Step) -> Places:
    """Softmax and normalisations over the axes from `axis` on: their statistics see all of those."""
    source, rank = step.source, len(step.shape)
    axis = int(step.said.get("axis", -1)) % rank
    single = step.node.op_type in ("Softmax", "LogSoftmax", "Hardmax")
    return Places(source.dims, source.mixed([axis] if single else range(axis, rank)).fields)


def _skipped(step: Step) -> Places:
    """A sum with what went past a block, and a norm over the channels of each token."""
    return step.input(0).over([step.input(1)]).mixed([-1])


def _attended(step: Step) -> Places:
    """Every token may depend on all tokens."""
    source = step.source
    if not source.fields:
        return step.lost("queries that come from no image")
    mixed = source.mixed([at for at in range(len(source.dims)) if source.along(at)])
    return replace(mixed, dims=(*mixed.dims[:-1], plain(step.shape)[-1]))


def _over_places(step: Step) -> Places:
    source = step.source
    return Places(source.dims, source.mixed([at for at in range(len(source.dims)) if source.along(at)]).fields)


def _viewed(step: Step) -> Places:
    return step.source.viewed(step.shape)


def _permuted(step: Step) -> Places:
    return step.source.permuted(step.said.get("perm") or range(len(step.shape))[::-1])


def _joined(step: Step) -> Places:
    every, dim = step.inputs(), int(step.said["axis"])
    bare = [at for at, each in enumerate(every) if not each.dims]
    if len(bare) == 1:
        # A class token that is expanded to a computed shape: what is left over is its own.
        shape = list(step.shape)
        shape[dim] -= sum(each.shape[dim] for each in every if each.dims)
        every[bare[0]] = constant(shape)
    return every[0].joined(every[1:], dim)


def _multiplied(step: Step) -> Places:
    return step.input(0).times(step.input(1), step.shape)


def _gemm(step: Step) -> Places:
    """A matrix product with weights; either may be stored turned."""
    one, two = step.input(0), step.input(1)
    one = one.permuted([1, 0]) if step.said.get("transA") else one
    two = two.permuted([1, 0]) if step.said.get("transB") else two
    return one.times(two, step.shape)


def _joined_codes(step: Step) -> Places:
    """Concat of codes: scale and zero point of the result, then three inputs for each part."""
    every = [step.input(at) for at in range(2, len(step.node.input), 3)]
    return every[0].joined(every[1:], int(step.said["axis"]))


def _quantised_product(step: Step) -> Places:
    one, two = step.input(0), step.input(3)
    if step.node.op_type == "QGemm":
        one = one.permuted([1, 0]) if step.said.get("transA") else one
        two = two.permuted([1, 0]) if step.said.get("transB") else two
    return one.times(two, step.shape)


def _gathered(step: Step) -> Places:
    source, axis = step.source, int(step.said.get("axis", 0))
    if not source.fields:
        return step.lost()
    if len(step.shape) == len(source.dims) - 1:
        return source.picked(axis)
    return step.lost() if source.along(axis) or len(step.shape) != len(source.dims) else source.windowed({}, step.shape)


def _sliced(step: Step) -> Places:
    source = step.source
    starts, ends = step.values(1, "starts"), step.values(2, "ends")
    axes, jumps = step.values(3, "axes"), step.values(4, "steps")
    if starts is None or ends is None or axes is None or jumps is None:
        return step.lost("a slice whose bounds are computed")
    axes = axes or list(range(len(starts)))
    rules: dict[int, Callable[[Field], Field]] = {}
    made = source
    for start, axis, jump in zip(starts, axes, jumps or [1] * len(starts), strict=True):
        dim = axis % len(source.dims)
        start = max(0, start + source.shape[dim]) if start < 0 else start
        if jump < 0:
            return step.lost("a slice that runs backwards")
        if len(source.along(dim)) > 1:
            dims = list(made.dims)
            dims[dim] = (Factor(source.along(dim), step.shape[dim]),)
            made = Places(tuple(dims), made.fields)
        else:
            rules[dim] = partial(window, kernel=1, stride=jump, padding=-start)
    return made.windowed({dim: rule for dim, rule in rules.items() if made.along(dim)}, step.shape)


def _split(step: Step) -> Places:
    source = step.source
    return step.lost() if source.along(int(step.said.get("axis", 0))) else source.windowed({}, step.shape)


def _padded(step: Step) -> Places:
    pads, axes = step.values(1, "pads"), step.values(3)
    if pads is None or axes is None:
        return step.lost("padding whose sizes are computed")
    axes = axes or list(range(len(pads) // 2))
    rules = {axis % len(step.shape): partial(window, kernel=1, padding=int(pads[at])) for at, axis in enumerate(axes)}
    return step.source.windowed(rules, step.shape)


def _resized(step: Step) -> Places:
    source = step.source
    mode = bytes(step.said.get("mode", b"nearest")).decode()
    old = step.node.op_type == "Upsample"
    place = "asymmetric" if old else bytes(step.said.get("coordinate_transformation_mode", b"half_pixel")).decode()
    sizes = [(before, after) for before, after in zip(source.shape, step.shape, strict=True) if before != after]
    known = {"nearest": all(after % before == 0 for before, after in sizes)}.get(
        mode, place in ("half_pixel", "pytorch_half_pixel", "align_corners")
    )
    if mode == "nearest" and place == "align_corners":
        known = False
    if not known or step.said.get("antialias") or mode not in ("nearest", "linear", "cubic"):
        return step.lost(f"a resize of the kind {mode}, {place} isn't followed")
    if mode == "nearest" and bytes(step.said.get("nearest_mode", b"floor")) == b"ceil":
        return step.lost("a resize that rounds up isn't followed")
    corners = place == "align_corners"
    rules = {
        dim: partial(resized, before=source.shape[dim], after=step.shape[dim], rule=mode, corners=corners)
        for dim in range(len(step.shape))
    }
    return source.windowed(rules, step.shape)


def _expanded(step: Step) -> Places:
    source = step.source
    lead = len(step.shape) - len(source.dims)
    return Places((*plain(step.shape)[:lead], *source.dims), source.fields).windowed({}, step.shape)


def _regrouped(step: Step) -> Places:
    deeper = step.node.op_type == "SpaceToDepth"
    return regrouped(step.source, step.shape, (2, 3), int(step.said["blocksize"]), deeper)


def rule_of(node: onnx.NodeProto) -> Callable[[Step], Places] | None:
    """The rule of a node's operator, `None` for one that isn't followed."""
    if node.domain not in ("", "ai.onnx", "com.microsoft"):
        return None
    if node.op_type.startswith(("Reduce", "ArgM")):
        return _reduced
    return RULES.get(node.op_type)


def _rules() -> dict[str, Callable[[Step], Places]]:
    table: Sequence[tuple[Callable[[Step], Places], str]] = (
        (
            _windows,
            "Conv FusedConv ConvInteger QLinearConv ConvTranspose MaxPool AveragePool LpPool QLinearAveragePool",
        ),
        (_global, "GlobalAveragePool GlobalMaxPool GlobalLpPool QLinearGlobalAveragePool"),
        (_over_axis, "Softmax LogSoftmax Hardmax LayerNormalization SimplifiedLayerNormalization RMSNormalization"),
        (_skipped, "SkipLayerNormalization SkipSimplifiedLayerNormalization"),
        (_attended, " ".join(sorted(ATTENTIONS))),
        (_over_places, "InstanceNormalization GroupNormalization MeanVarianceNormalization"),
        (_viewed, "Reshape Flatten Squeeze Unsqueeze"),
        (_permuted, "Transpose"),
        (_joined, "Concat"),
        (_multiplied, "MatMul FusedMatMul"),
        (_gemm, "Gemm FusedGemm"),
        (_gathered, "Gather"),
        (_sliced, "Slice"),
        (_split, "Split"),
        (_padded, "Pad"),
        (_resized, "Resize Upsample"),
        (_expanded, "Expand"),
        (_regrouped, "DepthToSpace SpaceToDepth"),
        (_merge, "Add Sub Mul Div Pow Min Max Sum Mean PRelu Where Mod And Or Xor Equal Less Greater LessOrEqual"),
        (_merge, "GreaterOrEqual BiasGelu QLinearAdd QLinearMul"),
        (_joined_codes, "QLinearConcat"),
        (_quantised_product, "QLinearMatMul QGemm"),
        (_same, "BatchNormalization LRN Dropout Cast Identity Clip Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid"),
        (_same, "HardSwish Tanh Softplus Softsign Gelu FastGelu QuickGelu Swish Mish ThresholdedRelu Erf Exp Log Sqrt"),
        (_same, "QLinearSigmoid QLinearLeakyRelu"),
        (_same, "Reciprocal Abs Neg Floor Ceil Round Sign Not Sin Cos QuantizeLinear DequantizeLinear IsNaN"),
    )
    return {name: rule for rule, names in table for name in names.split()}


RULES = _rules()


class Step:
    """One node: its attributes, and the places of its inputs."""

    def __init__(
        self, flow: AxesFlow, places: Mapping[str, Places], node: onnx.NodeProto, shape: Sequence[int]
    ) -> None:
        self.flow, self.places, self.node, self.shape = flow, places, node, tuple(shape)
        self.graph = flow.graph
        self.said: Mapping[str, Any] = attributes(node)

    @property
    def source(self) -> Places:
        return self.input(0)

    def input(self, at: int) -> Places:
        name = self.node.input[at]
        known = self.places.get(name)
        if known is not None:
            return known
        stored = self.graph.initializers.get(name)
        shape = tuple(stored.dims) if stored is not None else self.flow.shapes.get(name)
        value = self.graph.constant(name) if shape is None else None
        return constant(value.shape if value is not None else shape or ())

    def inputs(self) -> list[Places]:
        return [self.input(at) for at, name in enumerate(self.node.input) if name]

    def values(self, at: int, attribute: str = "") -> list[Any] | None:
        """Constant numbers, from an input or (older opsets) an attribute; `None` where they aren't constant."""
        if attribute in self.said:
            return list(self.said[attribute])
        if len(self.node.input) <= at or not self.node.input[at]:
            return []
        value = self.graph.constant(self.node.input[at])
        return None if value is None else np.ravel(value).tolist()

    def lost(self, what: str = "") -> Places:
        first = next(each for each in self.inputs() if each.fields)
        return first.lost(what or f"{self.node.op_type} isn't followed", self.shape)
