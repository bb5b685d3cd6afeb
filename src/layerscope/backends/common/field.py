"""Where the positions of the image are in a tensor, and what each of them sees: receptive fields followed along the data.

A backend starts with `image_positions` on the model's input and applies an `Operation` (`field_rules`) for each step of the
model. Framework-neutral: dimensions are numbers, sizes come from the tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.note import Note
from ...core.receptive_field import MOST_PHASES, SEVERAL_MAPS, WHOLE, Field, merge, read_units, unknown, window
from .axes import distribute
from .field_dims import (
    NOWHERE,
    Dim,
    Factor,
    axes_along,
    different,
    join_dims,
    pick_from,
    plain,
    size_of,
    spell_out,
    split_factor,
    split_windows,
    tidy,
)

LETTERS = "dhwn"

RESHAPED = "reshaped across the axes of the image"
SEVERAL_ORDERS = "branches with positions in different orders meet"
APART = "different parts of the image lie in its rows or channels"

Fields = tuple[tuple[str, Field], ...]


@dataclass(frozen=True, slots=True)
class Positions:
    """The dimensions of a tensor as products of factors (a token dimension is `h` times `w`), and a field for each axis.

    A tensor that depends on no image (a position embedding) has no fields; `origin` is then the parameter that it is made from,
    where that may hold tokens.
    """

    dims: tuple[Dim, ...]
    fields: Fields = ()
    origin: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple([size_of(dim) for dim in self.dims])

    def receptive(self) -> tuple[Field, ...] | None:
        """The field of each axis of the image, `None` for what depends on no image."""
        return tuple(_public(field) for axis, field in self.settle().fields if axis.islower()) or None

    def along(self, dim: int) -> str:
        """The axes of the image that a dimension walks along."""
        return axes_along(self.dims[dim])

    def give_up(self, reason: str, shape: Sequence[int] | None = None) -> Positions:
        """After a step that can't be followed; an earlier reason stays."""
        fields = [(axis, field if field.unknown else unknown(reason)) for axis, field in self.fields if axis.islower()]
        return Positions(plain(self.shape if shape is None else shape), tuple(fields))

    def slide(self, rules: Mapping[int, Callable[[Field], Field]], shape: Sequence[int]) -> Positions:
        """After a step that reads windows along some dimensions, with a rule for each, to a tensor of `shape`."""
        if (settled := self.settle()) is not self:
            return settled.slide(rules, shape)
        sliding = {axis for dim in rules for axis in self.along(dim)}
        beside = [dim for dim in range(len(self.dims)) if dim not in rules and sliding & set(self.along(dim))]
        if beside:  # parts of pixels that were moved into the channels
            return self.contract(beside).slide(rules, shape)
        fields, dims, before = dict(self.fields), list(plain(shape)), self.shape
        for dim, factors in enumerate(self.dims):
            axes = axes_along(factors)
            if not axes:
                continue
            if dim not in rules:
                dims[dim] = factors if before[dim] == shape[dim] else dims[dim]
            elif factors != (Factor(axes, before[dim]),) or axes not in fields:
                if before[dim] != shape[dim]:
                    return self.give_up("windows over flattened positions", shape)
                fields.update({axis: fields[axis].everywhere() for axis in axes if axis in fields})
                dims[dim] = factors
            else:
                fields[axes] = rules[dim](fields[axes])
                dims[dim] = (Factor(axes, int(shape[dim])),)
        return Positions(tuple(dims), tuple(fields.items()))

    def mix(self, over: Iterable[int] | None) -> Positions:
        """After a step in which every unit along these dimensions (`None`: all) may depend on all of them."""
        over = range(len(self.dims)) if over is None else over
        mixed = {axis.lower() for dim in over for axis in self.along(dim % len(self.dims))}
        if not mixed:
            return self
        fields = tuple([(axis, field.everywhere() if axis in mixed else field) for axis, field in self.fields])
        return Positions(self.dims, fields)

    def drop(self, over: Iterable[int]) -> Positions:
        """After a sum in which each unit weighs these dimensions as it likes: any of them may matter to any unit."""
        gone = {dim % len(self.dims) for dim in over}
        dims = tuple([plain([size_of(dim)])[0] if index in gone else dim for index, dim in enumerate(self.dims)])
        mixed = {axis for index in gone for axis in self.along(index)}
        kept = {axis for dim in dims for axis in axes_along(dim)}
        fields = [
            (axis, field.everywhere(placed=axis in kept) if axis in mixed else field)
            for axis, field in self.fields
            if axis.islower() or axis in kept
        ]
        return Positions(dims, tuple(fields))

    def contract(self, over: Iterable[int]) -> Positions:
        """After a sum over these dimensions: a pixel's parts make a wider window, all positions the whole image."""
        gone = {dim % len(self.dims) for dim in over}
        dims = tuple([plain([size_of(dim)])[0] if index in gone else dim for index, dim in enumerate(self.dims)])
        kept = {axis for dim in dims for axis in axes_along(dim)}
        fields = dict(self.fields)
        for axis in {axis for index in gone for axis in self.along(index)}:
            if axis.isupper():
                fields.pop(axis, None)
            elif axis not in kept:
                fields[axis] = fields[axis].everywhere(placed=False)
            else:
                reach = np.zeros(1, np.int64)
                for part in [part for index in gone for part in self.dims[index] if axis in part.axes]:
                    steps = part.along()[axis]
                    reach = np.unique(np.add.outer(reach, steps[steps > NOWHERE]))
                low, high = int(reach[0]), int(reach[-1])
                within = np.diff(reach).max(initial=0) <= _spacing(axis, dims)
                fields[axis] = (
                    window(fields[axis], high - low + 1, padding=-low) if within else fields[axis].lost(APART)
                )
        return Positions(dims, tuple(fields.items())).settle()

    def reduce(self, over: Sequence[int] | None, rank: int) -> Positions:
        """After a mean, a sum or a maximum over these dimensions (`None`: over all) to a tensor of `rank` dimensions."""
        gone = {dim % len(self.dims) for dim in (range(len(self.dims)) if over is None else over)}
        single, keep = (Factor("", 1),), rank == len(self.dims)
        after = self.contract(gone)
        dims = [single if dim in gone else factors for dim, factors in enumerate(after.dims) if keep or dim not in gone]
        return Positions(tuple(dims), after.fields)

    def permute(self, order: Sequence[int]) -> Positions:
        """After a transposition."""
        return replace(self, dims=tuple([self.dims[dim] for dim in order]))

    def reshape(self, shape: Sequence[int]) -> Positions:
        """After a reshape: merged dimensions remember their factors, and can be split there again."""
        settled = self.settle()
        dims = distribute([part for dim in settled.dims for part in dim], shape, split_factor)
        if dims is None:
            return self.give_up(RESHAPED, shape)
        merged = tuple([tidy(dim) if dim else (Factor("", 1),) for dim in dims])
        return Positions(merged, settled.fields, self.origin).settle()

    def settle(self) -> Positions:
        """The same positions, where what was cut off, left out, reversed, rolled or repeated along an axis is in its field."""
        if not any(part.steps for dim in self.dims for part in dim):
            return self
        parts = [part for dim in self.dims for part in dim]
        walked = "".join([part.axes for part in parts])
        fields, dims = dict(self.fields), self.dims
        for part in parts:
            if not part.steps or len(part.axes) != 1 or part.names or walked.count(part.axes) > 1:
                continue
            after = _regular(fields.get(part.axes), np.array(part.steps[0]))
            if after is not None:
                fields[part.axes] = after
                bare = Factor(part.axes, part.size)
                dims = tuple([tuple([bare if other is part else other for other in dim]) for dim in dims])
        return Positions(dims, tuple(fields.items()), self.origin) if dims is not self.dims else self

    def take(self, dim: int, indices: np.ndarray) -> Positions:
        """The positions at these indices of a dimension, in this order; -1 is a position that was added."""
        dim %= len(self.dims)
        if not self.along(dim) and not any(part.names for part in self.dims[dim]):
            return self.with_dim(dim, plain([len(indices)])[0])
        return self.with_dim(dim, pick_from(self.dims[dim], indices))

    def is_nowhere(self, dim: int, indices: np.ndarray) -> bool:
        """Whether the positions at these indices of a dimension lie nowhere on the image."""
        along = spell_out(self.dims[dim]).along().values()
        return all((steps[indices] <= NOWHERE).all() for steps in along)

    def insert(self, dim: int) -> Positions:
        """The same positions with a new dimension of one in front of the dimension `dim`."""
        return replace(self, dims=(*self.dims[:dim], (Factor("", 1),), *self.dims[dim:]))

    def remove(self, dim: int) -> Positions:
        """The same positions without a dimension that walks along no axis."""
        return replace(self, dims=(*self.dims[:dim], *self.dims[dim + 1 :]))

    def unfold(self, dim: int, size: int, step: int) -> Positions | None:
        """Windows of `size` positions of a dimension, `step` apart, with those inside as a new last dimension.

        `None` where the windows don't all hold their positions in the same order.
        """
        parts = split_windows(spell_out(self.dims[dim]), size, step)
        if parts is None:
            return None
        count, inside = parts
        return replace(self, dims=(*self.dims[:dim], (count,), *self.dims[dim + 1 :], (inside,)))

    def roll(self, dim: int, shift: int) -> Positions:
        """After the positions that leave a dimension at the end came in again in front, `shift` of them."""
        dim %= len(self.dims)
        axes, size = self.along(dim), self.shape[dim]
        if len(axes) != 1 or self.dims[dim] != (Factor(axes, size),):
            return self.take(dim, np.roll(np.arange(size), shift))
        fields = [(axis, field.roll(shift, size) if axis == axes else field) for axis, field in self.fields]
        return replace(self, fields=tuple(fields))

    def combine(self, others: Sequence[Positions]) -> Positions:
        """After arithmetic with others, broadcast as numpy does: every unit depends on what its operands see."""
        if not others and all(len(dim) == 1 for dim in self.dims):
            return self
        operands = _pairs((self, *others))
        rank = max(len(positions.dims) for positions in operands)
        fields = merge_fields(operands)
        if fields is None:
            return first_with_fields(operands).give_up("inputs of different kinds meet")
        dims = []
        for dim in range(-rank, 0):
            factors = [positions.dims[dim] for positions in operands if len(positions.dims) >= -dim]
            size = max(map(size_of, factors))
            walking = different([dim for dim in factors if axes_along(dim) and size_of(dim) == size])
            if len(walking) > 1 and any(positions.settle() is not positions for positions in operands):
                return operands[0].settle().combine([positions.settle() for positions in operands[1:]])
            if len(walking) > 1:
                return first_with_fields(operands).give_up(SEVERAL_ORDERS, _broadcast(operands, rank))
            named = [part for part in factors if part[0].names and size_of(part) == size]
            dims.append((walking or named or [(Factor("", size),)])[0])
        return Positions(tuple(dims), fields).pair_up()

    def pair_up(self) -> Positions:
        """With a score for each pair of positions, each may depend on the whole image, as a bound."""
        pairs = {axis.lower() for dim in self.dims for axis in axes_along(dim) if axis.isupper()}
        fields = [(axis, field.everywhere() if axis in pairs else field) for axis, field in self.fields]
        return replace(self, fields=tuple(fields)) if pairs else self

    def concatenate(self, others: Sequence[Positions], dim: int) -> Positions:
        """After a concatenation along `dim`; class tokens in front of those of the image don't change what these see."""
        operands = (self, *others)
        dim %= len(self.dims)
        size = sum(positions.shape[dim] for positions in operands)
        walking = [positions for positions in operands if positions.along(dim)]
        names = [positions.token_names(dim) for positions in operands]
        if not walking:
            joined = join_dims([(positions.dims[dim], own) for positions, own in zip(operands, names, strict=True)])
            return self.combine(others).unplace_parts(operands).with_dim(dim, joined)
        first, shape = walking[0], [*self.shape[:dim], size, *self.shape[dim + 1 :]]
        fields = merge_fields(walking)
        axes = first.along(dim)
        alike = all(dict(other.fields).get(axis) == dict(first.fields)[axis] for other in walking for axis in axes)
        if fields is None or not alike:
            return first.give_up(Note(SEVERAL_MAPS, "positions of several maps in a row"), shape)
        joined = join_dims([(positions.dims[dim], own) for positions, own in zip(operands, names, strict=True)])
        return Positions((*first.dims[:dim], joined, *first.dims[dim + 1 :]), fields)

    def unplace_parts(self, operands: Sequence[Positions]) -> Positions:
        """What holds these operands side by side; where they lie more than a unit apart, as tiles do, units have no place."""
        settled = [dict(positions.settle().fields) for positions in operands if positions.fields]
        fields = dict(self.fields)
        for axis, field in self.fields:
            lines = [line for other in settled if axis in other and (line := other[axis].line)]
            origins = [line.origin for line in lines]
            grain = max([other[axis].grain for other in settled if axis in other], default=0.0)
            if lines and max(origins) - min(origins) > max(abs(lines[0].spacing), grain):
                fields[axis] = field.lost(APART)
        return replace(self, fields=tuple(fields.items()))

    def token_names(self, dim: int) -> list[str]:
        """A name for each position of a dimension that walks along no axis, by the parameter that holds it."""
        size = size_of(self.dims[dim])
        if self.along(dim) or not self.origin or (size == 1 and not self.dims[dim]):
            return []
        return [f"{self.origin}:{number}" for number in range(size)]

    def with_dim(self, dim: int, factors: Dim) -> Positions:
        """The same positions with one dimension replaced."""
        return replace(self, dims=(*self.dims[:dim], factors, *self.dims[dim % len(self.dims) + 1 :]))

    def pick(self, dim: int) -> Positions:
        """After one index of a dimension was taken."""
        dim %= len(self.dims)
        kept = self.mix([dim])
        dims = (*self.dims[:dim], *self.dims[dim + 1 :])
        walked = {axis for factors in dims for axis in axes_along(factors)}
        gone = set(self.along(dim)) - walked
        fields = [(axis, WHOLE if axis in gone and not field.unknown else field) for axis, field in kept.fields]
        return Positions(dims, tuple(fields), self.origin)


