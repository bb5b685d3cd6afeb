"""Receptive fields of Keras layers: each layer in the form that the rules know, from its settings and its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..common.field import Positions, constant, first_with_fields, image_positions
from ..common.field_rules import Operation, by_centres, by_name, follow, nary, unary, unknown
from ..common.run import TensorMap
from .operation import full_index, held_by, is_operation, moved_axes, operation_name, option
from .symbolic import Inside, follow_back, symbols_of, told
from .tree import is_a

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

    def option(self, *names: str, position: int = 1) -> Any:
        """An option of an operation."""
        return option(self.layer, self.arguments, *names, position=position)

    @property
    def spatial(self) -> list[int]:
        """The dimensions of the picture, by the layer's data format."""
        rank = len(self.source.dims)
        first = getattr(self.layer, "data_format", "channels_last") == "channels_first"
        return list(range(2, rank)) if first else list(range(1, rank - 1))


Rule = Callable[[Step], Operation]


def axis_of(step: Step) -> Any:
    """The axes that a layer works along; `None` for all."""
    return step.option("axis")


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

    def turn(self, source: Any, output: Any, order: Sequence[int]) -> Positions | None:
        """The positions of a tensor that holds those of another one in another order of the axes."""
        before, after = self.get(source), self.get(output)
        if before is not None and after is not None:
            self.set(output, replace(before.permute(order), fields=after.fields))
        return self.get(output)

    def weights(self, sources: Sequence[Any], shape: tuple[int, ...]) -> Positions | None:
        """The positions of attention weights, from the queries and keys, each `[image, token, head, feature]`."""
        pair = [positions for tensor in sources if (positions := self.get(tensor)) is not None]
        if len(pair) < 2 or any(len(positions.dims) != 4 for positions in pair):
            return None
        return Operation("weights", [positions.permute([0, 2, 1, 3]) for positions in pair]).after(shape)

    def _after(self, call: Step, rule: Rule | None) -> Positions | None:
        layer, inputs, shape = call.layer, call.inputs, call.shape
        given = [self.get(tensor) or _fixed(layer, tensor) for tensor in inputs]
        known = [positions for positions in given if positions is not None]
        if not any(self.get(tensor) for tensor in inputs):
            return None
        if len(known) < len(inputs):
            return known[0].give_up("comes from an operation outside the layers", shape)
        inside = follow_inside(layer, known, shape) if rule is None else None
        return inside or follow(rule, replace(call, inputs=known), known[0], operation_name(layer))


def _fixed(layer: Any, tensor: Any) -> Positions | None:
    """The positions of a tensor that is the same for every image: one without an axis for images, or that the graph holds."""
    shape = tuple(int(size) for size in tensor.shape)
    held = is_operation(layer) and any(part is tensor for part in held_by(layer))
    return constant(shape) if len(shape) < 2 or held else None


def follow_inside(layer: Any, inputs: Sequence[Positions], shape: tuple[int, ...]) -> Positions | None:
    """The positions after a layer without a rule, through the operations in its `call`, which Keras tells without computing.

    `None` where it can't: a layer that computes with its framework's own functions.
    """
    if not told(layer):
        return None
    try:
        with symbols_of(layer, [positions.shape for positions in inputs]) as (symbols, output):
            known = {id(symbol): positions for symbol, positions in zip(symbols, inputs, strict=True)}
            positions = follow_back(output, known, _of_operation, constant)
    except Exception:  # whatever the user's own code does with a tensor that holds no numbers
        return None
    return positions if positions.shape == shape else None


def _of_operation(inside: Inside, inputs: list[Positions]) -> Positions:
    step = Step(inside.operation, inputs, inside.shape, inside.arguments)
    return follow(_rule(inside.operation), step, first_with_fields(inputs), type(inside.operation).__name__)


def _rule(layer: Any) -> Rule | None:
    if is_operation(layer):
        return OPERATIONS.get(operation_name(layer))
    return next((rule for kinds, rule in RULES if is_a(layer, *kinds)), None)


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
    """A resize, of what is left after a crop or of the picture with a border, where the proportions are kept."""
    bare = is_operation(step.layer)
    name = step.option("interpolation", "method", position=2) or ("bilinear" if bare else "nearest")
    if name not in MODES:
        return unknown(step, f"a resize of the kind {name} isn't followed")
    crop, pad = (step.option(f"{word}_to_aspect_ratio", position=9) for word in ("crop", "pad"))
    return (
        _in_proportion(step, min if crop else max, MODES[name])
        if crop or pad
        else _scaled(step.source, step, MODES[name])
    )


def _scaled(source: Positions, step: Step, mode: str) -> Operation:
    samplings = by_centres(source.shape, step.shape, step.spatial, nearest=mode == "nearest")
    antialias = bool(step.option("antialias", position=4))
    return Operation("resize", [source], step.spatial, mode=mode, samplings=samplings, antialias=antialias)


