"""Where the places of the image are in a tensor, and what each of them sees: receptive fields followed along the data.

A backend starts with `seen` on the model's input and applies one of the steps here for each operation. Framework-neutral:
dimensions are numbers, sizes come from the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ...core.receptive_field import WHOLE, Field, merged, unknown

LETTERS = "dhwn"


class Factor(NamedTuple):
    """A run of places along a dimension: the axes of the image it walks along (`"h"`, or `"hw"` for tokens), how many."""

    axes: str
    size: int


@dataclass(frozen=True, slots=True)
class Places:
    """The dimensions of a tensor as products of factors (a token dimension is `h` times `w`), and a field for each axis.

    A tensor that depends on no image (a position embedding) has no fields.
    """

    dims: tuple[tuple[Factor, ...], ...]
    fields: tuple[tuple[str, Field], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple([dim[0].size if len(dim) == 1 else math.prod([each.size for each in dim]) for dim in self.dims])

    def receptive(self) -> tuple[Field, ...] | None:
        """The field of each axis of the image, `None` for what depends on no image."""
        return tuple(field for _, field in self.fields) or None

    def along(self, dim: int) -> str:
        """The axes of the image that a dimension walks along."""
        factors = self.dims[dim]
        return factors[0].axes if len(factors) == 1 else "".join([each.axes for each in factors])

    def lost(self, reason: str, shape: Sequence[int] | None = None) -> Places:
        """After a step that can't be followed; an earlier reason stays."""
        fields = [(axis, field if field.unknown else unknown(reason)) for axis, field in self.fields]
        return Places(plain(self.shape if shape is None else shape), tuple(fields))

    def windowed(self, rules: Mapping[int, Callable[[Field], Field]], shape: Sequence[int]) -> Places:
        """After a step that reads windows along some dimensions, with a rule for each, to a tensor of `shape`."""
        fields, dims, before = dict(self.fields), list(plain(shape)), self.shape
        for dim, factors in enumerate(self.dims):
            axes = self.along(dim)
            if not axes:
                continue
            if dim not in rules:
                dims[dim] = factors if before[dim] == shape[dim] else dims[dim]
            elif len(axes) > 1 or axes not in fields:
                return self.lost("windows over places in a row", shape)
            else:
                fields[axes] = rules[dim](fields[axes])
                dims[dim] = (Factor(axes, int(shape[dim])),)
        return Places(tuple(dims), tuple(fields.items()))

    def mixed(self, over: Iterable[int], shape: Sequence[int] | None = None) -> Places:
        """After a step in which every unit along these dimensions may depend on all of them."""
        over = {each % len(self.dims) for each in over}
        gone = {axis for dim in over for axis in self.along(dim)}
        fields = tuple((axis, WHOLE if axis in gone and not field.unknown else field) for axis, field in self.fields)
        made = plain(self.shape if shape is None else shape)
        dims = tuple(made[at] if at in over else dim for at, dim in enumerate(self.dims))
        return Places(dims, fields)

    def reduced(self, over: Iterable[int] | None, keep: bool = False) -> Places:
        """After a mean, a sum or a maximum over these dimensions (`None`: over all)."""
        gone = {each % len(self.dims) for each in (range(len(self.dims)) if over is None else over)}
        mixed = self.mixed(gone)
        dims = [
            ((Factor("", 1),) if at in gone else dim) for at, dim in enumerate(mixed.dims) if keep or at not in gone
        ]
        return replace(mixed, dims=tuple(dims))

    def permuted(self, order: Sequence[int]) -> Places:
        """After a transposition."""
        return replace(self, dims=tuple(self.dims[each] for each in order))

    def viewed(self, shape: Sequence[int]) -> Places:
        """After a reshape: merged dimensions remember their factors, and can be split there again."""
        left = [each for dim in self.dims for each in dim if each.size != 1]
        dims: list[tuple[Factor, ...]] = []
        for size in shape:
            factors: list[Factor] = []
            wanted = int(size)
            while wanted > 1:
                if not left:
                    return self.lost("reshaped", shape)
                first = left.pop(0)
                if wanted % first.size == 0:
                    factors.append(first)
                    wanted //= first.size
                elif first.size % wanted == 0 and not first.axes:
                    factors.append(Factor("", wanted))
                    left.insert(0, Factor("", first.size // wanted))
                    wanted = 1
                else:
                    return self.lost("reshaped across the axes of the image", shape)
            dims.append(tuple(factors) or (Factor("", 1),))
        return Places(tuple(dims), self.fields)

    def over(self, others: Sequence[Places]) -> Places:
        """After arithmetic with others, broadcast as numpy does: every unit depends on what its operands see."""
        if not others and all(len(dim) == 1 for dim in self.dims):
            return self
        every = (self, *others)
        rank = max(len(each.dims) for each in every)
        shapes = [each.shape for each in every]
        fields = _fields(every)
        if fields is None:
            return _first(every).lost("inputs of different kinds meet")
        dims = []
        for at in range(-rank, 0):
            found = {each.dims[at] for each in every if len(each.dims) >= -at and each.along(at)}
            sizes = [each[at] for each in shapes if len(each) >= -at]
            if len(found) > 1:
                return _first(every).lost("places in different orders meet", _broadcast(every, rank))
            dims.append(found.pop() if found else (Factor("", max(sizes)),))
        used = [axis for dim in dims for each in dim for axis in each.axes]
        made = Places(tuple(dims), fields)
        return made if len(used) == len(set(used)) else made.pairs()

    def pairs(self) -> Places:
        """Where two dimensions walk along the same axis (a score for each pair of places): the whole image, as a bound."""
        fields = tuple((axis, field if field.unknown else WHOLE) for axis, field in self.fields)
        return Places(plain(self.shape), fields)

    def joined(self, others: Sequence[Places], dim: int) -> Places:
        """After a concatenation along `dim`; class tokens in front of those of the image don't change what these see."""
        every = (self, *others)
        dim %= len(self.dims)
        size = sum(each.shape[dim] for each in every)
        walked = {each.along(dim) for each in every if each.along(dim)}
        if not walked:
            made = self.over(others)
            return replace(made, dims=(*made.dims[:dim], (Factor("", size),), *made.dims[dim + 1 :]))
        bearing = [each for each in every if each.fields]
        if len(bearing) > 1:
            shape = [*self.shape[:dim], size, *self.shape[dim + 1 :]]
            return _first(every).lost("places of several maps in a row", shape)
        kept = bearing[0]
        return replace(kept, dims=(*kept.dims[:dim], (Factor(walked.pop(), size),), *kept.dims[dim + 1 :]))

    def picked(self, dim: int) -> Places:
        """After one index of a dimension was taken."""
        return replace(self.mixed([dim]) if self.along(dim) else self, dims=self._without(dim))

    def _without(self, dim: int) -> tuple[tuple[Factor, ...], ...]:
        dim %= len(self.dims)
        return (*self.dims[:dim], *self.dims[dim + 1 :])

    def times(self, other: Places, shape: Sequence[int]) -> Places:
        """After a matrix product: what is summed over becomes the whole; two sets of places make pairs."""
        fields = _fields((self.mixed([-1]), other.mixed([-2 if len(other.dims) > 1 else -1])))
        if fields is None:
            return self.lost("inputs of different kinds meet", shape)
        lead = list(self.dims[:-1])
        last = [other.dims[-1]] if len(other.dims) > 1 else []
        dims = (*lead, *last)
        if tuple(math.prod(f.size for f in dim) for dim in dims) != tuple(shape):
            return Places(plain(shape), fields).lost("a matrix product of unusual shapes")
        used = [axis for dim in dims for each in dim for axis in each.axes]
        made = Places(dims, fields)
        return made if len(used) == len(set(used)) else made.pairs()


def followed(rule: Callable[[], Places], first: Places, name: str, shape: Sequence[int]) -> Places:
    """What a rule makes of a step, or why it can't: a form that it wasn't written for says so and stops no dry run."""
    try:
        made = rule()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return first.lost(f"{name} isn't followed in this form ({type(error).__name__})", shape)
    return made if made.shape == tuple(shape) else first.lost(f"{name} isn't followed to this shape", shape)


def plain(shape: Sequence[int]) -> tuple[tuple[Factor, ...], ...]:
    """Dimensions that walk along no axis of the image."""
    return tuple([(Factor("", int(each)),) for each in shape])


def constant(shape: Sequence[int]) -> Places:
    """A tensor that depends on no image."""
    return Places(plain(shape))


def seen(axes: str, shape: Sequence[int]) -> Places:
    """The model's input, in which every place sees itself.

    >>> seen("bchw", (1, 3, 8, 8)).permuted([0, 2, 3, 1]).viewed([1, 64, 3]).along(1)
    'hw'
    """
    dims = tuple((Factor(axis if axis in LETTERS else "", int(size)),) for axis, size in zip(axes, shape, strict=True))
    return Places(dims, tuple((axis, Field()) for axis in axes if axis in LETTERS))


def _fields(every: Sequence[Places]) -> tuple[tuple[str, Field], ...] | None:
    """The fields of several operands together; `None` where they have different axes."""
    bearing = [dict(each.fields) for each in every if each.fields]
    if not bearing:
        return ()
    if any(list(each) != list(bearing[0]) for each in bearing):
        return None
    return tuple((axis, merged(each[axis] for each in bearing)) for axis in bearing[0])


def _first(every: Sequence[Places]) -> Places:
    return next((each for each in every if each.fields), every[0])


def _broadcast(every: Sequence[Places], rank: int) -> list[int]:
    return [max(each.shape[at] for each in every if len(each.dims) >= -at) for at in range(-rank, 0)]
