"""`bars`: the largest numbers of a dense layer in the order of their rank, each with its label, its bar and its value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor, isfinite, log10
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..channels.query import positions, where_text
from ..checks import keywords, one_of, whole
from ..core.feature_map import FeatureMap, as_map
from ..core.note import Note, kind_of
from ..errors import BadLayout, BadOption
from ..picture.canvas import Canvas, Frame
from ..picture.caption import about, caption, not_finite, quantity, title_of
from ..picture.codes import ABOVE, BELOW, INK_LIGHT, NAN, NEG_INF, POS_INF
from ..picture.colorbar import round_values
from ..picture.font import small
from ..picture.norms import require_positive
from ..picture.numbers import number
from ..picture.palette import DIVERGING, MARKS, SEQUENTIAL
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.shapes import Cell
from ..safe_text import counted, printable
from .options import DrawOptions, frozen

ORDERS = {"value": "largest first", "magnitude": "largest magnitude first", "index": ""}
LENGTH, THICK, PITCH, GAP, LONGEST = 360, 14, 20, 8, 48
MOST_DECIMALS = 4
# The length says the value: one colour, and one for each sign, those of the diverging map.
ONE_SIGN = ("#21908c",) * 2
BOTH_SIGNS = ("#2f7ca6",) * 16 + ("#c37243",) * 16


@keywords
def bars(
    fm: Any,
    *,
    labels: Sequence[str] | None = None,
    top: int | None = 10,
    image: int | str = 0,
    channels: Any = None,
    by: str = "value",
    scale: Any = "layer",
    colors: Any = None,
    norm: str | None = None,
    text: float | None = None,
    title: str | None = None,
    caption: bool = True,
    theme: str = "light",
    layout: str | None = None,
) -> Picture:
    """The `top` channels of a dense layer as labelled bars from 0, the largest first.

    A row has rank, label and true channel number on the left, a bar from 0 (negative values to the left of it), and the
    value. The number stands below the heading `class` for the model's classes, else `channel`. The numbers are drawn as they
    are: logits don't become probabilities, and the caption says whether they sum to 1.

    >>> import numpy as np
    >>> picture = bars(np.array([0.1, 0.7, 0.2]), labels=["cat", "dog", "fox"], top=2)
    >>> [(cell.channel, cell.note) for cell in picture.cells]
    [(1, 'dog: 0.7'), (2, 'fox: 0.2')]

    Args:
        fm: A `FeatureMap` or an array of one number per channel, such as the model's output or a pooled layer.
        labels: A name for each channel of the layer. By default `fm.names`, those of the model's classes.
        top: How many bars; `None` draws all channels.
        image: Which image of `fm`: its number, counted from 0, or its id.
        channels: True channel numbers, a slice, a mask, or a condition as in `find_channels`: these alone are ranked. All by
            default.
        by: The order, `"value"` or `"magnitude"` (largest first, NaN last) or `"index"`.
        scale: `"layer"` (the bars fill the picture), `"images"` (as long in every image), `(low, high)` or a `Scale`.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours. By default one colour,
            and one for each sign, as the length says the value.
        norm: `"linear"` (the usual one), `"log"`, by which bars begin at a power of ten, or `"symlog"`, as in `Scale`.
        text: Size of letters and bars, 1 (screen) to 4; 3 is for print at 300 dpi.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        theme: `"light"`, `"dark"` or `"transparent"` paper.
        layout: The axes of an array, such as `"bc"`, where it isn't its library's convention.

    Raises:
        BadLayout: A map with pixels or positions.
        BadChannels: A channel that the map doesn't hold.
        BadScale: A scale or colours that don't exist.
        BadOption: Any other option is invalid.
    """
    options = BarOptions(
        labels=labels,
        top=top,
        image=image,
        channels=channels,
        by=by,
        scale=scale,
        colors=colors,
        norm=norm,
        text=text,
        title=title,
        caption=caption,
        theme=theme,
    )
    return draw_bars(as_map(fm, layout), options).themed(theme)


@dataclass(frozen=True, kw_only=True)
class BarOptions(DrawOptions):
    """What bars have besides: names for the channels, how many bars, and their order."""

    labels: Any = None
    top: int | None = 10
    by: str = "value"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("by", self.by, ORDERS)
        if self.top is not None:
            self._set("top", whole("top", self.top, instead=", or None for all channels"))
        if isinstance(self.labels, str):
            raise BadOption("labels= must be a list of names, one per channel")
        self._set("labels", frozen(self.labels))


@dataclass(frozen=True, eq=False)
class _Ranking:
    """The bars in their order: the indices of their channels in the map of one image, of how many, all values and names."""

    one: FeatureMap
    image: int
    values: np.ndarray
    indices: Sequence[int]
    among: int
    names: Sequence[str]
    ranked: bool

    @classmethod
    def of(cls, fm: FeatureMap, options: BarOptions) -> _Ranking:
        one, image = options.pick(fm)
        chosen = positions(one, options.channels)
        values = one.values[0].reshape(-1).astype(np.float64)
        ranked = chosen[_order(values[chosen], options.by)][: options.top].tolist()
        ranked_by = options.by != "index"
        return cls(one, image, values, ranked, len(chosen), _names(one, options.labels), ranked_by)

    @property
    def shown(self) -> np.ndarray:
        """The values of the bars."""
        return self.values[self.indices]

    def label(self, rank: int) -> str:
        """What stands in front of a bar; `rank` counts from 0."""
        index = self.indices[rank]
        channel, name = self.one.channels[index], self.names[index] if self.names else ""
        name = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        # The figure space is as wide as a digit, so names start at one place.
        first = f"{rank + 1}".rjust(len(f"{len(self.indices)}"), "\N{FIGURE SPACE}") + "  " if self.ranked else ""
        return first + (name or f"channel {channel}")

    @property
    def numbers(self) -> list[str]:
        """The channel of each bar that has a name, below what they are: `class`, `282`, `285` …; none without names."""
        channels = [str(self.one.channels[index]) for index in self.indices]
        return [self.noun, *channels] if self.names else []

    @property
    def noun(self) -> str:
        return "class" if self.one.names else "channel"


def draw_bars(fm: FeatureMap, options: BarOptions) -> Picture:
    """The bars of one image of a map."""
    if max(fm.spatial, default=1) > 1:
        if any(kind_of(note) == "layout" for note in fm.notes) and len(fm.layer.axes) == 2:
            shape = " × ".join(map(str, fm.layer.shape or ()))
            raise BadLayout(
                f"an array of {shape} is read as height × width, and a bar shows one number per channel: layout='bc' reads "
                "it as images × channels"
            )
        raise BadLayout(
            f"{fm.layer.path!r} has {'×'.join(map(str, fm.spatial))} numbers per channel, and a bar shows one: draw it "
            f"with {'strip()' if len(fm.spatial) == 1 else 'sheet()'}"
        )
    ranking = _Ranking.of(fm, options)
    one = ranking.one
    rule = _scale(fm, ranking, options)
    noun, plural = ranking.noun, "classes" if one.names else "channels"
    of = f"{ranking.among:,} chosen {plural}" if ranking.among < one.of else counted(one.of, noun, plural)
    count = len(ranking.indices)
    shown = of if count == ranking.among else f"{count:,} of {of}"
    title = title_of(one, shown + where_text(options.channels))
    order = (Note("order", ORDERS[options.by]),) if ORDERS[options.by] else ()
    lines = (*caption(one, None), *order, *_norm_notes(rule), *_notes(one, ranking.values))
    frame = options.framed(Frame(title, lines[0], lines[1:], text=options.size))
    return _draw(ranking, rule, frame)


def _names(one: FeatureMap, labels: Sequence[str] | None) -> tuple[str, ...]:
    """A name for each channel of the map, empty where there are none."""
    if labels is None:
        return tuple(map(printable, one.names))
    if not all(isinstance(label, str) for label in labels):
        raise BadOption("labels= must be a list of names, one per channel")
    if len(labels) != one.of:
        raise BadOption(
            f"labels= has {counted(len(labels), 'name')}, and {one.layer.path!r} has {counted(one.of, 'channel')}: give "
            "one for each"
        )
    return tuple(printable(labels[channel]) for channel in one.channels)


def _order(values: np.ndarray, by: str) -> np.ndarray:
    """Positions in the order of their rank; equal ones keep the order of their index, and NaN comes last."""
    if by == "index":
        return np.arange(len(values))
    key = np.abs(values) if by == "magnitude" else values
    # NaN sorts to the end by itself, for negated values too.
    return np.argsort(-key, kind="stable")


def _scale(fm: FeatureMap, ranking: _Ranking, options: BarOptions) -> Scale:
    """From 0 to the largest of the bars, or what was asked for; it always holds 0, where the bars begin.

    A logarithmic one has no 0: its bars begin at the power of ten below the smallest.
    """
    if options.scale in (None, "layer", "channel"):
        values = ranking.shown.reshape(1, -1, 1)
        fitted = Scale.fit(values, "layer", norm=options.norm or "linear")
        if fitted.norm == "log":
            require_positive(values, fitted.limits)
    else:
        fitted = options.fit_scale(fm, ranking.one, extent_of(ranking.one.values))
    low, high = fitted.range()
    usual = options.scale.colors if isinstance(options.scale, Scale) else SEQUENTIAL
    colors = options.colors or (None if usual in (SEQUENTIAL, DIVERGING) else usual)
    if fitted.norm != "log":
        low, high = min(low, 0.0), max(high, 0.0)
    elif fitted.per != "fixed" and low > 0:
        low = 10.0 ** floor(log10(low))
    return Scale.within((low, high), colors or (BOTH_SIGNS if low < 0 < high else ONE_SIGN), norm=fitted.norm)


def _norm_notes(rule: Scale) -> tuple[Note, ...]:
    """Where the bars of a scale that isn't linear begin, and how it goes on."""
    if rule.norm == "log":
        return (Note("norm", f"logarithmic scale: bars begin at {number(rule.limits[0])}"),)
    return tuple(note for note in rule.notes() if kind_of(note) == "norm")


