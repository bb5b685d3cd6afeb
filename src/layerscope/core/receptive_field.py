"""Receptive fields: which part of the input a unit of a layer can depend on, along one spatial axis.

The rules are those of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019
(https://distill.pub/2019/computing-receptive-fields/), read from the input to the layer. Where units differ periodically (after
upsampling, the even ones see other pixels than the odd ones), each phase of the period has a box of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from fractions import Fraction
from typing import NamedTuple

MOST_PHASES = 512
MOST_UNITS = 1 << 14  # that are looked at one by one, to find how far their boxes reach
NEAR = 1e-6  # of a pixel: the distance of numbers that are the same but for rounding
NO_PATTERN = "the units follow no repeating pattern"
ROLLED = "windows over rolled units"
SEVERAL_MAPS = "several-maps"  # the kind of the reason why positions of several maps in a row have no field


ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "half down": lambda position: math.ceil(position - Fraction(1, 2)),
    "half up": lambda position: math.floor(position + Fraction(1, 2)),
}


class Sampling(NamedTuple):
    """Where a resize reads: unit `u` at position `u * ratio + shift`, which `nearest` rounds by a key of `ROUNDINGS`.

    >>> Sampling.by_centres(Fraction(1, 2))
    Sampling(ratio=Fraction(1, 2), shift=Fraction(-1, 4), rounding='floor')
    """

    ratio: Fraction
    shift: Fraction = Fraction(0)
    rounding: str = "floor"

    @classmethod
    def by_centres(cls, ratio: Fraction, rounding: str = "floor") -> Sampling:
        """The positions of pixels whose centres lie in proportion (`half_pixel`)."""
        return cls(ratio, ratio / 2 - Fraction(1, 2), rounding)


class Line(NamedTuple):
    """Where units lie along one axis of the model's input, in pixels; pixel `i` covers `[i, i + 1)`.

    `origin` is the centre of unit 0, `spacing` the distance from one unit to the next, negative where they run backwards.
    """

    origin: float
    spacing: float


@dataclass(frozen=True, slots=True)
class Field:
    """What the units along one axis see: unit `q * phases + r` the pixels `starts[r] + q * jump` to `ends[r] + q * jump`.

    `whole` says that every unit may depend on the whole axis; boxes, where there are any, are then those around the place
    of each unit. `unknown` is the reason why a field isn't known; `starts` and `ends` are then empty. Pixel 0 has its centre at
    0.0; pixels outside the image are its padding. Where units run backwards (after a flip) `jump` is negative; where they were
    rolled, unit `u` is the unit `(u + rolled) % around` of what the boxes say. `place` is where unit 0 lies, where that isn't
    the middle of the boxes: they are then only a bound. `grain` is the widest distance between units on the way from the image.

    >>> two = window(window(Field(), 3, padding=1), 3, padding=1)   # VGG16's block1_conv2
    >>> two.size, two.stride, two.offset
    (5, 1.0, 0.0)
    """

    starts: tuple[float, ...] = (0.0,)
    ends: tuple[float, ...] = (0.0,)
    jump: float = 1.0
    whole: bool = False
    unknown: str = ""
    rolled: int = 0
    around: int = 0
    place: float | None = None
    grain: float = dataclass_field(default=1.0, compare=False)

    @property
    def known(self) -> bool:
        """Whether the field is a box of pixels."""
        return not self.whole and not self.unknown and not self.rolled

    @property
    def size(self) -> int | None:
        """The width of the box in pixels, the widest where units differ; `None` where it isn't a box."""
        spans = [end - start for start, end in zip(self.starts, self.ends, strict=True) if start <= end]
        return int(max(spans)) + 1 if self.known and spans else None

    @property
    def stride(self) -> float | None:
        """The distance in pixels between the boxes of neighbouring units, the mean where it differs."""
        return self.jump / len(self.starts) if self.known else None

    @property
    def offset(self) -> float | None:
        """The centre of unit 0's box in pixels, the mean over phases where units differ."""
        return self._first_centre() if self.known else None

    @property
    def line(self) -> Line | None:
        """Where the units lie: at the centres of their boxes, the mean over phases where units differ; `None` without boxes.

        >>> window(Field(), 3, 2).line
        Line(origin=1.5, spacing=2.0)
        """
        first = self._first_centre()
        return (
            None if first is None or not self.jump or self.rolled else Line(first + 0.5, self.jump / len(self.starts))
        )

    def _first_centre(self) -> float | None:
        if self.place is not None:
            return self.place
        centres = [(low + high) / 2 for low, high in self._moved_to_first()]
        return sum(centres) / len(centres) if centres else None

    def _moved_to_first(self) -> list[tuple[float, float]]:
        """The box of each phase as far to the front as its unit is from unit 0; without those that see nothing."""
        stride = self.jump / max(1, len(self.starts))
        boxes = enumerate(zip(self.starts, self.ends, strict=True))
        return [(start - unit * stride, end - unit * stride) for unit, (start, end) in boxes if start <= end]

    def loosen(self) -> Field:
        """The field with one box for all phases, around what each of them sees.

        >>> two = resize(Field(), 2, 4, "linear").loosen()
        >>> two.box(0), two.box(2), two.line
        ((-1.0, 0.5), (0.0, 1.5), Line(origin=0.25, spacing=0.5))
        """
        boxes = self._moved_to_first()
        if len(self.starts) < 2 or not boxes:
            return self
        low, high = min(low for low, _ in boxes), max(high for _, high in boxes)
        place = self._first_centre()
        return replace(self, starts=(low,), ends=(high,), jump=self.jump / len(self.starts), place=place)

    def roll(self, shift: int, size: int) -> Field:
        """The field of `size` units after those that left at the end came in again in front, `shift` of them."""
        if not self.starts or self.around not in (0, size):
            return self if not self.starts else self.lost(ROLLED)
        rolled = (self.rolled - shift) % size
        return replace(self, rolled=rolled, around=size if rolled else 0)

    def lost(self, reason: str) -> Field:
        """The field of units of which it can't be said what they see; where that may be everything, still that."""
        return WHOLE if self.whole else unknown(reason)

    def everywhere(self, placed: bool = True) -> Field:
        """The field of units that may depend on the whole axis; `placed` says whether they still lie where they lay."""
        if self.unknown or self == WHOLE:
            return self
        return replace(self, whole=True) if placed else WHOLE

    def box(self, unit: int) -> tuple[float, float]:
        """The first and the last pixel that a unit sees; the first is after the last for a unit that sees none."""
        period, phase = divmod(unit, len(self.starts))
        return self.starts[phase] + period * self.jump, self.ends[phase] + period * self.jump


