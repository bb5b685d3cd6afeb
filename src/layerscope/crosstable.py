"""A table of maps: the names of its rows and columns, what each cell shows, and the scale that cells share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .encoding import ABOVE, BELOW, extent_of
from .errors import BadScale, near
from .percentiles import checked_clip, percentiles
from .ruling import Beyond, given_scale
from .scale import Scale

RULES = ("all", "row", "column", "cell")


@dataclass(frozen=True)
class Entry:
    """What one cell shows: a map `[y, x]`, or `[y, x, 3]` where it is colours from `low` to `high`; or why it shows none."""

    plane: np.ndarray | None
    image: int = 0
    channel: int = -1
    reason: str = ""
    low: Any = None
    high: Any = None

    @property
    def colored(self) -> bool:
        return self.plane is not None and self.plane.ndim == 3


@dataclass(frozen=True)
class Table:
    """Names and cells, row by row; `photos` for each column (or each row, where `photos_down`) if they are wanted."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    entries: tuple[tuple[Entry, ...], ...]
    photos: tuple[np.ndarray | None, ...] | None = None
    photos_down: bool = False

    def values(self, rule: str) -> dict[Any, list[tuple[int, int]]]:
        """The places of the cells with a scale, grouped by what shares a range."""
        found: dict[Any, list[tuple[int, int]]] = {}
        for row, entries in enumerate(self.entries):
            for column, entry in enumerate(entries):
                if entry.plane is not None and not entry.colored:
                    key = {"all": 0, "row": row, "column": column, "cell": (row, column)}[rule]
                    found.setdefault(key, []).append((row, column))
        return found

    def plane(self, place: tuple[int, int]) -> np.ndarray:
        plane = self.entries[place[0]][place[1]].plane
        assert plane is not None
        return plane


def fitted_scale(table: Table, scale: Any, colors: str | None, clip: Any) -> Scale | None:
    """The scale of the table's cells; `None` where all of them are colours."""
    if not isinstance(scale, str):
        rule = given_scale(scale, colors, clip)
        return rule if table.values("all") else None
    if scale not in RULES:
        raise BadScale(
            f"scale={scale!r}: a comparison takes {', '.join(map(repr, RULES))}, (low, high) or a Scale.{near(scale, RULES)}"
        )
    limits = np.full((len(table.rows), len(table.columns), 2), np.nan)
    groups = table.values(scale)
    cut = False
    for places in groups.values():
        flat = np.concatenate([table.plane(place).ravel() for place in places])
        found = extent_of(flat[None, :, None])[0, 0]
        found = np.zeros(2) if np.isnan(found[0]) else found
        if clip is not None and (inner := percentiles(flat, clip))[0] < inner[1]:
            found, cut = inner, True
        for place in places:
            limits[place] = found
    if not groups:
        return None
    kept = checked_clip(clip) if cut else None
    return Scale.within(found if scale == "all" else limits, colors, None, scale, kept)


def all_beyond(table: Table, rule: Scale | None) -> Beyond:
    """What lies outside the limits, over all cells."""
    if rule is None:
        return Beyond()
    each = [Beyond.of(table.plane(place), rule.range(*place)) for place in table.values("all")[0]]
    return Beyond(
        sum(one.below for one in each),
        sum(one.above for one in each),
        min(one.least for one in each),
        max(one.most for one in each),
    )


def shared_bar(table: Table, rule: Scale, row: Any, column: Any) -> tuple[Scale, set[int], tuple[float, float] | None]:
    """The scale that a row or a column shares, the marks beyond its ends, and how far its values go."""
    limits = rule.limits[row, column].reshape(-1, 2)
    limits = limits[~np.isnan(limits[:, 0])]
    shared = (float(limits[0, 0]), float(limits[0, 1])) if len(limits) else (0.0, 0.0)
    entries = np.array(table.entries, object)[row, column].ravel()
    beyond = [Beyond.of(each.plane, shared) for each in entries if each.plane is not None and not each.colored]
    marks = {BELOW} if any(each.below for each in beyond) else set()
    marks |= {ABOVE} if any(each.above for each in beyond) else set()
    reach = (min(each.least for each in beyond), max(each.most for each in beyond)) if beyond else None
    return Scale(shared, rule.colors, rule.center, "fixed", rule.clip), marks, reach
