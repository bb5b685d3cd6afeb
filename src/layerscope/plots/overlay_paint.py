"""Where the units of a map lie on the pixels of its photo, and the colours that they are painted in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..arrays.ranges import raw_extent
from ..combinations.pca import BACKGROUND
from ..combinations.similarity import query_position
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..core.unit_grid import UnitGrid
from ..picture.canvas import outline
from ..picture.codes import GAP, INK, encode
from ..picture.palette import palette
from ..picture.scale import Scale
from .contours import draw_contour
from .rgb import colored, rgb_colors

BLOCK_PIXELS = 1 << 16

# Above this many pixels on the shorter side a contour is two pixels wide on either side.
LARGE_PHOTO = 1000


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

    def units(self) -> tuple[np.ndarray, ...]:
        """An index of the units that lie on the photo."""
        return np.ix_(np.unique(self.rows[self.rows >= 0]), np.unique(self.columns[self.columns >= 0]))

    def spread(self, values: np.ndarray, smooth: bool) -> Iterator[tuple[slice, np.ndarray]]:
        """The values `[y, x, …]` on the pixels on which units lie, a block of rows at a time.

        Without blending each block is one row of pixels, which stands for all rows of the slice.
        """
        rows, columns = self.rows[self.rows >= 0], self.columns[self.columns >= 0]
        if smooth:
            yield from self._blended(values)
            return
        across = values[:, columns]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
            for top in range(start, stop, self.step):
                yield slice(top, min(top + self.step, stop)), across[rows[start]][None]

    def _blended(self, values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        height, width = self.place.size
        ys = self.place.row_positions[self.rows >= 0].clip(0, height - 1)
        xs = self.place.column_positions[self.columns >= 0].clip(0, width - 1)
        across = _linear(values, xs, 1)
        for top in range(0, len(ys), self.step):
            yield slice(top, min(top + self.step, len(ys))), _linear(across, ys[top : top + self.step], 0)


def place_text(place: UnitGrid) -> tuple[str, ...]:
    """What a caption says where it isn't known where the units lie."""
    if not place.unknown:
        return ()
    text = f"where units lie isn't known ({place.unknown}): each is drawn on an equal part of the model's input"
    return (Note("place", text),)


@dataclass(frozen=True)
class Paint:
    """How the values of a map become colours: by the scale `rule`, or, without one, as three colours between `ends`.

    `alpha` is the share of the colours, `smooth` whether units blend, `levels` have a contour, what is below `least` is bare.
    """

    one: FeatureMap
    rule: Scale | None
    alpha: float
    smooth: bool
    ends: tuple[np.ndarray, np.ndarray] = (np.zeros(3), np.zeros(3))
    levels: tuple[float, ...] = ()
    least: float | None = None

    def alone(self) -> Paint:
        """The map without contours and without a threshold, opaque."""
        return replace(self, alpha=1.0, levels=(), least=None)

    @property
    def table(self) -> np.ndarray:
        """uint8 `[256, 3]`: the colour of each code."""
        return self.rule.palette() if self.rule else palette(None)

    def blocks(self, grid: PhotoGrid) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
        """(rows, colours `[rows or 1, width, 3]`, where the photo stays bare) of the part that the model saw."""
        values = self.one.values[0]
        if self.rule is None:
            for rows, spread in grid.spread(values, False):
                yield rows, rgb_colors(spread, *self.ends), (spread == BACKGROUND).all(-1)
            return
        table = self.table
        for rows, spread in grid.spread(values[..., 0], self.smooth):
            hidden = None if self.least is None else ~(spread >= self.least)
            # Without blending there is one colour a unit: a whole row of units is painted at once.
            codes = self._codes(spread) if self.smooth else self.rule.codes(spread)
            yield rows, colored(table, codes) if self.smooth else np.take(table, codes, axis=0), hidden

    def _codes(self, spread: np.ndarray) -> np.ndarray:
        assert self.rule is not None
        raw = raw_extent(self.one.values)[0]
        limits = np.array([self.rule.limits])
        exact = ~np.isfinite(raw).all(1) | (limits[:, 0] == limits[:, 1])
        out = np.empty((1, 1, *spread.shape), np.uint8)
        encode(spread[..., None], out, limits, center=self.rule.center, exact=exact, extent=raw)
        return out[0, 0]


def lay(box: np.ndarray, grid: PhotoGrid, paint: Paint) -> None:
    """Paint a map into `box` `[height, width, 3]`, over what is there; the part that the model didn't see stays."""
    part = box[grid.seen]
    under_share, over_share = np.uint16(256 - round(paint.alpha * 256)), np.uint16(round(paint.alpha * 256))
    # Taken once: fresh memory for every block would cost as much as the arithmetic.
    below, above = np.empty((2, grid.step, *part.shape[1:]), np.uint16)
    for rows, colors, hidden in paint.blocks(grid):
        under = part[rows]
        mixed, over = below[: len(under)], above[: len(colors)]
        np.multiply(under, under_share, out=mixed)
        np.multiply(colors, over_share, out=over)
        mixed += over
        mixed >>= 8
        np.copyto(under, mixed, casting="unsafe", where=True if hidden is None else ~hidden[..., None])
    _draw_contours(part, grid, paint)
    if (query := query_position(paint.one)) is not None:
        y, x, height, width = map(round, grid.place.cell_box(*query))
        outline(box, (y, x, height, width), palette(None)[INK], palette(None)[GAP])


def _draw_contours(part: np.ndarray, grid: PhotoGrid, paint: Paint) -> None:
    if not paint.levels:
        return
    values = np.empty(part.shape[:2], np.float32)
    for rows, spread in grid.spread(paint.one.values[0, ..., 0], paint.smooth):
        values[rows] = spread
    for level in paint.levels:
        draw_contour(part, values, level, 2 if min(grid.size) > LARGE_PHOTO else 1)


def _linear(values: np.ndarray, positions: np.ndarray, axis: int) -> np.ndarray:
    """The values at broken positions along one axis, in linear proportion between their neighbours."""
    low = np.floor(positions).astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    shape = [-1 if dimension == axis else 1 for dimension in range(values.ndim)]
    share = (positions - low).astype(np.float32).reshape(shape)
    before, after = np.take(values, low, axis), np.take(values, high, axis)
    with np.errstate(invalid="ignore"):  # inf beside −inf
        return np.where(share == 0, before, before * (1 - share) + after * share)
