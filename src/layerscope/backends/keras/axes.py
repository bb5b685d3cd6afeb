"""Which axes the output of a Keras layer has: stated by the layer or inherited from its input, never guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ..common.axes import CHANNELS_FIRST, CHANNELS_LAST, PREFIX_TOKENS, prefix_labels
from .attention import AttentionMap
from .engine import Engine
from .names import is_a, is_layer, walk

ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention")


CHANNEL_LAST = ("Dense", "EinsumDense", "Embedding", "RNN", "LSTM", "GRU", "SimpleRNN", "Bidirectional", "RepeatVector")


NORMALIZATION = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization")


# operations that name the axes they remove (or keep with size one)
REDUCTIONS = ("Mean", "Max", "Min", "Sum", "Amax", "Amin", "Average", "Var", "Std", "Prod", "Median", "Logsumexp")


WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Source(NamedTuple):
    """One tensor that went into a layer: its shape and, where they are known, its axes."""

    shape: tuple[int, ...]
    axes: str | None


class Output(NamedTuple):
    """One tensor that `layer` returned when `parent` called it on `sources`; `data_format` is the model's."""

    layer: Any
    parent: Any
    shape: tuple[int, ...]
    sources: Sequence[Source]
    data_format: str

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def source(self) -> Source:
        """The first tensor that went in."""
        return self.sources[0] if self.sources else Source((), None)


def by_format(rank: int, data_format: str) -> str:
    """The axes of Keras's data format at a rank, `""` where a rank has no picture."""
    return (CHANNELS_FIRST if data_format == "channels_first" else CHANNELS_LAST).get(rank, "")


def default_axes(rank: int, data_format: str) -> str:
    """The axes where no layer states them; three axes are tokens, which have their channels last in either format."""
    return CHANNELS_LAST[3] if rank == 3 else by_format(rank, data_format)


def model_format(model: Any, default: str) -> str:
    """The data format of the model's first layer that has one, else `default`, Keras's own setting."""
    return next((str(layer.data_format) for _, layer in walk(model) if _is_spatial(layer)), default)


def input_axes(model: Any, rank: int, default: str) -> str:
    """The axes of the model's input: what its first layer with a data format wants, before any `Permute` on the way."""
    permutes: list[Sequence[int]] = []
    axes = default_axes(rank, default)
    for _, layer in walk(model):
        if is_a(layer, "Permute") and len(layer.dims) + 1 == rank:
            permutes.append(layer.dims)
        elif _is_spatial(layer):
            axes = by_format(rank, layer.data_format) if rank > 3 or not permutes else axes
            break
    for dims in reversed(permutes):
        before = dict(zip(dims, axes[1:], strict=True))
        axes = "b" + "".join(before[axis] for axis in sorted(before))
    return axes


def output_axes(output: Output) -> str:
    """The axes of an output, `""` where it has no picture: what the first of `RULES` says that applies."""
    if not 1 < output.rank < 6:
        return ""
    stated = (rule(output) for classes, rule in RULES if not classes or is_a(output.layer, *classes))
    return next((axes for axes in stated if axes), "")


def axes_note(layer: Any, parent: Any, axes: str) -> str:
    """What axes mean that don't say it themselves."""
    if isinstance(layer, AttentionMap):
        return layer.note
    if is_a(parent, *ATTENTION) and axes == "bndc":
        return "d = attention head"
    return ""


def stated_prefix(model: Any, engine: Engine, most: int) -> tuple[str, ...]:
    """The labels of at most `most` prefix tokens by the names of the model's own weights, and of the layers that hold them."""

    def tokens() -> Iterator[tuple[str, int]]:
        for variable in engine.variables(model):
            path, shape = engine.describe(variable).partition(" (")[0], tuple(variable.shape)
            weight, *layers = map(_snake_case, reversed(path.partition(":")[0].split("/")))
            if len(shape) in (1, 2):
                yield weight, shape[0] if len(shape) == 2 else 1
            # A layer may be a head of that name, or hold the positions as well: only its tokens [1, number, channel] count.
            elif len(shape) == 3 and shape[0] == 1 and shape[1] <= most:
                yield next((name for name in (weight, *layers[:1]) if name in PREFIX_TOKENS), ""), shape[1]

    return prefix_labels(tokens())


def patch_grid(layer: Any, shape: tuple[int, ...], axes: str) -> tuple[int, int] | None:
    """The (height, width) of the patches where `layer` cuts an image into patches, else `None`."""
    if is_a(layer, "Conv2D") and not is_a(layer, "Conv2DTranspose") and "h" in axes and "w" in axes:
        kernel, strides = tuple(layer.kernel_size), tuple(layer.strides)
        if kernel == strides and max(kernel) > 1:
            return shape[axes.index("h")], shape[axes.index("w")]
    if type(layer).__name__ == "ExtractPatches" and len(shape) == 4:
        return (shape[1], shape[2]) if axes == "bhwc" else (shape[2], shape[3])
    return None


def _snake_case(name: str) -> str:
    """`ClassToken` and `class_token_1` as `class_token`."""
    return re.sub(r"_\d+$", "", WORD_START.sub("_", name)).lower()


