"""Contours: the borders between the positions of a map that lie below and above a level."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..core.note import Note
from ..errors import BadOption
from ..picture.scale import Scale

MOST_LEVELS = 100
WIDEST = 3  # of the highest level's line, in those of the lowest
ALLOWED = f"use a number of contours from 1 to {MOST_LEVELS}, or a list of levels"
ABOVE_LINE, BELOW_LINE = np.array([[255], [0]], np.uint8)


def contour_levels(contours: Any, rule: Scale) -> tuple[float, ...]:
    """The levels to draw, rising: those given, or as many as asked for, evenly between the limits."""
    if contours is None:
        return ()
    if isinstance(contours, int | np.integer) and not isinstance(contours, bool):
        if not 1 <= contours <= MOST_LEVELS:
            raise BadOption(f"contours={contours}: {ALLOWED}")
        evenly = rule.at(np.arange(1, int(contours) + 1) / (int(contours) + 1))
        return tuple(sorted(set(evenly.tolist())))  # one where the map is flat
    if isinstance(contours, str):
        raise BadOption(f"contours={contours!r}: {ALLOWED}")
    try:
        levels = sorted({float(level) for level in contours})
    except (TypeError, ValueError) as error:
        raise BadOption(f"contours={contours!r}: {ALLOWED}") from error
    if not levels or not np.isfinite(levels).all():
        raise BadOption(f"contours={contours!r}: give at least one level, and only finite ones")
    return tuple(levels)


def levels_text(levels: tuple[float, ...], values: np.ndarray, rule: Scale, *, alike: bool) -> tuple[str, ...]:
    """The levels that have a line, and those that the map nowhere crosses, for the caption; `alike`: of one width."""
    low, high = extent_of(values)[0, 0]
    crossed = [rule.reading(level) for level in levels if low < level <= high]
    missed = [rule.reading(level) for level in levels if not low < level <= high]
    lines = "the higher the thicker, " if len(crossed) > 1 and not alike else ""
    parts = [Note("contours", f"contours at {', '.join(crossed)}, {lines}white on the higher side")] if crossed else []
    parts += [Note("no-contour", f"no contour at {', '.join(missed)}: the map doesn't cross it")] if missed else []
    return tuple(parts)


def widths(levels: int, thin: int, position: float) -> list[int]:
    """The pixels of each line, rising with the level, so that it can be told which is which.

    Both sides of a line together cover no more than a quarter of a `position`, the pixels of the shorter side of one.
    """
    widest = max(thin, min(WIDEST * thin, int(position / 8)))
    return [thin + round((widest - thin) * index / max(1, levels - 1)) for index in range(levels)]


def draw_contour(box: np.ndarray, values: np.ndarray, level: float, thick: int) -> None:
    """Draw the border between the pixels at `level` or above and those below it; what is next to NaN has no border."""
    above = values >= level
    size = above.shape
    for axis in (0, 1):
        ahead = np.array([axis == 0, axis == 1], int)[:, None]
        differ = np.diff(above, axis=axis)
        first = np.array(np.divmod(np.flatnonzero(differ), differ.shape[1]))
        known = ~np.isnan(values[tuple(first)]) & ~np.isnan(values[tuple(first + ahead)])
        first = first[:, known]
        higher = above[tuple(first)]
        for step in range(thick):
            for pixels, side in ((first - step * ahead, higher), (first + (step + 1) * ahead, ~higher)):
                inside = (pixels[axis] >= 0) & (pixels[axis] < size[axis])
                pixels, side = pixels[:, inside], side[inside]
                same = (above[tuple(pixels)] == side) & ~np.isnan(values[tuple(pixels)])
                pixels, side = pixels[:, same], side[same]
                box[tuple(pixels)] = np.where(side[:, None], ABOVE_LINE, BELOW_LINE)
