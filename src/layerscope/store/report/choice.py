"""Which channels a report shows: those that are named, or those that tell most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...errors import BadChannels, BadOption
from ...picture.numbers import number
from ...safe_text import counted
from ..answers import class_table, statistics_table
from ..plan import Kept
from ..reading import channel_at, path_of
from ..table import Table
from ..vectors import label_numbers

if TYPE_CHECKING:
    from ..store import Store

USUAL = 12


class Choice(NamedTuple):
    """The places of some channels among those kept of a layer, why these, and a line about each where there is one."""

    places: list[int]
    why: str
    lines: dict[int, str]


def numbers_of(store: Store, kepts: Sequence[Kept], channels: Any) -> list[int] | None:
    """The channels that are named, as numbers. Raises `BadChannels` for one that none of the layers has."""
    if channels is None:
        return None
    given = [channels] if isinstance(channels, int | np.integer) else channels
    if isinstance(given, str) or not all(isinstance(one, int | np.integer) for one in given):
        raise BadOption(f"channels={channels!r:.80}: give the numbers of channels")
    for one in given:
        if not any(one in kept.channels for kept in kepts):
            channel_at(max(kepts, key=lambda kept: len(kept.channels)), int(one))  # raises
    if not len(given):
        raise BadChannels("channels=[] chooses none: leave it out for those that tell most")
    return [int(one) for one in given]


def chosen(store: Store, kept: Kept, numbers: Sequence[int] | None) -> Choice:
    """The channels of a layer that are named, else those that tell classes apart, else those with outstanding values."""
    tally = store.tally(path_of(kept))
    table = statistics_table(kept, tally)
    alive = ~(table["dead"] | table["constant"]) & (tally.count > 0)
    keys = np.divide(
        table["max"] - table["mean"], table["deviation"], out=np.full(len(alive), np.nan), where=table["deviation"] > 0
    )
    first = "of how many deviations their largest value lies above the mean"
    lines: dict[int, str] = {}
    classes = _classes(store, kept)
    if classes is not None:
        lines = {at: _class_line(row) for at, row in enumerate(classes) if alive[at]}
        keys = classes["auc"]  # selectivity is 1 for a channel that a single image excites
        first = "of how well their largest values tell one class from the others (AUC)"
    if numbers is not None:
        places = [kept.channels.index(one) for one in numbers if one in kept.channels]
        return Choice(places, "As they were named" if places else "None of the channels that were named", lines)
    keys = np.where(alive & ~np.isnan(keys), keys, -np.inf)
    places = [at for at in np.argsort(-keys, kind="stable").tolist() if np.isfinite(keys[at])][:USUAL]
    return Choice(places, f"{len(places)} of {counted(len(kept.channels), 'channel')}, in the order {first}", lines)


def _classes(store: Store, kept: Kept) -> Table | None:
    """Which class each channel answers to; `None` where the images don't tell: of one class, or not kept."""
    if store.plan.keep == "stats":
        return None
    labels, _ = label_numbers(store.labels)
    seen = np.isfinite(store.vectors(path_of(kept), "max")).any(1)
    return class_table(store, kept, "max") if len(np.unique(labels[seen & (labels >= 0)])) > 1 else None


def _class_line(row: dict[str, Any]) -> str:
    """Which class a channel answers to, in numbers."""
    ratio = "" if np.isnan(row["selectivity"]) else f"selectivity {number(row['selectivity'])}, "
    return (
        f"answers most to {row['class']}: {number(row['inside'])} on average, {number(row['others'])} for other classes"
        f" ({ratio}AUC {number(row['auc'])})"
    )