def _in_proportion(step: Step, choose: Callable[[int, int], int], mode: str) -> Operation:
    """A resize of the largest part in the middle (`min`), or the smallest frame (`max`), of the proportions of the output."""
    (rows, columns), before, target = step.spatial, step.source.shape, step.shape
    height = choose(before[rows], before[columns] * target[rows] // target[columns])
    width = choose(before[columns], before[rows] * target[columns] // target[rows])
    return _scaled(_centred(step, max(height, 1), max(width, 1)), step, mode)


def _centred(step: Step, *sizes: int) -> Positions:
    """The middle of a picture, or a picture in the middle of a border."""
    before = step.source.shape
    fronts = [int((size - before[dim]) / 2) for dim, size in zip(step.spatial, sizes, strict=True)]
    shape = list(before)
    for dim, size in zip(step.spatial, sizes, strict=True):
        shape[dim] = size
    return Operation("window", [step.source], step.spatial, padding=fronts).after(tuple(shape))


def _center_crop(step: Step) -> Operation:
    """The middle of a picture, which is enlarged where it is too small."""
    sizes = [(step.source.shape[dim], step.shape[dim]) for dim in step.spatial]
    if any(before < after for before, after in sizes):
        return _in_proportion(step, min, "linear")
    return Operation("same", [_centred(step, *(after for _, after in sizes))])


def _pad(option: str, sign: int, step: Step) -> Operation:
    """Pixels that are added around a picture, or cut off."""
    sizes = getattr(step.layer, option)
    pairs = [sizes] if isinstance(sizes[0], int) else sizes
    return Operation("window", [step.source], step.spatial, padding=[sign * front for front, _ in pairs])


def _get_item(step: Step) -> Operation:
    """What an index of slices and whole numbers leaves: `x[:, 4:-4, ::2]`, `x[:, 0]`."""
    positions, dim = step.source, 0
    for part in full_index(step.arguments, len(step.source.dims)):
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


def _take(step: Step) -> Operation:
    """The positions at some indices of an axis: `ops.take(x, [2, 1, 0], axis=-1)`."""
    axis, args = step.option("axis", position=3), (*step.arguments[0], *step.arguments[1].values())
    indices = next((np.asarray(part) for part in args[1:] if not hasattr(part, "_keras_history")), np.empty(()))
    if axis is None or indices.ndim > 1 or not indices.size:
        return unknown(step, "a choice of positions that are computed isn't followed")
    if not indices.ndim:
        return Operation("pick", [step.source], [axis], picks=[int(indices)])
    size = step.source.shape[axis]
    return Operation("take", [step.source], [axis], picks=[int(number) % size for number in indices])


def _colours(step: Step) -> Sequence[int]:
    return [-3] if getattr(step.layer, "data_format", None) == "channels_first" else [-1]


def _patches(step: Step) -> Operation:
    """Windows whose pixels are moved into the channels."""
    layer = step.layer
    size, stride = layer.size, layer.strides or layer.size
    return Operation("window", [step.source], step.spatial, kernel=size, stride=stride, padding=layer.padding)


def _pad_all(step: Step) -> Operation:
    sizes = np.array(step.option("pad_width", "paddings"))
    return Operation("window", [step.source], None, padding=[int(front) for front, _ in sizes])


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


def _transpose(step: Step) -> Operation:
    order = step.option("axes", "perm")
    order = range(len(step.shape))[::-1] if order is None else np.array(order).tolist()
    return Operation("permute", [step.source], order)


def _swap(step: Step) -> Operation:
    return Operation("permute", [step.source], moved_axes(step.layer, len(step.shape)))


def _normalize(step: Step) -> Operation:
    """Statistics over axes: those of the image make it depend on all of it."""
    groups = is_a(step.layer, "GroupNormalization")
    return unary("normalize", range(1, len(step.shape)) if groups else axis_of)(step)


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
    (_each_rank("AdaptiveAveragePooling", "AdaptiveMaxPooling"), unary("adapt", lambda step: step.spatial)),
    ((*_each_rank("UpSampling"), "Resizing"), _resize),
    (("CenterCrop",), _center_crop),
    (_each_rank("ZeroPadding"), partial(_pad, "padding", 1)),
    (_each_rank("Cropping"), partial(_pad, "cropping", -1)),
    (_each_rank("GlobalAveragePooling", "GlobalMaxPooling"), unary("reduce", lambda step: step.spatial)),
    (("EinsumDense",), _einsum),
    (("Dense",), unary("dense")),
    (("Flatten", "Reshape"), _reshape),
    (("Permute",), unary("permute", lambda step: [0, *step.layer.dims])),
    (("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"), nary("elementwise")),
    (("Concatenate",), nary("concatenate", axis_of)),
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
    (nary("elementwise"), "Where Greater GreaterEqual Less LessEqual Equal NotEqual LogicalAnd LogicalOr BiasAdd"),
    (unary("reduce", axis_of), "Mean Max Min Sum Amax Amin Var Std Prod Logsumexp"),
    (_reshape, "Reshape Squeeze ExpandDims"),
    (_transpose, "Transpose"),
    (_swap, "Swapaxes Moveaxis"),
    (partial(_window, "window"), "MaxPool AveragePool"),
    (_resize, "Resize"),
    (nary("concatenate", axis_of), "Concatenate"),
    (_pad_all, "Pad"),
    (nary("stack", lambda step: axis_of(step) or 0), "Stack"),
    (unary("pick", lambda step: step.option("axis", position=2) or 0), "Unstack"),
    (unary("split", lambda step: step.option("axis", position=2) or 0), "Split"),
    (_take, "Take Gather"),
    (unary("reduce", _colours), "RGBToGrayscale RgbToGrayscale"),
    (unary("flip", axis_of), "Flip Reverse"),
    (_patches, "ExtractPatches"),
    (_get_item, "GetItem"),
)
