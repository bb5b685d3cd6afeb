"""`sheet`: every channel of a feature map as a numbered tile, composed as one indexed array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat
from math import ceil, sqrt
from typing import Any

import numpy as np

from .canvas import MUTED, STRENGTHS, Canvas, frame
from .encoding import ABOVE, BELOW, CONSTANT, NAN, NEG_INF, POS_INF, encode, extent_of, raw_extent
from .errors import BadOption, near
from .featuremap import FeatureMap, as_map
from .picture import Cell, Picture
from .ruling import Beyond, make_scale
from .scale import MARKS, Scale, number, short_span
from .strips import strip
from .text import SMALL, font
from .words import about, caption, title_of

SORTS = ("index", "mean", "max", "energy")
PAGE_PIXELS = 16_000_000
# Tiles of a few channels are made large enough to read, those of hundreds only large enough to see.
FEW, SMALLEST_OF_FEW, SMALLEST = 256, 72, 28
COMFORTABLE_WIDTH, LARGEST_TILE = 800, 256


def sheet(
    fm: Any,
    *,
    image: int = 0,
    channels: Sequence[int] | slice | None = None,
    columns: int | None = None,
    sort: str = "index",
    scale: Any = "channel",
    colors: str | None = None,
    clip: tuple[float, float] | None = None,
    page: int = 0,
    zoom: int | None = None,
    layout: str | None = None,
) -> Picture:
    """All channels of one image as numbered tiles.

    `fm` is a `FeatureMap` or a bare array of rank 1 to 5 (`layout` names its axes where its library's convention is not
    meant). `scale`: `"channel"` gives each tile its own range, printed on the tile where there is room; `"layer"` one
    range for this image, `"images"` one for all images; or `(low, high)`, or a `Scale`. `clip=(1, 99)` cuts the range at
    these percentiles of its values. `sort`: `"index"`, or `"mean"`,
    `"max"`, `"energy"` with the largest first; a tile always carries its true channel number. Above 16 megapixels a
    sheet has several pages; `page` picks one, `Picture.pages` counts them. `zoom` is a whole number of picture pixels for
    a unit. A dense layer or a sequence becomes a `strip`; the slices of a volume stand side by side.

    Raises `BadChannels`, `BadScale`, `BadLayout`, `BadOption`.

    >>> import numpy as np
    >>> picture = sheet(np.random.default_rng(0).random((1, 28, 28, 64)))
    >>> len(picture.cells), picture.cells[10].channel
    (64, 10)
    """
    whole = as_map(fm, layout)
    one = whole.image(image)
    if len(whole.spatial) < 2 or max(whole.spatial) == 1:
        return strip(whole, image=image, channels=channels, scale=scale, colors=colors, clip=clip)
    if sort not in SORTS:
        raise BadOption(f"sort={sort!r}: use {', '.join(map(repr, SORTS))}.{near(str(sort), SORTS)}")
    _whole_number("columns", columns)
    _whole_number("zoom", zoom)
    order = _order(one, channels, sort)
    raw = raw_extent(one.values)
    extent = raw if np.isfinite(raw).all() else extent_of(one.values)
    rule = make_scale(whole, one, scale, colors, extent, clip)
    grid = Grid.fitting(_planes(one.values[0]).shape[:2], len(order), columns, zoom, one.channels)
    pages = ceil(len(order) / grid.most)
    if not 0 <= page < pages:
        raise BadOption(f"page={page}: this sheet has {pages}, 0 to {pages - 1}")
    shown = order[page * grid.most : (page + 1) * grid.most]
    tiles = Tiles.of(one, shown, rule, raw[0, shown], extent[0, shown])
    lines = caption(one, rule, _slices(one) + _shown(one, len(order), sort, page, pages, grid.most, len(shown)))
    lines += tiles.notes(one, extent[0], raw[0])
    lines += tiles.beyond().words(rule, clip)
    labels = Labels.fitting(tiles, grid, own_range=rule.per == "channel" and not rule.single)
    if labels.missing:
        which = "the ranges" if labels.words is None else f"{labels.missing} ranges"
        lines += (f"no room on the tiles for {which}; zoom= makes them larger",)
    return _compose(one, grid, tiles, labels, rule, lines, page, pages, image)


@dataclass(frozen=True)
class Grid:
    """How the tiles lie: the map's own size, the zoom, how many columns, how many tiles at most on a page."""

    height: int
    width: int
    zoom: int
    columns: int
    most: int
    digits: int

    @classmethod
    def fitting(
        cls, size: tuple[int, int], count: int, columns: int | None, zoom: int | None, channels: Sequence[int]
    ) -> Grid:
        height, width = size
        columns = min(columns or even_columns(count, height / width), count)
        larger = min(COMFORTABLE_WIDTH // (columns * width), LARGEST_TILE // max(size))
        least = SMALLEST_OF_FEW if count <= FEW else SMALLEST
        zoom = zoom or max(1, ceil(least / max(size)), larger)
        digits = len(str(max(channels)))
        wide = max(width * zoom, digits * font(SMALL).width) + 5
        cell = (height * zoom + 2 * font(SMALL).height + 4) * wide
        rows = max(1, PAGE_PIXELS // (cell * columns))
        return cls(height, width, zoom, columns, rows * columns, digits)

    @property
    def tile_width(self) -> int:
        return self.width * self.zoom

    @property
    def tile_height(self) -> int:
        return self.height * self.zoom

    @property
    def space(self) -> int:
        """Bare pixels between two tiles; enough that a range doesn't run into the next number."""
        return max(2, min(8, self.tile_width // 16))

    @property
    def pitch(self) -> int:
        return max(self.tile_width + self.space, self.digits * font(SMALL).width + 5)


@dataclass(frozen=True)
class Tiles:
    """The channels on a page: their values, true numbers, ranges and what is special about each."""

    values: np.ndarray
    channels: tuple[int, ...]
    limits: np.ndarray
    extent: np.ndarray
    raw: np.ndarray
    exact: np.ndarray
    words: tuple[str, ...]
    marks: frozenset[int]

    @classmethod
    def of(cls, one: FeatureMap, shown: np.ndarray, rule: Scale, raw: np.ndarray, extent: np.ndarray) -> Tiles:
        values = one.values[0]
        step = np.diff(shown)
        values = values[..., shown[0] : shown[-1] + 1] if (step == 1).all() else values[..., shown]
        limits = np.broadcast_to(np.array(rule.limits), (len(shown), 2)) if rule.single else rule.limits[0, shown]
        finite = np.isfinite(raw).all(1)
        with np.errstate(invalid="ignore"):
            below, above = extent[:, 0] < limits[:, 0], extent[:, 1] > limits[:, 1]
        flat = ~(limits[:, 0] < limits[:, 1])
        marks = {BELOW} if below.any() else set()
        marks |= {ABOVE} if above.any() else set()
        marks |= {CONSTANT} if (flat & ~np.isnan(extent[:, 0])).any() else set()
        dead = finite & (extent == 0).all(1)
        words: list[str] = np.where(dead, "dead", "").tolist()
        for at in np.flatnonzero((extent[:, 0] == extent[:, 1]) & finite & ~dead).tolist():
            words[at] = f"const {number(extent[at, 0])}"
        for at in np.flatnonzero(~finite).tolist():
            words[at], found = _not_finite(values[..., at])
            marks |= found
        numbers = tuple(map(one.channels.__getitem__, shown.tolist()))
        return cls(
            _planes(values),
            numbers,
            limits,
            extent,
            raw,
            ~finite | below | above | flat,
            tuple(words),
            frozenset(marks),
        )

    def beyond(self) -> Beyond:
        """How many of the values shown lie outside the limits."""
        return Beyond.of(self.values, self.limits) if self.marks & {BELOW, ABOVE} else Beyond()

    def texts(self, own_range: bool, digits: int) -> tuple[str, ...]:
        """What is special about each tile, else its range."""
        return tuple(
            word or (short_span(low, high, digits) if own_range else "")
            for word, (low, high) in zip(self.words, self.limits.tolist(), strict=True)
        )

    def notes(self, one: FeatureMap, extent: np.ndarray, raw: np.ndarray) -> tuple[str, ...]:
        """What the caption says of dead, constant and non-finite channels, over the whole layer."""
        dead = (extent == 0).all(1)
        constant = (extent[:, 0] == extent[:, 1]) & ~dead
        broken = ~np.isfinite(raw).all(1)
        said = []
        for name, where in (("dead (all 0)", dead), ("constant", constant), ("with NaN or inf", broken)):
            if where.any():
                said.append(f"{name}: {where.sum()} of {len(where)} channels ({_listed(one, where)})")
        if broken.any():
            values = one.values[..., broken]
            counts = (("NaN", np.isnan(values)), ("+inf", values == np.inf), ("−inf", values == -np.inf))
            said.append("values: " + ", ".join(f"{where.sum():,} {name}" for name, where in counts if where.any()))
        return (" · ".join(said),) if said else ()


@dataclass(frozen=True)
class Labels:
    """What stands above each tile: its number, and its range on the same line or on a second one where there is room."""

    numbers: tuple[str, ...]
    words: tuple[str, ...] | None
    lines: int
    missing: int = 0

    @classmethod
    def fitting(cls, tiles: Tiles, grid: Grid, own_range: bool) -> Labels:
        letters = font(SMALL)
        numbers = tuple(map(str, tiles.channels))
        room = grid.tile_width // letters.width
        # Among hundreds of small tiles a second line of numbers is more noise than help.
        crowded = len(numbers) > FEW and room < 12
        if room < 4 or crowded or not (own_range or any(tiles.words)):
            return cls(numbers, None, 1, len(numbers) if own_range else 0)
        words = tiles.texts(own_range, 3)
        if grid.digits + 1 + max(map(len, words)) <= room:
            return cls(numbers, words, 1)
        # Two significant digits before none at all; a number is never cut.
        for digits in (3, 2):
            words = tiles.texts(own_range, digits)
            if max(map(len, words)) <= room:
                return cls(numbers, words, 2)
        left = tuple(word if len(word) <= room else "" for word in words)
        missing = sum(bool(word) and not kept for word, kept in zip(words, left, strict=True))
        if missing > len(words) // 2:
            return cls(numbers, None, 1, missing)
        return cls(numbers, left, 2, missing)

    @property
    def height(self) -> int:
        return self.lines * font(SMALL).height


def _compose(
    one: FeatureMap,
    grid: Grid,
    tiles: Tiles,
    labels: Labels,
    rule: Scale,
    lines: tuple[str, ...],
    page: int,
    pages: int,
    image: int,
) -> Picture:
    count = len(tiles.channels)
    rows = ceil(count / grid.columns)
    pitch_y = labels.height + grid.tile_height + grid.space
    size = rows * pitch_y, grid.columns * grid.pitch
    reach = (float(tiles.extent[:, 0].min()), float(tiles.extent[:, 1].max()))
    canvas = frame(*size, title_of(one), lines, bar=rule if rule.single else None, marks=tiles.marks, reach=reach)
    body = canvas.body
    # A view [row, column, y, x] of the tiles' places: everything is written straight into the picture.
    spaced = np.lib.stride_tricks.as_strided(
        body,
        (rows, grid.columns, pitch_y, grid.pitch),
        (pitch_y * body.strides[0], grid.pitch * body.strides[1], *body.strides),
    )
    places = spaced[:, :, labels.height : labels.height + grid.tile_height, : grid.tile_width]
    if grid.zoom == 1:
        encode(tiles.values, tiles.limits, rule.center, tiles.exact, places, tiles.raw)
    else:
        codes = np.empty((rows, grid.columns, grid.height, grid.width), np.uint8)
        encode(tiles.values, tiles.limits, rule.center, tiles.exact, codes, tiles.raw)
        wide = codes.repeat(grid.zoom, axis=3)
        for line in range(grid.zoom):
            places[:, :, line :: grid.zoom] = wide
    _write_labels(spaced, labels, grid, count)
    cells = _cells(canvas, grid, tiles, pitch_y, labels.height, image)
    return Picture(
        canvas.codes,
        cells,
        rule,
        title_of(one),
        lines,
        about(one, rule),
        canvas.bar,
        page,
        pages,
        grid.zoom,
    )


def _cells(canvas: Canvas, grid: Grid, tiles: Tiles, pitch_y: int, above: int, image: int) -> tuple[Cell, ...]:
    count = len(tiles.channels)
    xs = canvas.x + np.arange(count) % grid.columns * grid.pitch
    ys = canvas.y + np.arange(count) // grid.columns * pitch_y + above
    boxes = zip(
        xs.tolist(),
        ys.tolist(),
        repeat(grid.tile_width),
        repeat(grid.tile_height),
        repeat(image),
        tiles.channels,
        tiles.limits[:, 0].tolist(),
        tiles.limits[:, 1].tolist(),
        tiles.words,
        strict=False,
    )
    # As Cell(*each), without a call into Python for each of 2,048.
    return tuple(map(partial(tuple.__new__, Cell), boxes))


def _write_labels(spaced: np.ndarray, labels: Labels, grid: Grid, count: int) -> None:
    letters = font(SMALL)
    right = grid.tile_width
    places = spaced.shape[0] * grid.columns
    drawn = _numbers_drawn(labels.numbers, grid.digits, places)
    spaced[:, :, : letters.height, : drawn.shape[-1]] = drawn.reshape(*spaced.shape[:2], letters.height, -1)
    if labels.words is not None:
        length = max(map(len, labels.words))
        ink = letters.lines((*labels.words, *("",) * (places - count)), length, right=labels.lines == 1)
        start = right - ink.shape[-1] if labels.lines == 1 else 0
        top = (labels.lines - 1) * letters.height
        box = spaced[:, :, top : top + letters.height, start : start + ink.shape[-1]]
        box[:] = MUTED[ink].reshape(*spaced.shape[:2], letters.height, -1)


@lru_cache(maxsize=16)
def _numbers_drawn(numbers: tuple[str, ...], digits: int, places: int) -> np.ndarray:
    """The channel numbers as codes, `[place, y, x]`. Kept, since one sheet after another has the same."""
    return STRENGTHS[font(SMALL).lines((*numbers, *("",) * (places - len(numbers))), digits)]


def even_columns(count: int, aspect: float) -> int:
    """A number of columns that makes the sheet about square, and fills its last row where that can be had.

    >>> [even_columns(each, 1.0) for each in (64, 512, 101, 3)]
    [8, 32, 11, 3]
    """
    if count <= 4:
        return count
    square = sqrt(count * aspect)
    full = [each for each in range(ceil(square), int(square * 1.5) + 1) if count % each == 0]
    return max(1, min(count, full[0] if full else ceil(square)))


def _planes(values: np.ndarray) -> np.ndarray:
    """`[height, width, channel]`; the slices of a volume side by side."""
    if values.ndim == 3:
        return values
    depth, height, width, channels = values.shape
    return values.transpose(1, 0, 2, 3).reshape(height, depth * width, channels)


def _order(one: FeatureMap, channels: Sequence[int] | slice | None, sort: str) -> np.ndarray:
    """The positions of the channels asked for, in the order of the sort."""
    if channels is None:
        return _sorted(one.values[0], sort)
    chosen = one.select(channels)
    at = {channel: place for place, channel in enumerate(one.channels)}
    return np.array([at[channel] for channel in chosen.channels])[_sorted(chosen.values[0], sort)]


def _sorted(values: np.ndarray, sort: str) -> np.ndarray:
    """Positions in the order of the sort, the largest first; equal ones and NaN keep the order of their index."""
    if sort == "index":
        return np.arange(values.shape[-1])
    flat = np.where(np.isfinite(values), values, 0).reshape(-1, values.shape[-1]).astype(np.float64)
    key = flat.mean(0) if sort == "mean" else flat.max(0) if sort == "max" else np.square(flat).sum(0)
    return np.argsort(-key, kind="stable")


def _not_finite(values: np.ndarray) -> tuple[str, set[int]]:
    """How many values of a channel are NaN or infinite, in words, and the marks they use."""
    counts = {
        NAN: int(np.isnan(values).sum()),
        POS_INF: int((values == np.inf).sum()),
        NEG_INF: int((values == -np.inf).sum()),
    }
    found = [mark for mark, count in counts.items() if count]
    return " ".join(f"{counts[mark]} {MARKS[mark][0]}" for mark in found), set(found)


def _listed(one: FeatureMap, where: np.ndarray, most: int = 12) -> str:
    numbers = [str(one.channels[at]) for at in np.flatnonzero(where)]
    return ", ".join(numbers[:most]) + (", …" if len(numbers) > most else "")


def _shown(one: FeatureMap, count: int, sort: str, page: int, pages: int, most: int, here: int) -> str:
    text = f"{count} of {one.of} channels" if not one.rule else f"{count} channels"
    if sort != "index":
        text += f" sorted by {sort}, largest first"
    if pages > 1:
        text += f", page {page + 1} of {pages} (tiles {page * most + 1} to {page * most + here})"
    return text


def _slices(one: FeatureMap) -> str:
    return f"{one.spatial[0]} slices side by side · " if len(one.spatial) == 3 else ""


def _whole_number(name: str, value: int | None) -> None:
    if value is not None and (not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1):
        raise BadOption(f"{name}={value!r}: use a whole number from 1")