def constant(shape: Sequence[int], origin: str = "") -> Positions:
    """A tensor that depends on no image."""
    return Positions(plain(shape), origin=origin)


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
    axes = [[axis for axis in field if axis.islower()] for field in fields]
    if any(other != axes[0] for other in axes):
        return None
    keys = list(dict.fromkeys(axis for field in fields for axis in field if axis.isupper()))
    return tuple(
        (axis, merge([field[axis] for field in fields if axis in field], _units(axis, operands)))
        for axis in [*axes[0], *keys]
    )


def _units(axis: str, operands: Iterable[Positions]) -> int:
    """How many units lie along an axis in these operands, the most of them."""
    parts = [part for positions in operands for dim in positions.dims for part in dim if axis in part.axes]
    return max([int(part.along()[axis].max()) + 1 for part in parts], default=0)


def _spacing(axis: str, dims: Iterable[Dim]) -> int:
    """How far apart the next positions along an axis are in these dimensions."""
    steps = [np.unique(part.along()[axis]) for dim in dims for part in dim if axis in part.axes]
    return min([int(np.diff(part).min()) for part in steps if len(part) > 1], default=1 << 40)


def _public(field: Field) -> Field:
    """A field without what is only kept to follow the units further."""
    if field.whole or field.rolled:
        return WHOLE if field.whole else unknown("its units are rolled along the axis")
    return replace(field, grain=1.0)


