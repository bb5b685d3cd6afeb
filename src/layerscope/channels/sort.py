"""Which channels a sheet shows and in what order: by number, by their figures, or by similarity."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays.moments import BLOCK, moments
from ..core.feature_map import FeatureMap
from ..core.progress import work
from ..errors import BadChannels, BadOption, near
from ..surface import option
from .statistics import FIGURES, figures

SORTS = ("index", *FIGURES, "similarity")
ALLOWED = (*SORTS, "similarity:17")


def check_sort(sort: Any) -> Any:
    """`sort` itself. Raises `BadOption` with near names for what no sheet can be sorted by."""
    name, colon, number = str(sort).partition(":")
    if sort not in SORTS and not (name == "similarity" and colon and number.isdecimal()):
        raise BadOption(f"{option('sort', sort)}: use {', '.join(map(repr, ALLOWED))}{near(str(sort), SORTS)}")
    return sort


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
    asked = option("sort", f"similarity:{channel}")
    if channel not in one.channels:
        raise BadChannels(f"{asked}: {one.layer.path!r} has no channel {channel}")
    wanted = one.values[..., one.channels.index(channel)]
    alike, known = correlations(np.concatenate([values, wanted[..., None]], -1)[0])
    if not known[-1]:
        raise BadOption(f"{asked}: channel {channel} is constant, so no channel correlates with it")
    return np.where(known[:-1], alike[-1, :-1], np.nan)


def correlations(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 `[channel, channel]` of Pearson's correlation over the positions, and which channels have one (a constant
    channel has none). NaN and ±inf count as the channel's mean."""
    flat = values.reshape(-1, values.shape[-1])
    per_channel = moments(values[None])
    known = (per_channel.count > 1) & (per_channel.low < per_channel.high) & (per_channel.variance > 0)
    broken = per_channel.count < len(flat)
    mean = np.where(known, per_channel.mean, 0)
    # In units of the deviation, so that no square leaves the range of float32.
    unit = np.where(known, np.sqrt(np.where(known, per_channel.variance, 1)), np.inf)
    products = np.zeros((len(unit),) * 2, np.float32)
    # Fewer rows at a time would add up matrices of this size for most of the time.
    rows = max(256, BLOCK // len(unit))
    starts = range(0, len(flat), rows)
    with work(len(starts), "blocks") as step:
        for start in starts:
            block = flat[start : start + rows].astype(np.float64)
            if broken.any():
                block = np.where(np.isfinite(block), block, mean)
            part = ((block - mean) / unit).astype(np.float32)
            products += part.T @ part
            step(1)
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
    members: list[list[int]] = [[channel] for channel in range(count)]
    gone = np.zeros(count, np.float32)
    path: list[int] = []
    with work(count - 1, "pairs") as step:
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
            step(1)
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


def describe_sort(sort: str, *, part: bool = False) -> str:
    """The order in words, for the caption; `part`: only some of the layer's channels were sorted."""
    name, _, other = sort.partition(":")
    if name == "index":
        return ""
    these = "only these channels, " if part else ""
    if other:
        return f"{these}sorted by similarity to channel {other}, most similar first"
    if name == "similarity":
        return f"{these}sorted by similarity, similar ones side by side"
    return f"{these}sorted by {name}{' (sum of squares)' if name == 'energy' else ''}, largest first"
