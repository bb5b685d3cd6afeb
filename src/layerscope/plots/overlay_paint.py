"""Where the units of a map lie on the pixels of its photo, and the colours that they are painted in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from PIL import Image

from ..arrays.ranges import raw_extent
from ..combinations.pca import BACKGROUND
from ..combinations.similarity import query_position
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..core.unit_grid import UnitGrid
from ..picture.canvas import outline
from ..picture.codes import ABOVE, BELOW, GAP, INK, OWN, TOP, encode
from ..picture.palette import palette
from ..picture.scale import Scale
from .contours import draw_contour, widths
from .ground import DIMMED, MIDDLE, PALE, Ground, line_width
from .rgb import rgb_colors

BLOCK_PIXELS = 1 << 16
SMALL = 1 << 17  # pixels that are spread at once
BARE = OWN  # the code where the photo keeps its colours

# How light red, green and blue are (ITU-R BT.601).
LIGHTNESS = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class PhotoGrid:
    """The units of a map on the pixels of a photo of this size."""

    size: tuple[int, ...]
    place: UnitGrid

    @property
    def rows(self) -> np.ndarray:
        """The map's row for each row of the photo, -1 where no unit lies."""
        return self.place.rows

    @property
    def columns(self) -> np.ndarray:
        """The map's column for each column of the photo, -1 where no unit lies."""
        return self.place.columns

    @cached_property
    def seen(self) -> tuple[slice, slice]:
        """The part of the photo on which units lie."""
        rows, columns = np.flatnonzero(self.rows >= 0), np.flatnonzero(self.columns >= 0)
        if not len(rows) or not len(columns):
            return slice(0, 0), slice(0, 0)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    @property
    def step(self) -> int:
        """Rows of the photo in a block."""
        return max(1, BLOCK_PIXELS // self.size[1])

    def line_widths(self, levels: int) -> list[int]:
        """The pixels of the lines of so many contours, on either side of the border."""
        return widths(levels, line_width(min(self.size)), min(self.place.cell_box(0, 0)[2:]))

    def units(self) -> tuple[np.ndarray, ...]:
        """An index of the units that lie on the photo."""
        return np.ix_(np.unique(self.rows[self.rows >= 0]), np.unique(self.columns[self.columns >= 0]))

    def spread(self, values: np.ndarray, smooth: bool) -> Iterator[tuple[slice, np.ndarray]]:
        """The values `[y, x, …]` on the pixels on which units lie, a block of rows at a time.

        A block of one row of pixels stands for all rows of the slice, which are alike.
        """
        rows, columns = self.rows[self.rows >= 0], self.columns[self.columns >= 0]
        ys: np.ndarray = rows
        if smooth:
            height, width = self.place.size
            across = _linear(values, self.place.column_positions[self.columns >= 0].clip(0, width - 1))
            ys = self.place.row_positions[self.rows >= 0].clip(0, height - 1)
            if 0 < len(ys) * len(columns) <= SMALL:
                yield slice(0, len(ys)), _linear(across, ys, axis=0)
                return
            rows = np.floor(ys)
        else:
            across = values[:, columns]
        alike = rows + 0.5 * (ys > rows)  # on one row of units, or between the same two
        starts = np.flatnonzero(np.diff(alike, prepend=-1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
            first = int(rows[start])
            for block in _blocks(start, stop, self.step):
                shares = (ys[block] - first).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
                one_row = across[first][None]
                yield block, _between(one_row, across[first + 1][None], shares) if shares.any() else one_row


def place_text(place: UnitGrid) -> tuple[str, ...]:
    """What a caption says where it isn't known where the units lie."""
    if not place.unknown:
        return ()
    why = f"where the positions of the map lie isn't known ({place.unknown})"
    return (Note("place", f"{why}, so each covers an equal part of the model's input"),)


def opacity_text(paint: Paint) -> str:
    """What a caption says of how much of the photo a map covers."""
    if not paint.alpha:
        return "The map itself is left out"
    greatest = f"{paint.alpha:.0%}"
    if paint.rule is None:
        return f"Colours cover {greatest} of the photo"
    low, high = paint.rule.limits
    if paint.even:
        return f"The map covers {greatest} of the photo, all values alike"
    zero, (below, above) = paint.zero, (paint.zero - low, high - paint.zero)
    if low == high:
        return f"The map covers {greatest} of the photo"
    far = paint.rule.reading(high if above >= below else low)
    far = f"±{far}" if zero == 0 and below == above else far
    both = " on both sides" if low < zero < high else ""
    return f"Opacity grows{both} from 0% at {paint.rule.reading(zero)} to {greatest} at {far}"


@dataclass(frozen=True)
class Paint:
    """How the values of a map become colours: by the scale `rule`, or, without one, as three colours between `ends`.

    The strongest value covers the photo by `alpha`, one of no strength not at all; `even` covers it alike everywhere. `smooth`
    is whether units blend, `levels` have a contour, what is below `least` is bare.
    """

    one: FeatureMap
    rule: Scale | None
    alpha: float
    smooth: bool
    ends: tuple[np.ndarray, np.ndarray] = (np.zeros(3), np.zeros(3))
    levels: tuple[float, ...] = ()
    least: float | None = None
    even: bool = False

    def alone(self) -> Paint:
        """The map without contours and without a threshold, opaque."""
        return replace(self, alpha=1.0, levels=(), least=None, even=True)

    @property
    def table(self) -> np.ndarray:
        """uint8 `[256, 3]`: the colour of each code."""
        return self.rule.palette() if self.rule else palette(None)

    @cached_property
    def strengths(self) -> np.ndarray:
        """float64 `[256]`: how far each code is from `zero` on the scale, 1 for the farthest, and for every mark."""
        strengths = np.ones(256)
        strengths[BARE] = 0
        if self.rule is None or self.even:
            return strengths
        low, high = self.rule.codes(self.rule.limits).astype(int)
        zero = int(self.rule.codes([self.zero])[0]) if self.rule.center is None else TOP // 2
        reach = max(abs(low - zero), abs(high - zero), 1)
        strengths[: TOP + 1] = (np.abs(np.arange(TOP + 1) - zero) / reach).clip(0, 1)
        if self.rule.clip is not None:
            strengths[[BELOW, ABOVE]] = strengths[[*self.rule.end_codes]]
        if self.rule.norm == "log":
            strengths[BELOW] = 0  # there is less still than at the lower limit
        return strengths

    @property
    def zero(self) -> float:
        """The value without strength: the centre of the scale, or 0, or the limit that is nearest to 0."""
        assert self.rule is not None
        low, high = self.rule.limits
        return min(max(0.0, low), high) if self.rule.center is None else self.rule.center

    @property
    def tone(self) -> tuple[int, int]:
        """The levels of the photo below, from which the colours of strong values stand out."""
        if self.rule is None:
            return MIDDLE
        low, high = self.rule.codes(self.rule.limits).astype(int)
        shown = slice(low, high + 1)
        lightness, strengths = self.table[shown] @ LIGHTNESS, self.strengths[shown]
        return PALE if (lightness * strengths).sum() < 127 * strengths.sum() else DIMMED

    @cached_property
    def covers(self) -> np.ndarray:
        """uint8 `[256, 4]`: the colour of each code, and how much of the photo it covers, of 255."""
        return np.column_stack([self.table, np.round(255 * self.alpha * self.strengths)]).astype(np.uint8)

    def codes(self, grid: PhotoGrid) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, uint8 `[rows or 1, width]` of codes) where units lie; `BARE` below the threshold."""
        assert self.rule is not None
        values = self.one.values[0, ..., 0]
        if not self.smooth:  # one code a unit
            yield from grid.spread(self._bared(self.rule.codes(values), values), False)
            return
        for rows, spread in grid.spread(values, True):
            yield rows, self._bared(self._codes(spread), spread)

    def _bared(self, codes: np.ndarray, values: np.ndarray) -> np.ndarray:
        if self.least is not None:
            codes[~(values >= self.least)] = BARE
        return codes

    def map_colors(self) -> np.ndarray:
        """uint8 `[row, column, 3]`: the colour of each unit."""
        values = self.one.values[0]
        return rgb_colors(values, *self.ends) if self.rule is None else self.table[self.rule.codes(values[..., 0])]

    def blocks(self, grid: PhotoGrid) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, uint8 `[rows or 1, width, 4]` of colours and how much of the photo they cover) where units lie."""
        if self.rule is not None:
            yield from ((rows, self.covers[codes]) for rows, codes in self.codes(grid))
            return
        share = np.uint8(round(255 * self.alpha))
        for rows, spread in grid.spread(self.one.values[0], self.smooth):
            hidden = (spread == BACKGROUND).all(-1)
            yield rows, np.dstack([rgb_colors(spread, *self.ends), np.where(hidden, np.uint8(0), share)])

    def _codes(self, spread: np.ndarray) -> np.ndarray:
        assert self.rule is not None
        raw = raw_extent(self.one.values)[0]
        limits = np.array([self.rule.limits])
        exact = ~np.isfinite(raw).all(1) | (limits[:, 0] == limits[:, 1])
        out = np.empty((1, 1, *spread.shape), np.uint8)
        encode(spread[..., None], out, limits, curve=self.rule.curve, exact=exact, extent=raw)
        return out[0, 0]


def mix(under: np.ndarray, covers: np.ndarray) -> None:
    """Lay colours with their shares of 255 on the pixels `under`, uint8 `[height, width, 3]`; one row stands for all."""
    mixed = Image.fromarray(under)
    over = Image.fromarray(np.ascontiguousarray(np.broadcast_to(covers, (*under.shape[:2], 4))))
    mixed.paste(over, mask=over)
    under[:] = mixed


def lay(box: np.ndarray, grid: PhotoGrid, paint: Paint, ground: Ground | None = None) -> None:
    """Paint a map into `box` `[height, width, 3]`, over its photo, or over what is there; where no unit lies it stays."""
    part = box[grid.seen]
    if ground is not None and ground.on == "grey" and paint.rule is not None:
        _lay_on_grey(box, grid, paint, ground)
    else:
        if ground is not None:
            ground.draw(box)
        for rows, covers in paint.blocks(grid):
            mix(part[rows], covers)
    _draw_contours(part, grid, paint)
    if (query := query_position(paint.one)) is not None:
        y, x, height, width = map(round, grid.place.cell_box(*query))
        outline(box, (y, x, height, width), palette(None)[INK], palette(None)[GAP])


def _lay_on_grey(box: np.ndarray, grid: PhotoGrid, paint: Paint, ground: Ground) -> None:
    """Photo and map at once, by a table of what each code makes of each level of grey: half the time of one after the other."""
    colors = _mixed(ground.tones.tobytes(), paint.covers.tobytes())
    for rows, codes in _across(grid, paint):
        levels = ground.levels(rows)
        mixed = np.take(colors, codes.astype(np.uint16) << 8 | levels).view(np.uint8)
        box[rows] = Image.frombuffer("RGBX", levels.shape[::-1], mixed).convert("RGB")


@lru_cache(maxsize=4)
def _mixed(tones: bytes, covers: bytes) -> np.ndarray:
    """uint32 `[65536]`: the colour of each code on each level of grey, the same for all photos of a picture."""
    under = np.frombuffer(tones, np.uint8).astype(np.float32)[:, None]
    over = np.frombuffer(covers, np.uint8).reshape(256, 1, 4).astype(np.float32)
    table = np.empty((256, 256, 4), np.uint8)
    table[..., :3] = under + (over[..., :3] - under) * (over[..., 3:] / 255) + 0.5
    return table.view(np.uint32).ravel()


def _across(grid: PhotoGrid, paint: Paint) -> Iterator[tuple[slice, np.ndarray]]:
    """(rows, uint8 `[rows or 1, width]` of codes) of all of the photo, `BARE` where no unit lies, a block of rows at a time."""
    (height, width), (seen, columns) = grid.size, grid.seen
    bare = np.full((1, width), BARE, np.uint8)
    yield from ((rows, bare) for rows in _blocks(0, seen.start, grid.step))
    for rows, codes in paint.codes(grid):
        across = np.full((len(codes), width), BARE, np.uint8)
        across[:, columns] = codes
        yield slice(seen.start + rows.start, seen.start + rows.stop), across
    yield from ((rows, bare) for rows in _blocks(seen.stop, height, grid.step))


def _blocks(start: int, stop: int, step: int) -> Iterator[slice]:
    return (slice(top, min(top + step, stop)) for top in range(start, stop, step))


def _draw_contours(part: np.ndarray, grid: PhotoGrid, paint: Paint) -> None:
    if not paint.levels:
        return
    values = np.empty(part.shape[:2], np.float32)
    for rows, spread in grid.spread(paint.one.values[0, ..., 0], paint.smooth):
        values[rows] = spread
    for level, thick in zip(paint.levels, grid.line_widths(len(paint.levels)), strict=True):
        draw_contour(part, values, level, thick)


def _linear(values: np.ndarray, positions: np.ndarray, axis: int = 1) -> np.ndarray:
    """The values at broken positions along an axis, in linear proportion between their neighbours."""
    low = np.floor(positions).astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    shares = (positions - low).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1 - axis))
    before = values.take(low, axis)
    return np.where(shares == 0, before, _between(before, values.take(high, axis), shares))


def _between(before: np.ndarray, after: np.ndarray, shares: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # inf beside −inf
        between = before * (1 - shares)
        between += after * shares
    return between