def _pairs(operands: Sequence[Positions]) -> list[Positions]:
    """The operands of a step that broadcasts; where two walk along the same axes in other dimensions, the second has keys."""
    rank = max(len(positions.dims) for positions in operands)
    earlier: dict[int, str] = {}  # the axes that the operands before walk along in each dimension
    after = []
    for positions in operands:
        lead = rank - len(positions.dims)
        own = [dim for dim in range(len(positions.dims)) if not earlier.get(lead + dim)]
        clash = {dim: set(positions.along(dim)) & set("".join(earlier.values())) for dim in own}
        over = [dim for dim, axes in clash.items() if axes]
        after.append(as_keys(positions, over, set().union(*clash.values())) if over else positions)
        earlier.update({lead + dim: positions.along(dim) for dim in own})
    return after


def as_keys(positions: Positions, over: Iterable[int], axes: Iterable[str]) -> Positions:
    """The same positions, where these dimensions walk along the axes as keys do."""
    over = set(over)
    keys = {axis: axis.upper() for axis in axes}
    dims = tuple(
        [
            tuple([replace(part, axes="".join(keys.get(axis, axis) for axis in part.axes)) for part in dim])
            if index in over
            else dim
            for index, dim in enumerate(positions.dims)
        ]
    )
    fields = dict(positions.fields)
    walked = {axis for dim in dims for axis in axes_along(dim)}
    fields.update({keys[axis]: field for axis, field in positions.fields if axis in keys})
    fields.update({axis: fields[axis].everywhere(placed=axis in walked) for axis in keys if axis in fields})
    return Positions(dims, tuple(fields.items()))