def _notes(one: FeatureMap, values: np.ndarray) -> tuple[str, ...]:
    """What the numbers are, as far as they say it themselves."""
    lines = ["all values are 0"] if not values.any() else []
    if odd := not_finite(values):
        lines.append(f"among the {counted(len(values), 'value')}: {odd}")
    elif one.names and values.any() and len(values) == one.of:
        total = float(values.sum())
        if _are_probabilities(values):
            lines.append(
                f"the values are from 0 to 1 and sum to 1 over all {counted(len(values), 'channel')}, so they are probabilities"
            )
        else:
            lines.append(
                f"scores (logits) as the model gives them, not probabilities: all {len(values):,} sum to {number(total)}"
            )
    return tuple(lines)


@dataclass(frozen=True)
class _Axis:
    """Where the numbers of a scale lie from left to right, in pixels of the body; `text` times as large as on a screen."""

    left: int
    rule: Scale
    text: float

    @property
    def low(self) -> float:
        return self.rule.range()[0]

    @property
    def high(self) -> float:
        return self.rule.range()[1]

    @property
    def start(self) -> float:
        """Where bars begin."""
        return max(self.low, 0.0)

    @property
    def right(self) -> int:
        """Behind the last pixel. An odd length has a middle, so that both signs have the same room."""
        return self.left + round(LENGTH * self.text) + 1

    def position(self, value: float) -> int:
        """The pixel of a value."""
        if self.low == self.high:
            return self.left
        return self.left + round(float(self.rule.places(value)) * LENGTH * self.text)


