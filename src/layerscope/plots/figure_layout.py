"""The panels of a figure: photo, combined map and overlay in one row, or below each other where the photo is a panorama; the
strongest channels in rows of equal width below."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from PIL import Image

from ..arrays.ranges import extent_of, raw_extent
from ..core.feature_map import FeatureMap
from ..picture.canvas import Canvas, Frame
from ..picture.codes import encode
from ..picture.colorbar import BAR_GAP, ColorBar
from ..picture.export.files import MM_PER_INCH, POINTS
from ..picture.font import SMALL, Font, font, small
from ..picture.heading import MARGIN
from ..picture.scale import Scale
from ..picture.shapes import Cell
from .options import DrawOptions
from .overlay import Sketch
from .rgb import paper
from .tiles import Tiles

# On a screen, in pixels; with columns of that many tiles the letters of a figure 180 mm wide have 7 points.
TILE, GAP, GAP_PANELS, GAP_ROWS, STEP = 104, 8, 16, 20, 8
MOST_COLUMNS, FEWEST_COLUMNS, NAME_LINES = 8, 4, 2
# Points on paper, where a width is given; and the least of those where the caption has room in such letters.
READABLE, NARROWEST_MM = 6, 82
# A map of more pixels on one side is drawn smaller than it is.
LARGEST_TILE, HIGHEST_PANEL = 256, 0.45
# In a row of lower panels nothing is seen: they stand below each other, the map at most so high, of the width.
LEAST_PANEL, HIGHEST_STACKED = 48, 0.25


def nominal_width(columns: int) -> int:
    """The width of so many tiles as on a screen."""
    return columns * (TILE + GAP) - GAP


def columns_for(millimetres: float | None) -> int:
    """How many tiles at most stand in a row of a figure that has that width on paper: letters then have `READABLE` points.

    >>> columns_for(None), columns_for(180), columns_for(120), columns_for(84)
    (8, 8, 5, 4)
    """
    if millimetres is None:
        return MOST_COLUMNS
    width = SMALL * millimetres / MM_PER_INCH * POINTS / READABLE
    return min(MOST_COLUMNS, max(FEWEST_COLUMNS, int(width - 2 * MARGIN + GAP) // (TILE + GAP)))


def _text_for(millimetres: float, width: int) -> float:
    """How many times as large as on a screen letters have `READABLE` points, where so many pixels are that wide on paper."""
    points = max(millimetres, NARROWEST_MM) / MM_PER_INCH * POINTS
    texts = (size / SMALL for size in itertools.count(SMALL))
    return next(text for text in texts if SMALL * text * points >= READABLE * (width + 2 * round(MARGIN * text)))


@dataclass(frozen=True)
class Strongest:
    """The channels that a figure shows: their tiles with the scale, and in words which they are."""

    tiles: Tiles
    rule: Scale
    words: str

    @classmethod
    def of(cls, one: FeatureMap, shown: np.ndarray, rule: Scale, words: str) -> Strongest:
        raw, extent = raw_extent(one.values), extent_of(one.values)
        return cls(Tiles.of(one, shown, rule, raw=raw[0, shown], extent=extent[0, shown]), rule, words)

    @property
    def count(self) -> int:
        return len(self.tiles.channels)

    def colors(self, zoom: int, size: tuple[int, int]) -> list[np.ndarray]:
        """Each tile in colours, uint8 `[height, width, 3]`: enlarged by a whole number, or reduced where `zoom` is 0."""
        tiles = self.tiles
        codes = np.empty((1, self.count, *tiles.values.shape[1:3]), np.uint8)
        encode(tiles.values[0], codes, tiles.limits, curve=self.rule.curve, exact=tiles.exact, extent=tiles.raw)
        colored = self.rule.palette()[codes[0]]
        if zoom:
            return list(colored.repeat(zoom, 1).repeat(zoom, 2))
        return [_fitted(tile, *size) for tile in colored]


@dataclass(frozen=True)
class Layout:
    """Where everything lies, in pixels from the corner of the body.

    `highs` and `wides` are the sizes of the three panels, `stacked` those below each other, `names` the lines above them and
    above the tiles, `raised` where that of the map is above what its bar measures. Of the tiles `tile` is the height and
    width, `zoom` how many pixels a unit has (0: less than one), `columns` how many stand in a row, `step` the way from one
    to the next, `ranges` what stands above them beside or below their numbers, in so many `lines`.
    """

    text: float
    width: int
    highs: tuple[int, int, int]
    wides: tuple[int, int, int]
    gap: int
    bar: ColorBar | None
    names: tuple[Sequence[str], ...]
    tile: tuple[int, int] = (0, 0)
    zoom: int = 1
    columns: int = 1
    step: int = 0
    lines: int = 0
    rows: int = 0
    ranges: tuple[str, ...] = ()
    stacked: bool = False
    raised: bool = False

    @classmethod
    def of(
        cls,
        sketch: Sketch,
        bar: ColorBar | None,
        strongest: Strongest | None,
        *,
        names: Sequence[Sequence[str]],
        options: DrawOptions,
        millimetres: float | None,
    ) -> Layout:
        columns, text, most = options.columns, options.size, columns_for(millimetres)
        nominal = nominal_width(max(columns or most, FEWEST_COLUMNS))
        width, row = round(nominal * text), None
        if strongest is not None:
            count = strongest.count
            columns = min(columns or ceil(count / ceil(count / most)), count)
            row = _row_of_tiles(strongest, columns, width, text)
            width = max(width, columns * (row[1][1] + round(GAP * text)) - round(GAP * text))
            text = max(text, width / nominal)
        if millimetres is not None:
            text = max(text, _text_for(millimetres, width))
        bar = None if bar is None else replace(bar, text=text)
        beside = bar.width if bar else 0
        gap = round(GAP_PANELS * text)
        across, own = (size[1] / size[0] for size in (sketch.ground.size, sketch.one.spatial))
        high = min((width - 2 * gap - beside) / (2 * across + own), HIGHEST_PANEL * width)
        high = int(high) // STEP * STEP
        stacked = high < max(bar.least if bar else 0, round(LEAST_PANEL * text))
        if stacked:
            high = max(1, round(min(width / across, HIGHEST_PANEL * width)))
            photo = min(width, max(1, round(across * high)))
            middle_high = max(1, round(min((width - beside) / own, HIGHEST_STACKED * width)))
            middle = min(width - beside, max(1, round(own * middle_high)))
        else:
            photo, middle, middle_high = max(1, round(across * high)), max(1, round(own * high)), high
            gap = min(2 * gap, (width - 2 * photo - middle - beside) // 2)
        # What the bar measures stands above it: a name that needs that room, too, is a line higher.
        measured = bool(bar and bar.quantity)
        raised = measured and " ".join(_name_lines(names[1], middle, text)) not in names[1]
        rooms = (photo, middle if measured and not raised else middle + beside, photo, width)
        lines = tuple(_name_lines(name, room, text) for name, room in zip(names, rooms, strict=False))
        highs, wides = (high, middle_high, high), (photo, middle, photo)
        panels = cls(text, width, highs, wides, gap, bar, lines, stacked=stacked, raised=raised)
        if strongest is None or row is None or columns is None:
            return panels
        zoom, size = row
        ranges, label = strongest.tiles.texts(True, 3), 1
        # Ranges that are wider than their tiles have a line of their own, and may reach into the gap behind.
        slot = size[1]
        if not all(_label_fits(strongest, ranges, small(text), slot)):
            most = (width - (columns - 1) * round(GAP * text)) // columns
            slot, label = max(slot, min(small(text).widest(ranges), most)), 2
            ranges = strongest.tiles.fitted(small(text), slot)
        even = (width - slot) // max(1, columns - 1)
        step = even if even <= slot + 4 * round(GAP * text) else slot + round(GAP_PANELS * text)
        rows = ceil(strongest.count / columns)
        return replace(panels, tile=size, zoom=zoom, columns=columns, step=step, lines=label, rows=rows, ranges=ranges)

    @property
    def letters(self) -> Font:
        return small(self.text)

    @property
    def above(self) -> int:
        """The height of the names above the panels."""
        return max(map(len, self.names[:3])) * self.letters.height + self.foot(1)

    def foot(self, name: int) -> int:
        """What lies between a name and its panel or the tiles."""
        below = self.raised and (name == 1 or (name < 3 and not self.stacked))
        return round(2 * self.text) + (self.letters.height if below else 0)

    @property
    def bar_high(self) -> int:
        """How high the bar is, which stands behind the map that it measures."""
        return max(self.highs[1], self.bar.least if self.bar else 0)

    @property
    def corners(self) -> tuple[tuple[int, int], ...]:
        """x and y of photo, map and overlay."""
        photo, middle, _ = self.wides
        beside = self.bar.width if self.bar else 0
        if not self.stacked:
            lefts = 0, photo + self.gap, photo + middle + beside + 2 * self.gap
            return tuple((left, self.above) for left in lefts)
        corners, y = [], 0
        for name, high in enumerate((self.highs[0], self.bar_high, self.highs[2])):
            y += len(self.names[name]) * self.letters.height + self.foot(name)
            corners.append((0, y))
            y += high + round(GAP_ROWS * self.text)
        return tuple(corners)

    @property
    def bottom(self) -> int:
        """Where the panels end."""
        return self.corners[-1][1] + self.highs[-1]

    @property
    def top(self) -> int:
        """Where the tiles begin, with the name above them."""
        return self.bottom + round(GAP_ROWS * self.text)

    @property
    def height(self) -> int:
        if not self.rows:
            return self.bottom
        return self.corner((self.rows - 1) * self.columns)[1] + self.tile[0]

    def corner(self, tile: int) -> tuple[int, int]:
        """x and y of a tile."""
        row, column = divmod(tile, self.columns)
        above = self.lines * self.letters.height
        high = self.tile[0] + above + round(GAP * self.text)
        name = self.letters.height + round(4 * self.text)
        return column * self.step, self.top + name + above + row * high


def _row_of_tiles(strongest: Strongest, columns: int, width: int, text: float) -> tuple[int, tuple[int, int]]:
    """The zoom of the tiles and their size."""
    height, wide = strongest.tiles.values.shape[1:3]
    gap = round(GAP * text)
    room = min((width - (columns - 1) * gap) // columns, round(3 * TILE * text))
    zoom = max(1, round(room / max(height, wide)))
    size = height * zoom, wide * zoom
    if max(size) > max(LARGEST_TILE, 1.5 * room):
        zoom, share = 0, LARGEST_TILE / max(height, wide)
        size = max(1, round(height * share)), max(1, round(wide * share))
    return zoom, size


def _mark(letter: str) -> str:
    return f"({letter}) "


def _name_lines(forms: Sequence[str], room: int, text: float) -> list[str]:
    """The first of the forms of a name that has room above its panel, else the last one cut."""
    letters = small(text)
    room -= font(letters.size, bold=True).width(_mark("a"))
    whole = (form for form in forms if len(letters.wrap(form, room)) <= NAME_LINES)
    return letters.cut_text(next(whole, forms[-1]), room, NAME_LINES)


def _label_fits(strongest: Strongest, ranges: Sequence[str], letters: Font, room: int) -> list[bool]:
    bold = font(letters.size, bold=True)
    pairs = zip(strongest.tiles.channels, ranges, strict=True)
    return [bold.width(f"{number} ") + letters.width(words) <= room for number, words in pairs]


def draw_panels(
    sketch: Sketch, layout: Layout, strongest: Strongest | None, frame: Frame
) -> tuple[Canvas, np.ndarray, list[Cell]]:
    """Canvas, colours and cells."""
    canvas = frame.around(layout.height, layout.width)
    corners = layout.corners
    if layout.bar:
        x, y = corners[1]
        x += layout.wides[1] + round(BAR_GAP * layout.text)
        canvas = canvas.with_bar(x, y, layout.bar_high, layout.bar)
    tiles = 0, layout.top + layout.letters.height + round(2 * layout.text)
    for index, (lines, (x, y)) in enumerate(zip(layout.names, (*corners, tiles), strict=False)):
        corner = x, y - layout.foot(index) - len(lines) * layout.letters.height
        _write_name(canvas, corner, _mark("abcd"[index]), lines, tile=index if index < 3 else -1)
    if strongest is not None:
        for tile, (number, words) in enumerate(zip(strongest.tiles.channels, layout.ranges, strict=True)):
            _write_label(canvas, layout, tile, (str(number), words))
    pixels = paper(canvas, sketch.paint.table)
    cells = list(_draw_maps(canvas, pixels, layout, sketch))
    if strongest is not None:
        cells += _draw_tiles(canvas, pixels, layout, strongest, image=sketch.image)
    for cell in cells:
        canvas.own(*cell[:4])
    return canvas, pixels, cells


def _write_name(canvas: Canvas, corner: tuple[int, int], mark: str, lines: Sequence[str], *, tile: int) -> None:
    x, y = corner
    canvas.write(x, y, mark.rstrip(), bold=True, tile=tile)
    left = x + font(canvas.letters.size, bold=True).width(mark)
    for row, line in enumerate(lines):
        canvas.write(left, y + row * canvas.letters.height, line, tile=tile)


def _write_label(canvas: Canvas, layout: Layout, tile: int, label: tuple[str, str]) -> None:
    """The number of a tile and its range, on one line or two."""
    (x, y), (number, words) = layout.corner(tile), label
    letters, index = layout.letters, 3 + tile
    canvas.write(x, y - layout.lines * letters.height, number, bold=True, tile=index)
    right = x + layout.tile[1] - letters.width(words) if layout.lines == 1 else x
    if words:
        canvas.write(right, y - letters.height, words, muted=True, tile=index)


def _draw_maps(canvas: Canvas, pixels: np.ndarray, layout: Layout, sketch: Sketch) -> Iterator[Cell]:
    """Draw photo, map and overlay."""
    sketch = sketch.resized(layout.highs[0], layout.wides[0])
    panels = zip(("input", "map", "overlay"), layout.corners, layout.highs, layout.wides, strict=True)
    for name, (x, y), high, wide in panels:
        left, top = canvas.x + x, canvas.y + y
        box = pixels[top : top + high, left : left + wide]
        if name == "input":
            sketch.ground.draw_photo(box)
            sketch.ground.draw_frame(box)
        elif name == "map":
            box[:] = _fitted(sketch.paint.map_colors(), *box.shape[:2])
        else:
            sketch.draw(box)
        cell = sketch.cell(left, top, "photo" if name == "input" else name)
        yield cell._replace(width=wide, height=high, channel=-1, note=name)


def _fitted(colors: np.ndarray, height: int, width: int) -> np.ndarray:
    """Units in colours, as sharp as the pixels of that size allow: where they don't fit, their edges are mixed."""
    down, across = (ceil(2 * most / size) for most, size in zip((height, width), colors.shape, strict=False))
    large = Image.fromarray(colors.repeat(down, 0).repeat(across, 1))
    return np.asarray(large.resize((width, height), Image.Resampling.BOX))


def _draw_tiles(
    canvas: Canvas, pixels: np.ndarray, layout: Layout, strongest: Strongest, *, image: int
) -> Iterator[Cell]:
    """Draw the tiles."""
    tiles, (height, wide) = strongest.tiles, layout.tile
    for index, colors in enumerate(strongest.colors(layout.zoom, layout.tile)):
        x, y = layout.corner(index)
        left, top = canvas.x + x, canvas.y + y
        pixels[top : top + height, left : left + wide] = colors
        low, high = tiles.limits[index].tolist()
        yield Cell(left, top, wide, height, image, tiles.channels[index], low, high, tiles.words[index])
