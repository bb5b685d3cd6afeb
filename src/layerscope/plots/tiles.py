"""The tiles of a sheet: how they lie, what is special about each, and what is written around them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import ceil, sqrt

import numpy as np

from ..channels.statistics import percent
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..picture.codes import ABOVE, BELOW, CONSTANT, INK_MIDDLE, NAN, NEG_INF, POS_INF
from ..picture.drawing import TileLabels
from ..picture.font import SMALL, Font, font, small
from ..picture.numbers import number, rough_span, short_of, short_span
from ..picture.palette import MARKS
from ..picture.scale import Scale
from ..picture.scale_rules import Beyond
from .options import DrawOptions

NOT_FINITE = tuple(MARKS[mark][0] for mark in (NAN, POS_INF, NEG_INF))

PAGE_PIXELS = 16_000_000

DEAD, ALL = "dead", "all "

# A filter whose every weight is below this share of the layer's largest does nothing that can be seen beside the others.
NEGLIGIBLE, NEARLY_ZERO = 1e-3, "≈ 0"

# Rows of pixels that title and notes take, about, in letters as on a screen; a page has room for these besides its tiles.
AROUND = 200

# Tiles of a few channels are made large enough to read, those of hundreds only large enough to see.
FEW, SMALLEST_OF_FEW, SMALLEST = 256, 72, 28
COMFORTABLE_WIDTH, LARGEST_TILE, LARGEST = 800, 256, 480

# So many pixels of numbers side by side, in letters as on a screen, can be read where the picture is shown 900 pixels wide.
NUMBERED = 900


@dataclass(frozen=True)
class Below:
    """What stands below each tile: `lines` `[line][tile]`, the tiles of all pages."""

    lines: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, mean: np.ndarray, sparsity: np.ndarray) -> Below:
        """Mean and share of zeros."""
        means = tuple(f"mean {number(value)}" for value in mean.tolist())
        return cls((means, tuple(f"zeros {percent(share)}" for share in sparsity.tolist())))

    def on(self, here: slice) -> Below:
        """What stands below some of the tiles."""
        return Below(tuple(line[here] for line in self.lines))

    def draw(self, spaced: np.ndarray, top: int, grid: Grid) -> list[TileLabels]:
        """Write them into `[row, column, y, x]`, from `top` down."""
        high = grid.letters.height
        for row, words in enumerate(self.lines):
            _write_lines(spaced, words, grid, top=top + row * high)
        return [
            TileLabels(words, 0, grid.tile_height + row * high, grid.letters.size, INK_MIDDLE)
            for row, words in enumerate(self.lines)
        ]


@dataclass(frozen=True)
class Grid:
    """How the tiles lie: the map's own size, the zoom, how many columns, how many tiles at most on a page.

    `number` is the width of the widest channel number, `text` the size of its letters, `least` the width that what stands
    below a tile needs, `caption` the size of the letters around the sheet. `margins`: rows and columns have numbers in
    place of the tiles. `volume`: a tile has gaps of its own, between slices.
    """

    height: int
    width: int
    zoom: int
    columns: int
    most: int
    number: int
    text: float = 1
    least: int = 0
    caption: float = 1
    margins: bool = False
    volume: bool = False

    @classmethod
    def fitting(
        cls,
        spatial: tuple[int, ...],
        channels: Sequence[int],
        options: DrawOptions,
        *,
        count: int,
        below: Below | None = None,
        in_order: bool = False,
    ) -> Grid:
        """The grid of `count` tiles for maps of a size, large enough to be read.

        Where numbers at the tiles would be too small, channels `in_order` are numbered by row and column; others have pages.
        """
        scale, columns, zoom = options.size, options.columns, options.zoom
        size = height, width = tile_size(spatial)
        least = _least(below, scale)
        smallest = max((SMALLEST_OF_FEW if count <= FEW else SMALLEST) * scale, least)
        # Where a page can't hold them all in their least size, they keep it, and each page is about square.
        held = max(1, int(PAGE_PIXELS // ((max(height, smallest) + 2 * font(SMALL).height) * max(width, smallest))))
        columns = min(columns or even_columns(min(count, held), height / width), count)
        number, readable = _number_width(channels), readable_columns(channels, below)
        crowded = options.text is None and columns > readable
        margins = crowded and in_order and below is None
        paged = crowded and not margins and options.columns is None and options.per_page is None
        columns = readable if paged else columns
        largest = int((LARGEST if count == 1 else LARGEST_TILE) * scale)
        larger = min(int(COMFORTABLE_WIDTH * scale) // (columns * width), largest // height)
        larger = larger if count <= held else 1
        # By the longer side: a high and narrow tile is narrower than its words, and has a gap beside it.
        zoom = zoom or max(1, ceil(max(smallest, number if paged else 0) / max(size)), larger)
        # Numbers of rows and gaps between tiles make the sheet wider.
        caption = text = options.letters(columns * width * zoom * 9 // 8 if margins else columns * width * zoom)
        if crowded and not margins and not paged:
            # Columns that were asked for: numbers too small to be read rather than far larger than their tiles.
            text = max(1.0, min(caption, SMALL * width * zoom // (number + 4) / SMALL))
        number = 0 if margins else font(small(text).size, bold=True).width(str(max(channels)))
        grid = cls(
            height, width, zoom, columns, 1, number, text, _least(below, text), caption, margins, len(spatial) == 3
        )
        return replace(grid, most=columns * grid._most_rows(len(below.lines) if below else 0, count if paged else 0))

    def _most_rows(self, lines: int, paged: int) -> int:
        """How many rows a page has room for, with so many `lines` below each tile; of so many tiles `paged` to be read."""
        wide = max(self.pitch, self.tile_width + round(5 * self.text))
        high = self.tile_height + (self.above + lines) * self.letters.height + round(4 * self.text)
        around = round(AROUND * (self.caption - 1)) * wide * self.columns
        rows = max(1, (PAGE_PIXELS - around) // (high * wide * self.columns))
        square = max(1, self.columns * wide // high)
        return min(rows, square) if ceil(paged / self.columns) > 2 * square else rows

    @property
    def above(self) -> int:
        """The lines of text that a tile may have above it."""
        return 0 if self.margins else 2

    @property
    def letters(self) -> Font:
        return small(self.text)

    @property
    def beside(self) -> int:
        """Where words begin that stand beside a tile's number."""
        return self.number + self.letters.height // 2

    @property
    def tile_width(self) -> int:
        return self.width * self.zoom

    @property
    def tile_height(self) -> int:
        return self.height * self.zoom

    @property
    def space(self) -> int:
        """Bare pixels between two tiles; enough that a range doesn't run into the next number."""
        if self.margins:
            return max(2, self.tile_width // 10)
        between = 3 * self.zoom if self.volume else 0
        return max(round(2 * self.text), between, min(round(8 * self.text), self.tile_width // 16))

    @property
    def pitch(self) -> int:
        return max(self.tile_width + self.space, self.number + round(4 * self.text), self.least)


def readable_columns(channels: Sequence[int], below: Below | None) -> int:
    """How many columns of tiles can be read, with their numbers and what stands below them."""
    return max(1, NUMBERED // max(_number_width(channels) + 4, _least(below, 1)))


def _number_width(channels: Sequence[int]) -> int:
    return font(SMALL, bold=True).width(str(max(channels)))


def _least(below: Below | None, text: float) -> int:
    """The width that what stands below a tile needs, with a gap."""
    return max(map(small(text).widest, below.lines)) + round(8 * text) if below else 0


@dataclass(frozen=True)
class Tiles:
    """The channels on a page: their values `[slice, height, width, channel]`, true numbers, ranges, what is special of each.

    `ends` are the least and the largest value of all channels, on any page.
    """

    values: np.ndarray
    channels: tuple[int, ...]
    limits: np.ndarray
    extent: np.ndarray
    raw: np.ndarray
    exact: np.ndarray
    words: tuple[str, ...]
    marks: frozenset[int]
    ends: tuple[float, float]

    @classmethod
    def of(cls, one: FeatureMap, shown: np.ndarray, rule: Scale, *, raw: np.ndarray, extent: np.ndarray) -> Tiles:
        """The tiles `shown`; `raw` and `extent` `[tile, 2]` are their least and largest values, with and without ±inf."""
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
        marks |= {CONSTANT} if _constant(limits, extent).any() else set()
        dead = finite & (extent == 0).all(1)
        words: list[str] = np.where(dead, DEAD, "").tolist()
        for tile in np.flatnonzero((extent[:, 0] == extent[:, 1]) & finite & ~dead).tolist():
            words[tile] = ALL + number(extent[tile, 0])
        for tile in np.flatnonzero(~finite).tolist():
            words[tile], used = _not_finite(values[..., tile])
            marks |= used
        if one.role == "weights":
            largest = np.abs(one.values).max(initial=0, where=np.isfinite(one.values))
            for tile in np.flatnonzero(np.abs(extent).max(1) < NEGLIGIBLE * largest).tolist():
                words[tile] = words[tile] or NEARLY_ZERO
        # A logarithmic scale has no range for these.
        for tile in np.flatnonzero((limits == 0).all(1) & (extent[:, 0] < extent[:, 1])).tolist():
            words[tile] = words[tile] or "none above 0"
        numbers = tuple(map(one.channels.__getitem__, shown.tolist()))
        every = limits if rule.single else rule.limits[0]
        return cls(
            values if values.ndim == 4 else values[None],
            numbers,
            limits,
            extent,
            raw,
            ~finite | flat,
            tuple(words),
            frozenset(marks),
            (float(np.fmin.reduce(every[:, 0])), float(np.fmax.reduce(every[:, 1]))),
        )

    def beyond(self) -> Beyond:
        """How many of the values shown lie outside the limits."""
        return Beyond.of(self.values, self.limits) if self.marks & {BELOW, ABOVE} else Beyond()

    @property
    def ranged(self) -> bool:
        """Whether a tile has a range of values."""
        return bool((self.limits[:, 0] < self.limits[:, 1]).any())

    def tagged(self, letters: Font, room: int) -> Tiles:
        """Without what a constant tile holds where that doesn't fit."""
        words = ("" if word.startswith(ALL) and letters.width(word) > room else word for word in self.words)
        return replace(self, words=tuple(words))

    def span(self, low: float, high: float, digits: int) -> str:
        """A tile's range, in text that only says of those tiles that they reach the ends of the layer which do."""
        first, last = short_span(low, high, digits)
        return f"{short_of(first, low, self.ends[0])}…{short_of(last, high, self.ends[1])}"

    @property
    def blank(self) -> dict[int, str]:
        """The word on each tile that has no range, so that it is all one mark, by the tile's index."""
        flat = (self.limits[:, 0] == self.limits[:, 1]) & (self.raw == self.limits).all(1)
        return {tile: DEAD if self.words[tile] == DEAD else "constant" for tile in np.flatnonzero(flat).tolist()}

    @property
    def unexplained(self) -> frozenset[int]:
        """The marks that a legend has to name where each tile in `blank` has its word on it."""
        constant = np.flatnonzero(_constant(self.limits, self.extent)).tolist()
        return self.marks if set(constant) - self.blank.keys() else self.marks - {CONSTANT}

    def with_ranges(self, words: tuple[str, ...], fits: Callable[[str], bool]) -> tuple[str, ...]:
        """The range besides what is NaN or infinite, where both fit; of a range that doesn't fit, about where it lies."""
        every = list(words)
        for tile in [tile for tile, word in enumerate(words) if not word or self.words[tile]]:
            word, (low, high) = self.words[tile], self.limits[tile].tolist()
            if low < high and word.endswith(NOT_FINITE):
                both = f"{self.span(low, high, 2)} · {word}"
                every[tile] = both if fits(both) else every[tile]
            elif low < high and not every[tile] and number(low, 2) == number(high, 2):
                about = f"≈ {number(low, 2)}"
                every[tile] = about if fits(about) else ""
        return tuple(every)

    def rough(self, tile: int) -> tuple[str, ...]:
        """The range of a tile in less and less room; nothing for one about which something else is said."""
        low, high = self.limits[tile].tolist()
        if self.words[tile] or not low < high:
            return ()
        first, last = rough_span(low, high)
        first, last = short_of(first, low, self.ends[0]), short_of(last, high, self.ends[1])
        shortest = f"to {last}" if low >= 0 else f"from {first}" if high <= 0 else f"±{number(max(-low, high), 1)}"
        return f"{first}…{last}", shortest

    def fitted(self, letters: Font, room: int, without: Collection[int] = ()) -> tuple[str, ...]:
        """What is special about each tile, else its range, in three significant digits, or in two or one before none at all."""

        def fits(text: str) -> bool:
            return letters.width(text) <= room

        for digits in (3, 2):
            words = self.texts(True, digits, without)
            if letters.widest(words) <= room:
                return self.with_ranges(words, fits)
        # A number is never cut.
        left = (next(filter(fits, (word, *self.rough(tile))), "") for tile, word in enumerate(words))
        return self.with_ranges(tuple(left), fits)

    def texts(self, own_range: bool, digits: int, without: Collection[int] = ()) -> tuple[str, ...]:
        """What is special about each tile, else its range; nothing for tiles that have a word on them (`without`)."""
        return tuple(
            "" if tile in without else word or (self.span(low, high, digits) if own_range else "")
            for tile, (word, (low, high)) in enumerate(zip(self.words, self.limits.tolist(), strict=True))
        )


@dataclass(frozen=True)
class Labels:
    """What stands above each tile: its number, and its range on the same line or on a second one where there is room.

    `inside` are the words on tiles without a range that have none above them, by their index.
    """

    numbers: tuple[str, ...]
    words: tuple[str, ...] | None
    lines: int
    inside: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def fitting(cls, tiles: Tiles, grid: Grid, own_range: bool) -> Labels:
        numbers = tuple(map(str, tiles.channels))
        room, letters = grid.tile_width, grid.letters
        high = letters.height <= grid.tile_height
        slice_width = tiles.values.shape[2] * grid.zoom
        inside = {tile: word for tile, word in tiles.blank.items() if high and letters.width(word) < slice_width}
        if grid.margins:
            return cls((), None, 0, inside)
        # Among hundreds of small tiles a second line of numbers is more noise than help.
        crowded = len(numbers) > FEW and room < letters.width("0.123…4.567")
        if room < letters.width("0…10") or crowded or not (own_range or any(tiles.words)):
            return cls(numbers, None, 1, inside)
        beside = room - grid.beside
        tiles = tiles.tagged(letters, beside)
        without = [tile for tile in inside if not tiles.words[tile]]
        words = tiles.texts(own_range, 3, without)
        if not own_range:
            # The notes name these tiles too: a line of its own for a few of them would be empty at all others.
            return cls._of(numbers, tuple(word if letters.width(word) <= beside else "" for word in words), 1, inside)
        if letters.widest(words) <= beside:
            fitting = tiles.with_ranges(words, lambda word: letters.width(word) <= beside)
            return cls._of(numbers, fitting, 1, inside)
        left = tiles.fitted(letters, room, without)
        missing = sum(bool(word) and not kept for word, kept in zip(words, left, strict=True))
        return cls(numbers, None, 1, inside) if missing > len(words) // 2 else cls._of(numbers, left, 2, inside)

    @classmethod
    def _of(cls, numbers: tuple[str, ...], words: tuple[str, ...], lines: int, inside: Mapping[int, str]) -> Labels:
        return cls(numbers, words, lines, {tile: word for tile, word in inside.items() if not words[tile]})

    def scale_text(self) -> str:
        """That each tile has its own range, and where it is printed."""
        without = any(word.endswith(NOT_FINITE) and "…" not in word for word in self.words or ())
        bare = any(not word and tile not in self.inside for tile, word in enumerate(self.words or ()))
        room = " where there is room" if without or bare else ""
        printed = any(not word.startswith((DEAD, ALL)) for word in self.words or () if word)
        where = f", printed above it{room}" if printed else ""
        return Note("scale", f"Each tile has its own range{where}.")

    def draw(self, spaced: np.ndarray, grid: Grid) -> list[TileLabels]:
        """Write them into `[row, column, y, x]`, the slots of the tiles with all that is around them."""
        if not self.lines:
            return []
        letters = grid.letters
        spare = spaced.shape[0] * grid.columns - len(self.numbers)
        codes = _number_codes(self.numbers, grid.number, spare, letters.size)
        spaced[:, :, : letters.height, : codes.shape[-1]] = codes.reshape(*spaced.shape[:2], letters.height, -1)
        size = letters.size
        labels = [TileLabels(self.numbers, 0, -self.lines * letters.height, size, bold=True)]
        if self.words is not None:
            # Beside its own number: at the far end it would read as a part of the next tile's.
            start = grid.beside if self.lines == 1 else 0
            _write_lines(spaced, self.words, grid, top=(self.lines - 1) * letters.height, start=start)
            labels.append(TileLabels(self.words, start, -letters.height, size, INK_MIDDLE))
        return labels


def _write_lines(spaced: np.ndarray, words: Sequence[str], grid: Grid, *, top: int, start: int = 0) -> None:
    """One line of muted text for each tile, from so many pixels beside its left edge on."""
    letters = grid.letters
    spare = spaced.shape[0] * grid.columns - len(words)
    codes = letters.lines((*words, *("",) * spare), ink=INK_MIDDLE)
    box = spaced[:, :, top : top + letters.height, start : start + codes.shape[-1]]
    box[:] = codes.reshape(*spaced.shape[:2], letters.height, -1)


@lru_cache(maxsize=16)
def _number_codes(numbers: tuple[str, ...], width: int, spare: int, size: int) -> np.ndarray:
    """The channel numbers as codes, `[tile, y, x]`. Kept, since one sheet after another has the same."""
    return font(size, bold=True).lines((*numbers, *("",) * spare), width)


def even_columns(count: int, aspect: float) -> int:
    """A number of columns that makes the sheet about square, and fills its last row where one does.

    >>> [even_columns(count, 1.0) for count in (64, 512, 101, 3)]
    [8, 32, 11, 3]
    """
    if count <= 4 and aspect > 0.5:
        return count
    square = sqrt(count * aspect)
    full = [columns for columns in range(ceil(square), int(square * 1.5) + 1) if count % columns == 0]
    return max(1, min(count, full[0] if full else ceil(square)))


def tile_size(spatial: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a tile in units; the slices of a volume stand side by side in it, with a bare column between."""
    height, width = spatial[-2:]
    return (height, width) if len(spatial) == 2 else (height, spatial[0] * (width + 1) - 1)


def _constant(limits: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """Whether tiles have no range and values there, which are drawn as constant."""
    return (limits[:, 0] == limits[:, 1]) & (extent[:, 0] <= limits[:, 0]) & (limits[:, 1] <= extent[:, 1])


def _not_finite(values: np.ndarray) -> tuple[str, set[int]]:
    """How many values of a channel are NaN or infinite, in words, and the marks they use."""
    counts = {
        NAN: int(np.isnan(values).sum()),
        POS_INF: int((values == np.inf).sum()),
        NEG_INF: int((values == -np.inf).sum()),
    }
    used = [mark for mark, count in counts.items() if count]
    return " ".join(f"{counts[mark]} {MARKS[mark][0]}" for mark in used), set(used)
