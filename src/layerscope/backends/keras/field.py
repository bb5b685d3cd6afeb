"""Receptive fields of Keras layers: each layer in the form that the rules know, from its settings and its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from ...core.receptive_field import Field
from ..common.field import Positions, image_positions
from ..common.field_rules import Operation, by_name, follow, nary, unary, unknown
from ..common.run import TensorMap
from .tree import is_a, is_layer

SAME = (
    *("BatchNormalization", "Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization"),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Masking", "Rescaling", "Normalization", "Identity"),
    *("ReLU", "LeakyReLU", "PReLU", "ELU"),
)


@dataclass(frozen=True)
class Step:
    """One call of a layer or an operation of Keras, the positions of the tensors it is given and the shape of its output."""

    layer: Any
    inputs: Sequence[Positions]
    shape: tuple[int, ...]

    @property
    def source(self) -> Positions:
        return self.inputs[0]

    @property
    def spatial(self) -> list[int]:
        """The dimensions of the picture, by the layer's data format."""
        rank = len(self.source.dims)
        first = getattr(self.layer, "data_format", "channels_last") == "channels_first"
        return list(range(2, rank)) if first else list(range(1, rank - 1))


Rule = Callable[[Step], Operation]

AXIS = attrgetter("layer.axis")  # the axes that a layer works along; `None` for all


class Fields(TensorMap[Positions]):
    """The `Positions` of the tensors of one run."""

    def start(self, tensor: Any, axes: str) -> None:
        """Note the model's input."""
        self.set(tensor, image_positions(axes, tuple(tensor.shape)))

    def fields(self, output: Any) -> tuple[Field, ...] | None:
        """The fields of a tensor, one for each axis of the image."""
        positions = self.get(output)
        return None if positions is None else positions.receptive()

    def follow(self, layer: Any, inputs: Sequence[Any], output: Any) -> tuple[Field, ...] | None:
        """The fields of a tensor that `layer` returned when it was called on the tensors `inputs`."""
        rule = _rule(layer)
        # A layer without a rule of its own may have passed on what a layer inside it returned.
        positions = self.get(output) if rule is None else None
        if positions is None:
            positions = self._after(layer, rule, inputs, tuple(int(size) for size in output.shape))
            if positions is not None:
                self.set(output, positions)
        return self.fields(output)

    def _after(self, layer: Any, rule: Rule | None, inputs: Sequence[Any], shape: tuple[int, ...]) -> Positions | None:
        known = [positions for tensor in inputs if (positions := self.get(tensor)) is not None]
        if not known:
            return None
        if len(known) < len(inputs):
            return known[0].give_up("comes from an operation outside the layers", shape)
        return follow(rule, Step(layer, known, shape), known[0], type(layer).__name__)


def _rule(layer: Any) -> Rule | None:
    if is_layer(layer):
        return next((rule for kinds, rule in RULES if is_a(layer, *kinds)), None)
    return OPERATIONS.get(type(layer).__name__)


def _window(kind: str, step: Step) -> Operation:
    """A convolution, a pooling, or the gradient of a convolution ("transposed"), whose padding is cut off."""
    layer = step.layer
    kernel = layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size
    return Operation(
        kind,
        [step.source],
        step.spatial,
        kernel=kernel,
        stride=getattr(layer, "strides", None) or kernel,
        dilation=getattr(layer, "dilation_rate", 1),
        padding=layer.padding,
    )


MODES = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}


def _resize(step: Step) -> Operation:
    name = getattr(step.layer, "interpolation", "nearest")
    if name not in MODES or any(getattr(step.layer, option, False) for option in ("antialias", "crop_to_aspect_ratio")):
        return unknown(step, f"a resize of the kind {name} isn't followed")
    return Operation("resize", [step.source], step.spatial, mode=MODES[name])


def _pad(option: str, sign: int, step: Step) -> Operation:
    """Pixels that are added around a picture, or cut off."""
    sizes = getattr(step.layer, option)
    pairs = [sizes] if isinstance(sizes[0], int) else sizes
    return Operation("window", [step.source], step.spatial, padding=[sign * front for front, _ in pairs])