def _regular(field: Field | None, steps: np.ndarray) -> Field | None:
    """The field of units that lie evenly, or that are repeated, on the line of a field; `None` where they do neither."""
    if field is None or (steps < 0).any():
        return None
    size = len(steps)
    if size > 1 and np.array_equal((steps - steps[0]) % size, np.arange(size)) and steps.max() == size - 1:
        return field.roll(-int(steps[0]), size)
    if field.rolled:
        return None
    if len(steps) == 1:
        return window(field, 1, padding=-int(steps[0]))
    changes = np.diff(steps)
    if (changes < 0).any() and (changes > 0).any():
        return None
    for period in range(1, min(size // 2, MOST_PHASES) + 1):
        gaps = steps[period:] - steps[:-period]
        if gaps[0] and (gaps == gaps[0]).all():
            return read_units(field, steps[:period].tolist(), int(gaps[0]))
    # As evenly as whole numbers can: 17 units that read 9.
    middle = round((steps[-1] - steps[0]) * size / (size - 1))
    for advance in range(middle - 2, middle + 3):
        if advance and np.ptp(steps * size - advance * np.arange(size)) < size:
            return read_units(field, steps.tolist(), advance)
    return None


def _broadcast(operands: Sequence[Positions], rank: int) -> list[int]:
    return [
        max(positions.shape[dim] for positions in operands if len(positions.dims) >= -dim) for dim in range(-rank, 0)
    ]
