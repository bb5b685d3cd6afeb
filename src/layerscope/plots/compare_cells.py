"""A table of maps: the names of its rows and columns, what each cell shows, and the scale that cells share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays.ranges import checked_clip, extent_of, percentiles

# MOVED
from ..combinations.registry import combined
from ..core.feature_map import FeatureMap
from ..errors import BadScale, LayerscopeError, near
from ..picture.codes import ABOVE, BELOW
from ..picture.scale import Scale
from ..picture.scale_rules import Beyond, given_scale
from .rgb import is_rgb, rgb_limits

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


GROUPED_SAID = "which have no scale"


def all_suited(maps: Mapping[Any, FeatureMap], combine: Any) -> dict[Any, FeatureMap | str]:
    """Each map as `suited` gives it. A combination that suits none of them raises what it says of the first."""
    made: dict[Any, FeatureMap | str] = {}
    failed: list[LayerscopeError] = []
    for name, fm in maps.items():
        try:
            made[name] = suited(fm, combine)
        except LayerscopeError as error:
            failed.append(error)
            made[name] = str(error).partition(": ")[0]
    if failed and not any(isinstance(each, FeatureMap) for each in made.values()):
        raise failed[0]
    return made


def suited(fm: FeatureMap, combine: Any) -> FeatureMap | str:
    """The map combined to what a cell can show, or why it can't."""
    reason = unfit(fm)
    if reason:
        return reason
    made = combined(fm, combine if combine is not None else usual_rule(fm))
    if reason := unfit(made):
        return reason
    if made.shape[-1] != 1 and not is_rgb(made):
        return f"{made.shape[-1]} channels after {made.rule or 'the combination'}"
    return made


def usual_rule(fm: FeatureMap) -> str | None:
    """The combination that several channels get where none is asked for."""
    return None if fm.shape[-1] == 1 or is_rgb(fm) or fm.role else "mean"


def unfit(fm: FeatureMap) -> str:
    """Why a map has no picture of its own in a cell; `""` where it has."""
    numbers = f"{fm.shape[-1]} number{'s' if fm.shape[-1] > 1 else ''}"
    if not fm.spatial:
        return f"dense: {numbers}"
    if max(fm.spatial) == 1:
        return f"one pixel: {numbers}"
    if len(fm.spatial) == 1:
        return f"sequence of {fm.spatial[0]}"
    if len(fm.spatial) == 3:
        return f"volume: {pixels(fm.spatial)}"
    grouped = fm.role == "labels" or (fm.role == "factors" and fm.shape[-1] > 1)
    return f"{fm.role}, {GROUPED_SAID}" if grouped else ""


def entry(made: FeatureMap | str, at: int, column: int) -> Entry:
    """The cell for one image of a map, or a blank one with the reason."""
    if isinstance(made, str):
        return Entry(None, column, reason=made)
    if is_rgb(made):
        low, high = rgb_limits(made)
        return Entry(made.values[at], column, 0, low=low, high=high)
    return Entry(made.values[at, ..., 0], column, 0)


def pixels(spatial: Sequence[int]) -> str:
    """The sizes of a map in words."""
    return "×".join(map(str, spatial))
