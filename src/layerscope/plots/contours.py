"""Contours: the borders between the places of a map that lie below and above a level."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..errors import BadOption
from ..picture.numbers import reading
from ..picture.scale import Scale

MOST_LEVELS = 100


ALLOWED = f"use how many, from 1 to {MOST_LEVELS}, or a list of levels"


ABOVE_LINE, BELOW_LINE = np.array([[255], [0]], np.uint8)


def contour_levels(contours: Any, rule: Scale) -> tuple[float, ...]:
    """The levels asked for, rising."""
    if contours is None:
        return ()
    if isinstance(contours, int | np.integer) and not isinstance(contours, bool):
        if not 1 <= contours <= MOST_LEVELS:
            raise BadOption(f"contours={contours}: {ALLOWED}")
        low, high = rule.limits
        levels = [low + (high - low) * at / (int(contours) + 1) for at in range(1, int(contours) + 1)]
        return tuple(sorted(set(levels)))  # one where the map is flat
    if isinstance(contours, str):
        raise BadOption(f"contours={contours!r}: {ALLOWED}")
    try:
        levels = sorted({float(each) for each in contours})
    except (TypeError, ValueError) as error:
        raise BadOption(f"contours={contours!r}: {ALLOWED}") from error
    if not levels or not np.isfinite(levels).all():
        raise BadOption(f"contours={contours!r}: use at least one level, all of them finite numbers")
    return tuple(levels)


def levels_said(levels: tuple[float, ...], values: np.ndarray, rule: Scale) -> tuple[str, ...]:
    """The levels that have a line, and those that the map nowhere crosses."""
    low, high = extent_of(values)[0, 0]
    drawn = [reading(each, *rule.limits) for each in levels if low < each <= high]
    missed = [reading(each, *rule.limits) for each in levels if not low < each <= high]
    said = [f"contours at {', '.join(drawn)}, white on the higher side"] if drawn else []
    said += [f"no contour at {', '.join(missed)}: the map doesn't cross it"] if missed else []
    return (" · ".join(said),) if said else ()


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
            for at, side in ((first - step * ahead, higher), (first + (step + 1) * ahead, ~higher)):
                inside = (at[axis] >= 0) & (at[axis] < size[axis])
                at, side = at[:, inside], side[inside]
                same = (above[tuple(at)] == side) & ~np.isnan(values[tuple(at)])
                at, side = at[:, same], side[same]
                box[tuple(at)] = np.where(side[:, None], ABOVE_LINE, BELOW_LINE)
