"""`strip`: dense layers as rows of cells, sequences as one row per channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..channels.query import positions, where_text
from ..checks import keywords
from ..core.feature_map import FeatureMap, as_map
from ..core.note import Note
from ..errors import BadLayout
from ..picture.canvas import Frame
from ..picture.caption import about, caption, channels_text, quantity, title_of
from ..picture.font import small
from ..picture.palette import marks_of
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.scale_rules import Beyond
from ..picture.shapes import Cell
from .sequence import (
    WIDE,
    Rows,
    StripOptions,
    draw_sequence,
    reach_of,
    row_numbers_width,
    write_column_numbers,
    write_row_numbers,
)

__all__ = ["StripOptions", "draw_strip", "strip"]


@keywords
def strip(
    fm: Any,
    *,
    image: int | str = 0,
    channels: Any = None,
    scale: Any = "layer",
    colors: Any = None,
    clip: tuple[float, float] | None = None,
    norm: str | None = None,
    axis: str = "position",
    step: float = 1,
    flip: bool = False,
    pool: str | None = None,
    page: int = 0,
    text: float | None = None,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    theme: str = "light",
    layout: str | None = None,
) -> Picture:
    """A dense layer or a sequence of one image as a strip.

    A dense layer (no spatial extent) has one cell per channel, in rows read like text; a sequence `[n, channel]` has
    one row per channel, with round numbers of its axis below. Every channel is drawn, 25,088 too, and no position is
    left out: a sequence of more than 4,096 has several pages, or becomes one picture by `pool`. Prefix tokens
    (`FeatureMap.prefix`) are drawn as a dense layer each, under their names. One range holds for the whole, with a
    colour bar.

    >>> import numpy as np
    >>> picture = strip(np.arange(12.0).reshape(1, 4, 3), layout="bnc")
    >>> [(cell.channel, picture.decode(cell).shape) for cell in picture.cells]
    [(0, (1, 4)), (1, (1, 4)), (2, (1, 4))]

    Args:
        fm: A `FeatureMap` or an array without pixels: `[channel]`, `[image, channel]` or `[image, position, channel]`.
        image: Which image of `fm`: its number, counted from 0, or its id.
        channels: True channel numbers, a slice, a mask, or a condition as in `find_channels`. All by default.
        scale: `"layer"`, `"images"`, `(low, high)` or a `Scale`; for a sequence also `"channel"` (each row its own).
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours. By default viridis, or vik
            centred on 0 for values of both signs.
        clip: Two percentiles, such as `(1, 99)`, to which the range is clipped.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        axis: What the positions lie along, such as `"seconds"`.
        step: How much of `axis` one position is, such as 0.01 for a spectrogram with ten milliseconds per column.
        flip: Whether channel 0 is at the bottom, as spectrograms have their low frequencies.
        pool: `"max"` or `"min"` of a whole number of positions in each column; `None` draws pages.
        page: Which page of a long sequence, counted from 0.
        text: Size of letters, cells and rows, 1 (screen) to 4; 3 is for print at 300 dpi.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bar is drawn. Without `caption` and `bar` the map stands alone.
        theme: `"light"`, `"dark"` or `"transparent"` paper.
        layout: The axes of an array, such as `"bnc"`, where it isn't its library's convention.

    Raises:
        BadLayout: A map of pixels, which is drawn by `sheet` or `heatmap`.
        BadChannels: A channel that the map doesn't hold.
        BadScale: A scale, percentiles or colours that don't exist.
        BadOption: Any other option is invalid.
    """
    options = StripOptions(
        image=image,
        channels=channels,
        scale=scale,
        colors=colors,
        clip=clip,
        norm=norm,
        axis=axis,
        step=step,
        flip=flip,
        pool=pool,
        page=page,
        text=text,
        title=title,
        caption=caption,
        bar=bar,
        theme=theme,
    )
    return draw_strip(as_map(fm, layout), options).themed(theme)


def draw_strip(whole: FeatureMap, options: StripOptions) -> Picture:
    """The strip of one image of a map."""
    if len(whole.spatial) >= 2 and max(whole.spatial) > 1:
        raise BadLayout(f"{whole.layer.path!r} has {_use_instead(whole)}")
    one, image = options.pick(whole)
    tokens = one.layer.prefix if len(whole.spatial) == 1 and len(whole.layer.prefix) == whole.spatial[0] else ()
    cells = bool(tokens) or max(whole.spatial, default=1) == 1
    order: tuple[str, ...] = ()
    if cells:
        options = replace(options, scale="layer") if options.scale == "channel" else options
        order = (Note("order", "one cell per channel, left to right and top to bottom"),)
    rule = options.fit_scale(whole, one, extent_of(one.values))
    indices = positions(one, options.channels).tolist()
    table = one.values[0].reshape(-1, len(one.channels))[:, indices].T
    title = title_of(one, channels_text(one, [one.channels[index] for index in indices], where_text(options.channels)))
    lines = caption(one, rule) + order
    limits = rule.limits if rule.single else rule.limits[0, indices][:, None]
    lines += Beyond.of(table, limits).words(rule, options.clip)
    rows = Rows(one, image, indices, rule, title, lines)
    if not cells:
        return draw_sequence(rows, table, options)
    options.pick_page(1, 1)
    return _draw_cells(rows, _codes(table, rule, indices), tokens, options)


def _codes(table: np.ndarray, rule: Scale, indices: Sequence[int]) -> np.ndarray:
    if rule.single:
        return rule.codes(table)
    return np.stack([rule.codes(row, 0, index) for row, index in zip(table, indices, strict=True)])


def _draw_cells(rows: Rows, codes: np.ndarray, names: Sequence[str], options: StripOptions) -> Picture:
    """Cells in rows, each headed by the number of its first channel; for prefix tokens a block each, below its name.

    Above the columns stands what is to be added to that number, where the channels follow each other.
    """
    one, rule, numbers = rows.one, rows.rule, rows.numbers
    layout = _CellLayout.of(len(rows.indices), one, names, options)
    text, letters = layout.text, small(layout.text)
    first = letters.height if numbers == [*range(numbers[0], numbers[0] + len(numbers))] else 0
    wide = max(layout.columns * layout.pitch, letters.widest(names))
    size = first + codes.shape[1] * layout.block - layout.between, layout.left + wide
    bar = rule if rule.single else None
    marks, reach = marks_of(codes), reach_of(one.values)
    subject, *notes = rows.lines
    notes += [Note("numbers", "channel number = row number + column number")] if first and layout.rows > 1 else []
    frame = Frame(rows.title, subject, notes, bar, marks, reach, text, quantity(one))
    canvas = options.framed(frame).around(*size, beside=(first + layout.above, size[0]))
    if first:
        texts = [f"+{column}" if layout.rows > 1 else str(numbers[column]) for column in range(layout.columns)]
        write_column_numbers(canvas, texts, layout.pitch, middle=layout.left + layout.zoom // 2)
    cells = []
    for block, column in enumerate(codes.T.tolist()):
        name, top = names[block] if names else "", first + block * layout.block + layout.above
        canvas.write(layout.left, top - layout.above, name)
        height = layout.rows * layout.tall
        write_row_numbers(canvas, numbers[:: layout.columns], layout.tall, top=top, height=height, left=layout.left)
        middle = top + (layout.tall - layout.high) // 2
        for cell, code in enumerate(column):
            y, x = middle + cell // layout.columns * layout.tall, layout.left + cell % layout.columns * layout.pitch
            canvas.body[y : y + layout.high, x : x + layout.zoom] = code
            box = canvas.x + x, canvas.y + y, layout.zoom, layout.high
            cells.append(Cell(*box, rows.image, numbers[cell], *rule.range(0, rows.indices[cell]), name))
    return canvas.picture(cells, rule, about(one, rule), zoom=layout.zoom, tall=layout.high)


@dataclass(frozen=True)
class _CellLayout:
    """Where the cells of a block lie, in pixels: one is `zoom` wide and `high`, `pitch` and `tall` are the way to the next."""

    columns: int
    rows: int
    zoom: int
    high: int
    pitch: int
    tall: int
    left: int
    above: int
    between: int
    text: float

    @classmethod
    def of(cls, count: int, one: FeatureMap, names: Sequence[str], options: StripOptions) -> _CellLayout:
        columns = min(count, 64 if count <= 1024 else 128 if count <= 4096 else 256)
        zoom = round(options.size * max(3, min(24, WIDE // columns)))
        pitch = zoom + round(options.size) if zoom >= 6 * options.size else zoom
        text = options.letters(columns * pitch)
        letters = small(text)
        rows = ceil(count / columns)
        tall = max(pitch, letters.height) if rows <= 16 else pitch
        # Rows that are far apart for their numbers have higher cells.
        high = tall - round(options.size) if tall > 1.5 * pitch else zoom
        left = row_numbers_width(one.channels, text)
        return cls(columns, rows, zoom, high, pitch, tall, left, letters.height if names else 0, round(6 * text), text)

    @property
    def block(self) -> int:
        """From one block to the next."""
        return self.above + self.rows * self.tall + self.between


def _use_instead(whole: FeatureMap) -> str:
    """What a map has that isn't a strip, and which function draws it."""
    size = "×".join(map(str, whole.spatial))
    if len(whole.spatial) == 2:
        return f"maps of {size}: draw them with sheet(), a single one with heatmap()"
    return f"volumes of {size}: draw one channel with montage(), all of them with sheet()"