def _is_spatial(layer: Any) -> bool:
    return getattr(layer, "data_format", None) in ("channels_first", "channels_last") and not is_a(layer, "Flatten")


def _permuted(output: Output) -> str | None:
    axes = output.source.axes or default_axes(output.rank, output.data_format)
    return "b" + "".join(axes[axis] for axis in output.layer.dims) if len(axes) == output.rank else None


def _convolved_over_time(output: Output) -> str | None:
    """ConvLSTM: one axis of time before those of the picture, where whole sequences come out."""
    layer = output.layer
    if not layer.return_sequences:
        return by_format(output.rank, layer.data_format)
    return _with_time(by_format(output.rank - 1, layer.data_format))


def _each_step(output: Output) -> str | None:
    """`TimeDistributed`: the axes of the layer inside, for one step, and the time."""
    steps = [Source(source.shape[:1] + source.shape[2:], None) for source in output.sources if len(source.shape) > 2]
    step = output._replace(layer=output.layer.layer, shape=output.shape[:1] + output.shape[2:], sources=steps)
    return _with_time(output_axes(step))


def _with_time(axes: str) -> str | None:
    letter = "n" if axes == "bc" else "d"
    return f"b{letter}{axes[1:]}" if axes and letter not in axes else None


def _spatial(output: Output) -> str | None:
    return by_format(output.rank, output.layer.data_format) if _is_spatial(output.layer) else None


def _inside_attention(output: Output) -> str | None:
    """Heads have an axis of their own; weights are one picture of queries by keys for each head."""
    if output.rank != 4 or not is_a(output.parent, *ATTENTION):
        return None
    return "bndc" if is_a(output.layer, "EinsumDense") else "bcqk"


def _attention_scores(output: Output) -> str | None:
    return "bcqk" if output.rank == 4 and output.source.axes != "bhwc" else None


def _channels_last(output: Output) -> str | None:
    axes = output.source.axes
    return axes if axes and len(axes) == output.rank and axes.endswith("c") else CHANNELS_LAST[output.rank]


def _reshaped(output: Output) -> str | None:
    """A reshape keeps the order of the elements: an axis that is first or last and keeps its size stays what it is."""
    shape, source, axes = output.shape, output.source, output.source.axes or ""
    if output.rank > 2 and len(axes) > 2:
        if axes[1] == "c" and shape[1] == source.shape[1]:
            return CHANNELS_FIRST[output.rank]
        if axes[-1] == "c" and shape[-1] == source.shape[-1]:
            return CHANNELS_LAST[output.rank]
    return default_axes(output.rank, output.data_format)


def _transposed(output: Output) -> str | None:
    axes = output.source.axes
    order = getattr(output.layer, "axes", None) or range(len(axes or ""))[::-1]
    return "".join(axes[axis] for axis in order) if axes else None


def _reduced(output: Output) -> str | None:
    axes, dropped = output.source.axes, getattr(output.layer, "axis", None)
    if not axes or dropped is None or getattr(output.layer, "keepdims", False):
        return None
    positions = {axis % len(axes) for axis in (dropped if isinstance(dropped, list | tuple) else (dropped,))}
    return "".join(letter for position, letter in enumerate(axes) if position not in positions)


def _operation(output: Output) -> str | None:
    """What moves or removes axes and is no layer of Keras, such as an operation or somebody's own `Reshape`."""
    name = type(output.layer).__name__
    rule = None if is_layer(output.layer) and name != "Reshape" else OPERATIONS.get(name)
    return rule(output) if rule else None


def _inherited(output: Output) -> str | None:
    same_rank = [source for source in output.sources if source.axes and len(source.axes) == output.rank]
    same_shape = [source for source in same_rank if source.shape == output.shape]
    return next((source.axes for source in (*same_shape, *same_rank)), None)


def _normalized(output: Output) -> str | None:
    """Where a normalisation names one axis, that is the channel."""
    axis, rank = getattr(output.layer, "axis", None), output.rank
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if not isinstance(axis, int):
        return None
    return by_format(rank, "channels_last" if axis % rank == rank - 1 else "channels_first")


Rule = Callable[[Output], "str | None"]


OPERATIONS: dict[str, Rule] = {
    "Reshape": _reshaped,
    "Transpose": _transposed,
    "Squeeze": _reduced,
    **dict.fromkeys(REDUCTIONS, _reduced),
}


# In this order: which classes of layers a rule is for (`()` for all), and the rule, which may leave it to the next ones.
RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    ((), lambda output: "bcqk" if isinstance(output.layer, AttentionMap) else None),
    (("Permute",), _permuted),
    (("Flatten",), lambda output: "bc"),
    (("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _convolved_over_time),
    (("TimeDistributed",), _each_step),
    ((), _spatial),
    ((), _inside_attention),
    (ATTENTION, _attention_scores),
    (CHANNEL_LAST, _channels_last),
    (("Reshape",), _reshaped),
    ((), _operation),
    ((), _inherited),
    (NORMALIZATION, _normalized),
    ((), lambda output: default_axes(output.rank, output.data_format)),
)
