"""The axes of an output by what a layer or an operation of Keras does: stated by its class, followed, or a guess."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..common.axes import ASSUMED, CHANNELS_FIRST, CHANNELS_LAST, DERIVED, add_classes, drop_axes, regroup
from .attention import AttentionMap
from .axes_products import dot, einsum, multiply, tensordot
from .axes_query import Named, Query, Source
from .operation import full_index, is_operation, moved_axes, operation_name
from .symbolic import Inside, follow_back, symbols_of, told
from .tree import is_a, is_library_class

ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention")
RECURRENT = ("RNN", "LSTM", "GRU", "SimpleRNN", "Bidirectional")
CHANNEL_LAST = ("Dense", "EinsumDense", "Embedding", *RECURRENT, "RepeatVector")
NORMALIZATION = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization")
# operations that name the axes they remove (or keep with size one)
REDUCTIONS = (
    "Mean",
    "Max",
    "Min",
    "Sum",
    "Amax",
    "Amin",
    "Average",
    "Var",
    "Variance",
    "Std",
    "Prod",
    "Median",
    "Logsumexp",
)
INDICES = ("Argmax", "Argmin", "All", "Any", "CountNonzero", "Quantile", "Norm")
# operations that change sizes and leave the axes what they are
KEEPING = (
    "Concatenate",
    "Split",
    "ArraySplit",
    "Tile",
    "Repeat",
    "Pad",
    "Flip",
    "Roll",
    "Cumsum",
    "Resize",
    "DepthToSpace",
    "SpaceToDepth",
    "CropImages",
    "PadImages",
)
# layers that rename the axes of a tensor that comes out unchanged
RENAMING = ("Flatten", "Reshape", "Permute")
# layers whose output has axes of its own
MOVING = (*RENAMING, "Dot")


def by_format(rank: int, data_format: str) -> str:
    """The axes of Keras's data format at a rank, `""` where a rank has no picture."""
    return (CHANNELS_FIRST if data_format == "channels_first" else CHANNELS_LAST).get(rank, "")


def default_axes(rank: int, data_format: str) -> str:
    """The axes where no layer states them; three axes are tokens, which have their channels last in either format."""
    return CHANNELS_LAST[3] if rank == 3 else by_format(rank, data_format)


def is_spatial(layer: Any) -> bool:
    """Whether a layer has a data format of its own."""
    return getattr(layer, "data_format", None) in ("channels_first", "channels_last") and not is_a(layer, "Flatten")


def needed(layer: Any, rank: int) -> str:
    """The axes that a layer needs its input to have, `""` where it takes any."""
    if is_a(layer, "TimeDistributed"):
        return with_time(needed(layer.layer, rank - 1)) or ""
    if is_a(layer, "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"):
        return with_time(by_format(rank - 1, layer.data_format)) or ""
    if is_a(layer, *RECURRENT, *ATTENTION):
        return CHANNELS_LAST[3] if rank == 3 else ""
    return by_format(rank, layer.data_format) if is_spatial(layer) else ""


def name(query: Query) -> Named:
    """The axes of an output: what the first rule says that applies, else a guess."""
    if not 1 < query.rank < 6:
        return Named("")
    for classes, rule in STATED:
        if (not classes or is_a(query.layer, *classes)) and (axes := rule(query)):
            return Named(axes)
    for classes, rule in FOLLOWED:
        if (not classes or is_a(query.layer, *classes)) and (axes := rule(query)):
            return _derived(query, axes)
    return (None if _moves(query.layer) else _inherit(query)) or _normalize(query) or _guess(query)


def _moves(layer: Any) -> bool:
    """Whether a layer has a rule of its own for what it does to the axes."""
    return is_a(layer, *MOVING) or operation_name(layer) in OPERATIONS


def _derived(query: Query, axes: str) -> Named:
    """Axes that follow from those of the inputs, and are as sure as these; the same ones, so that both are settled at once."""
    doubtful = [source for source in query.sources if source.doubt]
    certain = [source for source in query.sources if source.axes and not source.doubt]
    if not doubtful or certain:
        return Named(axes)
    named = doubtful[0].named
    return named if named and named.axes == axes else Named(axes, DERIVED)


def _guess(query: Query) -> Named:
    """Where nothing is said: the axes of an input of the same rank, else the usual ones."""
    axes = next((source.axes for source in query.sources if source.axes and len(source.axes) == query.rank), None)
    if axes is None or _moves(query.layer):
        axes = default_axes(query.rank, query.data_format)
    return Named(axes, ASSUMED if query.rank > 2 else "")


def _inherit(query: Query) -> Named | None:
    """The axes of the input that the output has its size from, or of what a layer inside returned of the same shape."""
    own = not (is_library_class(type(query.layer)) and not is_a(query.layer, "Lambda"))
    if own and query.walked:
        return Named(query.walked)
    if own and (inside := _inside(query)):
        return inside
    same = [source for source in query.sources if source.named and len(source.named.axes) == query.rank]
    if not same:
        return query.inside.get(query.shape)
    best = min(same, key=lambda source: (prod(source.shape) == 1, bool(source.doubt), source.shape != query.shape))
    if best.shape == query.shape or _keeps(query, own):
        return best.named
    return query.inside.get(query.shape) or (Named(query.walked) if query.walked else None)


