"""Which axes the output of a Keras layer has: stated by the layer or inherited from its input, never guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ..common.axes import CHANNELS_FIRST, CHANNELS_LAST, PREFIX_TOKENS, prefix_labels
from ..common.run import TensorMap
from .attention import AttentionMap
from .engine import Engine
from .model import KerasModel
from .tree import is_a, is_layer, walk

ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention")


CHANNEL_LAST = ("Dense", "EinsumDense", "Embedding", "RNN", "LSTM", "GRU", "SimpleRNN", "Bidirectional", "RepeatVector")


NORMALIZATION = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization")


# operations that name the axes they remove (or keep with size one)
REDUCTIONS = ("Mean", "Max", "Min", "Sum", "Amax", "Amin", "Average", "Var", "Std", "Prod", "Median", "Logsumexp")


# layers that rename the axes of a tensor that comes out unchanged
RENAMING = ("Flatten", "Reshape", "Permute")


WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Source(NamedTuple):
    """One tensor that went into a layer: its shape and, where they are known, its axes."""

    shape: tuple[int, ...]
    axes: str | None


class Output(NamedTuple):
    """One tensor that `layer` returned when `parent` called it on `sources`."""

    layer: Any
    parent: Any
    tensor: Any
    sources: Sequence[Source]


class Query(NamedTuple):
    """What the rules take of an output; `data_format` is the model's."""

    layer: Any
    parent: Any
    shape: tuple[int, ...]
    sources: Sequence[Source]
    data_format: str

    @property
    def rank(self) -> int:
        """The number of axes."""
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


class Axes:
    """The axes of the tensors of one run."""

    def __init__(self, model: KerasModel) -> None:
        self._model = model
        self._format = model_format(model.root, model.engine.data_format)
        self._trace: TensorMap[str] = TensorMap()

    def letters(self, output: Output) -> str:
        """The axes of an output, `""` where it has no picture."""
        # a container returns the tensor that its last layer returned
        axes = None if is_a(output.layer, *RENAMING) else self._trace.get(output.tensor)
        if axes is None:
            shape = tuple(output.tensor.shape)
            axes = _letters(Query(output.layer, output.parent, shape, output.sources, self._format))
        if axes:
            self._trace.set(output.tensor, axes)
        return axes

    def of_input(self, tensor: Any) -> str:
        """The axes of a tensor that goes into the model itself, `""` where it has no picture."""
        axes = input_axes(self._model.root, len(tensor.shape), self._model.engine.data_format)
        if axes:
            self._trace.set(tensor, axes)
        return axes

    def source(self, tensor: Any) -> Source:
        """A tensor that goes into a layer, with its axes where they are known."""
        return Source(tuple(tensor.shape), self._trace.get(tensor))


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


def _snake_case(name: str) -> str:
    """`ClassToken` and `class_token_1` as `class_token`."""
    return re.sub(r"_\d+$", "", WORD_START.sub("_", name)).lower()


def _is_spatial(layer: Any) -> bool:
    """Whether a layer has a data format of its own."""
    return getattr(layer, "data_format", None) in ("channels_first", "channels_last") and not is_a(layer, "Flatten")


def _letters(query: Query) -> str:
    """What the first of `RULES` says that applies."""
    if not 1 < query.rank < 6:
        return ""
    stated = (rule(query) for classes, rule in RULES if not classes or is_a(query.layer, *classes))
    return next((axes for axes in stated if axes), "")


def _permute(query: Query) -> str | None:
    """`Permute`: the axes of its input in another order."""
    axes = query.source.axes or default_axes(query.rank, query.data_format)
    return "b" + "".join(axes[axis] for axis in query.layer.dims) if len(axes) == query.rank else None


def _convolve_over_time(query: Query) -> str | None:
    """ConvLSTM: one axis of time before those of the picture, where whole sequences come out."""
    layer = query.layer
    if not layer.return_sequences:
        return by_format(query.rank, layer.data_format)
    return _with_time(by_format(query.rank - 1, layer.data_format))


def _each_step(query: Query) -> str | None:
    """`TimeDistributed`: the axes of the layer inside, for one step, and the time."""
    steps = [Source(source.shape[:1] + source.shape[2:], None) for source in query.sources if len(source.shape) > 2]
    step = query._replace(layer=query.layer.layer, shape=query.shape[:1] + query.shape[2:], sources=steps)
    return _with_time(_letters(step))


