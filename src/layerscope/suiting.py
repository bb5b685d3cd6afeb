"""What a combination makes of a map for a cell of a comparison, or why that cell stays blank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .crosstable import Entry
from .errors import LayerscopeError
from .featuremap import FeatureMap
from .heatmaps import is_rgb, rgb_limits
from .rules import combined

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