def _inside(query: Query) -> Named | None:
    """The axes by the operations in the `call` of a layer of somebody's own, where they are as sure as those of its inputs."""
    if not told(query.layer) or not all(source.axes for source in query.sources):
        return None

    def of(inside: Inside, inputs: list[Source | None]) -> Source:
        sources = [source for source in inputs if source is not None]
        step = Query(inside.operation, query.layer, inside.shape, sources, query.data_format, inside.arguments)
        return Source(inside.shape, name(step))

    try:
        with symbols_of(query.layer, [source.shape for source in query.sources]) as (symbols, output):
            known: dict[int, Source | None] = dict(zip(map(id, symbols), query.sources, strict=True))
            found = follow_back(output, known, of, lambda shape: None)
    except Exception:  # whatever the user's own code does with a tensor that holds no numbers
        return None
    doubts = {"", DERIVED, *(source.doubt for source in query.sources)}
    return found.named if found and found.axes and found.shape == query.shape and found.doubt in doubts else None


def _keeps(query: Query, own: bool) -> bool:
    """Whether a layer leaves the axes what they are, though their sizes change."""
    if own:
        return False
    if not is_operation(query.layer) or operation_name(query.layer) in KEEPING:
        return True
    try:
        return np.broadcast_shapes(*(source.shape for source in query.sources)) == query.shape
    except ValueError:
        return False


def _convolve_over_time(query: Query) -> str | None:
    """ConvLSTM: one axis of time before those of the picture, where whole sequences come out."""
    picture = query.rank - (query.rank == len(query.source.shape) and query.layer.return_sequences)
    axes = by_format(picture, query.layer.data_format)
    return axes if picture == query.rank else with_time(axes)


def _each_step(query: Query) -> str | None:
    """`TimeDistributed`: the axes of the layer inside, for one step, and the time."""
    steps = [Source(source.shape[:1] + source.shape[2:], None) for source in query.sources if len(source.shape) > 2]
    step = query._replace(layer=query.layer.layer, shape=query.shape[:1] + query.shape[2:], sources=steps)
    return with_time(name(step).axes)


def with_time(axes: str) -> str | None:
    """The axes with one for time after the batch, `None` where there is no letter left."""
    return _with_new(axes, 1, "n" if axes == "bc" else "d")


def _with_new(axes: str | None, at: int, letter: str) -> str | None:
    """The axes with a new one at a position."""
    if not axes or letter in axes:
        return None
    at %= len(axes) + 1
    return axes[:at] + letter + axes[at:]


def _spatial(query: Query) -> str | None:
    """A layer with a data format of its own."""
    return by_format(query.rank, query.layer.data_format) if is_spatial(query.layer) else None


def _inside_attention(query: Query) -> str | None:
    """Heads have an axis of their own; weights are one picture of queries by keys for each head."""
    if query.rank != 4 or not is_a(query.parent, *ATTENTION):
        return None
    return "bndc" if is_a(query.layer, "EinsumDense") else "bcqk"


def _attention_scores(query: Query) -> str | None:
    """The scores that an attention layer returns beside its output."""
    return "bcqk" if query.rank == 4 and query.source.axes != "bhwc" else None


def _permute(query: Query) -> str | None:
    """`Permute`: the axes of its input in another order."""
    axes = query.source.axes
    return "b" + "".join(axes[axis] for axis in query.layer.dims) if axes and len(axes) == query.rank else None


def _channels_last(query: Query) -> str | None:
    """Layers that work along the last axis, mostly that of the channels; the other axes stay."""
    axes, usual = query.source.axes, CHANNELS_LAST[query.rank]
    if axes and len(axes) == query.rank and (axes.endswith("c") or _along_tokens(query.layer, axes)):
        return axes
    return usual if query.rank < 4 or axes else None


def _along_tokens(layer: Any, axes: str) -> bool:
    """Whether a dense layer works along the tokens of each channel, as in a Mixer."""
    return is_a(layer, "Dense") and sorted(axes) == sorted(CHANNELS_LAST.get(len(axes), ""))


def _reshape(query: Query) -> str | None:
    """A reshape keeps the order of the elements: an axis that is first or last and keeps its size stays what it is."""
    shape, source, axes = query.shape, query.source, query.source.axes or ""
    if len(axes) < 2 or len(axes) != len(source.shape):
        return None
    if query.rank > 2 and len(axes) > 2:
        if axes[:2] == "bc" and shape[1] == source.shape[1]:
            return CHANNELS_FIRST[query.rank]
        if axes[-1] == "c" and shape[-1] == source.shape[-1]:
            return CHANNELS_LAST[query.rank]
    grouped = regroup(axes, source.shape, shape) or ""
    if "n" in grouped and "w" not in grouped and "d" not in grouped:
        grouped = grouped.replace("h", "d")  # heads, groups
    if query.rank == 3 and sorted(grouped)[:2] == ["b", "c"]:
        return "".join(letter if letter in "bc" else "n" for letter in grouped)
    vector = axes == "bc" and max(shape[1:]) == source.shape[-1] > 1  # in front of a product with a picture
    return grouped if len(axes) > 2 or vector else None


