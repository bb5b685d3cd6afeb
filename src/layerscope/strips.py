"""`strip`: dense layers as rows of cells, sequences as one row a channel."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from .canvas import frame, write
from .encoding import extent_of
from .errors import BadLayout
from .featuremap import FeatureMap, as_map
from .picture import Cell, Picture
from .ruling import Beyond, make_scale
from .scale import Scale, marks_of
from .sequences import WIDE, Ruler, Window, drawn, no_pages, reach_of, row_numbers
from .text import SMALL, font
from .words import about, caption, channel_word, title_of


def strip(
    fm: Any,
    *,
    image: int = 0,
    channels: Sequence[int] | slice | None = None,
    scale: Any = "layer",
    colors: str | None = None,
    clip: tuple[float, float] | None = None,
    axis: str = "position",
    step: float = 1,
    flip: bool = False,
    pool: str | None = None,
    page: int = 0,
    layout: str | None = None,
) -> Picture:
    """A dense layer or a sequence of one image as a strip.

    A dense layer (no spatial extent) is drawn as one cell a channel, in rows read like text; a sequence `[n, channel]` as
    one row a channel, with round numbers of the axis below: `axis` names it, and one position is `step` of it (0.01 for a
    spectrogram with ten milliseconds a column and `axis="seconds"`). `flip=True` has channel 0 at the bottom, as spectrograms
    have their low frequencies. No position is left out: a sequence of more than 4,096 has several pages (`page`,
    `Picture.pages`), or becomes one picture by `pool="max"` or `"min"`, where each column is the largest or the smallest of
    a whole number of positions, which the caption says. Prefix tokens (`FeatureMap.prefix`) are drawn as a dense layer
    each, under their names. One range holds for the whole, with a colour bar; for a sequence `scale="channel"` gives each
    row its own. Every channel is drawn, 25,088 too.

    Raises `BadLayout` for pictures, which are a `sheet`; `BadOption`, `BadChannels`, `BadScale`.
    """
    whole = as_map(fm, layout)
    if len(whole.spatial) >= 2 and max(whole.spatial) > 1:
        raise BadLayout(f"{whole.layer.path!r} has {_way(whole)}")
    ruler = Ruler(axis, step)
    one = whole.image(image)
    dense = max(whole.spatial, default=1) == 1
    said = ""
    named = len(whole.spatial) == 1 and len(whole.layer.prefix) == whole.spatial[0]
    if (dense or named) and isinstance(scale, str) and scale == "channel":
        scale = "layer"
        said = "one number a channel, so one range for all"
    rule = make_scale(whole, one, scale, colors, extent_of(one.values), clip)
    shown = one.select(channels)
    at = {channel: place for place, channel in enumerate(one.channels)}
    places = [at[channel] for channel in shown.channels]
    table = shown.values[0].reshape(-1, len(places)).T
    text = f"{len(places)} of {one.of} {channel_word(one)}"
    text += ", left to right and top to bottom" if dense or named else ""
    lines = caption(one, rule, text) + ((said,) if said else ())
    limits = rule.limits if rule.single else rule.limits[0, places][:, None]
    lines += Beyond.of(table, limits).words(rule, clip)
    if dense or named:
        no_pages(page)
        codes = _codes(table, rule, places)
        return (_tokens if named else _dense)(one, codes, rule, places, lines, image)
    window = Window.of_table(table, page, pool)
    lines += (window.said(ruler) + (", the first channel at the bottom" if flip else ""),)
    return drawn(one, window, ruler, rule, places, lines, image, flip)


def _codes(table: np.ndarray, rule: Scale, places: Sequence[int]) -> np.ndarray:
    if rule.single:
        return rule.codes(table)
    return np.stack([rule.codes(row, 0, place) for row, place in zip(table, places, strict=True)])


def _dense(
    one: FeatureMap, codes: np.ndarray, rule: Scale, places: Sequence[int], lines: tuple[str, ...], image: int
) -> Picture:
    """Cells in rows, each row headed by the number of its first channel."""
    count = len(places)
    columns = min(count, 64 if count <= 1024 else 128 if count <= 4096 else 256)
    zoom = max(3, min(24, WIDE // columns))
    rows = ceil(count / columns)
    letters = font(SMALL)
    left = (len(str(max(one.channels))) + 1) * letters.width
    pitch = zoom + 1 if zoom >= 6 else zoom
    tall = max(pitch, letters.height) if rows <= 16 else pitch
    canvas = frame(
        rows * tall,
        left + columns * pitch,
        title_of(one),
        lines,
        bar=rule if rule.single else None,
        marks=marks_of(codes),
        reach=reach_of(one.values),
    )
    numbers = [one.channels[place] for place in places]
    row_numbers(canvas.body, [numbers[row * columns] for row in range(rows)], tall)
    cells = []
    for at, code in enumerate(codes[:, 0].tolist()):
        y, x = at // columns * tall, left + at % columns * pitch
        canvas.body[y : y + zoom, x : x + zoom] = code
        low, high = rule.range(0, places[at])
        cells.append(Cell(canvas.x + x, canvas.y + y, zoom, zoom, image, numbers[at], low, high))
    return Picture(canvas.codes, tuple(cells), rule, title_of(one), lines, about(one, rule), canvas.bar, zoom=zoom)


def _tokens(
    one: FeatureMap, codes: np.ndarray, rule: Scale, places: Sequence[int], lines: tuple[str, ...], image: int
) -> Picture:
    """For each prefix token its name, and below it its channels as cells in rows."""
    count, names = len(places), one.layer.prefix
    columns = min(count, 64 if count <= 1024 else 128)
    zoom = max(3, min(24, WIDE // columns))
    pitch = zoom + 1 if zoom >= 6 else zoom
    letters, rows = font(SMALL), ceil(count / columns)
    tall = max(pitch, letters.height) if rows <= 16 else pitch
    block = letters.height + rows * tall + 6
    left = (len(str(max(one.channels))) + 1) * letters.width
    wide = max(columns * pitch, max(map(len, names)) * letters.width)
    bar, marks = rule if rule.single else None, marks_of(codes)
    canvas = frame(
        len(names) * block - 6, left + wide, title_of(one), lines, bar=bar, marks=marks, reach=reach_of(one.values)
    )
    numbers = [one.channels[place] for place in places]
    cells = []
    for token, name in enumerate(names):
        body = canvas.body[token * block : (token + 1) * block]
        write(body, left, 0, letters.line(name))
        row_numbers(body[letters.height :], numbers[::columns], tall)
        for at, code in enumerate(codes[:, token].tolist()):
            y, x = letters.height + at // columns * tall, left + at % columns * pitch
            body[y : y + zoom, x : x + zoom] = code
            low, high = rule.range(0, places[at])
            top = canvas.y + token * block + y
            cells.append(Cell(canvas.x + x, top, zoom, zoom, image, numbers[at], low, high, name))
    return Picture(canvas.codes, tuple(cells), rule, title_of(one), lines, about(one, rule), canvas.bar, zoom=zoom)


def _way(whole: FeatureMap) -> str:
    """What a map has that is no strip, and which function draws it."""
    if len(whole.spatial) == 2:
        return f"pictures of {whole.spatial}: draw it with sheet(), one map with heatmap()"
    return f"volumes of {whole.spatial}: draw one channel with montage(), all of them with sheet()"
