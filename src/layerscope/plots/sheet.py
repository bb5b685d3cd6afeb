"""`sheet`: every channel of a feature map as a numbered tile, composed as one indexed array; `pages`: all of its pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import repeat
from math import ceil
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of, raw_extent
from ..channels.query import positions
from ..channels.sort import check_sort, ordered, said
from ..channels.statistics import figures, listed
from ..checks import optional_whole
from ..core.feature_map import FeatureMap, as_map
from ..errors import BadOption
from ..picture.canvas import Canvas, Frame, check_text
from ..picture.caption import about, caption, channel_word, not_finite, title_of
from ..picture.codes import encode
from ..picture.picture import Picture
from ..picture.scale import Scale, check_theme
from ..picture.scale_rules import make_scale
from ..picture.shapes import Cell
from .caveats import cautions
from .strip import strip
from .tiles import Below, Grid, Labels, Tiles, planes


def sheet(
    fm: Any,
    *,
    image: int = 0,
    channels: Any = None,
    columns: int | None = None,
    sort: str = "index",
    scale: Any = "channel",
    colors: str | None = None,
    clip: tuple[float, float] | None = None,
    page: int = 0,
    per_page: int | None = None,
    zoom: int | None = None,
    statistics: bool = False,
    text: int = 1,
    theme: str = "light",
    layout: str | None = None,
) -> Picture:
    """All channels of one image as numbered tiles.

    `fm` is a `FeatureMap` or a bare array of rank 1 to 5 (`layout` names its axes where its library's convention is not
    meant). `channels`: true numbers, a slice, a mask, or a condition as in `find_channels`. `scale`: `"channel"` gives each
    tile its own range, printed on the tile where there is room; `"layer"` one range for this image, `"images"` one for all
    images; or `(low, high)`, or a `Scale`. `clip=(1, 99)` cuts the range at these percentiles. `sort`: `"index"`; `"mean"`,
    `"max"`, `"energy"`, `"sparsity"` or `"deviation"` with the largest first; `"similarity"`, where neighbours are alike,
    or `"similarity:17"`, alike to one channel. A tile always carries its true channel number.

    Above 16 megapixels, or above `per_page` tiles, a sheet has several pages; `page` picks one, `Picture.pages` counts
    them, `pages` draws all. `zoom` is a whole number of picture pixels for a unit. `statistics` writes mean and share of
    zeros below each tile. `text` (1 to 4) draws letters and tiles so many times as large, 3 for print at 300 dpi;
    `theme` is `"light"` or `"dark"`. A dense layer or a sequence becomes a `strip`; the slices of a volume stand side
    by side.

    Raises `BadChannels`, `BadScale`, `BadLayout`, `BadOption`.

    >>> import numpy as np
    >>> picture = sheet(np.random.default_rng(0).random((1, 28, 28, 64)))
    >>> len(picture.cells), picture.cells[10].channel
    (64, 10)
    """
    whole = as_map(fm, layout)
    one, image = whole.image(image), image % len(whole.ids)
    _check(columns, zoom, per_page, sort, text, theme)
    chosen = positions(one, channels)
    if len(whole.spatial) < 2 or max(whole.spatial) == 1:
        whole = _without(
            whole, sort=sort != "index", columns=columns, per_page=per_page, zoom=zoom, statistics=statistics
        )
        numbers = None if channels is None else [one.channels[at] for at in chosen]
        options: dict[str, Any] = {"scale": scale, "colors": colors, "clip": clip, "page": page, "text": text}
        return strip(whole, image=image, channels=numbers, **options).themed(theme)
    order = ordered(one, chosen, sort)
    raw = raw_extent(one.values)
    extent = raw if np.isfinite(raw).all() else extent_of(one.values)
    rule = make_scale(whole, one, scale, colors, extent, clip)
    below = _below(one, order) if statistics else None
    size = planes(one.values[0]).shape[:2]
    grid = Grid.fitting(size, min(len(order), per_page or len(order)), columns, zoom, one.channels, text, below)
    grid = _of_pages(grid, per_page)
    last = _page_of(ceil(len(order) / grid.most), page)
    shown = order[page * grid.most : (page + 1) * grid.most]
    tiles = Tiles.of(one, shown, rule, raw[0, shown], extent[0, shown])
    labels = Labels.fitting(tiles, grid, own_range=rule.per == "channel" and not rule.single)
    what = _count(one, len(order), channels) + said(sort) + _which(page, last, grid.most, len(shown))
    lines = caption(one, rule, _slices(one) + what)
    lines += _special(whole, one, extent[0], raw[0])
    lines += tiles.beyond().words(rule, clip)
    notes = cautions(one, rule, extent[0], order, grid.zoom)
    if labels.missing:
        count = f"{labels.missing} range{'s' if labels.missing > 1 else ''}"
        which = "the ranges" if labels.words is None else count
        notes += (f"no room on the tiles for {which}: zoom= makes larger tiles",)
    lines += (" · ".join(notes),) if notes else ()
    if below is not None:
        lines += ("below each tile: its mean and the share of its values that are exactly 0",)
        below = below.on(page, grid)
    picture = _compose(one, grid, tiles, labels, below, rule, lines, image)
    return replace(picture, page=page, pages=last, notes=notes, theme=theme)


def pages(fm: Any, **options: Any) -> Iterator[Picture]:
    """Every page of a sheet, one after the other; the options are those of `sheet`. What is wrong with them is said at once.

    >>> import numpy as np
    >>> [len(each.cells) for each in pages(np.zeros((8, 8, 20)), per_page=8)]
    [8, 8, 4]
    """
    if "page" in options:
        raise BadOption("pages() draws every page: leave page= to sheet()")
    first = sheet(fm, **options)
    return (sheet(fm, **options, page=page) if page else first for page in range(first.pages))


def _check(columns: Any, zoom: Any, per_page: Any, sort: Any, text: Any, theme: Any) -> None:
    for name, value in {"columns": columns, "zoom": zoom, "per_page": per_page}.items():
        optional_whole(name, value)
    check_sort(sort)
    check_text(text)
    check_theme(theme)


def _without(whole: FeatureMap, **given: Any) -> FeatureMap:
    """The same with a note of the options for tiles that were given, which a strip doesn't have."""
    left = ", ".join(name for name, value in given.items() if value)
    return replace(whole, notes=(*whole.notes, f"a strip has no tiles, so without {left}")) if left else whole


