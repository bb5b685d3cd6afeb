"""Which axes the output of a Keras layer has: said by the layer or inherited from its input, never guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from .attention import AttentionMap
from .engine import Engine
from .names import is_a, is_layer, walk

LAST = {2: "bc", 3: "bnc", 4: "bhwc", 5: "bdhwc"}


FIRST = {2: "bc", 3: "bcn", 4: "bchw", 5: "bcdhw"}


CHANNEL_LAST = ("Dense", "EinsumDense", "Embedding", "RNN", "LSTM", "GRU", "SimpleRNN", "Bidirectional", "RepeatVector")


ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention")


NORMALIZATION = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization")


# operations that name the axes they remove (or keep with size one)
REDUCTIONS = {"Mean", "Max", "Min", "Sum", "Amax", "Amin", "Average", "Var", "Std", "Prod", "Median", "Logsumexp"}


# Names that models give to the weights, or to the layers, that hold tokens in front of those of the patches.
PREFIX = {
    "cls": "cls", "cls_token": "cls", "class_token": "cls", "class_embedding": "cls", "cls_embedding": "cls",
    "dist_token": "dist", "distillation_token": "dist", "reg_token": "reg", "register_tokens": "reg", "registers": "reg",
}  # fmt: skip


WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Given(NamedTuple):
    """One tensor that went into a layer: its shape and, where they are known, its axes."""

    shape: tuple[int, ...]
    axes: str | None


def by_format(rank: int, data_format: str) -> str:
    """The axes of Keras's data format at a rank, `""` where a rank has no picture."""
    return (FIRST if data_format == "channels_first" else LAST).get(rank, "")


def fallback(rank: int, data_format: str) -> str:
    """The axes where no layer states them; three axes are tokens, which have their channels last in either format."""
    return LAST[3] if rank == 3 else by_format(rank, data_format)


def model_format(model: Any, default: str) -> str:
    """The data format of the model's first layer that has one, else `default`, Keras's own setting."""
    for _, layer in walk(model):
        if _is_spatial(layer):
            return str(layer.data_format)
    return default


def input_axes(model: Any, rank: int, default: str) -> str:
    """The axes of the model's input: what its first layer with a data format wants, before any `Permute` on the way."""
    permutes: list[Sequence[int]] = []
    axes = fallback(rank, default)
    for _, layer in walk(model):
        if is_a(layer, "Permute") and len(layer.dims) + 1 == rank:
            permutes.append(layer.dims)
        elif _is_spatial(layer):
            axes = by_format(rank, layer.data_format) if rank > 3 or not permutes else axes
            break
    for dims in reversed(permutes):
        before = dict(zip(dims, axes[1:], strict=True))
        axes = "b" + "".join(before[at] for at in sorted(before))
    return axes


def output_axes(layer: Any, parent: Any, shape: tuple[int, ...], given: Sequence[Given], data_format: str) -> str:
    """The axes of an output of `shape` of a layer called by `parent` on `given`; `""` where it has no picture."""
    if not 1 < len(shape) < 6:
        return ""
    return (
        _stated(layer, parent, shape, given, data_format)
        or _inherited(shape, given)
        or _normalized(layer, len(shape))
        or fallback(len(shape), data_format)
    )


def axes_note(layer: Any, parent: Any, axes: str) -> str:
    """What is meant by axes that don't say it themselves."""
    if isinstance(layer, AttentionMap):
        return layer.note
    if is_a(parent, *ATTENTION) and axes == "bndc":
        return "d = attention head"
    return ""


def stated_prefix(model: Any, on: Engine, most: int) -> tuple[str, ...]:
    """The names of at most `most` prefix tokens by the names of the model's own weights, and of the layers that hold them."""
    found: dict[str, list[str]] = {}
    for variable in on.variables(model):
        path, shape = on.named(variable).partition(" (")[0], tuple(variable.shape)
        parts = [_plain(each) for each in reversed(path.partition(":")[0].split("/"))]
        # A layer may be a head of that name, or hold the positions as well: only its tokens [1, number, channel] count.
        tokens = len(shape) == 3 and shape[0] == 1 and shape[1] <= most
        name = next((each for each in parts[: 2 if tokens else 1] if each in PREFIX), None)
        if name is not None and (tokens or len(shape) in (1, 2)):
            count, word = shape[-2] if len(shape) > 1 else 1, PREFIX[name]
            found[word] = [word] if count == 1 and word != "reg" else [f"{word}{at + 1}" for at in range(count)]
    return tuple(each for word in ("cls", "dist", "reg") for each in found.get(word, ()))


def _plain(name: str) -> str:
    """`ClassToken` and `class_token_1` as `class_token`."""
    return re.sub(r"_\d+$", "", WORD.sub("_", name)).lower()


