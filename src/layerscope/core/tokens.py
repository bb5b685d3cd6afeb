"""Tokens laid on a grid by what the user says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import BadLayout
from .axes import split_tokens
from .note import Note
from .unit_grid import even

Map = Any  # a `FeatureMap`, which itself imports this module
Tokens = int | Sequence[str] | None


def lay_on_grid(fm: Map, grid: Sequence[int], prefix: Tokens = None, suffix: Tokens = 0) -> Map:
    """The tokens of a map as pictures; by default all that the grid leaves over are in front. See `FeatureMap.on_grid`."""
    sides = _sides(grid)
    values = _in_rows(fm, fm.values, fm.tokens)
    tokens, count = values.shape[1], math.prod(sides)
    back = _names("suffix", suffix)
    front = _names("prefix", max(0, tokens - count - len(back)) if prefix is None else prefix)
    if len(front) + count + len(back) != tokens:
        patches = " × ".join(map(str, sides))
        raise BadLayout(
            f"{patches} patches, {len(front)} tokens in front and {len(back)} behind are {len(front) + count + len(back)} "
            f"tokens, and this map has {tokens}: give another grid, or prefix= and suffix= as many as there are"
        )
    order = tuple(range(len(front), len(front) + count)) if back else ()
    layer = replace(fm.layer, axes="bnc", shape=(1, tokens, fm.of), grid=sides, order=order, prefix=(*front, *back))
    placed = fm.placement and len(sides) == 2
    layer = replace(layer, lines=tuple(map(even, fm.placement[0].input, sides)) if placed else None)
    picture, others = split_tokens(values, sides, order)
    gradient = None
    if fm.gradient is not None and len(fm.spatial) == 1:
        gradient = split_tokens(fm.gradient, sides, order)[0]
    note = Note("grid", f"on a grid of {' × '.join(map(str, sides))} as requested")
    return replace(fm, values=picture, tokens=others, gradient=gradient, layer=layer, notes=(*fm.notes, note))


def _in_rows(fm: Map, values: np.ndarray, tokens: np.ndarray | None) -> np.ndarray:
    """The values as `[image, n, channel]`, in the order in which the model has the tokens."""
    if len(fm.spatial) == 1:
        return values
    if tokens is None or fm.layer.grid is None or "n" not in fm.layer.axes:
        raise BadLayout(f"this map, of shape {fm.shape}, holds no tokens: a grid is for tokens, [image, n, channel]")
    images, channels, count = values.shape[0], values.shape[-1], math.prod(fm.spatial)
    total = count + tokens.shape[1]
    order = list(fm.layer.order or range(total - count, total))
    rows = np.empty((images, total, channels), np.float32)
    rows[:, order] = values.reshape(images, count, channels)
    rows[:, np.setdiff1d(np.arange(total), order)] = tokens
    return rows


def _sides(grid: Any) -> tuple[int, ...]:
    """The sides of a grid. Raises `BadLayout` where they aren't two or three whole numbers above 0."""
    sides = tuple(grid) if isinstance(grid, Sequence | np.ndarray) and not isinstance(grid, str) else ()
    if len(sides) not in (2, 3) or not all(isinstance(side, int | np.integer) and side > 0 for side in sides):
        raise BadLayout(f"grid={grid!r}: use (rows, columns), or (depth, rows, columns), whole numbers above 0")
    return tuple(int(side) for side in sides)


def _names(word: str, tokens: Any) -> tuple[str, ...]:
    """Names for so many tokens, or those given."""
    if isinstance(tokens, int | np.integer) and not isinstance(tokens, bool) and tokens >= 0:
        return tuple(f"{word}{number}" for number in range(1, int(tokens) + 1))
    if isinstance(tokens, Sequence) and not isinstance(tokens, str) and all(isinstance(name, str) for name in tokens):
        return tuple(tokens)
    raise BadLayout(f"{word}={tokens!r}: use how many tokens there are, or a list of their names")
