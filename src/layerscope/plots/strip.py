"""`strip`: dense layers as rows of cells, sequences as one row a channel."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..core.feature_map import FeatureMap, as_map
from ..errors import BadLayout
from ..picture.canvas import Frame, check_text
from ..picture.caption import about, caption, channel_word, title_of
from ..picture.font import SMALL, font
from ..picture.picture import Picture
from ..picture.scale import Scale, marks_of
from ..picture.scale_rules import Beyond, make_scale
from ..picture.shapes import Cell
from .sequence import WIDE, Ruler, Window, drawn, no_pages, reach_of, row_numbers


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
    text: int = 1,
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
    row its own. Every channel is drawn, 25,088 too. `text` (1 to 4) draws letters, cells and rows so many times as large.

    Raises `BadLayout` for pictures, which are a `sheet`; `BadOption`, `BadChannels`, `BadScale`.
    """
    whole = as_map(fm, layout)
    if len(whole.spatial) >= 2 and max(whole.spatial) > 1:
        raise BadLayout(f"{whole.layer.path!r} has {_way(whole)}")
    ruler = Ruler(axis, step)
    check_text(text)
    one, image = whole.image(image), image % len(whole.ids)
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
    what = f"{len(places)} of {one.of} {channel_word(one)}"
    what += ", left to right and top to bottom" if dense or named else ""
    lines = caption(one, rule, what) + ((said,) if said else ())
    limits = rule.limits if rule.single else rule.limits[0, places][:, None]
    lines += Beyond.of(table, limits).words(rule, clip)
    if dense or named:
        no_pages(page)
        codes = _codes(table, rule, places)
        return _cells(one, codes, rule, places, lines, image, one.layer.prefix if named else (), text)
    window = Window.of_table(table, page, pool)
    lines += (window.said(ruler) + (", the first channel at the bottom" if flip else ""),)
    return drawn(one, window, ruler, rule, places, lines, image, flip, text)


def _codes(table: np.ndarray, rule: Scale, places: Sequence[int]) -> np.ndarray:
    if rule.single:
        return rule.codes(table)
    return np.stack([rule.codes(row, 0, place) for row, place in zip(table, places, strict=True)])


def _cells(
    one: FeatureMap,
    codes: np.ndarray,
    rule: Scale,
    places: Sequence[int],
    lines: tuple[str, ...],
    image: int,
    names: Sequence[str],
    text: int,
) -> Picture:
    """Cells in rows, each headed by the number of its first channel; for prefix tokens a block each, below its name."""
    count, letters = len(places), font(SMALL * text)
    columns = min(count, 64 if count <= 1024 else 128 if count <= 4096 else 256)
    zoom = text * max(3, min(24, WIDE // columns))
    pitch = zoom + text if zoom >= 6 * text else zoom
    rows = ceil(count / columns)
    tall = max(pitch, letters.height) if rows <= 16 else pitch
    above, between = letters.height if names else 0, 6 * text
    block = above + rows * tall + between
    left = (len(str(max(one.channels))) + 1) * letters.width
    wide = max(columns * pitch, max(map(len, names), default=0) * letters.width)
    size = codes.shape[1] * block - between, left + wide
    bar, reach = rule if rule.single else None, reach_of(one.values)
    canvas = Frame(title_of(one), lines, bar, marks_of(codes), reach, text).around(*size)
    numbers = [one.channels[place] for place in places]
    cells = []
    for at, column in enumerate(codes.T.tolist()):
        name, top = names[at] if names else "", at * block + above
        canvas.write(left, top - above, name)
        row_numbers(canvas, numbers[::columns], tall, top, rows * tall)
        for cell, code in enumerate(column):
            y, x = top + cell // columns * tall, left + cell % columns * pitch
            canvas.body[y : y + zoom, x : x + zoom] = code
            limits = rule.range(0, places[cell])
            cells.append(Cell(canvas.x + x, canvas.y + y, zoom, zoom, image, numbers[cell], *limits, name))
    return canvas.picture(cells, rule, about(one, rule), zoom=zoom)


def _way(whole: FeatureMap) -> str:
    """What a map has that is no strip, and which function draws it."""
    if len(whole.spatial) == 2:
        return f"pictures of {whole.spatial}: draw it with sheet(), one map with heatmap()"
    return f"volumes of {whole.spatial}: draw one channel with montage(), all of them with sheet()"