def _with_time(axes: str) -> str | None:
    """The axes with one for time after the batch, `None` where there is no letter left."""
    letter = "n" if axes == "bc" else "d"
    return f"b{letter}{axes[1:]}" if axes and letter not in axes else None


def _spatial(query: Query) -> str | None:
    """A layer with a data format of its own."""
    return by_format(query.rank, query.layer.data_format) if _is_spatial(query.layer) else None


def _inside_attention(query: Query) -> str | None:
    """Heads have an axis of their own; weights are one picture of queries by keys for each head."""
    if query.rank != 4 or not is_a(query.parent, *ATTENTION):
        return None
    return "bndc" if is_a(query.layer, "EinsumDense") else "bcqk"


def _attention_scores(query: Query) -> str | None:
    """The scores that an attention layer returns beside its output."""
    return "bcqk" if query.rank == 4 and query.source.axes != "bhwc" else None


def _channels_last(query: Query) -> str | None:
    """Layers that have the channels last whatever the format; the other axes stay."""
    axes = query.source.axes
    return axes if axes and len(axes) == query.rank and axes.endswith("c") else CHANNELS_LAST[query.rank]


def _reshape(query: Query) -> str | None:
    """A reshape keeps the order of the elements: an axis that is first or last and keeps its size stays what it is."""
    shape, source, axes = query.shape, query.source, query.source.axes or ""
    if query.rank > 2 and len(axes) > 2:
        if axes[1] == "c" and shape[1] == source.shape[1]:
            return CHANNELS_FIRST[query.rank]
        if axes[-1] == "c" and shape[-1] == source.shape[-1]:
            return CHANNELS_LAST[query.rank]
    return default_axes(query.rank, query.data_format)


def _transpose(query: Query) -> str | None:
    """`Transpose`: the axes in another order, reversed by default."""
    axes = query.source.axes
    order = getattr(query.layer, "axes", None) or range(len(axes or ""))[::-1]
    return "".join(axes[axis] for axis in order) if axes else None


def _reduce(query: Query) -> str | None:
    """Reductions and `Squeeze`: without the axes that they name."""
    axes, dropped = query.source.axes, getattr(query.layer, "axis", None)
    if not axes or dropped is None or getattr(query.layer, "keepdims", False):
        return None
    positions = {axis % len(axes) for axis in (dropped if isinstance(dropped, list | tuple) else (dropped,))}
    return "".join(letter for position, letter in enumerate(axes) if position not in positions)


def _operation(query: Query) -> str | None:
    """What moves or removes axes and is no layer of Keras, such as an operation or somebody's own `Reshape`."""
    name = type(query.layer).__name__
    rule = None if is_layer(query.layer) and name != "Reshape" else OPERATIONS.get(name)
    return rule(query) if rule else None


def _inherit(query: Query) -> str | None:
    """The axes of an input of the same shape, else of the same rank."""
    same_rank = [source for source in query.sources if source.axes and len(source.axes) == query.rank]
    same_shape = [source for source in same_rank if source.shape == query.shape]
    return next((source.axes for source in (*same_shape, *same_rank)), None)


def _normalize(query: Query) -> str | None:
    """Where a normalisation names one axis, that is the channel."""
    axis, rank = getattr(query.layer, "axis", None), query.rank
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if not isinstance(axis, int):
        return None
    return by_format(rank, "channels_last" if axis % rank == rank - 1 else "channels_first")


Rule = Callable[[Query], "str | None"]


OPERATIONS: dict[str, Rule] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _reduce,
    **dict.fromkeys(REDUCTIONS, _reduce),
}


# In this order: which classes of layers a rule is for (`()` for all), and the rule, which may leave it to the next ones.
RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    ((), lambda query: "bcqk" if isinstance(query.layer, AttentionMap) else None),
    (("Permute",), _permute),
    (("Flatten",), lambda query: "bc"),
    (("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _convolve_over_time),
    (("TimeDistributed",), _each_step),
    ((), _spatial),
    ((), _inside_attention),
    (ATTENTION, _attention_scores),
    (CHANNEL_LAST, _channels_last),
    (("Reshape",), _reshape),
    ((), _operation),
    ((), _inherit),
    (NORMALIZATION, _normalize),
    ((), lambda query: default_axes(query.rank, query.data_format)),
)
