"""The dimensions of a tensor as products of runs of positions: how merged, split and reordered ones walk over the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# The step of what lies nowhere on the image: a class token among those of the patches.
NOWHERE = -(1 << 40)


@dataclass(frozen=True, slots=True)
class Factor:
    """A run of `size` positions: the axes of the image that it walks along, and where.

    `steps` are the positions along each of the axes; `()` stands for 0, 1, 2 … along the only one. The steps of all the factors
    of a tensor along an axis add up: a picture cut into windows has one factor that counts windows and one inside them. `names`
    are those of tokens that lie nowhere. Capitals are the axes of keys, where queries walk over the same image.
    """

    axes: str
    size: int
    steps: tuple[tuple[int, ...], ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)

    def along(self) -> dict[str, np.ndarray]:
        """The steps along each axis."""
        if not self.steps:
            return {axis: np.arange(self.size) for axis in self.axes}
        return {axis: np.array(steps) for axis, steps in zip(self.axes, self.steps, strict=True)}

    def key(self) -> Any:
        """The same for factors that walk in the same way, whatever the order of their axes."""
        return tuple(sorted((axis, tuple(steps.tolist())) for axis, steps in self.along().items()))


Dim = tuple[Factor, ...]


def axes_along(factors: Dim) -> str:
    """The axes of the image that a dimension of these factors walks along."""
    return factors[0].axes if len(factors) == 1 else "".join(dict.fromkeys("".join([part.axes for part in factors])))


def size_of(factors: Dim) -> int:
    """How many positions a dimension has."""
    return factors[0].size if len(factors) == 1 else math.prod([part.size for part in factors])


def plain(shape: Sequence[int]) -> tuple[Dim, ...]:
    """Dimensions that walk along no axis of the image."""
    return tuple([(Factor("", int(size)),) for size in shape])


def factor_of(size: int, along: Mapping[str, np.ndarray], names: Sequence[str] = ()) -> Factor:
    """One factor with these steps.

    >>> factor_of(3, {"h": np.arange(3)}), factor_of(2, {"h": np.array([4, 8])}).steps
    (Factor(axes='h', size=3, steps=(), names=()), ((4, 8),))
    """
    along = {axis: steps for axis, steps in along.items() if steps.any() or size == 1}
    names = tuple(names) if any(names) else ()
    if not along or all((steps < 0).all() for steps in along.values()):
        return Factor("", size, (), names)
    (first, *others) = along.values()
    if not others and not names and np.array_equal(first, np.arange(size)):
        return Factor("".join(along), size)
    return Factor("".join(along), size, tuple([tuple(steps.tolist()) for steps in along.values()]), names)


def spell_out(factors: Dim) -> Factor:
    """A dimension as one factor.

    >>> spell_out((Factor("h", 2), Factor("w", 3))).steps
    ((0, 0, 0, 1, 1, 1), (0, 1, 2, 0, 1, 2))
    """
    if len(factors) == 1:
        return factors[0]
    size, outer = size_of(factors), 1
    along: dict[str, np.ndarray] = {}
    names = [""] * size
    for part in factors:
        inner = size // (outer * part.size)
        for axis, steps in part.along().items():
            along[axis] = _add(along.get(axis), np.tile(steps.repeat(inner), outer))
        if part.names and inner == outer == 1:
            names = list(part.names)
        outer *= part.size
    return factor_of(size, along, names)


def different(dims: Sequence[Dim]) -> list[Dim]:
    """The dimensions that don't walk over the image in the same way as an earlier one."""
    found = list(dict.fromkeys(dims))
    return found if len(found) < 2 else list({spell_out(dim).key(): dim for dim in reversed(found)}.values())[::-1]


