"""Which channels a sheet shows and in what order: by number, by their figures, or by likeness."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .channelstats import COLUMNS, FIGURES, ChannelRow, ChannelStatistics, figures, statistics
from .errors import BadChannels, BadOption, near
from .featuremap import FeatureMap, as_map
from .moments import BLOCK, moments

SORTS = ("index", *FIGURES, "similarity")
ALLOWED = (*SORTS, "similarity:17")
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
FLAGS = ("dead", "constant")
NUMBERS = tuple(name for name in COLUMNS if name not in (*FLAGS, "peak"))
FORM = 'a condition is written as "mean > 0.1 and not dead"'
Condition = Callable[[ChannelRow], Any] | str


def find_channels(fm: Any, condition: Condition, image: int | None = None, *, layout: str | None = None) -> list[int]:
    """The true numbers of the channels whose figures fit a condition, over all images or in one.

    `condition` is a text of comparisons joined by `and`, such as `"mean > 0.1 and sparsity < 50% and not dead"`, over the
    columns of `statistics`; or a function of a `ChannelRow`, for everything else. Text is read word by word, never
    run as code. Raises `BadOption` with near names.

    >>> import numpy as np
    >>> find_channels(np.array([[[0.0, 1.0, 5.0]]]), "max >= 1")
    [1, 2]
    """
    return _fitting(statistics(as_map(fm, layout), image), condition)


def _fitting(table: ChannelStatistics, condition: Condition) -> list[int]:
    fits = read(condition) if isinstance(condition, str) else condition
    if not callable(fits):
        raise BadOption(f"{condition!r}: {FORM}, or as a function of a channel's figures")
    return [row.channel for row in table if fits(row)]


def read(text: str) -> Callable[[ChannelRow], bool]:
    """A condition in words as a function of a channel's figures. Raises `BadOption`."""
    terms = [_term(part.strip(), text) for part in re.split(r"\band\b", text)]
    return lambda row: all(term(row) for term in terms)


def _term(part: str, text: str) -> Callable[[ChannelRow], bool]:
    flag = re.fullmatch(r"(not\s+)?(\w+)", part)
    if flag and flag[2] in FLAGS:
        name, wanted = flag[2], flag[1] is None
        return lambda row: getattr(row, name) is wanted
    found = re.fullmatch(r"(\w+)\s*(<=|>=|==|!=|<|>)\s*([^\s%]+)\s*(%?)", part)
    words = re.findall(r"[^\W\d]\w*", part)
    if found is None or found[1] not in NUMBERS:
        known = (*NUMBERS, *FLAGS)
        unknown = next((word for word in words if word not in (*known, "not")), "")
        raise BadOption(f"{part!r} in {text!r}: {FORM}; known are {', '.join(known)}.{near(unknown, known)}")
    try:
        limit = float(found[3]) / (100 if found[4] else 1)
    except ValueError as error:
        raise BadOption(f"{found[3]!r} in {text!r} is not a number: {FORM}") from error
    name, holds = found[1], COMPARISONS[found[2]]
    return lambda row: bool(holds(getattr(row, name), limit))


def positions(one: FeatureMap, channels: Any) -> np.ndarray:
    """Where the channels asked for lie in the map: true numbers, a slice, a mask, or a condition. Raises `BadChannels`."""
    if channels is None:
        return np.arange(len(one.channels))
    at = {channel: place for place, channel in enumerate(one.channels)}
    if isinstance(channels, str) or callable(channels):
        found = _fitting(statistics(one), channels)
        if not found:
            asked = repr(channels) if isinstance(channels, str) else "the condition"
            raise BadChannels(f"no channel of {one.layer.path!r} fits {asked}: statistics() shows their figures")
        return np.array([at[channel] for channel in found])
    mask = np.asarray(channels) if not isinstance(channels, slice) else None
    if mask is not None and mask.dtype == bool:
        if mask.shape != (len(one.channels),) or not mask.any():
            raise BadChannels(
                f"a mask of the shape {mask.shape} with {int(mask.sum())} chosen: give one for each of the"
                f" {len(one.channels)} channels, and choose at least one"
            )
        return np.flatnonzero(mask)
    return np.array([at[channel] for channel in one.select(channels).channels])


def check_sort(sort: Any) -> None:
    """Raises `BadOption` with near names for what no sheet can be sorted by."""
    name, colon, number = str(sort).partition(":")
    if sort not in SORTS and not (name == "similarity" and colon and number.isdecimal()):
        raise BadOption(f"sort={sort!r}: use {', '.join(map(repr, ALLOWED))}.{near(str(sort), SORTS)}")


