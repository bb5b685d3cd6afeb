"""What each kind of operation does to receptive fields: one form of an operation for all frameworks, and one table of rules.

A backend translates each operation of its framework into an `Operation`; what follows from it is said here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np

from ...core.receptive_field import Field, Sampling, adaptive_window, resample, resize, transposed_window, window
from .field import Positions, first_with_fields
from .field_dims import plain
from .field_products import attention, contract, matmul, weights

Numbers = int | Sequence[int]
Shape = tuple[int, ...]
R = TypeVar("R")

STILL = Sampling(Fraction(1))  # what a resize leaves as it is
# Upsampling by any number of pixels follows the same rule; sizes that are multiples stand for all.
MANY = 1 << 10


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation in the form that the rules know: `kind` is a key of `RULES`, `inputs` are the positions of what it reads.

    `dims` are the dimensions that it works along, `None` for all. Kernel, stride, dilation and padding are numbers for each of
    these, or one for all. `padding` is what is added in front (negative: cut off), or one of `"valid"`, `"same"`,
    `"same_lower"` (the odd one in front) and `"causal"`. `labels` name the dimensions of every input and the output, as einsum
    does; `scales` say how much a resize enlarges each dimension, where that isn't the ratio of the sizes, or `samplings` where
    it reads along each; `picks` are indices to `take`; `reason` says why an operation is `unknown`.
    """

    kind: str
    inputs: Sequence[Positions]
    dims: Sequence[int] | None = ()
    kernel: Numbers = 1
    stride: Numbers = 1
    dilation: Numbers = 1
    padding: Numbers | str = 0
    mode: str = "nearest"
    corners: bool = False
    scales: Sequence[float] = ()
    samplings: Sequence[Sampling] = ()
    antialias: bool = False
    labels: Sequence[str] = ()
    picks: Sequence[int] = ()
    reason: str = ""

    @property
    def source(self) -> Positions:
        return self.inputs[0]

    @property
    def along(self) -> list[int]:
        """The dimensions that it works along, counted from the first."""
        rank = len(self.source.dims)
        return list(range(rank)) if self.dims is None else [dim % rank for dim in self.dims]

    def after(self, shape: Sequence[int]) -> Positions:
        """The positions of its output, which has this shape."""
        return RULES[self.kind](self, tuple(shape))

    def give_up(self, reason: str, shape: Shape) -> Positions:
        """The positions of its output where it can't be followed."""
        return first_with_fields(self.inputs).give_up(reason, shape)


class Step(Protocol):
    """What the backends translate: one operation of their framework, and one of its outputs."""

    @property
    def source(self) -> Positions: ...

    @property
    def inputs(self) -> Sequence[Positions]: ...

    @property
    def shape(self) -> Shape: ...


S = TypeVar("S", bound=Step)
Translation = Callable[[S], Operation]
Dims = Sequence[int] | int | np.integer[Any] | None


def unary(kind: str, dims: Dims | Callable[[Any], Dims] = ()) -> Translation[Step]:
    """The translation of an operation of which only the first input matters; `dims` may follow from the step."""
    return _translation(kind, dims, lambda step: [step.source])


def nary(kind: str, dims: Dims | Callable[[Any], Dims] = ()) -> Translation[Step]:
    """The same, of all inputs."""
    return _translation(kind, dims, lambda step: step.inputs)


def _translation(
    kind: str, dims: Dims | Callable[[Any], Dims], read: Callable[[Step], Sequence[Positions]]
) -> Translation[Step]:
    if callable(dims):
        return lambda step: Operation(kind, read(step), _listed(dims(step)))
    fixed = _listed(dims)
    return lambda step: Operation(kind, read(step), fixed)


def _listed(dims: Dims) -> Sequence[int] | None:
    return [int(dims)] if isinstance(dims, int | np.integer) else dims


def unknown(step: Step, reason: str) -> Operation:
    """The operation of a step that can't be followed."""
    return Operation("unknown", step.inputs, reason=reason)


