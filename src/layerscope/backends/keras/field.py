"""Receptive fields of Keras layers: each layer in the form that the rules know, from its settings and its input."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.receptive_field import Field
from ..common.field import Places, image_places
from ..common.field_rules import Operation, follow, unary
from .names import is_a, is_layer

SAME = (
    *("BatchNormalization", "Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization"),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Masking", "Rescaling", "Normalization", "Identity"),
    *("ReLU", "LeakyReLU", "PReLU", "ELU"),
)


@dataclass(frozen=True)
class Step:
    """One call of a layer or an operation of Keras, the places of the tensors it is given and the shape of its output."""

    layer: Any
    inputs: Sequence[Places]
    shape: tuple[int, ...]

    @property
    def source(self) -> Places:
        return self.inputs[0]

    @property
    def spatial(self) -> list[int]:
        """The dimensions of the picture, by the layer's data format."""
        rank = len(self.source.dims)
        first = getattr(self.layer, "data_format", "channels_last") == "channels_first"
        return list(range(2, rank)) if first else list(range(1, rank - 1))

    @property
    def axis(self) -> list[int] | None:
        """The axes that the layer works along; `None` for all."""
        axis = self.layer.axis
        return [axis] if isinstance(axis, int) else axis


Rule = Callable[[Step], Operation]


class Fields:
    """The `Places` of the tensors of one run, by identity. It holds no tensor alive."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Any, Places]] = {}

    def get(self, tensor: Any) -> Places | None:
        reference, places = self._held.get(id(tensor), (None, None))
        return places if reference is not None and reference() is tensor else None

    def set(self, tensor: Any, places: Places) -> None:
        key = id(tensor)
        self._held[key] = (weakref.ref(tensor, lambda _: self._held.pop(key, None)), places)

    def start(self, tensor: Any, axes: str) -> None:
        """Note the model's input."""
        self.set(tensor, image_places(axes, tuple(tensor.shape)))

    def fields(self, output: Any) -> tuple[Field, ...] | None:
        """The fields of a tensor, one for each axis of the image."""
        places = self.get(output)
        return None if places is None else places.receptive()

    def follow(self, layer: Any, inputs: Sequence[Any], output: Any) -> tuple[Field, ...] | None:
        """The fields of a tensor that `layer` returned when it was called on the tensors `inputs`."""
        rule = _rule(layer)
        # A layer without a rule of its own may have passed on what a layer inside it returned.
        places = self.get(output) if rule is None else None
        if places is None:
            places = self._after(layer, rule, inputs, tuple(int(size) for size in output.shape))
            if places is not None:
                self.set(output, places)
        return self.fields(output)

    def _after(self, layer: Any, rule: Rule | None, inputs: Sequence[Any], shape: tuple[int, ...]) -> Places | None:
        known = [places for tensor in inputs if (places := self.get(tensor)) is not None]
        if not known:
            return None
        if len(known) < len(inputs):
            return known[0].give_up("comes from an operation outside the layers", shape)
        name = type(layer).__name__
        if rule is None:
            return known[0].give_up(f"{name} isn't followed", shape)
        return follow(lambda: rule(Step(layer, known, shape)), known[0], name, shape)


def _rule(layer: Any) -> Rule | None:
    if is_layer(layer):
        return next((rule for kinds, rule in RULES if is_a(layer, *kinds)), None)
    return OPERATIONS.get(type(layer).__name__)


def _elementwise(step: Step) -> Operation:
    return Operation("elementwise", step.inputs)


def _window(step: Step) -> Operation:
    layer = step.layer
    kernel = layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size
    return Operation(
        "window",
        [step.source],
        step.spatial,
        kernel=kernel,
        stride=getattr(layer, "strides", None) or kernel,
        dilation=getattr(layer, "dilation_rate", 1),
        padding=layer.padding,
    )


def _transposed(step: Step) -> Operation:
    """The gradient of a convolution from the output to the input, whose padding it cuts off."""
    layer = step.layer
    options = {"kernel": layer.kernel_size, "stride": layer.strides, "dilation": layer.dilation_rate}
    return Operation("transposed", [step.source], step.spatial, padding=layer.padding, **options)


MODES = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}


def _resize(step: Step) -> Operation:
    name = getattr(step.layer, "interpolation", "nearest")
    if name not in MODES or any(getattr(step.layer, option, False) for option in ("antialias", "crop_to_aspect_ratio")):
        return Operation("unknown", step.inputs, reason=f"a resize of the kind {name} isn't followed")
    return Operation("resize", [step.source], step.spatial, mode=MODES[name])


