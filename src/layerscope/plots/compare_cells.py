"""A table of maps: the names of its rows and columns, what each cell shows, and the scale that cells share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays.ranges import evenly, extent_of
from ..combinations.registry import combined
from ..core.feature_map import FeatureMap
from ..core.placement import Placement
from ..errors import BadOption, BadScale, LayerscopeError, near
from ..picture.codes import ABOVE, BELOW
from ..picture.norms import require_positive
from ..picture.palette import DIVERGING
from ..picture.scale import Scale
from ..picture.scale_rules import Beyond, given_scale
from ..safe_text import counted
from ..surface import option
from .options import DrawOptions
from .rgb import is_rgb, rgb_limits

RULES = ("all", "row", "column", "cell")
PHOTO, PADDING = "photo", 128


@dataclass(frozen=True)
class Blank:
    """Why a cell shows no map: a short word for code to choose by, and the text that stands in the cell.

    `kind` is `"shape"` (not a map of pixels), `"groups"` (labels or factors, which have no scale), `"channels"` (several),
    `"combination"` (it doesn't fit the layer), `"size"` (another size than in the first model) or `"missing"`.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Entry:
    """What one cell shows: a map `[y, x]`, or `[y, x, 3]` where it is colours from `low` to `high`; or why it shows none.

    A `flat` one is a row of numbers `[1, x]`, those of a dense layer or a sequence, which goes on below where it is long.
    """

    content: np.ndarray | Blank
    image: int = 0
    channel: int = -1
    low: Any = None
    high: Any = None
    flat: bool = False

    @property
    def plane(self) -> np.ndarray | None:
        """The map, if there is one."""
        return None if isinstance(self.content, Blank) else self.content

    @property
    def blank(self) -> Blank | None:
        """Why there is none, if there is none."""
        return self.content if isinstance(self.content, Blank) else None

    @property
    def colored(self) -> bool:
        return self.plane is not None and self.plane.ndim == 3


@dataclass(frozen=True, eq=False)
class Photo:
    """The part of a photo that the model saw, uint8 `[y, x, 3]`, and how it was cut: `"centre crop"`, `""` where it wasn't."""

    pixels: np.ndarray
    cut: str = ""

    @classmethod
    def seen(cls, photo: np.ndarray, place: Placement | None) -> Photo:
        """The maps below it span this part; what was padded is grey."""
        if place is None:
            return cls(photo)
        top, left, height, width = (round(side) for side in place.box)
        sides = (top, photo.shape[0] - top - height), (left, photo.shape[1] - left - width)
        if not any(side for pair in sides for side in pair):
            return cls(photo)
        rows, columns = ((max(start, 0), max(end, 0)) for start, end in sides)
        part = photo[rows[0] : photo.shape[0] - rows[1], columns[0] : photo.shape[1] - columns[1]]
        around = [(max(-start, 0), max(-end, 0)) for start, end in sides]
        padded = np.pad(part, (*around, (0, 0)), constant_values=PADDING) if np.any(around) else part
        return cls(padded, place.describe().rsplit(" ", 1)[0].removesuffix(", resized"))


@dataclass(frozen=True)
class Table:
    """Names and cells, row by row; `photos` for each column (or each row, where `photos_down`) if they are wanted.

    `details` are the lines below the name of each row, `usual` is what shares a range where nothing is asked for.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    entries: tuple[tuple[Entry, ...], ...]
    photos: tuple[Photo | None, ...] | None = None
    photos_down: bool = False
    details: tuple[tuple[str, ...], ...] = ()
    usual: str = "all"

    @property
    def photo_words(self) -> tuple[str, ...]:
        """What stands at the photos: how they were cut, where that is the same for all."""
        cuts = {photo.cut for photo in self.photos or () if photo is not None}
        cut = cuts.pop() if len(cuts) == 1 else "as the model saw it"
        return (PHOTO, cut) if cut else (PHOTO,)

    def values(self, rule: str) -> dict[Any, list[tuple[int, int]]]:
        """The `(row, column)` of the cells with a scale, grouped by what shares a range."""
        groups: dict[Any, list[tuple[int, int]]] = {}
        for row, entries in enumerate(self.entries):
            for column, entry in enumerate(entries):
                if entry.plane is not None and not entry.colored:
                    key = {"all": 0, "row": row, "column": column, "cell": (row, column)}[rule]
                    groups.setdefault(key, []).append((row, column))
        return groups

    def plane(self, index: tuple[int, int]) -> np.ndarray:
        plane = self.entries[index[0]][index[1]].plane
        assert plane is not None
        return plane


def fit_table_scale(table: Table, options: DrawOptions) -> Scale | None:
    """The scale of the table's cells; `None` where all of them are colours."""
    scale = table.usual if options.scale is None else options.scale
    colors, clip = options.colors, options.clip
    if options.norm not in (None, "linear") and not table.values("all"):
        raise BadOption(f"{option('norm', options.norm)} needs maps of numbers; these are three components as colours")
    if not isinstance(scale, str):
        rule = given_scale(scale, colors, clip, options.norm)
        return rule if table.values("all") else None
    if scale not in RULES:
        raise BadScale(
            f"scale={scale!r}: a comparison takes {', '.join(map(repr, RULES))}, (low, high) or a Scale{near(scale, RULES)}"
        )
    norm = options.norm or "linear"
    limits = np.full((len(table.rows), len(table.columns), 2), np.nan)
    groups = table.values(scale)
    cut = False
    for indices in groups.values():
        flat = np.concatenate([table.plane(index).ravel() for index in indices])
        fitted = Scale.fit(flat[None, :, None], "layer", clip, norm=norm)
        cut |= fitted.clip is not None
        found = np.array(fitted.limits)
        if fitted.clip is not None:
            found = evenly(found, extent_of(flat[None, :, None])[0, 0], fitted.center)
        for index in indices:
            limits[index] = found
    if not groups:
        return None
    if norm == "log":
        require_positive(flat[None, :, None], limits)
    # Colours that are asked for hold for all cells.
    colors = "crameri:vik" if colors == DIVERGING else colors
    ends = fitted.limits if scale == "all" else limits
    return Scale.within(ends, colors, None, scale, clip if cut else None, norm)


def all_beyond(table: Table, rule: Scale | None) -> Beyond:
    """What lies outside the limits, over all cells."""
    if rule is None:
        return Beyond()
    return _sum_beyond([Beyond.of(table.plane(index), rule.range(*index)) for index in table.values("all")[0]])


def _sum_beyond(parts: Sequence[Beyond]) -> Beyond:
    return Beyond(
        sum(part.below for part in parts),
        sum(part.above for part in parts),
        min(part.least for part in parts),
        max(part.most for part in parts),
        sum(part.size for part in parts),
    )


def shared_bar(table: Table, rule: Scale, row: Any, column: Any) -> tuple[Scale, set[int], tuple[float, float] | None]:
    """The scale that a row or a column shares, the marks beyond its ends, and how far its values go."""
    limits = rule.limits[row, column].reshape(-1, 2)
    limits = limits[~np.isnan(limits[:, 0])]
    shared = (float(limits[0, 0]), float(limits[0, 1])) if len(limits) else (0.0, 0.0)
    entries = np.array(table.entries, object)[row, column].ravel()
    parts = [Beyond.of(entry.plane, shared) for entry in entries if entry.plane is not None and not entry.colored]
    beyond = _sum_beyond(parts) if parts else Beyond()
    marks = {mark for mark, count in ((BELOW, beyond.below), (ABOVE, beyond.above)) if count}
    reach = (beyond.least, beyond.most) if parts else None
    return replace(rule.alone(shared), per="fixed"), marks, reach


def combine_all(maps: Mapping[Any, FeatureMap], combine: Any) -> dict[Any, FeatureMap | Blank]:
    """Each map combined to what a cell can show. A combination that fits none of them raises what it says of the first."""
    cells: dict[Any, FeatureMap | Blank] = {}
    failed: list[LayerscopeError] = []
    for name, fm in maps.items():
        try:
            cells[name] = combine_for_cell(fm, combine)
        except LayerscopeError as error:
            failed.append(error)
            cells[name] = Blank("combination", error.problem)
    if failed and all(isinstance(cell, Blank) for cell in cells.values()):
        raise failed[0]
    return cells


def combine_for_cell(fm: FeatureMap, combine: Any) -> FeatureMap | Blank:
    """The map combined to what a cell can show, or why it can't be."""
    if is_dense(fm) and combine is None and not fm.role:
        return fm
    if blank := unfit(fm):
        return blank
    combination = combined(fm, combine if combine is not None else usual_rule(fm))
    if blank := unfit(combination):
        return blank
    if combination.shape[-1] != 1 and not is_rgb(combination):
        return Blank("channels", f"{combination.shape[-1]} channels after {combination.rule or 'the combination'}")
    return combination


def usual_rule(fm: FeatureMap) -> str | None:
    """The combination that several channels get where none is asked for."""
    return None if fm.shape[-1] == 1 or is_rgb(fm) or fm.role else "mean"


def is_dense(fm: FeatureMap) -> bool:
    """Whether a map is one number for each channel."""
    return max(fm.spatial, default=1) == 1


def unfit(fm: FeatureMap) -> Blank | None:
    """Why channels that are combined, or taken alone, have no picture of their own in a cell; `None` where they have."""
    if is_dense(fm):
        return Blank("shape", f"{'one pixel' if fm.spatial else 'dense'}: {counted(fm.shape[-1], 'number')}")
    if len(fm.spatial) == 1 and is_rgb(fm):
        return Blank("shape", f"sequence of {fm.spatial[0]}")
    grouped = fm.role == "labels" or (fm.role == "factors" and fm.shape[-1] > 1)
    return Blank("groups", f"{fm.role}, which have no scale") if grouped else None


def entry_of(cell: FeatureMap | Blank, image: int, column: int, clip: tuple[float, float] | None = None) -> Entry:
    """The cell for one image of a map, or a blank one; `clip` are the percentiles at which colours end."""
    if isinstance(cell, Blank):
        return Entry(cell, column)
    if is_rgb(cell):
        low, high = rgb_limits(cell, clip)
        return Entry(_slice(cell.values[image], len(cell.spatial)), column, 0, low, high)
    if is_dense(cell):
        return Entry(cell.values[image].reshape(1, -1), column, 0 if cell.shape[-1] == 1 else -1, flat=True)
    return replace(channel_entry(cell, image, 0), image=column, channel=0)


def channel_entry(fm: FeatureMap, image: int, index: int) -> Entry:
    """The cell for one image of one channel of a map that isn't unfit: the middle slice of a volume, a sequence as a row."""
    values, channel = fm.values[image, ..., index], fm.channels[index]
    if values.ndim == 1:
        return Entry(values[None], image, channel, flat=True)
    return Entry(_slice(values, len(fm.spatial)), image, channel)


def _slice(values: np.ndarray, axes: int) -> np.ndarray:
    return values[middle(values.shape[0])] if axes == 3 else values


def middle(count: int) -> int:
    """The number of the slice that stands for a volume."""
    return count // 2


def size_text(spatial: Sequence[int]) -> str:
    """The sizes of a map in words: width × height, and depth."""
    return " × ".join(map(str, spatial[::-1]))
