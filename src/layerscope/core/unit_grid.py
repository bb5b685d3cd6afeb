"""Where the units of a map lie on its photo: one answer for overlays, contours, similarity and boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import BadLayout, BadOption
from .placement import Box, Placement, Size
from .receptive_field import Field, Line

Lines = tuple[Line | None, ...]

# Positions are rounded, so that a pixel between two units always belongs to the second.
DIGITS = 9


@dataclass(frozen=True)
class UnitGrid:
    """The units of a two-dimensional map on the pixels of a photo.

    A unit lies at the centre of its receptive field, and covers the photo halfway to its neighbours. Outside of that, and
    outside the model's input, no unit lies. Where the lines aren't known, `unknown` says why, and each unit is given an equal
    part of the model's input.

    Attributes:
        placement: Where the model's input lies on the photo.
        size: Rows and columns of the map.
        lines: The line of the rows and that of the columns, in pixels of the model's input.
        fields: The receptive fields along both axes; `None` where nothing is known of them.
        unknown: Why the lines aren't known; `""` where they are.

    >>> whole = Placement.whole((100, 100), (50, 50))
    >>> grid = UnitGrid(whole, (6, 6), (Line(8.5, 6.0), Line(8.5, 6.0)))
    >>> grid.centre(0, 1), grid.cell_box(0, 0), grid.unit_at(50, 80), grid.unit_at(0, 0)
    ((17.0, 29.0), (11.0, 11.0, 12.0, 12.0), (3, 5), None)
    """

    placement: Placement
    size: Size
    lines: tuple[Line, Line]
    fields: tuple[Field, ...] | None = None
    unknown: str = ""

    @classmethod
    def of(cls, placement: Placement, size: Size, lines: Lines | None, fields: tuple[Field, ...] | None) -> UnitGrid:
        """The grid of a map whose layer states these lines and fields, of which any may be unknown."""
        fields = fields if fields and len(fields) == 2 else None
        stated = lines if lines and len(lines) == 2 else (None, None)
        unknown, both = "", []
        for axis, line in enumerate(stated):
            field = fields[axis] if fields else None
            turned = lines is not None and line is None and field is not None and field.line is not None
            line = line or (field.line if field and not turned else None)
            line = line if line and line.spacing and math.isfinite(line.origin + line.spacing) else None
            if line is None and not (field and field.whole and size[axis] == 1):  # one unit for all of it
                reason = "its rows don't run along those of the photo" if turned else "no receptive field is known"
                unknown = unknown or (field.unknown if field else "") or reason
            both.append(line or even(placement.input[axis], size[axis]))
        if unknown:
            both = [even(placement.input[axis], size[axis]) for axis in (0, 1)]
        return cls(_over_a_pixel(placement), size, (both[0], both[1]), fields, unknown)

    @cached_property
    def rows(self) -> np.ndarray:
        """For every row of the photo the map's row there, -1 where no unit lies."""
        return _cells(self.row_positions, self.size[0])

    @cached_property
    def columns(self) -> np.ndarray:
        """For every column of the photo the map's column there, -1 where no unit lies."""
        return _cells(self.column_positions, self.size[1])

    @cached_property
    def row_positions(self) -> np.ndarray:
        """For every row of the photo its position on the map, `2.0` being the centre of row 2; NaN where no unit lies."""
        return self._positions(0)

    @cached_property
    def column_positions(self) -> np.ndarray:
        """For every column of the photo its position on the map, as in `row_positions`."""
        return self._positions(1)

    def centre(self, y: int, x: int) -> tuple[float, float]:
        """The point of the photo at which a unit lies."""
        self._check(y, x)
        (rows, columns) = self.lines
        point: tuple[float, float] = self.placement.to_photo(
            rows.origin + y * rows.spacing, columns.origin + x * columns.spacing
        )
        return point

    def cell_box(self, y: int, x: int) -> Box:
        """The (top, left, height, width) of the photo that a unit covers, in pixels."""
        centre, scale = self.centre(y, x), self._scale()
        height, width = (abs(line.spacing) * scale[axis] for axis, line in enumerate(self.lines))
        return centre[0] - height / 2, centre[1] - width / 2, height, width

    def unit_at(self, y: int, x: int) -> tuple[int, int] | None:
        """The (row, column) of the unit that covers a pixel of the photo; `None` where none lies."""
        if not (0 <= y < len(self.rows) and 0 <= x < len(self.columns)):
            return None
        row, column = int(self.rows[y]), int(self.columns[x])
        return None if row < 0 or column < 0 else (row, column)

    def receptive_box(self, y: int, x: int) -> Box | None:
        """The (top, left, height, width) of the photo that a unit can depend on; `None` where that isn't known.

        It may reach beyond the photo. A unit that sees the whole axis has the whole input.
        """
        self._check(y, x)
        if self.fields is None or any(field.unknown for field in self.fields):
            return None
        ends = []
        for axis, (field, unit) in enumerate(zip(self.fields, (y, x), strict=True)):
            unit = (unit + field.rolled) % field.around if field.around else unit
            low, high = (0.0, self.placement.input[axis] - 1.0) if field.whole else field.box(unit)
            ends.append((low, high + 1))
        top, left = self.placement.to_photo(ends[0][0], ends[1][0])
        bottom, right = self.placement.to_photo(ends[0][1], ends[1][1])
        return top, left, bottom - top, right - left

    def _check(self, y: int, x: int) -> None:
        if not (0 <= y < self.size[0] and 0 <= x < self.size[1]):
            raise BadOption(f"unit ({y}, {x}) is outside a map of {self.size[0]} × {self.size[1]}")

    def _scale(self) -> tuple[float, float]:
        """Pixels of the photo for each pixel of the model's input."""
        box, size = self.placement.box, self.placement.input
        return box[2] / size[0], box[3] / size[1]

    def _positions(self, axis: int) -> np.ndarray:
        line, scale = self.lines[axis], self._scale()[axis]
        start, length = self.placement.box[axis], self.placement.box[axis + 2]
        pixels = np.arange(self.placement.photo[axis]) + 0.5 - start
        along = np.round(pixels / (scale * line.spacing) + (0.5 - line.origin / line.spacing), DIGITS)
        inside = (pixels >= 0) & (pixels < length) & (along >= 0) & (along < self.size[axis])
        return np.where(inside, along - 0.5, np.nan)


