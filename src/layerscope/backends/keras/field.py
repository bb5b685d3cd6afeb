"""Receptive fields of Keras layers: each layer in the form that the rules know, from its settings and its input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from ..common.field import Positions, constant, first_with_fields, image_positions
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
    arguments: Any = ((), {})

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

    def follow(self, layer: Any, inputs: Sequence[Any], output: Any, arguments: Any) -> Positions | None:
        """The positions of a tensor that `layer` returned when called with `arguments`; `inputs` are its tensors."""
        rule = _rule(layer)
        # A layer without a rule of its own may have passed on what a layer inside it returned.
        positions = self.get(output) if rule is None else None
        if positions is None:
            positions = self._after(Step(layer, inputs, tuple(int(size) for size in output.shape), arguments), rule)
            if positions is not None:
                self.set(output, positions)
        return self.get(output)

    def weights(self, sources: Sequence[Any], shape: tuple[int, ...]) -> Positions | None:
        """The positions of attention weights, from the queries and keys, each `[image, token, head, feature]`."""
        pair = [positions for tensor in sources if (positions := self.get(tensor)) is not None]
        if len(pair) < 2 or any(len(positions.dims) != 4 for positions in pair):
            return None
        return Operation("weights", [positions.permute([0, 2, 1, 3]) for positions in pair]).after(shape)

    def _after(self, call: Step, rule: Rule | None) -> Positions | None:
        layer, inputs, shape = call.layer, call.inputs, call.shape
        known = [positions for tensor in inputs if (positions := self.get(tensor)) is not None]
        if not known:
            return None
        if len(known) < len(inputs):
            return known[0].give_up("comes from an operation outside the layers", shape)
        inside = follow_inside(layer, known, shape) if rule is None else None
        return inside or follow(rule, replace(call, inputs=known), known[0], type(layer).__name__)


def follow_inside(layer: Any, inputs: Sequence[Positions], shape: tuple[int, ...]) -> Positions | None:
    """The positions after a layer without a rule, through the operations in its `call`, which Keras tells without computing.

    `None` where it can't: a layer that computes with its framework's own functions.
    """
    keras = sys.modules.get("keras")
    if keras is None or not hasattr(keras, "KerasTensor") or not isinstance(layer, keras.Layer) or not layer.built:
        return None
    nodes = [
        (kept, len(kept)) for part in layer._flatten_layers() for kept in (part._inbound_nodes, part._outbound_nodes)
    ]
    try:
        symbols = [keras.KerasTensor(positions.shape, dtype=layer.compute_dtype) for positions in inputs]
        output = layer.call(*symbols)
        known = {id(symbol): positions for symbol, positions in zip(symbols, inputs, strict=True)}
        positions = _behind(output, known) if isinstance(output, keras.KerasTensor) else None
    except Exception:  # whatever the user's own code does with a tensor that holds no numbers
        return None
    finally:
        for kept, count in nodes:
            del kept[count:]
    return positions if positions is not None and positions.shape == shape else None


def _behind(tensor: Any, known: dict[int, Positions]) -> Positions:
    """The positions of a symbolic tensor, by the operation that made it."""
    if id(tensor) not in known:
        history = tensor._keras_history
        operation, node = history.operation, history.operation._inbound_nodes[history.node_index]
        inputs = []
        given = node.arguments.args, node.arguments.kwargs
        for part in sys.modules["keras"].tree.flatten(given):
            if hasattr(part, "_keras_history"):
                inputs.append(_behind(part, known))
            elif hasattr(part, "shape"):
                inputs.append(constant(tuple(int(size) for size in part.shape)))
        shape = tuple(int(size) for size in tensor.shape)
        first = first_with_fields(inputs)
        known[id(tensor)] = follow(
            _rule(operation), Step(operation, inputs, shape, given), first, type(operation).__name__
        )
    return known[id(tensor)]


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
    if name not in MODES or any(
        getattr(step.layer, option, False) for option in ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio")
    ):
        return unknown(step, f"a resize of the kind {name} isn't followed")
    return Operation("resize", [step.source], step.spatial, mode=MODES[name])


def _pad(option: str, sign: int, step: Step) -> Operation:
    """Pixels that are added around a picture, or cut off."""
    sizes = getattr(step.layer, option)
    pairs = [sizes] if isinstance(sizes[0], int) else sizes
    return Operation("window", [step.source], step.spatial, padding=[sign * front for front, _ in pairs])


def _get_item(step: Step) -> Operation:
    """What an index of slices and whole numbers leaves: `x[:, 4:-4, ::2]`, `x[:, 0]`."""
    args, kwargs = step.arguments
    key = args[1] if len(args) > 1 else kwargs["key"]
    key = list(key) if isinstance(key, tuple) else [key]
    rank = len(step.source.dims)
    if Ellipsis in key:
        at = key.index(Ellipsis)
        key[at : at + 1] = [slice(None)] * (rank - len(key) + 1)
    positions, dim = step.source, 0
    for part in key:
        if isinstance(part, slice):
            indices = np.arange(positions.shape[dim])[part]
            whole = np.array_equal(indices, np.arange(positions.shape[dim]))
            positions = positions if whole else positions.take(dim, indices)
            dim += 1
        elif part is None:
            positions, dim = positions.insert(dim), dim + 1
        else:
            index = np.array([int(part) % positions.shape[dim]])
            nowhere = positions.along(dim) and positions.is_nowhere(dim, index)
            positions = positions.take(dim, index).remove(dim) if nowhere else positions.pick(dim)
    return Operation("same", [positions])


def _patches(step: Step) -> Operation:
    """Windows whose pixels are moved into the channels."""
    layer = step.layer
    size, stride = layer.size, layer.strides or layer.size
    return Operation("window", [step.source], step.spatial, kernel=size, stride=stride, padding=layer.padding)


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
    (unary("flip", AXIS), "Flip"),
    (_patches, "ExtractPatches"),
    (_get_item, "GetItem"),
)
