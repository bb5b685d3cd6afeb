"""Receptive fields: which part of the input a unit of a layer can depend on, along one spatial axis.

The rules are those of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019
(https://distill.pub/2019/computing-receptive-fields/), read from the input to the layer. Where units differ in turn (after
upsampling, the even ones see other pixels than the odd ones), each unit of the turn is followed by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

MOST_PHASES = 512


@dataclass(frozen=True, slots=True)
class Field:
    """What the units along one axis see: unit `q * phases + r` the pixels `starts[r] + q * jump` to `ends[r] + q * jump`.

    `whole` says that every unit may depend on the whole axis. `unknown` is the reason where nothing can be said; `starts`
    and `ends` are then empty. Pixel 0 has its centre at 0.0; pixels outside the image are its padding.

    >>> two = window(window(Field(), 3, padding=1), 3, padding=1)   # VGG16's block1_conv2
    >>> two.size, two.stride, two.offset
    (5, 1.0, 0.0)
    """

    starts: tuple[float, ...] = (0.0,)
    ends: tuple[float, ...] = (0.0,)
    jump: float = 1.0
    whole: bool = False
    unknown: str = ""

    @property
    def known(self) -> bool:
        """Whether it is a box of pixels."""
        return not self.whole and not self.unknown

    @property
    def size(self) -> int | None:
        """How many pixels wide the box is, the widest where units differ; `None` where it is no box."""
        spans = [end - start for start, end in zip(self.starts, self.ends, strict=True) if start <= end]
        return int(max(spans)) + 1 if self.known and spans else None

    @property
    def stride(self) -> float | None:
        """How many pixels lie between the boxes of neighbours, on the average where they differ."""
        return self.jump / len(self.starts) if self.known else None

    @property
    def offset(self) -> float | None:
        """Where the centre of unit 0's box lies, in pixels, on the average where units differ."""
        stride = self.stride
        if stride is None:
            return None
        boxes = enumerate(zip(self.starts, self.ends, strict=True))
        centres = [(start + end) / 2 - at * stride for at, (start, end) in boxes if start <= end]
        return sum(centres) / len(centres) if centres else None

    def box(self, unit: int) -> tuple[float, float]:
        """The first and the last pixel that a unit sees; of a unit that sees none, the first is after the last."""
        turn, phase = divmod(unit, len(self.starts))
        return self.starts[phase] + turn * self.jump, self.ends[phase] + turn * self.jump


WHOLE = Field((), (), 0.0, whole=True)


def unknown(reason: str) -> Field:
    """The field of which nothing can be said, and why."""
    return Field((), (), 0.0, unknown=reason)


def window(field: Field, kernel: int, stride: int = 1, dilation: int = 1, padding: int = 0) -> Field:
    """After a convolution or a pooling; `padding` is what was added in front.

    >>> pooled = window(window(window(Field(), 3, padding=1), 3, padding=1), 2, stride=2)
    >>> pooled.size, pooled.stride, pooled.offset
    (6, 2.0, 0.5)
    """
    if (kernel, stride, padding) == (1, 1, 0):
        return field
    span = (kernel - 1) * dilation
    return _read(field, 1, stride, lambda at: range(at * stride - padding, at * stride - padding + span + 1, dilation))