def grid_of(fm: Any) -> UnitGrid:
    """The grid of a feature map of one image, which itself imports this module: see `FeatureMap.unit_grid`."""
    if fm.placement is None:
        raise BadOption("this map has no photo: capture it from an image")
    if len(fm.spatial) != 2 or fm.layer.attention or 0 in fm.spatial:
        raise BadLayout(f"a map of shape {fm.shape} has no units on the photo: a two-dimensional one has")
    stated = fm.layer.lines if fm.spatial == fm.layer.spatial else None
    return UnitGrid.of(fm.placement[0], fm.spatial, stated, fm.layer.receptive)


def even(pixels: int, units: int) -> Line:
    """The line of units that have an equal part of the input each.

    >>> even(100, 4)
    Line(origin=12.5, spacing=25.0)
    """
    return Line(pixels / units / 2, pixels / units)


def _cells(positions: np.ndarray, size: int) -> np.ndarray:
    return np.where(np.isnan(positions), -1, np.floor(np.nan_to_num(positions) + 0.5)).astype(np.intp)


def _over_a_pixel(placement: Placement) -> Placement:
    """The placement; an input that lies between two centres of pixels, as of a photo of 20,000 × 1, is moved onto one."""
    top, left, height, width = placement.box
    (top, height), (left, width) = (
        (start, length)
        if max(math.ceil(start - 0.5), 0) + 0.5 < start + length
        else (float(min(max(math.floor(start + length / 2), 0), whole - 1)), 1.0)
        for start, length, whole in ((top, height, placement.photo[0]), (left, width, placement.photo[1]))
    )
    return replace(placement, box=(top, left, height, width))