def ordered(one: FeatureMap, chosen: np.ndarray, sort: str) -> np.ndarray:
    """Positions in the order of the sort: the largest first, or neighbours alike. Equal ones keep the order given, and
    channels without a figure come last."""
    if sort == "index":
        return chosen
    values = one.values if len(chosen) == len(one.channels) and (np.diff(chosen) == 1).all() else None
    values = one.values[..., chosen] if values is None else values
    name, _, other = sort.partition(":")
    if name == "similarity":
        alike, known = correlations(values[0])
        if not other:
            return chosen[chain(alike, known)]
        key = _likeness_to(one, int(other), values)
    else:
        key = figures(values)[name]
    return chosen[np.argsort(-np.where(np.isnan(key), -np.inf, key), kind="stable")]


def _likeness_to(one: FeatureMap, channel: int, values: np.ndarray) -> np.ndarray:
    """The correlation of each channel of `values` with one channel of the map."""
    if channel not in one.channels:
        raise BadChannels(f"sort='similarity:{channel}': {one.layer.path!r} has no channel {channel}")
    wanted = one.values[..., one.channels.index(channel)]
    alike, known = correlations(np.concatenate([values, wanted[..., None]], -1)[0])
    if not known[-1]:
        raise BadOption(f"sort='similarity:{channel}': channel {channel} is the same everywhere, so nothing is like it")
    return np.where(known[:-1], alike[-1, :-1], np.nan)


def correlations(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 `[channel, channel]` of Pearson's correlation over the positions, and which channels have one (a constant
    channel has none). NaN and ±inf count as the channel's mean."""
    flat = values.reshape(-1, values.shape[-1])
    found = moments(values[None])
    known = (found.count > 1) & (found.low < found.high) & (found.variance > 0)
    broken = found.count < len(flat)
    mean = np.where(known, found.mean, 0)
    # In units of the deviation, so that no square leaves the range of float32.
    unit = np.where(known, np.sqrt(np.where(known, found.variance, 1)), np.inf)
    products = np.zeros((len(unit),) * 2, np.float32)
    step = max(64, BLOCK // len(unit))
    for start in range(0, len(flat), step):
        block = flat[start : start + step].astype(np.float64)
        if broken.any():
            block = np.where(np.isfinite(block), block, mean)
        part = ((block - mean) / unit).astype(np.float32)
        products += part.T @ part
    return products / len(flat), known


def chain(alike: np.ndarray, known: np.ndarray) -> np.ndarray:
    """An order in which neighbours are alike; what is not `known` comes last.

    Average linkage (Sokal and Michener 1958) by the nearest-neighbour chain, which takes quadratic time; where two groups
    join, the two ends that are most alike meet. Begins at the end with the lower number.
    """
    live = np.flatnonzero(known)
    rest = np.flatnonzero(~known)
    if len(live) < 3:
        return np.concatenate([live, rest])
    ends = alike[np.ix_(live, live)]
    groups = _joined(ends)
    if groups[0] > groups[-1]:
        groups.reverse()
    return np.concatenate([live[groups], rest])


def _joined(ends: np.ndarray) -> list[int]:
    """All members in one list, by average linkage over the similarities `ends`."""
    count = len(ends)
    near_to = ends.copy()
    np.fill_diagonal(near_to, -np.inf)
    members: list[list[int]] = [[each] for each in range(count)]
    gone = np.zeros(count, np.float32)
    path: list[int] = []
    for _ in range(count - 1):
        if not path:
            path.append(int(np.flatnonzero(gone == 0)[0]))
        while True:
            row = near_to[path[-1]] + gone
            closest = int(row.argmax())
            if len(path) > 1 and row[path[-2]] >= row[closest]:
                break
            path.append(closest)
        first, second = path.pop(), path.pop()
        one, other = members[first], members[second]
        share = np.float32(len(one) / (len(one) + len(other)))
        row = near_to[first] * share + near_to[second] * (1 - share)
        near_to[first] = near_to[:, first] = row
        gone[second] = -np.inf
        members[first], members[second] = _met(one, other, ends), []
    return max(members, key=len)


def _met(one: list[int], other: list[int], ends: np.ndarray) -> list[int]:
    """Two lists joined where their ends are most alike."""
    meetings = (
        (ends[one[-1], other[0]], one, other),
        (ends[one[-1], other[-1]], one, other[::-1]),
        (ends[one[0], other[0]], one[::-1], other),
        (ends[one[0], other[-1]], other, one),
    )
    best = max(range(4), key=lambda at: meetings[at][0])
    return meetings[best][1] + meetings[best][2]


def said(sort: str) -> str:
    """The order in words, for the caption."""
    name, _, other = sort.partition(":")
    if name == "index":
        return ""
    if other:
        return f", sorted by similarity to channel {other}, most alike first"
    if name == "similarity":
        return ", sorted by similarity, neighbours alike"
    return f", sorted by {name}, largest first"