def transposed(field: Field, kernel: int, stride: int = 1, dilation: int = 1, padding: int = 0) -> Field:
    """After a transposed convolution; `padding` is what it cuts off in front.

    >>> up = transposed(window(Field(), 2, stride=2), 2, stride=2)
    >>> up.size, up.stride, up.offset
    (2, 1.0, 0.0)
    """

    def units(at: int) -> list[int]:
        places = [at + padding - tap * dilation for tap in range(kernel)]
        return [place // stride for place in places if place % stride == 0]

    return _read(field, stride, 1, units)


def resized(field: Field, before: int, after: int, rule: str = "nearest", *, corners: bool = False) -> Field:
    """After a resize of `before` units to `after`: `nearest` reads one unit, `linear` two, `cubic` four.

    `corners` keeps the first and the last unit in place (`align_corners`).

    >>> resized(Field(), 8, 16, "linear").box(2), resized(Field(), 8, 16).box(2)
    ((0.0, 1.0), (1.0, 1.0))
    """
    if before == after:
        return field
    if before == 1:
        return _read(field, 1, 0, lambda at: [0]) if field.known else field
    ratio = Fraction(before - 1, after - 1) if corners and after > 1 else Fraction(before, after)
    reach = {"linear": (0, 1), "cubic": (-1, 2)}.get(rule, (0, 0))

    def units(at: int) -> list[int]:
        if rule == "nearest":
            return [math.floor(at * ratio)]
        place = at * ratio if corners else (at + Fraction(1, 2)) * ratio - Fraction(1, 2)
        low = math.floor(place)
        return [low] if place == low else list(range(low + reach[0], low + reach[1] + 1))

    return _read(field, ratio.denominator, ratio.numerator, units)


def adapted(field: Field, before: int, after: int) -> Field:
    """After an adaptive pooling of `before` units to `after`; to one, it is the whole axis."""
    if after == 1 and before > 1:
        return field if field.unknown else WHOLE
    ratio = Fraction(before, after)
    return _read(
        field,
        ratio.denominator,
        ratio.numerator,
        lambda at: range(math.floor(at * ratio), math.ceil((at + 1) * ratio)),
    )


def merged(fields: Iterable[Field]) -> Field:
    """After an addition or a concatenation of branches: the box around what the branches see.

    >>> merged([window(Field(), 3, padding=1), window(Field(), 1)]).size
    3
    """
    every = list(dict.fromkeys(fields))
    if len(every) == 1:
        return every[0]
    lost = next((each for each in every if each.unknown), None)
    if lost is not None:
        return lost
    if any(each.whole for each in every):
        return WHOLE
    if len({each.stride for each in every}) > 1:
        strides = ", ".join(f"{each.stride:g}" for each in every)
        return unknown(f"branches of different strides meet ({strides})")
    phases = math.lcm(*(len(each.starts) for each in every))
    if phases > MOST_PHASES:
        return unknown("the units repeat no pattern that could be followed")
    boxes = [[each.box(at) for each in every] for at in range(phases)]
    return _made(boxes, phases * (every[0].stride or 0.0))


def _read(field: Field, out: int, given: int, units: Callable[[int], Sequence[int]]) -> Field:
    """After a step whose unit `at` reads `units(at)`, where `at + out` reads those `given` further on."""
    if not field.known:
        return field
    phases = len(field.starts)
    turns = phases // math.gcd(phases, given)
    if out * turns > MOST_PHASES:
        return unknown("the units repeat no pattern that could be followed")
    boxes = [[field.box(unit) for unit in units(at)] for at in range(out * turns)]
    return _made(boxes, field.jump * given * turns / phases)


def _made(boxes: Sequence[Sequence[tuple[float, float]]], jump: float) -> Field:
    """The field of these boxes, with as few phases as say the same."""
    starts = [min((low for low, high in each if low <= high), default=math.inf) for each in boxes]
    ends = [max((high for low, high in each if low <= high), default=-math.inf) for each in boxes]
    for phases in range(1, len(boxes)):
        step = jump * phases / len(boxes)
        pairs = zip([*starts, *ends], [*_ahead(starts, phases, jump), *_ahead(ends, phases, jump)], strict=True)
        if len(boxes) % phases == 0 and all(now + step == then for now, then in pairs):
            return Field(tuple(starts[:phases]), tuple(ends[:phases]), step)
    return Field(tuple(starts), tuple(ends), jump)


def _ahead(values: Sequence[float], phases: int, jump: float) -> list[float]:
    """The values `phases` units further on."""
    return [*values[phases:], *(each + jump for each in values[:phases])]


def describe(fields: Sequence[Field]) -> str:
    """The fields of a layer's axes in a few signs: `43×43 /4 @-9`, `whole image`, `?` where unknown.

    >>> describe([window(Field(), 3, 2, padding=1)] * 2), describe([WHOLE, WHOLE])
    ('3×3 /2 @0', 'whole image')
    """
    if not fields:
        return ""
    if any(each.unknown for each in fields):
        return "?"
    if all(each.whole for each in fields):
        return "whole image"
    if any(each.known and each.size is None for each in fields):
        return "none"
    size = "×".join("all" if each.whole else str(each.size) for each in fields)
    known = [each for each in fields if each.known]
    strides = dict.fromkeys(_number(each.stride or 0.0) for each in known)
    offsets = dict.fromkeys(_number(each.offset or 0.0) for each in known)
    return f"{size} /{'×'.join(strides)} @{','.join(offsets)}"


def _number(value: float) -> str:
    return f"{value:.4g}"
