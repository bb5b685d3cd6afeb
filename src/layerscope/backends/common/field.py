"""Where the positions of the image are in a tensor, and what each of them sees: receptive fields followed along the data.

A backend starts with `image_positions` on the model's input and applies an `Operation` (`field_rules`) for each step of the
model. Framework-neutral: dimensions are numbers, sizes come from the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...core.receptive_field import WHOLE, Field, merge, unknown
from .axes import distribute

LETTERS = "dhwn"

Fields = tuple[tuple[str, Field], ...]


class Factor(NamedTuple):
    """A run of positions along a dimension: the axes of the image it walks along (`"h"`, or `"hw"` for tokens), how many."""

    axes: str
    size: int


Dim = tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class Positions:
    """The dimensions of a tensor as products of factors (a token dimension is `h` times `w`), and a field for each axis.

    A tensor that depends on no image (a position embedding) has no fields.
    """

    dims: tuple[Dim, ...]
    fields: Fields = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple([dim[0].size if len(dim) == 1 else math.prod([part.size for part in dim]) for dim in self.dims])

    def receptive(self) -> tuple[Field, ...] | None:
        """The field of each axis of the image, `None` for what depends on no image."""
        return tuple(field for _, field in self.fields) or None

    def along(self, dim: int) -> str:
        """The axes of the image that a dimension walks along."""
        return axes_along(self.dims[dim])

    def give_up(self, reason: str, shape: Sequence[int] | None = None) -> Positions:
        """After a step that can't be followed; an earlier reason stays."""
        fields = [(axis, field if field.unknown else unknown(reason)) for axis, field in self.fields]
        return Positions(plain(self.shape if shape is None else shape), tuple(fields))

    def slide(self, rules: Mapping[int, Callable[[Field], Field]], shape: Sequence[int]) -> Positions:
        """After a step that reads windows along some dimensions, with a rule for each, to a tensor of `shape`."""
        fields, dims, before = dict(self.fields), list(plain(shape)), self.shape
        for dim, factors in enumerate(self.dims):
            axes = axes_along(factors)
            if not axes:
                continue
            if dim not in rules:
                dims[dim] = factors if before[dim] == shape[dim] else dims[dim]
            elif len(axes) > 1 or axes not in fields:
                return self.give_up("windows over flattened positions", shape)
            else:
                fields[axes] = rules[dim](fields[axes])
                dims[dim] = (Factor(axes, int(shape[dim])),)
        return Positions(tuple(dims), tuple(fields.items()))

    def mix(self, over: Iterable[int] | None) -> Positions:
        """After a step in which every unit along these dimensions (`None`: all) may depend on all of them."""
        over = range(len(self.dims)) if over is None else over
        mixed = {axis for dim in over for axis in self.along(dim % len(self.dims))}
        if not mixed:
            return self
        fields = tuple((axis, WHOLE if axis in mixed and not field.unknown else field) for axis, field in self.fields)
        return Positions(self.dims, fields)

    def reduce(self, over: Sequence[int] | None, rank: int) -> Positions:
        """After a mean, a sum or a maximum over these dimensions (`None`: over all) to a tensor of `rank` dimensions."""
        gone = {dim % len(self.dims) for dim in (range(len(self.dims)) if over is None else over)}
        single, keep = (Factor("", 1),), rank == len(self.dims)
        dims = [single if dim in gone else factors for dim, factors in enumerate(self.dims) if keep or dim not in gone]
        return Positions(tuple(dims), self.mix(gone).fields)

    def permute(self, order: Sequence[int]) -> Positions:
        """After a transposition."""
        return Positions(tuple([self.dims[dim] for dim in order]), self.fields)

    def reshape(self, shape: Sequence[int]) -> Positions:
        """After a reshape: merged dimensions remember their factors, and can be split there again."""
        dims = distribute([part for dim in self.dims for part in dim], shape, _split_factor)
        if dims is None:
            return self.give_up("reshaped across the axes of the image", shape)
        return Positions(tuple(dim or (Factor("", 1),) for dim in dims), self.fields)

    def combine(self, others: Sequence[Positions]) -> Positions:
        """After arithmetic with others, broadcast as numpy does: every unit depends on what its operands see."""
        if not others and all(len(dim) == 1 for dim in self.dims):
            return self
        operands = (self, *others)
        rank = max(len(positions.dims) for positions in operands)
        fields = merge_fields(operands)
        if fields is None:
            return first_with_fields(operands).give_up("inputs of different kinds meet")
        dims = []
        for dim in range(-rank, 0):
            factors = [positions.dims[dim] for positions in operands if len(positions.dims) >= -dim]
            walking = {dim for dim in factors if axes_along(dim)}
            if len(walking) > 1:
                return first_with_fields(operands).give_up(
                    "branches with positions in different orders meet", _broadcast(operands, rank)
                )
            size = max(math.prod([part.size for part in dim]) for dim in factors)
            dims.append(walking.pop() if walking else (Factor("", size),))
        return Positions(tuple(dims), fields).pair_up()

    def pair_up(self) -> Positions:
        """Where two dimensions walk along the same axis (a score for each pair of positions): the whole image, as a bound."""
        walked = [axis for dim in self.dims for part in dim for axis in part.axes]
        return self if len(walked) == len(set(walked)) else Positions(plain(self.shape), self.mix(None).fields)

    def concatenate(self, others: Sequence[Positions], dim: int) -> Positions:
        """After a concatenation along `dim`; class tokens in front of those of the image don't change what these see."""
        operands = (self, *others)
        dim %= len(self.dims)
        size = sum(positions.shape[dim] for positions in operands)
        walked = {positions.along(dim) for positions in operands if positions.along(dim)}
        if not walked:
            return self.combine(others).with_dim(dim, (Factor("", size),))
        sources = [positions for positions in operands if positions.fields]
        if len(sources) > 1:
            shape = [*self.shape[:dim], size, *self.shape[dim + 1 :]]
            return sources[0].give_up("positions of several maps in a row", shape)
        return sources[0].with_dim(dim, (Factor(walked.pop(), size),))

    def with_dim(self, dim: int, factors: Dim) -> Positions:
        """The same positions with one dimension replaced."""
        return Positions((*self.dims[:dim], factors, *self.dims[dim % len(self.dims) + 1 :]), self.fields)

    def pick(self, dim: int) -> Positions:
        """After one index of a dimension was taken."""
        dim %= len(self.dims)
        return Positions((*self.dims[:dim], *self.dims[dim + 1 :]), self.mix([dim]).fields)


