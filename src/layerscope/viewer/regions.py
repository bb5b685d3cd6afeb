"""Where the units of a map lie on the photo, as two rows of numbers for each axis: a page needs no more to draw any region.

Cells and receptive fields are boxes along the photo's axes, so the part of a unit is that of its row and that of its column.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.axes import prefix_names
from ..core.feature_map import FeatureMap
from ..core.placement import Placement
from ..core.receptive_field import Field
from ..core.unit_grid import DIGITS, UnitGrid

WHOLE = "whole image"
AXES = ("row", "column")


def regions(one: FeatureMap) -> dict[str, np.ndarray]:
    """float64 `[unit, 2]` by name, in pixels of the photo (first, behind last), for the map of one image.

    `row_cells` and `column_cells`: what a unit is drawn on, cut to the photo and to what the model saw of it; no pixel where it
    lies beside that. `row_fields` and `column_fields`: what it can depend on, which may reach beyond the photo; −inf to +inf
    where that may be everything, NaN where it sees nothing. What isn't known is absent.

    >>> from dataclasses import replace
    >>> fm = FeatureMap.of_array(np.zeros((2, 4, 1)))
    >>> regions(replace(fm, placement=(Placement.whole((10, 40), (8, 8)),)))["row_cells"].tolist()
    [[0.0, 5.0], [5.0, 10.0]]
    """
    grid = _grid(one)
    if grid is None:
        return {}
    arrays = {f"{name}_cells": _cells(grid, axis) for axis, name in enumerate(AXES)}
    if grid.fields is None or any(field.unknown for field in grid.fields):
        return arrays
    return arrays | {f"{name}_fields": _fields(grid, axis) for axis, name in enumerate(AXES)}


def patches(one: FeatureMap) -> tuple[int, int] | None:
    """Rows and columns of the patches that tokens or the keys of attention weights are, in the order of the image."""
    grid, keys = one.layer.grid, one.layer.attention
    if grid is None or len(grid) != 2 or (keys and one.layer.order):
        return None
    return (grid[0], grid[1]) if not keys or one.spatial[-1] >= grid[0] * grid[1] else None


def prefix_of(one: FeatureMap) -> tuple[str, ...]:
    """The names of the tokens that are no patches, in front of the others."""
    if one.layer.attention:
        grid = patches(one)
        return () if grid is None else prefix_names(one.spatial[-1] - grid[0] * grid[1], one.layer.prefix)
    return one.layer.prefix if one.tokens is not None and one.tokens.shape[1] else ()


def about(one: FeatureMap) -> dict[str, Any]:
    """How the receptive field is told in words: `measured`, `text`, and why it is `unknown`."""
    grid = _grid(one)
    fields = one.layer.receptive if grid is None else grid.fields
    unknown = "" if grid is None else grid.unknown
    text = "" if not fields or len(fields) != 2 else field_text(fields)
    if max(one.spatial, default=1) == 1 and not text:
        text = WHOLE
    return {"measured": False, "text": text, "unknown": unknown or ("" if text else "no receptive field is known")}


def field_text(fields: tuple[Field, ...]) -> str:
    """Receptive fields of rows and columns in words, width first; `""` where they aren't known.

    >>> field_text((Field((0.0,), (4.0,)), Field((0.0,), (6.0,))))
    '7 × 5 pixels of the input'
    """
    if any(field.unknown for field in fields):
        return ""
    if all(field.whole for field in fields):
        return WHOLE
    sides = ["all" if field.whole else str(_widest(field)) for field in fields[::-1]]
    return f"{' × '.join(sides)} pixels of the input"


def _widest(field: Field) -> int:
    spans = [end - start for start, end in zip(field.starts, field.ends, strict=True) if start <= end]
    return int(max(spans, default=-1)) + 1


def _grid(one: FeatureMap) -> UnitGrid | None:
    if one.placement is None or 0 in one.spatial:
        return None
    if one.layer.attention:
        grid = patches(one)
        return None if grid is None else UnitGrid.of(one.placement[0], grid, None, None)
    return one.unit_grid() if len(one.spatial) == 2 else None


def _cells(grid: UnitGrid, axis: int) -> np.ndarray:
    line, place = grid.lines[axis], grid.placement
    start, length = place.box[axis], place.box[axis + 2]
    centres = line.origin + np.arange(grid.size[axis]) * line.spacing
    half = abs(line.spacing) / 2
    ends = _on_photo(np.stack([centres - half, centres + half], -1), place, axis)
    return ends.clip(max(0.0, start), min(float(place.photo[axis]), start + length))


def _fields(grid: UnitGrid, axis: int) -> np.ndarray:
    assert grid.fields is not None
    field, units = grid.fields[axis], np.arange(grid.size[axis])
    if field.whole:
        return np.tile([-np.inf, np.inf], (len(units), 1))
    units = (units + field.rolled) % field.around if field.around else units
    periods, phases = np.divmod(units, len(field.starts))
    first, last = (np.array(ends)[phases] + periods * field.jump for ends in (field.starts, field.ends))
    boxes = np.stack([first, last + 1], -1)
    boxes[first > last] = np.nan
    return _on_photo(boxes, grid.placement, axis)


def _on_photo(ends: np.ndarray, place: Placement, axis: int) -> np.ndarray:
    """Positions along an axis of the model's input on the photo, rounded as those of `UnitGrid` are."""
    scale = place.box[axis + 2] / place.input[axis]
    return np.round(place.box[axis] + ends * scale, DIGITS)
