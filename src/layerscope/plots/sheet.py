"""`sheet`: every channel of a feature map as a numbered tile, composed as one indexed array; `pages`: all of its pages."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of, raw_extent
from ..channels.query import positions, where_text
from ..channels.sort import describe_sort, ordered
from ..channels.statistics import figures, listed
from ..checks import keywords
from ..core.feature_map import FeatureMap, as_map
from ..core.note import Note, kind_of
from ..core.words import channel_word
from ..errors import BadOption, LayerscopeWarning, caller_level
from ..picture.canvas import Frame
from ..picture.caption import caption, channels_text, is_combined, not_finite, size_text, title_of
from ..picture.colorbar import TileKey
from ..picture.numbers import number
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..safe_text import counted
from ..surface import by_surface, option
from .bars import BarOptions, draw_bars
from .caveats import cautions, negligible_text, saturated
from .options import DrawOptions
from .sheet_layout import SheetLayout, compose
from .strip import StripOptions, draw_strip
from .tiles import NEGLIGIBLE, NUMBERED, Below, Grid, Labels, Tiles, readable_columns

# So few channels of a dense layer are bars, which can be read; more are cells.
MOST_BARS = 32
# So few matrices of attention weights have room for two pixels a token, from and up to so many tokens.
FEW, SMALL_MATRIX, LARGE_MATRIX = 4, 128, 400


@keywords
def sheet(
    fm: Any,
    *,
    image: int | str = 0,
    channels: Any = None,
    columns: int | None = None,
    sort: str = "index",
    scale: Any = "channel",
    colors: Any = None,
    clip: tuple[float, float] | None = None,
    norm: str | None = None,
    page: int = 0,
    per_page: int | None = None,
    zoom: int | None = None,
    statistics: bool = False,
    text: float | None = None,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    theme: str = "light",
    layout: str | None = None,
    grid: Sequence[int] | None = None,
) -> Picture:
    """All channels of one image as numbered tiles in one picture.

    A tile carries its true channel number, whatever the order; where there are too many for letters that can be read,
    rows and columns are numbered instead, and sorted or chosen tiles have several pages. A sequence becomes a `strip`,
    as does a dense layer of more than 32 channels; a smaller one becomes `bars`. The slices of a volume stand side by
    side. Above 16 megapixels, or above `per_page` tiles, there are several pages, too: `Picture.pages` counts them and
    `pages` draws them all.

    >>> import numpy as np
    >>> picture = sheet(np.random.default_rng(0).random((1, 28, 28, 64)))
    >>> len(picture.cells), picture.cells[10].channel
    (64, 10)

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5.
        image: Which image of `fm`: its number, counted from 0, or its id.
        channels: True channel numbers, a slice, a mask, or a condition as in `find_channels`. All by default.
        columns: Tiles per row; by default about as many as rows.
        sort: The order of the tiles. `"index"`; `"mean"`, `"max"`, `"energy"`, `"sparsity"` or `"deviation"`, largest
            first; `"similarity"` (neighbours are alike) or `"similarity:17"` (most like channel 17 first).
        scale: What shares a range of values. `"channel"`: each tile has its own, printed on it where there is room;
            `"layer"`: one for this image; `"images"`: one for all images; or `(low, high)`, or a `Scale`.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours. By default viridis, or vik
            centred on 0 for values of both signs.
        clip: Two percentiles, such as `(1, 99)`, to which the range is clipped.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        page: Which page, counted from 0.
        per_page: Tiles per page; by default as many as fit and can be read.
        zoom: Picture pixels per unit of the map, in either direction.
        statistics: Whether to print mean and share of zeros below each tile.
        text: Size of letters and tiles, from 1 (screen) to 4; 3 is for print at 300 dpi. By default letters can be read where
            the picture is shown 900 pixels wide.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bar is drawn. Without `caption` and `bar` the map stands alone.
        theme: `"light"`, `"dark"` or `"transparent"` paper.
        layout: The axes of an array, such as `"bchw"`; by default its library's convention.
        grid: (rows, columns) of the tokens of a layout such as `"bnc"`.

    Raises:
        BadChannels: A channel that the map doesn't hold, or a condition that no channel fits.
        BadScale: A scale, percentiles or colours that don't exist.
        BadLayout: An array whose axes can't be told.
        BadOption: Any other option is invalid.
    """
    return draw_sheet(as_map(fm, layout, grid), DrawOptions.among(locals()))


@keywords
def pages(
    fm: Any,
    *,
    image: int | str = 0,
    channels: Any = None,
    columns: int | None = None,
    sort: str = "index",
    scale: Any = "channel",
    colors: Any = None,
    clip: tuple[float, float] | None = None,
    norm: str | None = None,
    per_page: int | None = None,
    zoom: int | None = None,
    statistics: bool = False,
    text: float | None = None,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    theme: str = "light",
    layout: str | None = None,
    grid: Sequence[int] | None = None,
) -> Iterator[Picture]:
    """Every page of a sheet, one after the other.

    The first page is drawn at once, so that a wrong option raises here and not in the loop.

    >>> import numpy as np
    >>> [len(page.cells) for page in pages(np.zeros((8, 8, 20)), per_page=8)]
    [8, 8, 4]

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5.
        image: As for `sheet`, like all other options.
        channels: True channel numbers, a slice, a mask or a condition.
        columns: Tiles per row.
        sort: The order of the tiles.
        scale: `"channel"`, `"layer"`, `"images"`, `(low, high)` or a `Scale`.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours.
        clip: Two percentiles to which the range is clipped.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        per_page: Tiles per page; by default as many as fit.
        zoom: Picture pixels per unit of the map.
        statistics: Whether to print mean and share of zeros below each tile.
        text: Size of letters and tiles, 1 to 4.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bar is drawn. Without `caption` and `bar` the map stands alone.
        theme: `"light"`, `"dark"` or `"transparent"` paper.
        layout: The axes of an array.
        grid: (rows, columns) of the tokens of a layout such as `"bnc"`.

    Raises:
        LayerscopeError: As `sheet` does.
    """
    return draw_pages(as_map(fm, layout, grid), DrawOptions.among(locals()))


def draw_pages(whole: FeatureMap, options: DrawOptions) -> Iterator[Picture]:
    """Every page of a sheet; the first is drawn at once."""
    first = draw_sheet(whole, options)
    return (draw_sheet(whole, replace(options, page=page)) if page else first for page in range(first.pages))


def draw_sheet(whole: FeatureMap, options: DrawOptions) -> Picture:
    """The sheet of one image of a map."""
    one, image = options.pick(whole)
    chosen = positions(one, options.channels)
    if len(whole.spatial) < 2 or max(whole.spatial) == 1:
        return _as_strip(whole, [one.channels[index] for index in chosen], options)
    order = ordered(one, chosen, options.sort)
    raw = raw_extent(one.values)
    extent = raw if np.isfinite(raw).all() else extent_of(one.values)
    rule = options.fit_scale(whole, one, extent, "channel")
    rule = _own_bar(rule, order)
    below = _figures_below(one, order) if options.statistics else None
    grid = _fit_grid(one, order, options, below)
    page = options.pick_page(len(order), grid.most)
    shown = order[page.here]
    tiles = Tiles.of(one, shown, rule, raw=raw[0, shown], extent=extent[0, shown])
    own_range = rule.per == "channel" and not rule.single
    labels = Labels.fitting(tiles, grid, own_range)
    title = title_of(one, _shown(one, order, where_text(options.channels)))
    order_text = describe_sort(options.sort, part=len(order) < one.of and not is_combined(one))
    page_text = f"{page.text}, {_tiles_text(one, order, page.here)}" if page.text else ""
    lines = caption(one, rule, _slices(one), order_text, page_text) + _special(
        whole, one, extent[0], raw[0], order=order
    )
    if grid.margins:
        rule_of_numbers = Note("numbers", f"{channel_word(one)} number = row number + column number")
        lines = (lines[0], rule_of_numbers, *lines[1:])
    if rule.single and len(order) < one.of:
        lines = tuple(_of_the_layer(line, rule) for line in lines)
    if own_range:
        lines = tuple(labels.scale_text() if kind_of(line) == "scale" else line for line in lines)
    lines += tiles.beyond().words(rule, options.clip)
    notes = (*saturated(one, order), *cautions(one, rule, extent[0], order, zoom=grid.zoom))
    lines += notes
    if below is not None:
        lines += (Note("statistics", "below each tile: its mean and the share of its values that are exactly 0"),)
        below = below.on(page.here)
    key = TileKey.of(rule) if own_range and options.bar and tiles.ranged else None
    frame = options.framed(Frame(title, lines[0], lines[1:], tiles=key))
    picture = compose(one, SheetLayout(grid, tiles, labels, below, image), rule, frame)
    return replace(picture, page=page.number, pages=page.pages, notes=notes, theme=options.theme)


def _of_the_layer(line: str, rule: Scale) -> str:
    """The note on percentiles, which are those of more channels than are shown."""
    words = {"layer": "of all the layer's", "images": "of all the layer's"}.get(rule.per)
    return Note("clip", line.replace("of the", words)) if words and kind_of(line) == "clip" else line


def _tiles_text(one: FeatureMap, order: np.ndarray, here: slice) -> str:
    """Which tiles a page shows: those of successive channels by these, else by their places, counted from 1."""
    numbers = [one.channels[index] for index in order[here]]
    word, first, last = channel_word(one), numbers[0], numbers[-1]
    if numbers != [*range(first, last + 1)]:
        word, first, last = "tile", here.start + 1, here.start + len(numbers)
    of = f" of {len(order):,}" if word == "tile" else ""
    return f"{word} {first}{of}" if len(numbers) == 1 else f"{word}s {first} to {last}{of}"


def _as_strip(whole: FeatureMap, numbers: list[int], options: DrawOptions) -> Picture:
    """The strip of a sequence or a dense layer (bars of a few channels); warns of options for tiles that were given."""
    tiles_only = ("sort", "columns", "per_page", "zoom", "statistics")
    left = [option(name) for name in tiles_only if getattr(options, name) not in (None, False, "index")]
    if left:
        text = f"{whole.layer.path or 'this map'} has no tiles, so it is drawn without {' and '.join(left)}"
        warnings.warn(LayerscopeWarning(text), stacklevel=caller_level())
    channels = None if options.channels is None else numbers
    scale = "channel" if options.scale is None else options.scale
    if max(whole.spatial, default=1) == 1 and len(numbers) <= MOST_BARS and options.clip is None:
        bars = replace(BarOptions.like(options), channels=channels, top=None, by="index")
        return draw_bars(whole, bars).themed(options.theme)
    strip_options = replace(StripOptions.like(options), channels=channels, scale=scale)
    return draw_strip(whole, strip_options).themed(options.theme)


def _fit_grid(one: FeatureMap, order: np.ndarray, options: DrawOptions, below: Below | None) -> Grid:
    """The grid, with the number of tiles asked for on a page, which must have room for them."""
    per_page = options.per_page
    count = min(len(order), per_page or len(order))
    numbers = np.array(one.channels)[order]
    in_order = bool((np.diff(numbers) == 1).all())
    if (
        one.layer.attention
        and options.zoom is None
        and count <= FEW
        and SMALL_MATRIX < max(one.spatial) <= LARGE_MATRIX
    ):
        options = replace(options, zoom=2)  # a row of one pixel is hardly found
    grid = Grid.fitting(one.spatial, one.channels, options, count=count, below=below, in_order=in_order)
    most = readable_columns(one.channels, below)
    if options.columns is not None and options.text is None and grid.columns > most and not grid.margins:
        seen = grid.letters.size * NUMBERED / (grid.columns * grid.pitch)
        text = f"letters of {seen:.0f} pixels where the picture is shown {NUMBERED} pixels wide"
        hint = f"{option('columns', options.columns)} makes {text}: up to {counted(most, 'column')} can be read"
        warnings.warn(LayerscopeWarning(hint), stacklevel=caller_level())
    if per_page is None:
        return grid
    if per_page > grid.most:
        raise BadOption(
            f"{option('per_page', per_page)}: a page has room for {counted(grid.most, 'tile')} of"
            f" {grid.tile_height}×{grid.tile_width} pixels{by_surface('; a smaller zoom= makes room for more', '', '')}"
        )
    return replace(grid, most=per_page)


def _own_bar(rule: Scale, order: np.ndarray) -> Scale:
    """The range of the only tile as that of the picture, which then has a bar."""
    if len(order) > 1 or rule.single:
        return rule
    low, high = rule.range(0, int(order[0]))
    return rule.alone((low, high)) if low < high else rule


def _shown(one: FeatureMap, order: np.ndarray, condition: str) -> str:
    """The channels of the sheet in its title; the only one of several by its number."""
    if len(order) > 1 or condition or one.of == 1 or is_combined(one):
        return channels_text(one, [one.channels[index] for index in order], condition)
    return f"{channel_word(one)} {one.channels[order[0]]} of {one.of:,} · {size_text(one)}"


def _figures_below(one: FeatureMap, order: np.ndarray) -> Below:
    columns = figures(one.values)
    return Below.of(columns["mean"][order], columns["sparsity"][order])


def _special(
    whole: FeatureMap, one: FeatureMap, extent: np.ndarray, raw: np.ndarray, *, order: np.ndarray
) -> tuple[str, ...]:
    """The notes on those dead, constant and non-finite channels that are drawn, on any page, in this image."""
    drawn = np.isin(np.arange(len(extent)), order)
    broken = ~np.isfinite(raw).all(1) & drawn
    dead = (extent == 0).all(1) & ~broken & drawn
    constant = (extent[:, 0] == extent[:, 1]) & ~dead & ~broken & drawn
    size = np.abs(extent).max(1)
    faint = (
        (size < NEGLIGIBLE * np.nanmax(size, initial=0)) & ~dead & ~broken & drawn
        if one.role == "weights"
        else dead & False
    )
    notes = []
    if dead.any():
        alone = len(whole.ids) == 1 and not whole.provenance.get("model")
        where = "everywhere" if alone else "everywhere in this image"
        text = f"{_which(one, dead, 'dead', f'0 {where}')}"
        notes.append(Note("dead", text + (_dead_everywhere(whole, np.flatnonzero(dead)) if len(whole.ids) > 1 else "")))
    if faint.any():
        notes.append(Note("faint", negligible_text([one.channels[index] for index in np.flatnonzero(faint)])))
    if constant.any():
        value = f"{number(extent[constant][0, 0])}" if constant.sum() == 1 else "one value each"
        notes.append(Note("constant", _which(one, constant, "constant", value)))
    if broken.any():
        numbers = listed([one.channels[index] for index in np.flatnonzero(broken)])
        values, count, word = not_finite(one.values[..., broken]), int(broken.sum()), channel_word(one)
        where = f"{word} {numbers}" if count == 1 else f"{counted(count, word)}: {numbers}"
        notes.append(Note("not-finite", f"{values} in {where}{_the_infinite(one, np.flatnonzero(broken))}"))
    return tuple(notes)


def _the_infinite(one: FeatureMap, broken: np.ndarray) -> str:
    """Where the only infinite value of two-dimensional maps lies, as one pixel is easily missed."""
    infinite = np.argwhere(np.isinf(one.values[0][..., broken]))
    if len(infinite) != 1 or len(one.spatial) != 2:
        return ""
    row, column, index = infinite[0].tolist()
    sign = "+" if one.values[0, row, column, broken[index]] > 0 else "−"
    return f"; {sign}inf in {channel_word(one)} {one.channels[broken[index]]} at row {row}, column {column}"


def _which(one: FeatureMap, where: np.ndarray, state: str, value: str) -> str:
    """`4 channels are dead (0 everywhere): 11, 16, 28, 31`, `channel 29 is constant (0.00404)`."""
    numbers = [one.channels[index] for index in np.flatnonzero(where)]
    if len(numbers) == 1:
        return f"{channel_word(one).capitalize()} {numbers[0]} is {state} ({value})"
    return f"{counted(len(numbers), channel_word(one))} are {state} ({value}): {listed(numbers)}"


def _dead_everywhere(whole: FeatureMap, dead: np.ndarray) -> str:
    """Which of the channels that are dead in one image are so in all of them; an image less to look at for each that isn't."""
    here = len(dead)
    for image in whole.values:
        dead = dead[[not image[..., index].any() for index in dead]]
    many = "both" if len(whole.ids) == 2 else f"all {len(whole.ids)}"
    if not len(dead):
        return f"; none of them in {many} images"
    if len(dead) == here:
        return f"; the same in {many} images"
    return f"; {len(dead)} of them in {many} images: {listed([whole.channels[index] for index in dead])}"


def _slices(one: FeatureMap) -> str:
    count = one.spatial[0] if len(one.spatial) == 3 else 0
    return f"a tile is {counted(count, 'slice')} side by side, from slice 0 on the left" if count else ""