def axes_along(factors: Dim) -> str:
    """The axes of the image that a dimension of these factors walks along."""
    return factors[0].axes if len(factors) == 1 else "".join([part.axes for part in factors])


def plain(shape: Sequence[int]) -> tuple[Dim, ...]:
    """Dimensions that walk along no axis of the image."""
    return tuple([(Factor("", int(size)),) for size in shape])


def constant(shape: Sequence[int]) -> Positions:
    """A tensor that depends on no image."""
    return Positions(plain(shape))


def image_positions(axes: str, shape: Sequence[int]) -> Positions:
    """The model's input, in which every position sees itself.

    >>> image_positions("bchw", (1, 3, 8, 8)).permute([0, 2, 3, 1]).reshape([1, 64, 3]).along(1)
    'hw'
    """
    dims = tuple((Factor(axis if axis in LETTERS else "", int(size)),) for axis, size in zip(axes, shape, strict=True))
    return Positions(dims, tuple((axis, Field()) for axis in axes if axis in LETTERS))


def first_with_fields(operands: Sequence[Positions]) -> Positions:
    """The first of the operands that depends on the image, the first of all where none does."""
    return next((positions for positions in operands if positions.fields), operands[0])


def merge_fields(operands: Sequence[Positions]) -> Fields | None:
    """The fields of several operands together; `None` where they have different axes."""
    fields = [dict(positions.fields) for positions in operands if positions.fields]
    if not fields:
        return ()
    if any(list(other) != list(fields[0]) for other in fields):
        return None
    return tuple((axis, merge(field[axis] for field in fields)) for axis in fields[0])


def _split_factor(factor: Factor, size: int) -> tuple[Factor, Factor] | None:
    """A factor as two, where it walks along no axis."""
    return None if factor.axes else (Factor("", size), Factor("", factor.size // size))


def _broadcast(operands: Sequence[Positions], rank: int) -> list[int]:
    return [
        max(positions.shape[dim] for positions in operands if len(positions.dims) >= -dim) for dim in range(-rank, 0)
    ]