def _pad(step: Step) -> Operation:
    sizes = step.layer.padding
    pairs = [sizes] if isinstance(sizes[0], int) else sizes
    return Operation("window", [step.source], step.spatial, padding=[front for front, _ in pairs])


def _crop(step: Step) -> Operation:
    sizes = step.layer.cropping
    pairs = [sizes] if isinstance(sizes[0], int) else sizes
    return Operation("window", [step.source], step.spatial, padding=[-front for front, _ in pairs])


def _pad_all(step: Step) -> Operation:
    return Operation("window", [step.source], None, padding=[front for front, _ in step.layer.pad_width])


def _global(step: Step) -> Operation:
    return Operation("reduce", [step.source], step.spatial)


def _reduce(step: Step) -> Operation:
    return Operation("reduce", [step.source], step.axis)


def _einsum(step: Step) -> Operation:
    inputs, _, output = step.layer.equation.replace(" ", "").partition("->")
    labels = inputs.split(",")[0]
    if "..." not in labels:
        return Operation("einsum", [step.source], labels=(labels, output))
    same = len(step.shape) == len(step.source.dims)
    return (
        Operation("dense", [step.source])
        if same
        else Operation("unknown", step.inputs, reason="EinsumDense isn't followed")
    )


def _reshape(step: Step) -> Operation:
    source = step.source
    if is_a(step.layer, "Flatten") and step.layer.data_format == "channels_first":
        source = source.permute([0, *range(2, len(source.dims)), 1])
    return Operation("reshape", [source])


def _permute(step: Step) -> Operation:
    return Operation("permute", [step.source], [0, *step.layer.dims])


def _transpose(step: Step) -> Operation:
    return Operation("permute", [step.source], step.layer.axes or range(len(step.shape))[::-1])


def _concatenate(step: Step) -> Operation:
    return Operation("concatenate", step.inputs, step.axis)


def _normalize(step: Step) -> Operation:
    """Statistics over axes: those of the image make it depend on all of it."""
    groups = is_a(step.layer, "GroupNormalization")
    return Operation("normalize", [step.source], range(1, len(step.shape)) if groups else step.axis)


def _activation(step: Step) -> Operation:
    softmax = "softmax" in getattr(step.layer.activation, "__name__", "")
    return Operation("normalize", [step.source], [-1]) if softmax else Operation("same", [step.source])


def _attention(step: Step) -> Operation:
    """Each query sees all places of the values."""
    rank = len(step.source.dims)
    values = [places for places in step.inputs[1:] if len(places.dims) == rank]
    return Operation("attention", [step.source, *values], [1])


def _each_rank(*names: str) -> tuple[str, ...]:
    """The names of a layer for one, two and three spatial dimensions."""
    return tuple(f"{name}{rank}D" for name in names for rank in (1, 2, 3))


RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    (
        (
            *_each_rank("Conv", "MaxPooling", "AveragePooling"),
            *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
        ),
        _window,
    ),
    ((*_each_rank("UpSampling"), "Resizing"), _resize),
    (_each_rank("ZeroPadding"), _pad),
    (_each_rank("Cropping"), _crop),
    (_each_rank("GlobalAveragePooling", "GlobalMaxPooling"), _global),
    (("EinsumDense",), _einsum),
    (("Dense",), unary("dense")),
    (("Flatten", "Reshape"), _reshape),
    (("Permute",), _permute),
    (("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"), _elementwise),
    (("Concatenate",), _concatenate),
    (("LayerNormalization", "RMSNormalization", "UnitNormalization", "GroupNormalization", "Softmax"), _normalize),
    (("Activation",), _activation),
    (("MultiHeadAttention", "GroupQueryAttention", "Attention", "AdditiveAttention"), _attention),
    (("LSTM", "GRU", "SimpleRNN"), unary("recurrent", [1])),
    (SAME, unary("same")),
)


OPERATIONS: dict[str, Rule] = {
    name: rule
    for rule, names in (
        (unary("same"), "Relu Relu6 Sigmoid Silu Gelu Elu Selu Softplus Softsign Tanh LeakyRelu HardSigmoid HardSilu"),
        (unary("same"), "HardTanh LogSigmoid Celu Mish Exp Expm1 Log Log1p Sqrt Rsqrt Square Abs Absolute Negative"),
        (unary("same"), "Clip Cast Identity Round Floor Sign"),
        (_elementwise, "Add Subtract Multiply Divide TrueDivide Maximum Minimum Power"),
        (_reduce, "Mean Max Min Sum Amax Amin Var Std Prod Logsumexp"),
        (_reshape, "Reshape Squeeze ExpandDims"),
        (_transpose, "Transpose"),
        (_concatenate, "Concatenate"),
        (_pad_all, "Pad"),
    )
    for name in names.split()
}