def _transpose(query: Query) -> str | None:
    """`Transpose`: the axes in another order, reversed by default."""
    axes = query.source.axes
    order = query.option("axes", "perm") or range(len(axes or ""))[::-1]
    return "".join(axes[axis] for axis in np.array(order).tolist()) if axes else None


def _swap(query: Query) -> str | None:
    """`Swapaxes` and `Moveaxis`."""
    axes = query.source.axes
    return "".join(axes[axis] for axis in moved_axes(query.layer, len(axes))) if axes else None


def _reduce(query: Query) -> str | None:
    """Reductions and `Squeeze`: without the axes that they name."""
    axes, dropped = query.source.axes, query.option("axis")
    if not axes or len(axes) == query.rank:
        return axes
    if dropped is None and operation_name(query.layer) == "Squeeze":
        dropped = [axis for axis, size in enumerate(query.source.shape) if size == 1]
    return None if dropped is None else drop_axes(axes, np.atleast_1d(np.array(dropped)).tolist())


def _turn(query: Query) -> str | None:
    """`Rot90`: an odd number of quarter turns exchanges two axes."""
    axes, (first, second) = list(query.source.axes or ""), query.layer.axes
    if axes and query.layer.k % 2:
        axes[first], axes[second] = axes[second], axes[first]
    return "".join(axes) or None


def _insert(query: Query) -> str | None:
    """`ExpandDims` and `Stack`: one axis more."""
    axis = query.option("axis")
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis or 0
    axes = query.source.axes or ""
    return _with_new(axes, int(axis), _new(axes)) if query.rank == len(query.source.shape) + 1 else None


def _new(axes: str) -> str:
    """The letter of a new axis: the channels, rows or columns where these went, else time, or whatever the pictures are of."""
    gone = [letter for letter in "hw" if letter not in axes]
    return "c" if "c" not in axes else "n" if axes == "bc" else gone[0] if len(gone) == 1 else "d"


def _get_item(query: Query) -> str | None:
    """What an index of slices and whole numbers leaves: `x[:, 4:-4, ::2]`, `x[:, 0]`."""
    axes = query.source.axes
    if not axes:
        return None
    parts = full_index(query.arguments, len(axes))
    if not all(part is None or isinstance(part, slice | int) for part in parts):
        return None
    letters = iter(axes)
    pairs = [(part, next(letters) if part is not None else "") for part in parts]
    left = [letter for part, letter in pairs if not isinstance(part, int)]
    after: str | None = "".join(left)
    for position, letter in enumerate(left):
        if not letter:
            after = _with_new(after, position, _new(after or ""))
    return after


def _one_hot(query: Query) -> str | None:
    """Classes as ones and zeros."""
    axis = query.option("axis", position=4)
    return add_classes(query.source.axes or "", -1 if axis is None else int(axis))


def _operation(query: Query) -> str | None:
    """What moves or removes axes and is no layer of Keras, such as an operation or somebody's own `Reshape`."""
    title = operation_name(query.layer)
    rule = OPERATIONS.get(title) if is_operation(query.layer) or title == "Reshape" else None
    return rule(query) if rule else None


def _normalize(query: Query) -> Named | None:
    """Where a normalisation names one axis, that is the channel."""
    if not is_a(query.layer, *NORMALIZATION):
        return None
    axis, rank = getattr(query.layer, "axis", None), query.rank
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if not isinstance(axis, int):
        return None
    return Named(by_format(rank, "channels_last" if axis % rank == rank - 1 else "channels_first"))


Rule = Callable[[Query], "str | None"]


OPERATIONS: dict[str, Rule] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    **dict.fromkeys(("Swapaxes", "Moveaxis"), _swap),
    **dict.fromkeys(("Squeeze", "Unstack", *REDUCTIONS, *INDICES), _reduce),
    **dict.fromkeys(("ExpandDims", "Stack"), _insert),
    "GetItem": _get_item,
    "Rot90": _turn,
    "Matmul": multiply,
    "Einsum": einsum,
    "Tensordot": tensordot,
    "OneHot": _one_hot,
}

# In this order: which classes of layers a rule is for (`()` for all), and the rule, which may leave it to the next ones.
STATED: tuple[tuple[tuple[str, ...], Rule], ...] = (
    ((), lambda query: "bcqk" if isinstance(query.layer, AttentionMap) else None),
    (("Flatten",), lambda query: "bc"),
    (("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _convolve_over_time),
    (("TimeDistributed",), _each_step),
    ((), _spatial),
    ((), _inside_attention),
    (ATTENTION, _attention_scores),
)
# The same for what follows from the inputs, and is as sure as these.
FOLLOWED: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("Permute",), _permute),
    (CHANNEL_LAST, _channels_last),
    (("Reshape",), _reshape),
    (("Dot",), dot),
    ((), _operation),
)
