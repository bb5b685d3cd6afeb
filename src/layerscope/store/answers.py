"""What a store says of channels, classes, images and layers, as tables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..channels.statistics import listed
from ..errors import BadOption
from ..picture.numbers import digits_that_rank, number
from ..safe_text import counted
from . import vectors
from .halves import LARGEST
from .plan import Kept
from .reading import path_of
from .receipts import DONE
from .table import Table
from .tally import Tally, edges, quantiles

if TYPE_CHECKING:
    from .store import Store

QUANTILES = {"q01": 0.01, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "q99": 0.99}
SATURATED = 0.5  # of the values in the bin of the largest one


def statistics_table(kept: Kept, tally: Tally) -> Table:
    """The figures of each channel over the data set."""
    found = tally.count > 0
    whole = tally.count + tally.nan + tally.inf
    low, high = (np.where(found, ends, np.nan).astype(float) for ends in (tally.low, tally.high))
    dead = found & (tally.low == 0) & (tally.high == 0) & (tally.count == whole)
    constant = found & (tally.low == tally.high) & ~dead & (tally.count == whole)
    saturated = (_share_at_top(tally) >= SATURATED) & ~dead & ~constant
    levels = quantiles(tally, tuple(QUANTILES.values()))
    columns = {
        "channel": np.array(kept.channels),
        "min": low,
        "mean": tally.mean,
        "max": high,
        "deviation": tally.deviation,
        **{name: levels[:, index] for index, name in enumerate(QUANTILES)},
        "sparsity": _share(tally.zeros, tally.count),
        "positive": _share(tally.positive, tally.count),
        "dead": dead,
        "constant": constant,
        "saturated": saturated,
        "nan": tally.nan,
        "inf": tally.inf,
    }
    if kept.labels:
        columns = {"channel": columns.pop("channel"), "class": np.array(kept.labels), **columns}
    notes = [
        f"{word}: {np.count_nonzero(which)} ({listed(np.array(kept.channels)[which].tolist())})"
        for word, which in (("dead", dead), ("constant", constant), ("saturated", saturated))
        if which.any()
    ]
    if tally.beyond.any():
        notes.append(f"quantiles beyond ±{LARGEST:,.0f}, the largest number of a float16, aren't known: NaN")
    title = f"{counted(len(kept.channels), 'channel')} of {path_of(kept)} in {counted(tally.images(kept.positions), 'image')}"
    return Table(columns, title, notes)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _share_at_top(tally: Tally) -> np.ndarray:
    """For each channel the share of its values that lie in one bin with the largest, within 3 % of it."""
    ends = edges()
    held = tally.histogram > 0
    upper = np.where(held, ends[:, 1], -np.inf).argmax(1)
    rows = np.arange(len(held))
    # The bins around 0 and beyond float16 are wider than that.
    wide = ~np.isfinite(ends[upper, 1]) | ((ends[upper] == 0).any(1) & (tally.high != 0))
    return np.where(wide, 0, _share(tally.histogram[rows, upper], tally.count))


def histogram_table(kept: Kept, tally: Tally, at: int) -> Table:
    """The bins of one channel that hold something, from the lowest: their edges and how many values."""
    ends, counts = edges(), tally.histogram[at]
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    order = order[counts[order] > 0]
    low = np.clip(np.minimum(ends[order, 0], LARGEST), tally.low[at], tally.high[at])
    high = np.clip(np.maximum(ends[order, 1], -LARGEST), tally.low[at], tally.high[at])
    title = f"channel {kept.channels[at]} of {path_of(kept)}: {counted(int(counts.sum()), 'value')}"
    return Table({"low": low, "high": high, "count": counts[order]}, title)


def _labelled(store: Store) -> tuple[np.ndarray, list[str]]:
    numbers, names = vectors.label_numbers(store.labels)
    if not names:
        raise BadOption(
            "the images of this store have no labels",
            "scan a folder with one folder per class, or a list with a column of labels",
        )
    return numbers, names


def class_table(store: Store, kept: Kept, by: str) -> Table:
    """For each channel the class that it answers to most, and how much it tells it from the others."""
    labels, names = _labelled(store)
    one = vectors.selectivity(store.vectors(path_of(kept), by), labels, len(names))
    columns = {
        "channel": np.array(kept.channels),
        "class": np.array([*names, ""])[one.best],  # -1: none
        "inside": one.inside,
        "others": one.others,
        "selectivity": one.ratio,
        "auc": one.auc,
    }
    return Table(columns, f"{by} of {path_of(kept)} by {counted(len(names), 'class', 'classes')}")


def class_means_table(store: Store, kept: Kept, by: str) -> Table:
    """A row for each channel, a column for each class: the mean over its images."""
    labels, names = _labelled(store)
    one = vectors.selectivity(store.vectors(path_of(kept), by), labels, len(names))
    columns = {"channel": np.array(kept.channels)}
    for index, name in enumerate(names):
        columns[_beside(columns, name)] = one.means[:, index]
    return Table(columns, f"mean {by} of {path_of(kept)} in each class")


def without_values(store: Store, kept: Kept, at: int) -> str:
    """Why a channel has nothing to show, in words."""
    if not any(store.receipts):
        return "the scan has done no unit yet: the same scan goes on with it"
    if not store.tally(path_of(kept)).images(kept.positions):
        return f"none of {counted(store.plan.images, 'image')} could be read"
    return f"channel {kept.channels[at]} of {path_of(kept)} has no finite value in any image"


def similar_channels_table(store: Store, kept: Kept, at: int, *, by: str, count: int) -> Table:
    """The channels whose values go with those of one channel over the images."""
    values = store.vectors(path_of(kept), by)
    values = values[np.isfinite(values[:, at])]
    if not len(values):
        raise BadOption(without_values(store, kept, at))
    if len(values) >= vectors.COMPARED and values[:, at].min() == values[:, at].max():
        much = number(float(values[0, at]))
        raise BadOption(
            f"the {by} of channel {kept.channels[at]} of {path_of(kept)} is {much} in every image: it goes with no other"
        )
    found = vectors.correlations(np.broadcast_to(values[:, [at]], values.shape), values)
    order = [row for row in np.argsort(np.where(np.isnan(found), np.inf, -found), kind="stable") if row != at][:count]
    columns = {"channel": np.array(kept.channels)[order], "correlation": found[order]}
    title = f"like channel {kept.channels[at]} of {path_of(kept)} by the {by} over {counted(len(values), 'image')}"
    few = f"a correlation needs {vectors.COMPARED} images: NaN"
    constant = "NaN: the channel is the same in every image, or the two share too few"
    notes = [few] if len(values) < vectors.COMPARED else [constant] if np.isnan(found[order]).any() else []
    return Table(columns, title, notes)


def similar_images_table(store: Store, kept: Kept, row: int, *, by: str, count: int) -> Table:
    """The images whose vectors point in about the same direction as those of one image."""
    values = store.vectors(path_of(kept), by)
    here = vectors.present(values)
    if not here[row]:
        receipt = store.receipts[row // store.plan.unit]
        outcome = None if receipt is None else receipt.images[row - receipt.first].outcome
        why = {None: "it isn't done yet", DONE: "its values aren't finite"}.get(outcome, "it couldn't be read")
        raise BadOption(f"{store.ids[row]} has no vector: {why}")
    whole = vectors.complete(values[here])
    found = np.full(len(values), np.nan)
    found[here] = vectors.cosines(values[here][:, whole], values[row, whole])
    if np.isnan(found[row]):
        raise BadOption(f"the vector of {store.ids[row]} is 0 everywhere: it has no direction to compare")
    order = [at for at in np.argsort(-found, kind="stable") if at != row and not np.isnan(found[at])][:count]
    columns = {"image": [store.ids[at] for at in order], "cosine": found[order]}
    if any(store.labels):
        columns["label"] = [store.labels[at] for at in order]
    title = f"like {store.ids[row]} in {path_of(kept)} by the {by}"
    return Table(columns, title, left_out(whole), {"cosine": digits_that_rank(found[order])})


def left_out(whole: np.ndarray) -> list[str]:
    """What is said of the channels that aren't compared."""
    few = int(np.count_nonzero(~whole))
    return [f"without {counted(few, 'channel')} that aren't finite in every image"] if few else []


