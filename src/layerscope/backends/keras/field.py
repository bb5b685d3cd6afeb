"""Receptive fields of Keras layers, from what each layer says of itself and the tensors that go from one to the next."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ...core.receptive_field import Field, resized, transposed, window
from ..common.field import Factor, Places, followed, plain, seen
from .names import is_a, is_layer

OUTSIDE = "comes from an operation outside the layers"


SAME = (
    *("BatchNormalization", "Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization"),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Masking", "Rescaling", "Normalization", "Identity"),
    *("ReLU", "LeakyReLU", "PReLU", "ELU"),
)


UNARY = frozenset(
    (
        *("Relu", "Relu6", "Sigmoid", "Silu", "Gelu", "Elu", "Selu", "Softplus", "Softsign", "Tanh", "LeakyRelu"),
        *("HardSigmoid", "HardSilu", "HardTanh", "LogSigmoid", "Celu", "Mish", "Exp", "Expm1", "Log", "Log1p"),
        *(
            "Sqrt",
            "Rsqrt",
            "Square",
            "Abs",
            "Absolute",
            "Negative",
            "Clip",
            "Cast",
            "Identity",
            "Round",
            "Floor",
            "Sign",
        ),
    )
)


BINARY = frozenset(["Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Maximum", "Minimum", "Power"])


REDUCED = frozenset(["Mean", "Max", "Min", "Sum", "Amax", "Amin", "Var", "Std", "Prod", "Logsumexp"])


MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")


ATTENTION = ("MultiHeadAttention", "GroupQueryAttention", "Attention", "AdditiveAttention")


class FieldTrace:
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
        self.set(tensor, seen(axes, tuple(tensor.shape)))

    def follow(self, layer: Any, given: Sequence[Any], output: Any) -> tuple[Field, ...] | None:
        """The fields of a tensor that `layer` returned when it was called on the tensors `given`."""
        # A layer without a rule of its own may have given on what a layer inside it returned.
        known = self.get(output) if _rule(layer) is None else None
        if known is None:
            known = self._after(layer, given, tuple(int(each) for each in output.shape))
            if known is not None:
                self.set(output, known)
        return None if known is None else known.receptive()

    def _after(self, layer: Any, given: Sequence[Any], shape: tuple[int, ...]) -> Places | None:
        places = [self.get(each) for each in given]
        first = next((each for each in places if each is not None), None)
        if first is None:
            return None
        sources = [each for each in places if each is not None]
        if len(sources) < len(places):
            return first.lost(OUTSIDE, shape)
        rule = _rule(layer)
        if rule is None:
            return first.lost(f"{type(layer).__name__} isn't followed", shape)
        return followed(partial(rule, layer, sources, shape), first, type(layer).__name__, shape)


Rule = Callable[[Any, Sequence[Places], tuple[int, ...]], Places]


def _rule(layer: Any) -> Rule | None:
    if is_layer(layer):
        return next((rule for kinds, rule in RULES if is_a(layer, *kinds)), None)
    name = type(layer).__name__
    if name in UNARY:
        return _same
    if name in BINARY:
        return _merge
    return _reduced_by_operation if name in REDUCED else OPERATIONS.get(name)


def _same(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    return given[0]


def _merge(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    return given[0].over(given[1:])


def _spatial(layer: Any, rank: int) -> list[int]:
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return list(range(2, rank)) if first else list(range(1, rank - 1))


def _each(option: Any, count: int) -> list[Any]:
    return list(option) if isinstance(option, list | tuple) else [option] * count


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> int:
    """What `padding="same"` adds in front: TensorFlow's rule, which depends on the size.

    >>> same_padding(224, 3, 2), same_padding(225, 3, 2)
    (0, 1)
    """
    outputs = -(-size // stride)
    return max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0) // 2


def _windows(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    source = given[0]
    dims = _spatial(layer, len(source.dims))
    kernels = _each(layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size, len(dims))
    strides = _each(getattr(layer, "strides", None) or kernels, len(dims))
    dilations = _each(getattr(layer, "dilation_rate", 1), len(dims))
    rules = {}
    for dim, kernel, stride, dilation in zip(dims, kernels, strides, dilations, strict=True):
        padding = 0
        if layer.padding == "same":
            padding = same_padding(source.shape[dim], kernel, stride, dilation)
        elif layer.padding == "causal":
            padding = (kernel - 1) * dilation
        rules[dim] = partial(window, kernel=kernel, stride=stride, dilation=dilation, padding=padding)
    return source.windowed(rules, shape)


def _transposed(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    source = given[0]
    dims = _spatial(layer, len(source.dims))
    options = (_each(each, len(dims)) for each in (layer.kernel_size, layer.strides, layer.dilation_rate))
    rules = {}
    for dim, kernel, stride, dilation in zip(dims, *options, strict=True):
        # The gradient of a convolution from the output to the input, whose padding it cuts off.
        padding = same_padding(shape[dim], kernel, stride, dilation) if layer.padding == "same" else 0
        rules[dim] = partial(transposed, kernel=kernel, stride=stride, dilation=dilation, padding=padding)
    return source.windowed(rules, shape)


def _resized(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    source = given[0]
    name = getattr(layer, "interpolation", "nearest")
    rule = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}.get(name)
    if rule is None or getattr(layer, "antialias", False) or getattr(layer, "crop_to_aspect_ratio", False):
        return source.lost(f"a resize of the kind {name} isn't followed", shape)
    dims = _spatial(layer, len(source.dims))
    rules = {dim: partial(resized, before=source.shape[dim], after=shape[dim], rule=rule) for dim in dims}
    return source.windowed(rules, shape)


def _shifted(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    padding = hasattr(layer, "padding")
    sizes = layer.padding if padding else layer.cropping
    pairs = [sizes] if isinstance(sizes[0], int) else list(sizes)
    dims = _spatial(layer, len(given[0].dims))
    rules = {
        dim: partial(window, kernel=1, padding=pair[0] if padding else -pair[0])
        for dim, pair in zip(dims, pairs, strict=True)
    }
    return given[0].windowed(rules, shape)


def _padded(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    rules = {dim: partial(window, kernel=1, padding=pair[0]) for dim, pair in enumerate(layer.pad_width)}
    return given[0].windowed(rules, shape)


def _global(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    return given[0].reduced(_spatial(layer, len(given[0].dims)), keep=bool(layer.keepdims))


def _reduced_by_operation(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    axis = layer.axis
    return given[0].reduced([axis] if isinstance(axis, int) else axis, keep=bool(layer.keepdims))


def _dense(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    mixed = given[0].mixed([-1])
    return Places((*mixed.dims[:-1], (Factor("", shape[-1]),)), mixed.fields)


def _einsum(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    source = given[0]
    inputs, _, output = layer.equation.replace(" ", "").partition("->")
    taken = inputs.split(",")[0]
    if "..." in taken:
        return _dense(layer, given, shape) if len(shape) == len(source.dims) else source.lost("EinsumDense", shape)
    gone = [at for at, letter in enumerate(taken) if letter not in output]
    mixed = source.mixed(gone)
    dims = [
        mixed.dims[taken.index(letter)] if letter in taken else plain(shape)[at] for at, letter in enumerate(output)
    ]
    return Places(tuple(dims), mixed.fields)


def _viewed(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    if is_a(layer, "Flatten") and layer.data_format == "channels_first":
        rank = len(given[0].dims)
        return given[0].permuted([0, *range(2, rank), 1]).viewed(shape)
    return given[0].viewed(shape)


def _permuted(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    if is_a(layer, "Permute"):
        return given[0].permuted([0, *layer.dims])
    return given[0].permuted(layer.axes or range(len(shape))[::-1])


def _joined(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    return given[0].joined(given[1:], layer.axis)


def _normalized(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    """Statistics over axes: those of the image make it depend on all of it."""
    source = given[0]
    axis = range(1, len(shape)) if is_a(layer, "GroupNormalization") else layer.axis
    axes = [axis] if isinstance(axis, int) else list(axis)
    return Places(source.dims, source.mixed(axes).fields)


def _activation(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    softmax = "softmax" in getattr(layer.activation, "__name__", "")
    return Places(given[0].dims, given[0].mixed([-1]).fields) if softmax else given[0]


def _attention(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    """Each query sees all places of the values."""
    query = given[0]
    fields = query.over(
        [each.reduced([1], keep=True) for each in given[1:] if len(each.dims) == len(query.dims)]
    ).fields
    if len(given) == 1:
        fields = query.mixed([1]).fields
    return Places((*query.dims[:-1], (Factor("", shape[-1]),)), fields)


def _recurrent(layer: Any, given: Sequence[Places], shape: tuple[int, ...]) -> Places:
    return Places(plain(shape), given[0].mixed([1]).fields)


RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    (
        (
            *("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
            *("MaxPooling1D", "MaxPooling2D", "MaxPooling3D"),
            *("AveragePooling1D", "AveragePooling2D", "AveragePooling3D"),
        ),
        _windows,
    ),
    (("UpSampling1D", "UpSampling2D", "UpSampling3D", "Resizing"), _resized),
    (
        ("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Cropping3D"),
        _shifted,
    ),
    (
        (
            *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"),
            *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"),
        ),
        _global,
    ),
    (("EinsumDense",), _einsum),
    (("Dense",), _dense),
    (("Flatten", "Reshape"), _viewed),
    (("Permute",), _permuted),
    (MERGING, _merge),
    (("Concatenate",), _joined),
    (("LayerNormalization", "RMSNormalization", "UnitNormalization", "GroupNormalization", "Softmax"), _normalized),
    (("Activation",), _activation),
    (ATTENTION, _attention),
    (("LSTM", "GRU", "SimpleRNN"), _recurrent),
    (SAME, _same),
)


OPERATIONS: dict[str, Rule] = {
    "Reshape": _viewed,
    "Transpose": _permuted,
    "Concatenate": _joined,
    "Pad": _padded,
    "Squeeze": _viewed,
    "ExpandDims": _viewed,
}