def _add(first: np.ndarray | None, second: np.ndarray) -> np.ndarray:
    total = second if first is None else first + second
    return np.where(total < NOWHERE // 2, NOWHERE, total)


def tidy(factors: Dim) -> Dim:
    """The same dimension as a product of plain runs, where it is one: tokens that were flipped and flipped back.

    >>> tidy((Factor("h", 2, ((0, 3),)), Factor("h", 3))), len(tidy((spell_out((Factor("h", 2), Factor("w", 3))),)))
    ((Factor(axes='h', size=6, steps=(), names=()),), 2)
    """
    axes = "".join([part.axes for part in factors])
    bare = not any(part.steps for part in factors) and all(part.size == 1 or part.axes for part in factors)
    if not axes or (bare and len(set(axes)) == len(axes)):
        return factors
    whole = spell_out(factors)
    if whole.names or any(NOWHERE in steps for steps in whole.steps):
        return (whole,)
    # Tokens that share a place, as those of the frames of a clip do, form no product.
    shared = len(set(axes)) > 1 and len(set(zip(*whole.steps, strict=True))) < whole.size
    return (whole,) if shared else _product(whole)


def _product(whole: Factor) -> Dim:
    """A factor along several axes as one for each of them, where it is their product."""
    along = whole.along()
    for axis, steps in along.items() if len(along) > 1 else ():
        inner = int(np.argmax(steps != steps[0]))
        if not inner or whole.size % inner:
            continue
        blocks = {other: values.reshape(-1, inner) for other, values in along.items()}
        rest = {other: values[0] for other, values in blocks.items() if other != axis}
        if (blocks[axis] == blocks[axis][:, :1]).all() and all((blocks[other] == rest[other]).all() for other in rest):
            return (factor_of(whole.size // inner, {axis: blocks[axis][:, 0]}), *_product(factor_of(inner, rest)))
    return (whole,)


def split_factor(part: Factor, size: int) -> tuple[Factor, Factor] | None:
    """A factor as two, the first of `size` positions; `None` where it can't be cut there.

    >>> split_factor(Factor("h", 6), 2)
    (Factor(axes='h', size=2, steps=((0, 3),), names=()), Factor(axes='h', size=3, steps=(), names=()))
    """
    return None if part.names else split_windows(part, part.size // size, part.size // size)


def split_windows(part: Factor, size: int, step: int) -> tuple[Factor, Factor] | None:
    """A factor as one that counts windows of `size` positions, `step` apart, and one inside them; `None` where these differ.

    >>> split_windows(Factor("h", 6), 3, 1)
    (Factor(axes='h', size=4, steps=(), names=()), Factor(axes='h', size=3, steps=(), names=()))
    """
    starts = np.arange(0, part.size - size + 1, step)
    first, second = {}, {}
    for axis, steps in part.along().items():
        table = steps[starts[:, None] + np.arange(size)]
        first[axis], second[axis] = table[:, 0], table[0] - table[0, 0]
        if (table != table[:, :1] + second[axis]).any() or NOWHERE in table:
            return None
    return factor_of(len(starts), first), factor_of(size, second)


def pick_from(factors: Dim, indices: np.ndarray) -> Dim:
    """The positions at these indices of a dimension, in this order; -1 is nowhere on the image."""
    whole = spell_out(factors)
    here = indices >= 0
    along = {axis: np.where(here, steps[indices], NOWHERE) for axis, steps in whole.along().items()}
    names = [whole.names[index] if index >= 0 else "" for index in indices] if whole.names else ()
    if len(whole.axes) == 1 and here.all():
        return (factor_of(len(indices), along, names),)
    return tidy((factor_of(len(indices), along, names),))


def join_dims(parts: Sequence[tuple[Dim, Sequence[str]]]) -> Dim:
    """Dimensions one after another, each with names for its positions, for those that lie nowhere."""
    wholes = [spell_out(factors) for factors, _ in parts]
    axes = "".join(dict.fromkeys("".join(whole.axes for whole in wholes)))
    along = {
        axis: np.concatenate([whole.along().get(axis, np.full(whole.size, NOWHERE)) for whole in wholes])
        for axis in axes
    }
    names = [
        name
        for whole, (_, own) in zip(wholes, parts, strict=True)
        for name in (whole.names or own or [""] * whole.size)
    ]
    return tidy((factor_of(sum(whole.size for whole in wholes), along, names),))
