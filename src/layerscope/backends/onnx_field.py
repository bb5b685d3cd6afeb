"""Receptive fields of the tensors of an ONNX graph, from the attributes of its operators, and the weights of each node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
import onnx

from ..places import Factor, Places, constant, followed, plain, seen
from ..receptive import Field, resized, transposed, window
from .onnx_axes import AxesFlow
from .onnx_graph import Graph, attributes

FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
CODES = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT4, onnx.TensorProto.UINT4}
# Their constants are options, no weights.
NO_WEIGHTS = {"Resize", "Upsample", "Clip", "Pad", "Dropout", "QuantizeLinear", "DequantizeLinear", "TopK", "Range"}

# Where the weights are among the inputs of operators on codes; the others are scales and zero points.
STORED = {"QLinearConv": (3, 8), "QLinearMatMul": (3,), "QGemm": (3, 6), "ConvInteger": (1,), "MatMulInteger": (1,)}


def weights_of(graph: Graph, node: onnx.NodeProto) -> dict[str, int]:
    """The stored weights that a node reads, also through casts and dequantisation, and how many numbers each has."""
    found: dict[str, int] = {}
    if node.op_type in NO_WEIGHTS:
        return found
    inputs, kinds = list(node.input), FLOATS | CODES
    if node.op_type in STORED:
        inputs = [inputs[at] for at in STORED[node.op_type] if at < len(inputs)]
        kinds |= {onnx.TensorProto.INT32}  # biases of convolutions on codes
    for name in inputs:
        tensor = graph.initializers.get(graph.weight_name(name)) if name and name not in graph.data else None
        if tensor is not None and len(tensor.dims) and tensor.data_type in kinds:
            found[tensor.name] = prod(tensor.dims)
    return found


class FieldFlow:
    """What every tensor of the graph sees of the model's one image."""

    def __init__(self, graph: Graph, flow: AxesFlow) -> None:
        self.graph, self.flow = graph, flow
        self.places: dict[str, Places] = {}
        images = [each.name for each in graph.inputs if len(flow.shapes.get(each.name) or ()) > 2]
        if len(images) != 1:
            return
        (image,) = images
        shape, axes = flow.shapes[image], flow.axes[image]
        if shape and len(axes) == len(shape):
            self.places[image] = seen(axes, shape)
        for node in graph.nodes:
            for name in node.output:
                if name in graph.data:
                    self._follow(node, name)

    def of(self, tensor: str) -> tuple[Field, ...] | None:
        """The fields of a tensor, one for each axis of the image."""
        places = self.places.get(tensor)
        return None if places is None else places.receptive()

    def _follow(self, node: onnx.NodeProto, output: str) -> None:
        first = next((self.places[name] for name in node.input if name in self.places), None)
        shape = self.flow.shapes.get(output)
        if first is None:
            return
        if shape is None:
            self.places[output] = first.lost("no tensor of one shape", ())
            return
        lost = [name for name in node.input if name in self.graph.data and name not in self.places]
        rule = (
            None if self.graph.is_function(node) or node.domain not in ("", "ai.onnx", "com.microsoft") else _rule(node)
        )
        if lost:
            made = first.lost(f"{lost[0]!r} comes from another input", shape)
        elif rule is None:
            made = first.lost(f"{node.op_type} isn't followed", shape)
        else:
            made = followed(partial(rule, Step(self, node, shape)), first, node.op_type, shape)
        self.places[output] = made


class Step:
    """One node: its attributes, and the places of its inputs."""

    def __init__(self, flow: FieldFlow, node: onnx.NodeProto, shape: tuple[int, ...]) -> None:
        self.flow, self.node, self.shape = flow, node, tuple(shape)
        self.said: Mapping[str, Any] = attributes(node)

    @property
    def source(self) -> Places:
        return self.input(0)

    def input(self, at: int) -> Places:
        name = self.node.input[at]
        known = self.flow.places.get(name)
        if known is not None:
            return known
        stored = self.flow.graph.initializers.get(name)
        shape = tuple(stored.dims) if stored is not None else self.flow.flow.shapes.get(name)
        value = self.flow.graph.constant(name) if shape is None else None
        return constant(value.shape if value is not None else shape or ())

    def inputs(self) -> list[Places]:
        return [self.input(at) for at, name in enumerate(self.node.input) if name]

    def values(self, at: int, attribute: str = "") -> list[Any] | None:
        """Constant numbers, from an input or (older opsets) an attribute; `None` where they aren't constant."""
        if attribute in self.said:
            return list(self.said[attribute])
        if len(self.node.input) <= at or not self.node.input[at]:
            return []
        value = self.flow.graph.constant(self.node.input[at])
        return None if value is None else np.ravel(value).tolist()

    def lost(self, what: str = "") -> Places:
        first = next(each for each in self.inputs() if each.fields)
        return first.lost(what or f"{self.node.op_type} isn't followed", self.shape)


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
    stored = step.flow.graph.initializers.get(step.flow.graph.weight_name(step.node.input[at]))
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
            total = max((small - 1) * stride + (size - 1) * dilation + 1 - large, 0)
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
    size = int(step.said["blocksize"])
    if step.node.op_type == "SpaceToDepth":
        rules: dict[int, Callable[[Field], Field]] = {dim: partial(window, kernel=size, stride=size) for dim in (2, 3)}
    else:
        rules = {dim: partial(resized, before=1 << 10, after=size << 10) for dim in (2, 3)}
    return step.source.windowed(rules, step.shape)


def _rule(node: onnx.NodeProto) -> Callable[[Step], Places] | None:
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