def _page_of(pages: int, page: Any) -> int:
    """`pages`, if `page` is one of them."""
    if not isinstance(page, int | np.integer) or isinstance(page, bool) or not 0 <= page < pages:
        raise BadOption(f"page={page!r}: this sheet has {pages}, " + (f"0 to {pages - 1}" if pages > 1 else "page 0"))
    return pages


def _of_pages(grid: Grid, per_page: int | None) -> Grid:
    """The grid with the number of tiles asked for on a page, which must have room for them."""
    if per_page is None:
        return grid
    if per_page > grid.most:
        raise BadOption(
            f"per_page={per_page}: a page has room for {grid.most} tiles of {grid.tile_height}×{grid.tile_width} pixels;"
            " a smaller zoom= makes room for more"
        )
    return replace(grid, most=per_page)


def _below(one: FeatureMap, order: np.ndarray) -> Below:
    found = figures(one.values)
    return Below.of(found["mean"][order], found["sparsity"][order])


def _compose(
    one: FeatureMap,
    grid: Grid,
    tiles: Tiles,
    labels: Labels,
    below: Below | None,
    rule: Scale,
    lines: tuple[str, ...],
    image: int,
) -> Picture:
    count, above = len(tiles.channels), labels.lines * grid.letters.height
    rows, bottom = ceil(count / grid.columns), above + grid.tile_height
    under = len(below.lines) * grid.letters.height if below else 0
    pitch_y = bottom + under + grid.space
    size = rows * pitch_y, grid.columns * grid.pitch
    reach = (float(tiles.extent[:, 0].min()), float(tiles.extent[:, 1].max()))
    bar = rule if rule.single else None
    canvas = Frame(title_of(one), lines, bar, tiles.marks, reach, grid.text).around(*size)
    body = canvas.body
    # A view [row, column, y, x] of the tiles' places: everything is written straight into the picture.
    spaced = np.lib.stride_tricks.as_strided(
        body,
        (rows, grid.columns, pitch_y, grid.pitch),
        (pitch_y * body.strides[0], grid.pitch * body.strides[1], *body.strides),
    )
    places = spaced[:, :, above:bottom, : grid.tile_width]
    if grid.zoom == 1:
        encode(tiles.values, places, tiles.limits, center=rule.center, exact=tiles.exact, extent=tiles.raw)
    else:
        codes = np.empty((rows, grid.columns, grid.height, grid.width), np.uint8)
        encode(tiles.values, codes, tiles.limits, center=rule.center, exact=tiles.exact, extent=tiles.raw)
        wide = codes.repeat(grid.zoom, axis=3)
        for line in range(grid.zoom):
            places[:, :, line :: grid.zoom] = wide
    canvas.labels.extend(labels.draw(spaced, grid))
    if below is not None:
        canvas.labels.extend(below.draw(spaced, bottom, grid))
    cells = _cells(canvas, grid, tiles, pitch_y, above, image)
    return canvas.picture(cells, rule, about(one, rule), zoom=grid.zoom)


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