def by_centres(before: Shape, after: Shape, dims: Sequence[int], *, nearest: bool = False) -> list[Sampling]:
    """How each of these dimensions is read by a resize that lays the centres of the pixels over one another."""
    ratios = [Fraction(before[dim], after[dim]) for dim in dims]
    return [
        STILL if ratio == 1 else Sampling(ratio, ratio / 2, "floor") if nearest else Sampling.by_centres(ratio)
        for ratio in ratios
    ]


def depth_to_space(dims: Sequence[int], size: Callable[[Any], int]) -> Translation[Step]:
    """The translation of an operation that moves channels into blocks of `size(step)` pixels."""
    return lambda step: Operation("depth_to_space", [step.source], dims, kernel=size(step))


def space_to_depth(dims: Sequence[int], size: Callable[[Any], int]) -> Translation[Step]:
    """The translation of its inverse."""
    return lambda step: Operation("window", [step.source], dims, kernel=size(step), stride=size(step))


def by_name(*rows: tuple[R, str]) -> dict[str, R]:
    """A table of rules by the names of operations, which each row lists in one string."""
    return {name: rule for rule, names in rows for name in names.split()}


def follow(rule: Translation[S] | None, step: S, first: Positions, name: str) -> Positions:
    """The positions after an operation, or why they aren't known: a form that no rule was written for stops no dry run."""
    positions = _followed(rule, step, first, name)
    if positions.fields or positions.origin:
        return positions
    return replace(positions, origin=next((other.origin for other in step.inputs if other.origin), ""))


def _followed(rule: Translation[S] | None, step: S, first: Positions, name: str) -> Positions:
    if rule is None:
        return first.give_up(f"{name} isn't followed", step.shape)
    try:
        positions = rule(step).after(step.shape)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return first.give_up(f"{name} isn't followed in this form", step.shape)
    return (
        positions
        if positions.shape == step.shape
        else first.give_up(f"{name} isn't followed to this shape", step.shape)
    )


