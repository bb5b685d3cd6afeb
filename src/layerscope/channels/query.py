"""TODO"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.feature_map import FeatureMap, as_map
from ..errors import BadChannels, BadOption, near
from .statistics import COLUMNS, ChannelRow, ChannelStatistics, statistics

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
