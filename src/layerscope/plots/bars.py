"""`bars`: the largest numbers of a dense layer in the order of their rank, each with its label, its bar and its value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..core.feature_map import FeatureMap, as_map
from ..errors import BadLayout, BadOption, near
from ..picture.canvas import Canvas, Frame, check_text
from ..picture.caption import about, caption, not_finite, title_of
from ..picture.codes import ABOVE, BELOW, INK_LIGHT, NAN, NEG_INF, POS_INF
from ..picture.colorbar import round_numbers
from ..picture.font import SMALL, font
from ..picture.numbers import number
from ..picture.picture import Picture
from ..picture.scale import MARKS, Scale
from ..picture.scale_rules import make_scale
from ..picture.shapes import Cell

ORDERS = ("value", "magnitude", "index")


LENGTH, THICK, PITCH, GAP, LONGEST = 360, 14, 20, 8, 48


def bars(
    fm: Any,
    *,
    labels: Sequence[str] | None = None,
    top: int | None = 10,
    image: int = 0,
    channels: Sequence[int] | slice | None = None,
    by: str = "value",
    scale: Any = "layer",
    colors: str | None = None,
    text: int = 1,
    layout: str | None = None,
) -> Picture:
    """The `top` channels of a dense layer as labelled bars from 0, the largest first.

    ```python
    output = scope.capture("cat.jpg", "output")["output"]
    ls.bars(output)                      # the ten likeliest classes, with the names in scope.labels
    ls.bars(fm, by="magnitude", top=20)  # of any dense or pooled layer
    ```

    Each row has rank, label and true channel number on the left, a bar from 0 (negative values to the left of it), and the
    value. `by`: `"value"`, `"magnitude"` or `"index"`; `channels` draws these alone; `top=None` all of them. `labels`
    name all channels of the layer and default to `fm.names`, which the model's output has where the model has labels.
    The numbers are drawn as they are: logits don't become probabilities, and the caption says whether they sum to 1. `scale`:
    `"layer"` (the bars fill the picture), `"images"` (as long in every image), `(low, high)` or a `Scale`. NaN ranks last.
    `text` (1 to 4) draws letters and bars so many times as large.

    Raises `BadLayout` for maps with pixels or positions, `BadOption`, `BadChannels`, `BadScale`.

    >>> import numpy as np
    >>> picture = bars(np.array([0.1, 0.7, 0.2]), labels=["cat", "dog", "fox"], top=2)
    >>> [(cell.channel, cell.note) for cell in picture.cells]
    [(1, 'dog: 0.7'), (2, 'fox: 0.2')]
    """
    whole = as_map(fm, layout)
    if max(whole.spatial, default=1) > 1:
        raise BadLayout(
            f"{whole.layer.path!r} has {'×'.join(map(str, whole.spatial))} numbers a channel, and a bar shows one: draw it"
            f" with {'strip()' if len(whole.spatial) == 1 else 'sheet()'}"
        )
    if by not in ORDERS:
        raise BadOption(f"by={by!r}: use {', '.join(map(repr, ORDERS))}.{near(str(by), ORDERS)}")
    if top is not None and (not isinstance(top, int | np.integer) or isinstance(top, bool) or top < 1):
        raise BadOption(f"top={top!r}: use a whole number from 1, or None for all channels")
    check_text(text)
    one, image = whole.image(image), image % len(whole.ids)
    names = _names(one, labels)
    shown = one.select(channels)
    places = [one.channels.index(each) for each in shown.channels]
    values = one.values[0].reshape(-1).astype(np.float64)
    ranked = [places[at] for at in _order(values[places], by)][:top]
    rule = _scale(whole, one, scale, colors, values[ranked])
    lines = (*caption(one, None, _said(one, len(ranked), len(places), by)), *_rules(rule, one, values))
    return _drawn(one, values, ranked, names, rule, lines, image, text)


def _names(one: FeatureMap, labels: Sequence[str] | None) -> tuple[str, ...]:
    """A name for each channel of the map, empty where there are none."""
    if labels is None:
        return one.names
    if isinstance(labels, str) or not all(isinstance(each, str) for each in labels):
        raise BadOption("labels= is a list of names, one a channel")
    if len(labels) != one.of:
        raise BadOption(
            f"labels= has {len(labels)} names, and {one.layer.path!r} has {one.of} channels: give one for each"
        )
    return tuple(labels[each] for each in one.channels)


def _order(values: np.ndarray, by: str) -> np.ndarray:
    """Positions in the order of their rank; equal ones keep the order of their index, and NaN comes last."""
    if by == "index":
        return np.arange(len(values))
    key = np.abs(values) if by == "magnitude" else values
    # NaN sorts to the end by itself, for negated values too.
    return np.argsort(-key, kind="stable")


def _scale(whole: FeatureMap, one: FeatureMap, scale: Any, colors: str | None, shown: np.ndarray) -> Scale:
    """From 0 to the largest of the bars, or what was asked for; it always holds 0, where the bars begin."""
    if isinstance(scale, str) and scale in ("layer", "channel"):
        finite = shown[np.isfinite(shown)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    else:
        low, high = make_scale(whole, one, scale, colors, extent_of(one.values)).range()
        colors = colors or (scale.colors if isinstance(scale, Scale) else None)
    low, high = min(low, 0.0), max(high, 0.0)
    return Scale.within((low, high), colors)


def _said(one: FeatureMap, count: int, among: int, by: str) -> str:
    of = f"{among} chosen" if among < one.of else str(one.of)
    ranked = {"value": "largest first", "magnitude": "largest magnitude first", "index": "in the order of their number"}
    return f"{count} of {of} channels, {ranked[by]}"


def _rules(rule: Scale, one: FeatureMap, values: np.ndarray) -> tuple[str, ...]:
    """What the length of the bars means, and what the numbers are, as far as they say it themselves."""
    low, high = rule.limits
    lines = [f"bars from 0 on one scale, {number(low)}…{number(high)} · colours {rule.colors}"]
    if not values.any():
        lines.append("dead (all 0)")
    if odd := not_finite(values):
        lines.append(f"among the {len(values)} values: {odd}")
    elif one.names and values.any() and len(values) == one.of:
        total = float(values.sum())
        if values.min() >= 0 and abs(total - 1) < 1e-3:
            lines.append(f"the values are from 0 to 1 and sum to 1 over all {len(values)} channels: probabilities")
        else:
            lines.append(f"as the model gives them: they sum to {number(total)}, so they are scores, not probabilities")
    return tuple(lines)


@dataclass(frozen=True)
class _Axis:
    """Where numbers lie from left to right, in pixels of the body; `text` times as large as on a screen."""

    left: int
    low: float
    high: float
    text: int

    @property
    def right(self) -> int:
        """Behind the last pixel. An odd length has a middle, so that both signs have the same room."""
        return self.left + LENGTH * self.text + 1

    def at(self, value: float) -> int:
        if self.low == self.high:
            return self.left
        # Halved, as the range itself may overflow.
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return self.left + round(share * LENGTH * self.text)


def _drawn(
    one: FeatureMap,
    values: np.ndarray,
    ranked: Sequence[int],
    names: Sequence[str],
    rule: Scale,
    lines: tuple[str, ...],
    image: int,
    text: int,
) -> Picture:
    letters = font(SMALL * text)
    heads = [_head(rank, one.channels[at], names[at] if names else "") for rank, at in enumerate(ranked, 1)]
    texts = _texts(values[ranked])
    low, high = rule.range()
    axis = _Axis((max(map(len, heads)) + 1) * letters.width, low, high, text)
    codes = [int(rule.codes(values[[at]])[0]) for at in ranked]
    marks = {
        each for each in codes if each in MARKS and (rule.limits[0] < rule.limits[1] or each in (NAN, POS_INF, NEG_INF))
    }
    beside, first, thick, pitch = axis.right + GAP * text, letters.height + 4 * text, THICK * text, PITCH * text
    size = first + len(ranked) * pitch, beside + max(map(len, texts)) * letters.width
    canvas = Frame(title_of(one), lines, marks=marks, text=text).around(*size)
    _ticks(canvas, axis, first + len(ranked) * pitch - (pitch - thick))
    cells = []
    for row, (at, code, head, label) in enumerate(zip(ranked, codes, heads, texts, strict=True)):
        top = first + row * pitch
        line = top + (thick - letters.height) // 2
        canvas.write(0, line, head)
        start, stop = _ends(axis, float(values[at]), code)
        canvas.body[top : top + thick, start:stop] = code
        canvas.write(beside, line, label)
        note = f"{names[at]}: {label}" if names else label
        box = canvas.x + start, canvas.y + top, stop - start, thick
        cells.append(Cell(*box, image, one.channels[at], low, high, note))
    return canvas.picture(cells, rule, about(one, rule))


def _texts(values: np.ndarray) -> list[str]:
    """The values in three significant digits; those that would read like another, different one in up to six."""
    texts = [number(each, 3) for each in values]
    for digits in (4, 5, 6):
        read: dict[str, set[float]] = {}
        for text, each in zip(texts, values.tolist(), strict=True):
            read.setdefault(text, set()).add(each)
        texts = [
            number(each, digits) if len(read[text]) > 1 else text for text, each in zip(texts, values, strict=True)
        ]
    return texts


def _head(rank: int, channel: int, name: str) -> str:
    name = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
    return f"{rank:>2}  {name + ' ' if name else 'channel '}{f'({channel})' if name else channel}"


def _ends(axis: _Axis, value: float, code: int) -> tuple[int, int]:
    """The first and the last pixel of a bar, one pixel at least; what has no length fills a square at 0."""
    zero = axis.at(0.0)
    if np.isnan(value) or (axis.low == axis.high and not isfinite(value)):
        return zero, zero + THICK * axis.text
    if code in (POS_INF, ABOVE):
        return zero, axis.right
    if code in (NEG_INF, BELOW):
        return axis.left, zero + 1
    end = axis.at(value)
    return min(zero, end), max(zero, end) + 1


def _ticks(canvas: Canvas, axis: _Axis, bottom: int) -> None:
    """Round numbers above the bars, each with a thin line down."""
    letters, wide = canvas.letters, canvas.letters.width
    if axis.low == axis.high:
        return
    taken = -1
    for value in sorted({0.0, *round_numbers(axis.low, axis.high)}):
        x = axis.at(value)
        if not axis.low <= value <= axis.high:
            continue
        top = letters.height + axis.text
        canvas.fill(x, top, axis.text, bottom - top, color=INK_LIGHT)
        label = number(value)
        start = max(0, min(x - len(label) * wide // 2, canvas.width - len(label) * wide))
        if start > taken:
            canvas.write(start, 0, label, muted=True)
            taken = start + len(label) * wide


def is_named(fm: FeatureMap) -> bool:
    """Whether a map is one that bars are drawn of by themselves: one named number a channel."""
    return bool(fm.names) and max(fm.spatial, default=1) == 1