def _beside(columns: Mapping[str, Any], name: str) -> str:
    """A column's name that none of these has: `layer (2)` beside `layer`."""
    names = (f"{name} ({number})" if number > 1 else name for number in itertools.count(1))
    return next(each for each in names if each not in columns)


def same_images(one: Store, other: Store) -> None:
    """Raises `BadOption` where two stores aren't of the same images in the same order."""
    if one.ids == other.ids:
        return
    if len(one.ids) != len(other.ids):
        problem = f"one has {counted(len(one.ids), 'image')}, the other {len(other.ids)}"
    else:
        row = next(row for row, ids in enumerate(zip(one.ids, other.ids, strict=True)) if ids[0] != ids[1])
        problem = f"image {row} is {one.ids[row]} in one and {other.ids[row]} in the other"
    raise BadOption(f"the stores hold other images: {problem}", "scan the same list of images with both models")


def other_files(one: Store, other: Store) -> list[str]:
    """What is said of images of the same names that are other files in two stores."""
    if one is other:
        return []
    digests = (
        {image.id: image.digest for receipt in store.receipts if receipt for image in receipt.images}
        for store in (one, other)
    )
    first, second = digests
    differ = [name for name, digest in first.items() if digest and second.get(name) and second[name] != digest]
    if not differ:
        return []
    which = differ[0] if len(differ) == 1 else f"{differ[0]} and {len(differ) - 1:,} more"
    return [f"other files of the same names in the two stores: {which}"]


