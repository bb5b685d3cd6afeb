"""Where the units of an output lie, and the grid of its tokens: read from the positions that were followed along the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ...core.axes import prefix_names
from ...core.layer import Layer
from ...core.receptive_field import Field, Line, unknown, window
from .axes import PREFIX_TOKENS
from .field import Positions
from .field_dims import NOWHERE, Factor, size_of, spell_out

SPACE = "dhw"

# The names of tokens that a model states, or what gives them for so many tokens.
Known = Sequence[str] | Callable[[int], Sequence[str]]


@dataclass(frozen=True)
class TokenGrid:
    """Tokens on a grid: its size, the lines of its axes, for each position the index of its token, and the other tokens."""

    size: tuple[int, ...]
    lines: tuple[Line | None, ...]
    order: tuple[int, ...]
    prefix: tuple[str, ...]


def located(layer: Layer, positions: Positions | None, known: Known = ()) -> Layer:
    """A row of the table with where its units lie: receptive fields, lines, the grid of its tokens.

    `known` are the names of the tokens that the model itself states, taken where they are as many as there are tokens.
    """
    if positions is None or len(positions.dims) != len(layer.axes):
        return replace(layer, receptive=positions.receptive() if positions else None)
    layer = _as_placed(layer, positions)
    if "c" in layer.axes and positions.along(
        layer.axes.index("c")
    ):  # parts of pixels that were moved into the channels
        positions = positions.contract([layer.axes.index("c")])
    positions = positions.settle()
    layer = replace(layer, receptive=positions.receptive())
    letter = "n" if "n" in layer.axes else "k" if "k" in layer.axes else ""
    if letter == "n" and set(SPACE) & set(layer.axes):  # tokens and something else: heads, windows
        return layer
    if not letter:
        lines = _lines(layer.axes, positions)
        return replace(layer, lines=lines, receptive=_in_order(positions))
    if "b" in layer.axes and layer.shape and layer.shape[layer.axes.index("b")] != 1:
        return layer
    grid = token_grid(positions, layer.axes.index(letter), known)
    if grid is None:
        return replace(layer, note="; ".join(filter(None, (layer.note, _why_not(layer, positions)))))
    return replace(layer, grid=grid.size, prefix=grid.prefix, order=grid.order, lines=grid.lines)


def axes_of(positions: Positions) -> str | None:
    """The axes of images whose dimensions walk along one axis of the photo each, or along all of them in one (tokens).

    `None` where they do otherwise. What walks along no axis are the images, then the channels, which may have been summed.

    >>> from .field import image_positions
    >>> picture = image_positions("bchw", (1, 3, 2, 4)).permute([0, 2, 3, 1])
    >>> axes_of(picture), axes_of(picture.reshape((1, 8, 3))), axes_of(picture.reshape((2, 4, 3)))
    ('bhwc', 'bnc', None)
    >>> axes_of(picture.reshape((1, 2, 12)))
    """
    along = ["".join(sorted(positions.along(dim))) for dim in range(len(positions.dims))]
    space = sorted(axis for axis, _ in positions.fields if axis in SPACE)
    if len(space) < 2 or along.count("") not in (1, 2) or along[0]:
        return None
    if along.count("") == 1 and _repeats(positions):
        return None  # the channels lie in a row with positions
    letters, others = [axes for axes in along if axes], iter("bc")
    if letters == ["".join(space)]:
        letters = ["n"]
    elif sorted(letters) != space:
        return None
    walking = iter(letters)
    return "".join([next(walking) if axes else next(others) for axes in along])


def _repeats(positions: Positions) -> bool:
    """Whether several positions lie in the same place, next to each other or in turn."""
    for axis, field in positions.fields:
        if axis in SPACE and len(set(zip(field.starts, field.ends, strict=True))) < len(field.starts):
            return True
    for factors in positions.dims[1:]:
        steps = spell_out(factors).along().values()
        if steps and len(set(zip(*(part.tolist() for part in steps), strict=True))) < size_of(factors):
            return True
    return False


def _as_placed(layer: Layer, positions: Positions) -> Layer:
    """The row with the axes that its positions show, where operators and sizes told other ones."""
    placed = axes_of(positions)
    if placed is None or layer.attention:
        return layer
    still = [dim for dim in range(len(placed)) if not positions.along(dim)]
    told = [layer.axes[dim] for dim in still]  # which of images and channels is first
    axes = (
        placed
        if not set(told) <= {"b", "c"}
        else "".join(layer.axes[dim] if dim in still else letter for dim, letter in enumerate(placed))
    )
    if axes == layer.axes:
        return layer
    notes = [note for note in layer.note.split("; ") if note != layer.doubt]
    return replace(layer, axes=axes, doubt="", note="; ".join(notes))


def upright(axes: str, positions: Positions | None) -> str:
    """The axes with height and width exchanged, where the model has exchanged those of the photo before.

    >>> from .field import image_positions
    >>> turned = image_positions("bchw", (1, 3, 2, 4)).permute([0, 1, 3, 2])
    >>> upright("bchw", turned), upright("bcwh", turned)
    ('bcwh', 'bcwh')
    """
    if positions is None or len(positions.dims) != len(axes) or not {"h", "w"} <= set(axes):
        return axes
    turned = [positions.along(axes.index(letter)) for letter in "hw"] == ["w", "h"]
    return axes.translate(str.maketrans("hw", "wh")) if turned else axes


def _in_order(positions: Positions) -> tuple[Field, ...] | None:
    """The receptive fields, unknown where the units don't follow one another as the fields say."""
    odd = {axis for dim in positions.dims for part in dim if part.steps for axis in part.axes}
    if not odd:
        return positions.receptive()
    fields = [(axis, unknown("units in another order") if axis in odd else field) for axis, field in positions.fields]
    return replace(positions, fields=tuple(fields)).receptive()