WHOLE = Field((), (), 0.0, whole=True)


def unknown(reason: str) -> Field:
    """A field that isn't known, with the reason."""
    return Field((), (), 0.0, unknown=reason)


def window(field: Field, kernel: int, stride: int = 1, *, dilation: int = 1, padding: int = 0) -> Field:
    """After a convolution or a pooling with `padding` in front.

    >>> pooled = window(window(window(Field(), 3, padding=1), 3, padding=1), 2, stride=2)
    >>> pooled.size, pooled.stride, pooled.offset
    (6, 2.0, 0.5)
    """
    if (kernel, stride, padding) == (1, 1, 0):
        return field
    span = (kernel - 1) * dilation
    return _read(
        field, 1, stride, lambda unit: range(unit * stride - padding, unit * stride - padding + span + 1, dilation)
    )


def transposed_window(field: Field, kernel: int, stride: int = 1, *, dilation: int = 1, padding: int = 0) -> Field:
    """After a transposed convolution that cuts off `padding` in front.

    >>> up = transposed_window(window(Field(), 2, stride=2), 2, stride=2)
    >>> up.size, up.stride, up.offset
    (2, 1.0, 0.0)
    """

    def sources(unit: int) -> list[int]:
        positions = [unit + padding - tap * dilation for tap in range(kernel)]
        return [position // stride for position in positions if position % stride == 0]

    return _read(field, stride, 1, sources)


def resize(
    field: Field, before: int, after: int, mode: str = "nearest", *, corners: bool = False, scale: float = 0.0
) -> Field:
    """After a resize of `before` units to `after`: `nearest` reads one unit, `linear` two, `cubic` four.

    `corners` keeps the first and the last unit in place (`align_corners`). `scale` is by how much the resize enlarges, where
    that isn't `after / before`: to 28 of 48 pixels by 0.6.

    >>> resize(Field(), 8, 16, "linear").box(2), resize(Field(), 8, 16).box(2)
    ((0.0, 1.0), (1.0, 1.0))
    """
    if before == after:
        return field
    ratio = 1 / Fraction(scale).limit_denominator(MOST_PHASES) if scale else Fraction(before, after)
    if corners:
        sampling = Sampling(Fraction(before - 1, after - 1) if after > 1 else ratio)
    else:
        sampling = Sampling(ratio) if mode == "nearest" else Sampling.by_centres(ratio)
    return resample(field, before, after, sampling, mode=mode)


def resample(
    field: Field,
    before: int,
    after: int,
    sampling: Sampling,
    *,
    mode: str = "nearest",
    antialias: bool = False,
) -> Field:
    """After `after` units were read at these positions of `before` units: `linear` reads two of them, `cubic` four.

    `nearest` reads one, by `sampling.rounding`; where a ratio that no float holds leads to a tie, either of two. A position
    outside of the units is moved onto the outermost one. With `antialias` a reduction reads as many units as it joins.

    >>> resample(Field(), 8, 4, Sampling(Fraction(2), Fraction(1, 2), "ceil")).box(1)
    (3.0, 3.0)
    """
    if before == 1:
        return _read(field, 1, 0, lambda unit: [0])
    ratio, shift, rounding = sampling
    exact = any(number & (number - 1) == 0 for number in (ratio.denominator, ratio.numerator))
    doubt = 0 if exact else Fraction(1, 1 << 12)
    reach = {"linear": 1, "cubic": 2}.get(mode, 0) * max(1, ratio if antialias else 1)
    rounded = ROUNDINGS[rounding]
    under = max(0, -rounded(shift))
    over = max(0, rounded((after - 1) * ratio + shift) - (before - 1))

    def sources(unit: int) -> Sequence[int]:
        position = unit * ratio + shift
        if not reach:
            return range(rounded(position - doubt) - over, rounded(position + doubt) + under + 1)
        if position.denominator == 1 and not antialias:
            return [int(position)]
        return range(math.floor(position - reach) + 1, math.ceil(position + reach))

    return _read(field, ratio.denominator, ratio.numerator, sources)


def read_units(field: Field, units: Sequence[int], advance: int) -> Field:
    """After a step that reads these units, and so on `advance` further.

    >>> read_units(Field(), [0, 0, 1], 2).box(4)
    (2.0, 2.0)
    """
    period = len(units)
    return _read(field, period, advance, lambda unit: [units[unit % period] + unit // period * advance])


def adaptive_window(field: Field, before: int, after: int) -> Field:
    """After an adaptive pooling of `before` units to `after`; to one, it is the whole axis."""
    if after == 1 and before > 1:
        return field.everywhere(placed=False)
    ratio = Fraction(before, after)
    return _read(
        field,
        ratio.denominator,
        ratio.numerator,
        lambda unit: range(math.floor(unit * ratio), math.ceil((unit + 1) * ratio)),
    )


def merge(branches: Iterable[Field], units: int = 0) -> Field:
    """After an addition or a concatenation of branches to `units` units: the box around what the branches see.

    Where their units lie more and more apart (after a resize to the size of a map with a row more), they lie where those of the
    finest branch lie, as long as that is within one unit of the coarsest map behind them.

    >>> merge([window(Field(), 3, padding=1), window(Field(), 1)]).size
    3
    >>> upsampled = resize(window(Field(), 2, 2), 9, 19, "linear")
    >>> merge([Field(), upsampled], 19).line, merge([Field(), upsampled], 60).unknown
    (Line(origin=0.5, spacing=1.0), 'branches of different strides meet (1, 0.947368)')
    """
    fields = list(dict.fromkeys(branches))
    if len(fields) == 1:
        return fields[0]
    lost = next((field for field in fields if field.unknown), None)
    if lost is not None:
        return lost
    whole = any(field.whole for field in fields)
    fields = [field for field in fields if field.starts]
    if not fields:
        return WHOLE
    rolls = {(field.rolled, field.around) for field in fields}
    if len(rolls) > 1:
        return WHOLE if whole else unknown("rolled units meet others")
    strides = list(dict.fromkeys(field.jump / len(field.starts) for field in fields))
    phases = math.lcm(*(len(field.starts) for field in fields))
    placed = {field.place for field in fields} != {None}
    if len(strides) > 1 or phases > MOST_PHASES or placed:
        after = _around([field.loosen() for field in fields], units)
        if after is None:
            several = ", ".join(f"{stride:g}" for stride in strides)
            different = f"branches of different strides meet ({several})"
            return WHOLE if whole else unknown(different if len(strides) > 1 else "branches that lie apart meet")
    else:
        boxes = [[field.box(unit) for field in fields] for unit in range(phases)]
        after = _from_boxes(boxes, phases * strides[0])
    ((rolled, around),) = rolls
    return replace(after, whole=whole, rolled=rolled, around=around, grain=max(field.grain for field in fields))


def _around(fields: Sequence[Field], units: int) -> Field | None:
    """The field of so many units around those of branches with one box each, on the line of the finest; `None` where another
    one lies too far from that.
    """
    finest = min(fields, key=lambda field: field.grain)
    place, nearby = finest._first_centre() or 0.0, max(field.grain for field in fields)
    boxes = []
    for field in fields:
        apart, last = field.jump - finest.jump, max(units - 1, 0)
        for moved in (0.0, last * apart):
            if abs((field._first_centre() or 0.0) - place + moved) > nearby + NEAR:
                return None
            boxes.append((field.starts[0] + moved, field.ends[0] + moved))
    if not units and any(field.jump != finest.jump for field in fields):
        return None
    low, high = min(low for low, _ in boxes), max(high for _, high in boxes)
    return Field((low,), (high,), finest.jump, place=place)


def _read(field: Field, period: int, advance: int, sources: Callable[[int], Sequence[int]]) -> Field:
    """After a step whose unit `u` reads the units `sources(u)`, and unit `u + period` those `advance` further on."""
    if not field.starts:
        return field
    if field.rolled:
        return field.lost(ROLLED)
    if period > MOST_UNITS:
        return field.lost(NO_PATTERN)
    phases = len(field.starts)
    repeats = phases // math.gcd(phases, advance)
    if period * repeats > MOST_PHASES and phases > 1:
        return _read(field.loosen(), period, advance, sources)
    reads = [sources(unit) for unit in range(period * repeats)]
    after = _from_boxes(
        [[field.box(source) for source in read] for read in reads], field.jump * advance * repeats / phases
    )
    if len(after.starts) > MOST_PHASES:
        after = after.loosen()
    stride = field.jump / phases
    if field.place is not None:
        middles = [
            (min(read) + max(read)) / 2 * stride - unit * stride * advance / period
            for unit, read in enumerate(reads)
            if read
        ]
        after = replace(after, place=field.place + sum(middles) / len(middles) if middles else None)
    return replace(after, whole=field.whole, grain=max(field.grain, abs(stride * advance / period)))


def _from_boxes(boxes: Sequence[Sequence[tuple[float, float]]], jump: float) -> Field:
    """The field whose phases see these boxes, with as few phases as possible."""
    starts = [min((low for low, high in parts if low <= high), default=math.inf) for parts in boxes]
    ends = [max((high for low, high in parts if low <= high), default=-math.inf) for parts in boxes]
    for phases in range(1, len(boxes)):
        step = jump * phases / len(boxes)
        pairs = zip([*starts, *ends], [*_advance(starts, phases, jump), *_advance(ends, phases, jump)], strict=True)
        if len(boxes) % phases == 0 and all(now + step == then or abs(now + step - then) < NEAR for now, then in pairs):
            return Field(tuple(starts[:phases]), tuple(ends[:phases]), step)
    return Field(tuple(starts), tuple(ends), jump)


def _advance(values: Sequence[float], phases: int, jump: float) -> list[float]:
    """The values `phases` units further on."""
    return [*values[phases:], *(value + jump for value in values[:phases])]


def describe(fields: Sequence[Field]) -> str:
    """The fields of a layer's axes in short notation: `43×43 /4 @-9`, `whole image`, `?` where unknown.

    >>> describe([window(Field(), 3, 2, padding=1)] * 2), describe([WHOLE, WHOLE])
    ('3×3 /2 @0', 'whole image')
    """
    if not fields:
        return ""
    if any(field.unknown for field in fields):
        return "?"
    if all(field.whole for field in fields):
        return "whole image"
    if any(field.known and field.size is None for field in fields):
        return "none"
    size = "×".join("all" if field.whole else str(field.size) for field in fields)
    boxes = [field for field in fields if field.known]
    strides = dict.fromkeys(f"{field.stride or 0.0:.4g}" for field in boxes)
    offsets = dict.fromkeys(f"{field.offset or 0.0:.4g}" for field in boxes)
    return f"{size} /{'×'.join(strides)} @{','.join(offsets)}"