def _draw(ranking: _Ranking, rule: Scale, frame: Frame) -> Picture:
    one, text, count = ranking.one, frame.text, len(ranking.indices)
    letters = small(text)
    heads = [ranking.label(rank) for rank in range(count)]
    texts = _texts(ranking.shown)
    low, high = rule.range()
    numbers, gap = ranking.numbers, round(GAP * text)
    column = letters.widest(heads) + (2 * gap + letters.widest(numbers) if numbers else 0)
    axis = _Axis(column + (2 * gap if numbers else gap), rule, text)
    codes = [int(rule.codes(ranking.values[[index]])[0]) for index in ranking.indices]
    marks = {code for code in codes if code in MARKS and (low < high or code in (NAN, POS_INF, NEG_INF))}
    beside, first = axis.right + gap, letters.height + round(4 * text)
    thick, pitch = round(THICK * text), round(PITCH * text)
    aligned = _aligned(ranking.shown, texts)
    measured = _measured(ranking)
    right = beside + letters.widest([*aligned, measured])
    size = first + count * pitch, right
    canvas = replace(frame, marks=marks).around(*size)
    _draw_ticks(canvas, axis, first + count * pitch - (pitch - thick), column + gap if numbers else 0)
    canvas.write(right - letters.width(measured), 0, measured, muted=True)
    lines = [first + row * pitch + (thick - letters.height) // 2 for row in range(count)]
    for head, line in zip(numbers, [0, *lines], strict=False):
        canvas.write(column - letters.width(head), line, head, muted=True)
    cells = []
    for row, (index, code, head, label) in enumerate(zip(ranking.indices, codes, heads, texts, strict=True)):
        printed = aligned[row]
        top = first + row * pitch
        canvas.write(0, lines[row], head)
        start, stop = _ends(axis, float(ranking.values[index]), code)
        canvas.body[top : top + thick, start:stop] = code
        canvas.write(right - letters.width(printed), lines[row], printed)
        note = f"{ranking.names[index]}: {label}" if ranking.names else label
        box = canvas.x + start, canvas.y + top, stop - start, thick
        cells.append(Cell(*box, ranking.image, one.channels[index], low, high, note))
    return canvas.picture(cells, rule, about(one, rule))


def _measured(ranking: _Ranking) -> str:
    """What the numbers are, above them: those of a model's classes scores, unless they are probabilities."""
    if not ranking.one.names:
        return quantity(ranking.one)
    return "probability" if _are_probabilities(ranking.values) else "score"


def _are_probabilities(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all()) and values.min() >= 0 and abs(float(values.sum()) - 1) < 1e-3


def _texts(values: np.ndarray) -> list[str]:
    """The values in three significant digits; those that would read like another, different one in up to six."""
    texts = [number(value, 3) for value in values]
    for digits in (4, 5, 6):
        read: dict[str, set[float]] = {}
        for text, value in zip(texts, values.tolist(), strict=True):
            read.setdefault(text, set()).add(value)
        texts = [
            number(value, digits) if len(read[text]) > 1 else text for text, value in zip(texts, values, strict=True)
        ]
    return texts


def _aligned(values: np.ndarray, texts: Sequence[str]) -> list[str]:
    """The values with one number of decimals, points below each other; as they are where that is too many."""
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    if not np.isfinite(values).all() or any("e" in text for text in texts) or decimals > MOST_DECIMALS:
        return list(texts)
    return [f"{value:.{decimals}f}".replace("-", "−") if value else "0" for value in values.tolist()]


def _ends(axis: _Axis, value: float, code: int) -> tuple[int, int]:
    """The first and the last pixel of a bar, one pixel at least; what has no length fills a square at 0."""
    zero = axis.position(axis.start)
    if np.isnan(value) or (axis.low == axis.high and not isfinite(value)):
        return zero, zero + round(THICK * axis.text)
    if code in (POS_INF, ABOVE):
        return zero, axis.right
    if code in (NEG_INF, BELOW):
        return axis.left, zero + 1
    end = axis.position(value)
    return min(zero, end), max(zero, end) + 1


def _draw_ticks(canvas: Canvas, axis: _Axis, bottom: int, left: int) -> None:
    """Round numbers above the bars, from `left` on, each with a thin line down."""
    letters = canvas.letters
    if axis.low == axis.high:
        return
    taken = -1
    for value in sorted({axis.start, *round_values(axis.rule)}):
        x = axis.position(value)
        if not axis.low <= value <= axis.high:
            continue
        top = letters.height + round(axis.text)
        canvas.fill(x, top, round(axis.text), bottom - top, color=INK_LIGHT)
        label = number(value)
        wide = letters.width(label)
        start = max(left, min(x - wide // 2, axis.right - wide))
        if start > taken:
            canvas.write(start, 0, label, muted=True)
            taken = start + wide + round(4 * axis.text)


def is_named(fm: FeatureMap) -> bool:
    """Whether a map is one that bars are drawn of by themselves: one named number per channel."""
    return bool(fm.names) and max(fm.spatial, default=1) == 1