def other_input(one: Store, other: Store) -> list[str]:
    """What is said of models that saw the images in another size or otherwise prepared."""
    first, second = one.plan, other.plan
    if (first.recipe, first.input) == (second.recipe, second.input):
        return []
    words = f": {first.preprocess}; and {second.preprocess}" if first.preprocess != second.preprocess else ""
    return [f"the two models saw the images otherwise prepared{words}"]


def compare_table(before: Store, after: Store, kept: Kept, other: Kept, *, by: str) -> Table:
    """For each channel of a layer how it has moved from one store to the other, those that moved most first."""
    same_images(before, after)
    if kept.channels != other.channels:
        raise BadOption(
            f"{path_of(kept)} has {counted(len(kept.channels), 'channel')} in one store, and {path_of(other)}"
            f" {len(other.channels)} in the other: channels are compared by their numbers"
        )
    values = before.vectors(path_of(kept), by), after.vectors(path_of(other), by)
    here = vectors.present(*values)
    values = values[0][here], values[1][here]
    tallies = before.tally(path_of(kept)), after.tally(path_of(other))
    columns = {
        "channel": np.array(kept.channels),
        "correlation": vectors.correlations(*values),
        "mean_before": tallies[0].mean,
        "mean_after": tallies[1].mean,
        "deviation_before": tallies[0].deviation,
        "deviation_after": tallies[1].deviation,
        "distance": vectors.js_distance(tallies[0].histogram, tallies[1].histogram),
    }
    title = f"{by} of {path_of(kept)} before and after, over {counted(int(here.sum()), 'image')}; those that moved most first"
    notes = [*other_files(before, after), *other_input(before, after)]
    # A channel that is the same for all images in one store and not in the other has moved farthest.
    moved = np.where(np.isnan(columns["correlation"]), 2 * columns["distance"], 1 - columns["correlation"])
    return Table(columns, title, notes).take(np.argsort(-moved, kind="stable"))


def cka_table(one: Store, other: Store, names: Sequence[str], others: Sequence[str], *, by: str) -> Table:
    """Linear CKA between layers, a row for each of one store and a column for each of the other."""
    same_images(one, other)
    first = [one.vectors(name, by) for name in names]
    second = first if one is other and names == others else [other.vectors(name, by) for name in others]
    known = [each for each in (*first, *second) if np.isfinite(each).any()]  # a layer of NaN says nothing of the images
    here = vectors.present(*known) if known else np.zeros(len(one.ids), bool)
    first, second = ([_whole(each[here]) for each in several] for several in (first, second))
    columns: dict[str, Any] = {"layer": list(names)}
    for name, column in zip(others, second, strict=True):
        columns[_beside(columns, name)] = np.array([vectors.cka(row, column) for row in first])
    title = f"linear CKA of the {by} over {counted(int(here.sum()), 'image')}, unbiased: 1 is the same up to a rotation"
    empty = any(np.isnan(column).any() for name, column in columns.items() if name != "layer")
    notes = [
        *other_files(one, other),
        *other_input(one, other),
        *(["NaN: one of the two layers doesn't tell the images apart"] if empty else []),
    ]
    return Table(columns, title, notes)


def _whole(values: np.ndarray) -> np.ndarray:
    """Without the channels that aren't finite in every image."""
    return values[:, vectors.complete(values)]