def _special(whole: FeatureMap, one: FeatureMap, extent: np.ndarray, raw: np.ndarray) -> tuple[str, ...]:
    """What the caption says of dead, constant and non-finite channels, over the whole layer in this image."""
    broken = ~np.isfinite(raw).all(1)
    dead = (extent == 0).all(1) & ~broken
    constant = (extent[:, 0] == extent[:, 1]) & ~dead & ~broken
    several = len(whole.ids) > 1
    found = []
    all_zero = "dead in this image (all 0)" if several else "dead (all 0)"
    for name, where in ((all_zero, dead), ("constant", constant), ("with NaN or inf", broken)):
        if where.any():
            numbers = [one.channels[at] for at in np.flatnonzero(where)]
            found.append(f"{name}: {len(numbers)} of {len(where)} channels ({listed(numbers)})")
    if several and dead.any():
        found.insert(1, _dead_everywhere(whole, np.flatnonzero(dead)))
    if broken.any():
        found.append(f"values: {not_finite(one.values[..., broken])}")
    return (" · ".join(found),) if found else ()


def _dead_everywhere(whole: FeatureMap, dead: np.ndarray) -> str:
    """Which of the channels that are dead in one image are so in all of them; an image less to look at for each that isn't."""
    for image in whole.values:
        dead = dead[[not image[..., at].any() for at in dead]]
    many = "both" if len(whole.ids) == 2 else f"all {len(whole.ids)}"
    if not len(dead):
        return f"none of them in {many} images"
    return f"{len(dead)} of them in {many} images ({listed([whole.channels[at] for at in dead])})"


def _count(one: FeatureMap, count: int, channels: Any) -> str:
    """How many channels are shown, and by which condition."""
    word = channel_word(one)
    text = f"{count} of {one.of} {word}" if not one.rule or one.role == "weights" else f"{count} {word}"
    return text + (f" where {channels}" if isinstance(channels, str) else "")


def _which(page: int, pages: int, most: int, here: int) -> str:
    return f", page {page + 1} of {pages} (tiles {page * most + 1} to {page * most + here})" if pages > 1 else ""


def _slices(one: FeatureMap) -> str:
    return f"{one.spatial[0]} slices side by side · " if len(one.spatial) == 3 else ""