def _why_not(layer: Layer, positions: Positions) -> str:
    """Why tokens that may lie on the image have no grid."""
    reason = next((field.unknown for axis, field in positions.fields if axis in "hw" and field.unknown), "")
    if not reason and len(positions.along(layer.axes.index("n" if "n" in layer.axes else "k"))) > 1:
        reason = "not one for each place"
    return f"no grid of tokens: {reason}" if reason else ""


def _lines(axes: str, positions: Positions) -> tuple[Line | None, ...] | None:
    """The line of each spatial axis of pictures, in the order of the map's axes."""
    fields = dict(positions.fields)
    lines = []
    for letter in SPACE:
        if letter not in axes:
            continue
        dim = positions.dims[axes.index(letter)]
        field = fields.get(letter)
        plain = dim == (Factor(letter, dim[0].size),) or dim == (Factor("", 1),)
        lines.append(field.line if field and plain else None)
    return tuple(lines) or None


def token_grid(positions: Positions, dim: int, known: Known = ()) -> TokenGrid | None:
    """The grid on which the positions of a dimension lie, `None` where they form none.

    >>> from .field import image_positions
    >>> picture = image_positions("bchw", (1, 3, 2, 3))
    >>> grid = token_grid(picture.reshape((1, 3, 6)).take(2, np.arange(6)[::-1]), 2)
    >>> grid.size, grid.order
    ((2, 3), (5, 4, 3, 2, 1, 0))
    """
    whole = spell_out(positions.dims[dim])
    laid = _lay_out(whole, tuple([(axis.lower(), field) for axis, field in positions.fields if axis in whole.axes]))
    if laid is None:
        return None
    size, lines, order, others = laid
    return TokenGrid(size, lines, order, _names(whole, others, known))


@lru_cache(maxsize=64)  # most layers of a transformer have the tokens of the one before
def _lay_out(
    whole: Factor, along_axes: tuple[tuple[str, Field], ...]
) -> tuple[tuple[int, ...], tuple[Line | None, ...], tuple[int, ...], tuple[int, ...]] | None:
    """The size, the lines and the order of the grid on which the positions of a factor lie, and those that lie nowhere."""
    along = {axis.lower(): steps for axis, steps in whole.along().items()}
    fields = dict(along_axes)
    axes = [axis for axis in SPACE if axis in along]
    if len(axes) < 2 or len(axes) < len(along) or any(axis not in fields for axis in axes):
        return None
    here = np.flatnonzero(along[axes[0]] != NOWHERE)
    steps = [_unrolled(along[axis][here], fields[axis]) for axis in axes]
    fields = {axis: replace(field, rolled=0, around=0) for axis, field in fields.items()}
    lines = [np.unique(values) for values in steps]
    # Where units run backwards, the grid runs forwards.
    lines = [line[:: -1 if fields[axis].jump < 0 else 1] for axis, line in zip(axes, lines, strict=True)]
    sizes = [len(line) for line in lines]
    ranks = np.ravel_multi_index([_index(line, values) for line, values in zip(lines, steps, strict=True)], sizes)
    if len(here) != math.prod(sizes) or len(np.unique(ranks)) != len(here):
        return None
    order = here[np.argsort(ranks)]
    others = sorted(set(range(whole.size)) - set(here.tolist()))
    behind = np.array_equal(order, np.arange(len(others), whole.size))
    even = [_line(fields[axis], line) for axis, line in zip(axes, lines, strict=True)]
    return tuple(sizes), tuple(even), () if behind else tuple(order.tolist()), tuple(others)


def _unrolled(steps: np.ndarray, field: Field) -> np.ndarray:
    return (steps + field.rolled) % field.around if field.rolled else steps


def _index(line: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """For each step its index in a line that rises or falls."""
    rising = line[0] <= line[-1]
    return np.searchsorted(line, steps) if rising else len(line) - 1 - np.searchsorted(line[::-1], steps)


def _line(field: Field, steps: np.ndarray) -> Line | None:
    """The line of units that lie evenly on that of a field."""
    apart = int(steps[1] - steps[0]) if len(steps) > 1 else 1
    if not np.array_equal(steps, steps[0] + apart * np.arange(len(steps))):
        return None
    return window(field, 1, apart, padding=-int(steps[0])).line


def _names(whole: Factor, others: Sequence[int], known: Known) -> tuple[str, ...]:
    """Names of the tokens that lie nowhere, by the parameters that hold them, else by what the model states."""
    origins = [whole.names[index] if whole.names else "" for index in others]
    counts = {name.partition(":")[0]: 0 for name in origins}
    for origin in origins:
        counts[origin.partition(":")[0]] += 1
    labels = []
    for origin in origins:
        name, _, number = origin.partition(":")
        word = PREFIX_TOKENS.get(name) or PREFIX_TOKENS.get(name.rstrip("0123456789").rstrip("_"), name)
        labels.append(f"{word}{int(number) + 1}" if name and (counts[name] > 1 or word == "reg") else word)
    unique = len(set(labels)) == len(labels)
    if not labels or (all(labels) and unique):
        return tuple(labels)
    return prefix_names(len(others), known(len(others)) if callable(known) else known)