def patch_grid(layer: Any, shape: tuple[int, ...], axes: str) -> tuple[int, int] | None:
    """The (height, width) of the patches where `layer` cuts an image into patches, else `None`."""
    if is_a(layer, "Conv2D") and not is_a(layer, "Conv2DTranspose") and "h" in axes and "w" in axes:
        kernel, strides = tuple(layer.kernel_size), tuple(layer.strides)
        if kernel == strides and max(kernel) > 1:
            return shape[axes.index("h")], shape[axes.index("w")]
    if type(layer).__name__ == "ExtractPatches" and len(shape) == 4:
        return (shape[1], shape[2]) if axes == "bhwc" else (shape[2], shape[3])
    return None


def _is_spatial(layer: Any) -> bool:
    return getattr(layer, "data_format", None) in ("channels_first", "channels_last") and not is_a(layer, "Flatten")


def _stated(layer: Any, parent: Any, shape: tuple[int, ...], given: Sequence[Given], data_format: str) -> str | None:
    rank = len(shape)
    source = given[0] if given else Given((), None)
    if isinstance(layer, AttentionMap):
        return "bcqk"
    if is_a(layer, "Permute"):
        axes = source.axes or fallback(rank, data_format)
        return "b" + "".join(axes[at] for at in layer.dims) if len(axes) == rank else None
    if is_a(layer, "Flatten"):
        return "bc"
    if is_a(layer, "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"):
        return _with_time(layer, rank)
    if is_a(layer, "TimeDistributed"):
        return _each_step(layer, parent, shape, given, data_format)
    if _is_spatial(layer):
        return by_format(rank, layer.data_format)
    if is_a(parent, *ATTENTION) and rank == 4:
        # heads have an axis of their own; weights are one picture of queries by keys for each head
        return "bndc" if is_a(layer, "EinsumDense") else "bcqk"
    if is_a(layer, *ATTENTION) and rank == 4 and source.axes != "bhwc":
        return "bcqk"
    if is_a(layer, *CHANNEL_LAST):
        same = source.axes if source.axes and len(source.axes) == rank and source.axes.endswith("c") else None
        return same or LAST[rank]
    if is_a(layer, "Reshape") or type(layer).__name__ == "Reshape":
        return _reshaped(shape, source, data_format)
    return _of_operation(layer, source)


def _inherited(shape: tuple[int, ...], given: Sequence[Given]) -> str | None:
    ranks = [each for each in given if each.axes and len(each.axes) == len(shape)]
    same = [each for each in ranks if each.shape == shape]
    return (same or ranks)[0].axes if ranks else None


def _normalized(layer: Any, rank: int) -> str | None:
    """Where a normalisation names one axis, that is the channel."""
    axis = getattr(layer, "axis", None) if is_a(layer, *NORMALIZATION) else None
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if not isinstance(axis, int):
        return None
    return by_format(rank, "channels_last" if axis % rank == rank - 1 else "channels_first")


def _with_time(layer: Any, rank: int) -> str | None:
    """ConvLSTM: one axis of time before those of the picture, where whole sequences come out."""
    if not layer.return_sequences:
        return by_format(rank, layer.data_format)
    inner = by_format(rank - 1, layer.data_format)
    return _insert_time(inner)


def _each_step(layer: Any, parent: Any, shape: tuple[int, ...], given: Sequence[Given], data_format: str) -> str | None:
    inner = [Given(each.shape[:1] + each.shape[2:], None) for each in given if len(each.shape) > 2]
    axes = output_axes(layer.layer, parent, shape[:1] + shape[2:], inner, data_format)
    return _insert_time(axes)


def _insert_time(axes: str) -> str | None:
    letter = "n" if axes == "bc" else "d"
    return f"b{letter}{axes[1:]}" if axes and letter not in axes else None


def _reshaped(shape: tuple[int, ...], source: Given, data_format: str) -> str | None:
    """A reshape keeps the order of the elements: an axis that is first or last and keeps its size stays what it is."""
    rank, axes = len(shape), source.axes or ""
    if rank > 2 and len(axes) > 2:
        if axes[1] == "c" and shape[1] == source.shape[1]:
            return FIRST[rank]
        if axes[-1] == "c" and shape[-1] == source.shape[-1]:
            return LAST[rank]
    return fallback(rank, data_format)


def _of_operation(layer: Any, source: Given) -> str | None:
    """The operations that move or remove axes: transpose, reductions, squeeze."""
    name, axes = type(layer).__name__, source.axes
    if axes is None or is_layer(layer):
        return None
    rank = len(axes)
    if name == "Transpose":
        order = getattr(layer, "axes", None) or range(rank)[::-1]
        return "".join(axes[at] for at in order)
    if name in REDUCTIONS or name == "Squeeze":
        axis = getattr(layer, "axis", None)
        if axis is None or getattr(layer, "keepdims", False):
            return None
        gone = {at % rank for at in (axis if isinstance(axis, list | tuple) else (axis,))}
        return "".join(each for at, each in enumerate(axes) if at not in gone)
    return None