def _pad_all(step: Step) -> Operation:
    return Operation("window", [step.source], None, padding=[front for front, _ in step.layer.pad_width])


def _einsum(step: Step) -> Operation:
    inputs, _, output = step.layer.equation.replace(" ", "").partition("->")
    labels = inputs.split(",")[0]
    if "..." not in labels:
        return Operation("einsum", [step.source], labels=(labels, output))
    same = len(step.shape) == len(step.source.dims)
    return Operation("dense", [step.source]) if same else unknown(step, "EinsumDense isn't followed")


def _reshape(step: Step) -> Operation:
    source = step.source
    if is_a(step.layer, "Flatten") and step.layer.data_format == "channels_first":
        source = source.permute([0, *range(2, len(source.dims)), 1])
    return Operation("reshape", [source])


def _normalize(step: Step) -> Operation:
    """Statistics over axes: those of the image make it depend on all of it."""
    groups = is_a(step.layer, "GroupNormalization")
    return unary("normalize", range(1, len(step.shape)) if groups else AXIS)(step)


def _activation(step: Step) -> Operation:
    softmax = "softmax" in getattr(step.layer.activation, "__name__", "")
    return Operation("normalize", [step.source], [-1]) if softmax else Operation("same", [step.source])


def _attention(step: Step) -> Operation:
    """Each query sees all positions of the values."""
    rank = len(step.source.dims)
    values = [positions for positions in step.inputs[1:] if len(positions.dims) == rank]
    return Operation("attention", [step.source, *values], [1])


def _each_rank(*names: str) -> tuple[str, ...]:
    """The names of a layer for one, two and three spatial dimensions."""
    return tuple(f"{name}{rank}D" for name in names for rank in (1, 2, 3))


RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), partial(_window, "transposed")),
    (
        (
            *_each_rank("Conv", "MaxPooling", "AveragePooling"),
            *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
        ),
        partial(_window, "window"),
    ),
    ((*_each_rank("UpSampling"), "Resizing"), _resize),
    (_each_rank("ZeroPadding"), partial(_pad, "padding", 1)),
    (_each_rank("Cropping"), partial(_pad, "cropping", -1)),
    (_each_rank("GlobalAveragePooling", "GlobalMaxPooling"), unary("reduce", lambda step: step.spatial)),
    (("EinsumDense",), _einsum),
    (("Dense",), unary("dense")),
    (("Flatten", "Reshape"), _reshape),
    (("Permute",), unary("permute", lambda step: [0, *step.layer.dims])),
    (("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"), nary("elementwise")),
    (("Concatenate",), nary("concatenate", AXIS)),
    (("LayerNormalization", "RMSNormalization", "UnitNormalization", "GroupNormalization", "Softmax"), _normalize),
    (("Activation",), _activation),
    (("MultiHeadAttention", "GroupQueryAttention", "Attention", "AdditiveAttention"), _attention),
    (("LSTM", "GRU", "SimpleRNN"), unary("recurrent", [1])),
    (SAME, unary("same")),
)


OPERATIONS: dict[str, Rule] = by_name(
    (unary("same"), "Relu Relu6 Sigmoid Silu Gelu Elu Selu Softplus Softsign Tanh LeakyRelu HardSigmoid HardSilu"),
    (unary("same"), "HardTanh LogSigmoid Celu Mish Exp Expm1 Log Log1p Sqrt Rsqrt Square Abs Absolute Negative"),
    (unary("same"), "Clip Cast Identity Round Floor Sign"),
    (nary("elementwise"), "Add Subtract Multiply Divide TrueDivide Maximum Minimum Power"),
    (unary("reduce", AXIS), "Mean Max Min Sum Amax Amin Var Std Prod Logsumexp"),
    (_reshape, "Reshape Squeeze ExpandDims"),
    (unary("permute", lambda step: step.layer.axes or range(len(step.shape))[::-1]), "Transpose"),
    (nary("concatenate", AXIS), "Concatenate"),
    (_pad_all, "Pad"),
)