def front_padding(kind: str, large: int, small: int, *, reach: int, stride: int) -> int:
    """The padding in front of a window of `reach` pixels, `stride` apart, by its name: `small` windows cover `large` pixels.

    >>> front_padding("same", 224, 112, reach=3, stride=2), front_padding("same", 225, 113, reach=3, stride=2)
    (0, 1)
    """
    total = max((small - 1) * stride + reach - large, 0)
    return {"valid": 0, "same": total // 2, "same_lower": total - total // 2, "causal": reach - 1}[kind]


def _nth(numbers: Numbers, index: int) -> int:
    if isinstance(numbers, int):
        return numbers
    return numbers[index] if len(numbers) > 1 else numbers[0]


def _window(operation: Operation, shape: Shape) -> Positions:
    """Convolutions, transposed ones, pooling, padding and cropping."""
    source, transposed = operation.source, operation.kind == "transposed"
    if any(positions.fields for positions in operation.inputs[1:]):
        return operation.give_up("a kernel that depends on the image", shape)
    rule = transposed_window if transposed else window
    rules: dict[int, Callable[[Field], Field]] = {}
    for index, dim in enumerate(operation.along):
        numbers = (operation.kernel, operation.stride, operation.dilation)
        kernel, stride, dilation = (int(_nth(number, index)) for number in numbers)
        padding = operation.padding
        if isinstance(padding, str):
            small, large = sorted((source.shape[dim], shape[dim]))
            padding = front_padding(padding, large, small, reach=(kernel - 1) * dilation + 1, stride=stride)
        front = int(_nth(padding, index))
        if kernel == stride == 1 and len(source.along(dim)) > 1:  # tokens added, or cut off
            indices = np.arange(shape[dim]) - front
            source = source.take(dim, np.where(indices < source.shape[dim], indices, -1).clip(-1))
        elif (kernel, stride, front) != (1, 1, 0) or source.shape[dim] != shape[dim]:
            rules[dim] = partial(rule, kernel=kernel, stride=stride, dilation=dilation, padding=front)
        if not transposed and dilation == 1 < source.shape[dim] <= kernel - front and shape[dim] == 1:
            rules[dim] = partial(adaptive_window, before=source.shape[dim], after=1)  # one window over all of it
    return source.slide(rules, shape)


def _adapt(operation: Operation, shape: Shape) -> Positions:
    sizes = {dim: (operation.source.shape[dim], shape[dim]) for dim in operation.along}
    return operation.source.slide(
        {dim: partial(adaptive_window, before=before, after=after) for dim, (before, after) in sizes.items()}, shape
    )


def _resize(operation: Operation, shape: Shape) -> Positions:
    sizes = {dim: (operation.source.shape[dim], shape[dim]) for dim in operation.along}
    if operation.samplings:
        read = partial(resample, mode=operation.mode, antialias=operation.antialias)
        samplings = dict(zip(sizes, operation.samplings, strict=True))
        rules: dict[int, Callable[[Field], Field]] = {
            dim: partial(read, before=old, after=new, sampling=samplings[dim]) for dim, (old, new) in sizes.items()
        }
        return operation.source.slide({dim: rule for dim, rule in rules.items() if samplings[dim] != STILL}, shape)
    rule = partial(resize, mode=operation.mode, corners=operation.corners)
    scales = dict(zip(sizes, operation.scales or [0.0] * len(sizes), strict=True))
    rules = {
        dim: partial(rule, before=old, after=new, scale=scales[dim]) for dim, (old, new) in sizes.items() if old != new
    }
    return operation.source.slide(rules, shape)


def _depth_to_space(operation: Operation, shape: Shape) -> Positions:
    """Channels moved into blocks of `kernel` pixels, which all see what the one pixel saw."""
    rules = {
        dim: partial(resize, before=MANY, after=_nth(operation.kernel, index) * MANY)
        for index, dim in enumerate(operation.along)
    }
    return operation.source.slide(rules, shape)


def _slice(operation: Operation, shape: Shape) -> Positions:
    """Every `stride`-th position from `-padding` on; what those that stay see doesn't change."""
    positions = operation.source
    for index, dim in enumerate(operation.along):
        before, start, stride = positions.shape[dim], -_nth(_fronts(operation), index), _nth(operation.stride, index)
        indices = start + stride * np.arange(shape[dim])
        if (start, stride, before) == (0, 1, shape[dim]):
            continue
        if len(indices) and not 0 <= min(indices) <= max(indices) < before:
            return operation.give_up("a slice that reaches beyond its input", shape)
        if len(positions.along(dim)) > 1 and len(indices) == 1 < before and not positions.is_nowhere(dim, indices):
            positions = positions.pick(dim).insert(dim)
        else:
            positions = positions.take(dim, indices)
    return positions


def _fronts(operation: Operation) -> Numbers:
    return 0 if isinstance(operation.padding, str) else operation.padding


def _flip(operation: Operation, shape: Shape) -> Positions:
    positions = operation.source
    for dim in operation.along:
        positions = positions.take(dim, np.arange(shape[dim])[::-1])
    return positions


def _roll(operation: Operation, shape: Shape) -> Positions:
    """Positions that leave at the end come in again in front; `padding` says how many."""
    positions = operation.source
    for index, dim in enumerate(operation.along):
        positions = positions.roll(dim, _nth(_fronts(operation), index))
    return positions


def _take(operation: Operation, shape: Shape) -> Positions:
    """The positions at the indices `picks` of a dimension."""
    return operation.source.take(operation.along[0], np.asarray(operation.picks))


def _pick(operation: Operation, shape: Shape) -> Positions:
    """One position of a dimension, at the index `picks` where it is known: a class token sees what it saw."""
    (dim, *_), source = operation.along, operation.source
    if operation.picks and source.along(dim) and source.is_nowhere(dim, np.array(operation.picks)):
        return source.with_dim(dim, plain([1])[0]).remove(dim)
    return source.pick(dim)


def _unfold(operation: Operation, shape: Shape) -> Positions:
    """Windows in a row, one for each position: what they hold lies in the channels."""
    lead = operation.source.shape[:-2]
    picture = _window(operation, (*lead, *operation.picks))
    return picture.reshape((*lead, shape[-1])).with_dim(len(lead) - 1, plain(shape)[-2])


def _fold(operation: Operation, shape: Shape) -> Positions:
    """Windows in a row, one for each position, laid back over one another."""
    channels = len(shape) - 3
    source = operation.source.contract([channels]).with_dim(channels, plain(shape)[channels])
    picture = source.reshape((*shape[:-2], *operation.picks))
    return replace(operation, kind="transposed", inputs=[picture]).after(shape)


def _windows(operation: Operation, shape: Shape) -> Positions:
    """Windows of `kernel` positions along a dimension, `stride` apart; a new last dimension counts the positions inside."""
    windowed = operation.source.unfold(operation.along[0], _nth(operation.kernel, 0), _nth(operation.stride, 0))
    return windowed or operation.give_up("windows over positions in an order of their own", shape)


def _reduce(operation: Operation, shape: Shape) -> Positions:
    return operation.source.reduce(operation.dims, len(shape))


def _normalize(operation: Operation, shape: Shape) -> Positions:
    """Statistics, softmax and running sums along dimensions: positions stay, and each may depend on all along these."""
    return operation.source.mix(operation.dims)


def _dense(operation: Operation, shape: Shape) -> Positions:
    """A product with weights along the last dimension."""
    return operation.source.contract([-1]).with_dim(-1, plain(shape)[-1])


def _recurrent(operation: Operation, shape: Shape) -> Positions:
    return Positions(plain(shape), operation.source.mix(operation.dims).fields)


def _scan(operation: Operation, shape: Shape) -> Positions:
    """Steps along dimensions, each of which may depend on all; the last dimension is made anew."""
    return operation.source.mix(operation.dims).with_dim(-1, plain(shape)[-1])


def _permute(operation: Operation, shape: Shape) -> Positions:
    return operation.source.permute(operation.along)


def _stack(operation: Operation, shape: Shape) -> Positions:
    dim = (operation.dims or (0,))[0] % len(shape)
    positions = operation.source.combine(operation.inputs[1:]).unplace_parts(operation.inputs)
    return Positions((*positions.dims[:dim], *plain(shape)[dim : dim + 1], *positions.dims[dim:]), positions.fields)


def _split(operation: Operation, shape: Shape) -> Positions:
    if any(operation.source.along(dim) for dim in operation.along):
        return operation.give_up("split along the image", shape)
    return _slice(operation, shape)


def _expand(operation: Operation, shape: Shape) -> Positions:
    """Broadcast to a shape: the dimensions of the input become those of `dims`, the last ones where it names none."""
    source, dims = operation.source, list(plain(shape))
    targets = operation.dims or range(len(shape) - len(source.dims), len(shape))
    for factors, size, dim in zip(source.dims, source.shape, targets, strict=True):
        if size == shape[dim]:
            dims[dim] = factors
    return Positions(tuple(dims), source.fields)


Rule = Callable[[Operation, Shape], Positions]

RULES: dict[str, Rule] = {
    "same": lambda operation, shape: operation.source,
    "elementwise": lambda operation, shape: operation.source.combine(operation.inputs[1:]),
    "unknown": lambda operation, shape: operation.give_up(operation.reason, shape),
    "window": _window,
    "transposed": _window,
    "adapt": _adapt,
    "resize": _resize,
    "depth_to_space": _depth_to_space,
    "slice": _slice,
    "flip": _flip,
    "roll": _roll,
    "take": _take,
    "unfold": _unfold,
    "fold": _fold,
    "windows": _windows,
    "reduce": _reduce,
    "normalize": _normalize,
    "dense": _dense,
    "recurrent": _recurrent,
    "scan": _scan,
    "permute": _permute,
    "reshape": lambda operation, shape: operation.source.reshape(shape),
    "concatenate": lambda operation, shape: operation.source.concatenate(operation.inputs[1:], operation.along[0]),
    "stack": _stack,
    "pick": _pick,
    "split": _split,
    "expand": _expand,
    "matmul": lambda operation, shape: matmul(operation.inputs, shape),
    "einsum": lambda operation, shape: contract(operation.inputs, operation.labels, shape),
    "attention": lambda operation, shape: attention(operation.inputs, operation.dims, shape),
    "weights": lambda operation, shape: weights(operation.inputs, shape),
}
