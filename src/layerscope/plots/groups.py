"""Factors and clusters as pictures: a colour for each, brightness by strength, and a legend that shows each alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..channels.statistics import percent
from ..core.feature_map import FeatureMap
from ..core.note import Note, kind_of
from ..errors import BadScale
from ..picture.canvas import NARROWEST, Canvas, Frame
from ..picture.caption import about, caption, title_of
from ..picture.codes import NAN, TOP
from ..picture.font import small
from ..picture.numbers import number
from ..picture.palette import MARKS, Colors, palette
from ..picture.picture import Picture
from ..picture.shapes import Box, Cell
from ..surface import by_surface
from .ground import Ground
from .options import DrawOptions
from .overlay_paint import PhotoGrid, mix, place_text

GROUPED = ("factors", "labels")

# Okabe and Ito 2008, told apart with any colour vision; their black is the ground here, and grey takes its place.
SAFE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999")

# Each as far as can be (in Oklab) from those before it, from black and from the mark of NaN.
MORE = (
    *("#8800FF", "#FFCCFF", "#44FFEE", "#00DD00", "#AA1188", "#776600"),
    *("#0044FF", "#9977FF", "#FF0066", "#FF88FF", "#FFFFDD", "#66CC99"),
)

TILE, GAP_X, GAP_Y, SWATCH = 104, 16, 10, 10


def is_grouped(fm: FeatureMap) -> bool:
    """Whether the channels are factors, or the numbers are those of clusters."""
    return fm.role in GROUPED and len(fm.spatial) == 2


@dataclass(frozen=True)
class Groups:
    """What is drawn: for each group its number, its colour, its strength 0…1 at each position of one image, its texts.

    `strength` is `[group, y, x]`, `winner` `[y, x]` the group whose colour a position has, -1 where there is none; `ranges`
    are those of the groups alone, `top` is what has the full colour in the map of all.
    """

    numbers: tuple[int, ...]
    colors: np.ndarray
    strength: np.ndarray
    winner: np.ndarray
    words: tuple[tuple[str, ...], ...]
    ranges: tuple[tuple[float, float], ...]
    top: float
    lines: tuple[str, ...]
    tiles: bool

    @property
    def broken(self) -> np.ndarray:
        """bool `[y, x]`: positions left out."""
        return self.winner < 0


def grouped_map(whole: FeatureMap, options: DrawOptions) -> Picture:
    """The heat map of factors or clusters: all in one, and below it the legend."""
    groups, zoom = _groups(whole, options), options.zoom or 1
    body = _painted(groups).repeat(zoom, 0).repeat(zoom, 1)
    return _compose(whole, groups, body, options)


def grouped_overlay(
    whole: FeatureMap, options: DrawOptions, ground: Ground, alpha: float, *, even: bool = False
) -> Picture:
    """Factors or clusters on the photo, the stronger, the more of its colour (but for `even`); and below it the legend."""
    one, _ = options.pick(whole)
    groups, place = _groups(whole, options), ground.units(one)
    body = np.empty((*ground.size, 3), np.uint8)
    ground.draw(body)
    grid = PhotoGrid(ground.size, place)
    cover = np.ones(groups.winner.shape) if even else _cover(groups)
    part, shares = body[grid.seen], np.round(255 * alpha * cover).astype(np.uint8)
    for rows, spread in grid.spread(np.dstack([_full(groups), shares]), False):
        mix(part[rows], spread)
    ground.draw_frame(body)
    covered = (
        f"up to {alpha:.0%} of the photo, more where the factor is stronger"
        if groups.tiles and not even
        else f"{alpha:.0%} of the photo"
    )
    parts = (*ground.words(place), f"Colours cover {covered}")
    lines = (*groups.lines, Note("photo", ". ".join(parts) + "."), *place_text(place))
    return _compose(whole, replace(groups, lines=lines), body, replace(options, zoom=1))


def _groups(whole: FeatureMap, options: DrawOptions) -> Groups:
    one, _ = options.pick(whole)
    known = {group["number"]: group for group in whole.provenance.get("groups", ())}
    return _labels(one, known, options.colors) if one.role == "labels" else _factors(whole, known, options)


def _labels(one: FeatureMap, known: Mapping[int, Mapping[str, Any]], colors: Colors | None) -> Groups:
    labels = one.values[0, ..., 0]
    sound = np.isfinite(labels)
    winner = np.where(sound, labels, -1).astype(int)
    numbers = tuple(sorted({*known, *np.unique(winner[sound]).tolist()}))
    strength = np.stack([winner == group for group in numbers]) if numbers else np.zeros((0, *labels.shape))
    shares = [float(mask.sum()) / max(1, labels.size) for mask in strength]
    winner = np.where(sound, np.searchsorted(numbers, winner), -1) if numbers else winner
    words = tuple(
        group_words({"number": group, "share": share}, one.role) for group, share in zip(numbers, shares, strict=True)
    )
    return Groups(
        numbers,
        group_colors(numbers, colors),
        strength.astype(np.float32),
        winner,
        words,
        tuple((float(group), float(group)) for group in numbers),
        float(max(numbers, default=0)),
        ("each position has the colour of its cluster" + _repeated(numbers, colors),),
        False,
    )


def _factors(whole: FeatureMap, known: Mapping[int, Mapping[str, Any]], options: DrawOptions) -> Groups:
    one, _ = options.pick(whole)
    values = np.moveaxis(one.values[0], -1, 0)
    sound = np.isfinite(values).all(0)
    tops, rule = _tops(whole, one, options.scale)
    with np.errstate(invalid="ignore"):
        strength = np.where(sound, values / np.where(tops > 0, tops, 1)[:, None, None], 0).clip(0, 1)
    peaks = (tops * strength.max((1, 2), initial=0)).tolist()
    words = [
        (*group_words({"number": channel, **known.get(channel, {})}, one.role), f"0…{number(peak)}")
        for channel, peak in zip(one.channels, peaks, strict=True)
    ]
    return Groups(
        one.channels,
        group_colors(one.channels, options.colors),
        strength,
        np.where(sound, strength.argmax(0), -1),
        tuple(words),
        tuple((0.0, peak) for peak in peaks),
        float(tops.max(initial=0)),
        (
            "each position has the colour of its strongest factor" + _repeated(one.channels, options.colors),
            rule,
            "below each name: the factor's share of the energy, its strongest channels, and the range of its small picture",
            "colours grow with the square root of the strength, from none at 0 to the full one at the upper limit, in the map"
            " and in the small pictures alike",
        ),
        True,
    )


def group_words(group: Mapping[str, Any], role: str) -> tuple[str, ...]:
    """What a group is called, its share, and of a factor its strongest channels.

    >>> group_words({"number": 2, "share": 0.25, "channels": [7, 1, 4, 9]}, "factors")
    ('factor 2', '25% of energy', 'channels 7, 1, 4')
    """
    name, of = ("cluster", "positions") if role == "labels" else ("factor", "energy")
    share = (f"{percent(group['share'])} of {of}",) if "share" in group else ()
    named = group.get("channels", ())
    strongest = (f"channels {', '.join(map(str, named[:3]))}",) if named else ()
    return (f"{name} {group['number']}", *share, *strongest)


def _tops(whole: FeatureMap, one: FeatureMap, scale: Any) -> tuple[np.ndarray, str]:
    """The strength that has the full colour, for each factor, and the rule in words."""
    count = one.shape[-1]
    scale = "layer" if scale is None else scale
    if isinstance(scale, str) and scale in ("layer", "images", "channel"):
        extent = extent_of((whole if scale == "images" else one).values)[..., 1]
        tops = np.array([np.nan_to_num(largest[np.isfinite(largest)].max(initial=0)) for largest in extent.T])
        if scale == "channel":
            return tops, "in the map each factor has its own range, from 0 to its maximum"
        top = float(tops.max(initial=0))
        of = "all images" if scale == "images" else "this image"
        return np.full(count, top), _one_range(f"all factors of {of}", top)
    try:
        low, high = map(float, scale)
    except (TypeError, ValueError) as error:
        raise BadScale(f"scale={scale!r}: use 'layer', 'images', 'channel' or (0, high) for factors") from error
    if low != 0 or not 0 < high < np.inf:
        limits = by_surface(f"scale=({low:g}, {high:g})", f"--scale {low:g}:{high:g}")
        raise BadScale(f"{limits}: the strength of a factor starts at 0, so use {by_surface('(0, high)', '0:HIGH')}")
    return np.full(count, high), _one_range("all factors", high)


def _one_range(which: str, top: float) -> str:
    return f"the map has one range for {which}, 0…{number(top)}"


def group_colors(numbers: Sequence[int], colors: Colors | None = None) -> np.ndarray:
    """uint8 `[group, 3]`, the same for a number whichever others are drawn; the list starts again after its end."""
    import cmap

    listed = (*SAFE, *MORE)
    if colors is None:
        table = np.array([cmap.Color(color).rgba8[:3] for color in listed])
    else:
        try:
            named = cmap.Colormap(colors)
        except (ValueError, TypeError, KeyError) as error:
            raise BadScale(
                f"no colour map {colors!r}: use a name from the cmap catalogue, such as 'tol:muted'"
            ) from error
        as_listed = named.interpolation == "nearest" or (isinstance(colors, tuple) and len(colors) <= TOP)
        steps = len(named.color_stops) if as_listed else max(2, *numbers, 0) + 1
        table = np.round(named.lut(steps)[:, :3] * 255)
    return np.array([table[number % len(table)] for number in numbers], np.uint8).reshape(-1, 3)


def _repeated(numbers: Sequence[int], colors: Colors | None) -> str:
    """The note on many colours."""
    most = max(numbers, default=0) + 1
    if colors is not None or most <= len(SAFE):
        return ""
    if most <= len(SAFE) + len(MORE):
        return f" · only the first {len(SAFE)} colours can be told apart with any colour vision"
    return f" · colours repeat after {len(SAFE) + len(MORE)}"


def _full(groups: Groups) -> np.ndarray:
    """uint8 `[y, x, 3]`: the colour of each position at full strength."""
    table = np.concatenate([groups.colors, [MARKS[NAN][1]]]).astype(np.uint8)
    return np.asarray(table[groups.winner])


def _cover(groups: Groups) -> np.ndarray:
    """float32 `[y, x]`: how much of its colour each position has, the square root of its own group's strength; 1 where a
    position is left out.
    """
    if not len(groups.numbers):
        return np.ones(groups.winner.shape, np.float32)
    winner = np.where(groups.broken, 0, groups.winner)
    strength = np.take_along_axis(groups.strength, winner[None], 0)[0]
    return np.where(groups.broken, 1, np.sqrt(strength)).astype(np.float32)


def _painted(groups: Groups) -> np.ndarray:
    """uint8 `[y, x, 3]`: dark where nothing is strong."""
    return np.round(_full(groups) * _cover(groups)[..., None]).astype(np.uint8)


def _alone(groups: Groups, index: int) -> np.ndarray:
    """uint8 `[y, x, 3]`: one group without the others, its strongest position in full colour.

    Brightness is the square root of the strength, as in the map of all: a few strong positions would leave all others black.
    """
    strength = np.sqrt(groups.strength[index] / (groups.strength[index].max(initial=0) or 1))
    paint = np.round(groups.colors[index] * strength[..., None]).astype(np.uint8)
    return np.where(groups.broken[..., None], np.array(MARKS[NAN][1], np.uint8), paint)


@dataclass(frozen=True)
class Legend:
    """How the entries lie below the map: columns and rows of boxes, each a tile (or a swatch) with lines of text."""

    columns: int
    rows: int
    width: int
    height: int
    tile: tuple[int, int]
    step: int
    swatch: int

    @classmethod
    def fitting(cls, groups: Groups, size: tuple[int, int], room: int, text: float) -> Legend:
        letters, swatch = small(text), round(SWATCH * text)
        count = max(1, len(groups.numbers))
        high, wide = size
        if not groups.tiles:
            words = letters.widest([" · ".join(lines) for lines in groups.words])
            width = swatch + round((6 + GAP_X) * text) + words
            columns = max(1, min(count, room // width))
            rows = ceil(count / columns)
            return cls(columns, rows, width, letters.height + round(4 * text), (swatch, swatch), 1, swatch)
        step = max(1, max(size) // TILE)
        zoom = max(1, round(text * max(1, TILE // max(size))))
        tile = (ceil(high / step) * zoom, ceil(wide / step) * zoom)
        words = swatch + round(6 * text) + letters.widest([first for first, *_ in groups.words])
        words = max(words, letters.widest([line for _, *more in groups.words for line in more]))
        width = max(tile[1], words) + round(GAP_X * text)
        columns = max(1, min(count, room // width))
        rows = ceil(count / columns)
        columns = ceil(count / rows)  # even rows
        lines = max(map(len, groups.words))
        return cls(columns, rows, width, tile[0] + lines * letters.height + round(GAP_Y * text), tile, step, swatch)


def _compose(whole: FeatureMap, groups: Groups, body: np.ndarray, options: DrawOptions) -> Picture:
    """The map, the legend below it, the caption above."""
    one, image = options.pick(whole)
    (height, width), text = body.shape[:2], options.letters(body.shape[1])
    legend = Legend.fitting(groups, groups.winner.shape, max(width, round(NARROWEST * text)), text)
    gap = round(12 * text)
    # The legend is what a bar is elsewhere.
    below, beside = (legend.rows * legend.height + gap, legend.columns * legend.width) if options.bar else (0, 0)
    # What is known of each group stands in the legend.
    lines = caption(replace(one, notes=tuple(note for note in one.notes if kind_of(note) != "group")), None, "")
    lines += groups.lines
    marks = {NAN} if groups.broken.any() else set()
    size = height + below, max(width, beside - round(GAP_X * text))
    canvas = options.framed(Frame(title_of(one), lines[0], lines[1:], marks=marks, text=text)).around(*size)
    boxes = [
        (entry % legend.columns * legend.width, height + gap + entry // legend.columns * legend.height)
        for entry in range(len(groups.numbers) if options.bar else 0)
    ]
    _write_legend(canvas, groups, legend, boxes)
    pixels = np.take(palette(None), canvas.codes, axis=0)
    pixels[canvas.y : canvas.y + height, canvas.x : canvas.x + width] = body
    cells = [Cell(canvas.x, canvas.y, width, height, image, 0, 0.0, groups.top)]
    for entry, (x, y) in enumerate(boxes):
        x, y = canvas.x + x, canvas.y + y
        swatch = y + (canvas.letters.height - legend.swatch) // 2
        red, green, blue = groups.colors[entry].tolist()
        canvas.paint(Box(x, swatch, legend.swatch, legend.swatch, (red, green, blue)))
        tile = y + max(map(len, groups.words)) * canvas.letters.height
        box = (x, swatch, legend.swatch, legend.swatch)
        if groups.tiles:
            box = _draw_tile(pixels, groups, legend, entry=entry, corner=(x, tile))
        note = " · ".join(groups.words[entry])
        low, high = groups.ranges[entry]
        cells.append(Cell(*box, image, groups.numbers[entry], low, high, note))
    for cell in cells:
        canvas.own(*cell[:4])
    return canvas.picture(cells, None, about(one, None), pixels, zoom=options.zoom or 1)


def _write_legend(canvas: Canvas, groups: Groups, legend: Legend, boxes: Sequence[tuple[int, int]]) -> None:
    for words, (x, y) in zip(groups.words, boxes, strict=False):
        lines = words if groups.tiles else (" · ".join(words),)
        for row, line in enumerate(lines):
            left = x + (legend.swatch + round(6 * canvas.text) if row == 0 else 0)
            canvas.write(left, y + row * canvas.letters.height, line)


def _draw_tile(
    pixels: np.ndarray, groups: Groups, legend: Legend, *, entry: int, corner: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Paint one group alone, from `corner` (x, y) on; returns its box."""
    x, y = corner
    tile = _alone(groups, entry)[:: legend.step, :: legend.step]
    zoom = legend.tile[0] // tile.shape[0]
    tile = tile.repeat(zoom, 0).repeat(zoom, 1)
    pixels[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return x, y, tile.shape[1], tile.shape[0]
