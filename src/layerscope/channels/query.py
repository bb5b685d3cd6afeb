"""How channels are chosen: one grammar for `sheet`, `show`, `capture`, `find_channels` and the command line.

As a text, channels are chosen by

    query      = term { "and" term }
    term       = numbers | [ "not" ] flag | figure comparison limit
    numbers    = part { "," part }
    part       = whole | [ whole ] ":" [ whole ]           true channel numbers of up to 18 digits; the end of a run isn't
                                                           included
    flag       = "dead" | "constant"
    figure     = "channel" | "min" | "mean" | "max" | "deviation" | "sparsity" | "positive" | "energy" | "nan" | "inf"
    comparison = "<=" | ">=" | "==" | "!=" | "<" | ">"
    limit      = [ sign ] ( digits [ "." [ digits ] ] | "." digits ) [ "e" [ sign ] digits ] [ "%" ]
               | [ sign ] ( "inf" | "infinity" ) | "nan"      in any case

with any space between words and signs, such as `0:16,40` or `mean > 0.1 and sparsity < 50% and not dead`. A channel is
chosen where every term holds; a figure that is NaN satisfies only `!=`. The first list of numbers gives the order, each
channel once; without one the channels keep their own. Numbers name channels, so each of a run with an end must be
there, and at least one; conditions may match none. Figures are those of `statistics`. A text is parsed, never run as
code.

Python values work as well: a list of numbers, a slice, a mask with one entry per channel, a function of a `ChannelRow`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import indices, keywords
from ..core.feature_map import FeatureMap, as_map
from ..errors import BadChannels, BadOption, near
from ..safe_text import counted
from ..surface import by_surface
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
FIGURES = tuple(name for name in COLUMNS if name not in (*FLAGS, "peak"))
PART = re.compile(r"([0-9]{1,18})|([0-9]{0,18})\s*:\s*([0-9]{0,18})")
COMPARISON = re.compile(r"(\w+)\s*(<=|>=|==|!=|<|>)\s*([^\s%]+)\s*(%?)")
MOST_CHANNELS = 1 << 20
LIMIT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?inf(inity)?|nan", re.IGNORECASE)
FORM = 'channels are chosen by numbers, such as "0:16,40", or by a condition, such as "mean > 0.1 and not dead"'
Condition = Callable[[ChannelRow], Any] | str
Part = tuple[int, int | None]  # the first number of a run, and the one behind its last; `None` for all that follow
Test = Callable[[ChannelStatistics], np.ndarray]


@dataclass(frozen=True)
class Query:
    """A parsed text: `lists` of numbers, and `tests` that give a bool for each channel of a table."""

    text: str
    lists: tuple[tuple[Part, ...], ...] = ()
    tests: tuple[Test, ...] = ()

    def numbers(self, held: Sequence[int], where: str) -> list[int]:
        """The channels of `held` that the lists of numbers choose; all without a list. Raises `BadChannels`."""
        if not self.lists:
            return list(held)
        first, *others = (dict.fromkeys(self._expand(parts, held, where)) for parts in self.lists)
        return [number for number in first if all(number in other for other in others)]

    def closed(self) -> list[int] | None:
        """The numbers of one list whose runs all have an end; `None` where the layer must be known. Raises `BadOption`.

        A list with more numbers than any layer has channels is left to the layer too.
        """
        if self.tests or len(self.lists) != 1 or any(stop is None for _, stop in self.lists[0]):
            return None
        if sum(len(range(start, stop or 0)) for start, stop in self.lists[0]) > MOST_CHANNELS:
            return None
        chosen = dict.fromkeys(number for start, stop in self.lists[0] for number in range(start, stop or 0))
        if not chosen:
            raise BadOption(f"{self.text!r} selects no channels")
        return list(chosen)

    def _expand(self, parts: tuple[Part, ...], held: Sequence[int], where: str) -> Iterator[int]:
        known, count = set(held), max(held) + 1
        chosen = 0
        for start, stop in parts:
            for number in range(start, count if stop is None else stop):
                if number not in known and stop is not None:
                    raise BadChannels(f"{self.text!r}: {where} has no channel {number}; {_held(held)}")
                if number in known:
                    chosen += 1
                    yield number
        if not chosen:
            raise BadChannels(f"{self.text!r} selects no channel of {where}; {_held(held)}")

    def select(self, table: ChannelStatistics) -> list[int]:
        """The true numbers of the channels of a table for which every term holds. Raises `BadChannels`."""
        fits = np.ones(len(table), bool)
        for test in self.tests:
            fits &= test(table)
        held = table["channel"].tolist()
        fitting = {number for number, fit in zip(held, fits.tolist(), strict=True) if fit}
        return [number for number in self.numbers(held, table.layer) if number in fitting]


@keywords
def find_channels(
    fm: Any, condition: Condition, image: int | str | None = None, *, layout: str | None = None
) -> list[int]:
    """The true numbers of the channels whose figures satisfy a condition.

    >>> import numpy as np
    >>> find_channels(np.array([[[0.0, 1.0, 5.0]]]), "max >= 1")
    [1, 2]
    >>> find_channels(np.array([[[0.0, 1.0, 5.0]]]), lambda row: row.dead)
    [0]

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5.
        condition: `"mean > 0.1 and not dead"`, `"0:16,40"`, or a function of a `ChannelRow`. Text is never run as code.
        image: The figures of this image; `None` for those over all images.
        layout: The axes of a bare array, one letter each (`"bchw"`); `None` for its library's convention.

    Returns:
        The numbers, in the order of the channels or of the list of numbers; empty where none satisfies it.

    Raises:
        BadOption: The condition cannot be read; with near names.
        BadChannels: It names numbers of channels that aren't there.
    """
    return _fitting(statistics(as_map(fm, layout), image), condition)


def _fitting(table: ChannelStatistics, condition: Condition) -> list[int]:
    if isinstance(condition, str):
        return parse(condition).select(table)
    if not callable(condition):
        raise BadOption(f"{condition!r}: {FORM}, or by a function of a channel's figures")
    return [row.channel for row in table if condition(row)]


def parse(text: str) -> Query:
    """A text as a query. Raises `BadOption` for what the grammar doesn't hold.

    >>> parse("0:3,7 and not dead").lists
    (((0, 3), (7, 8)),)
    """
    lists: list[tuple[Part, ...]] = []
    tests: list[Test] = []
    for term in (term.strip() for term in re.split(r"\band\b", text)):
        if re.match(r"[0-9:]", term):
            lists.append(tuple(_part(part.strip(), text) for part in term.split(",")))
        else:
            tests.append(_test(term, text))
    return Query(text, tuple(lists), tuple(tests))


def _part(part: str, text: str) -> Part:
    match = PART.fullmatch(part)
    if match is None:
        raise BadOption(f"{part!r} in {text!r}: give channel numbers as 0:16,40")
    if match[1]:
        return int(match[1]), int(match[1]) + 1
    return int(match[2] or 0), int(match[3]) if match[3] else None


def _test(term: str, text: str) -> Test:
    flag = re.fullmatch(r"(not\s+)?(\w+)", term)
    if flag and flag[2] in FLAGS:
        name, wanted = flag[2], flag[1] is None
        return lambda table: table[name] == wanted
    match = COMPARISON.fullmatch(term)
    if match is None or match[1] not in FIGURES:
        known = (*FIGURES, *FLAGS)
        unknown = next((word for word in re.findall(r"[^\W\d]\w*", term) if word not in (*known, "not")), "")
        raise BadOption(
            f"{term!r} in {text!r} can't be read: {FORM}; the figures are {', '.join(known)}{near(unknown, known)}"
        )
    if LIMIT.fullmatch(match[3]) is None:
        raise BadOption(f"{match[3]!r} in {text!r} is not a number: {FORM}")
    name, holds, limit = match[1], COMPARISONS[match[2]], float(match[3]) / (100 if match[4] else 1)
    return lambda table: np.asarray(holds(table[name], limit))


def numbers(channels: Sequence[int] | slice | str | None, count: int, path: str) -> tuple[int, ...]:
    """The channels chosen of a layer whose values aren't known yet: by numbers, a slice, or a text of numbers.

    >>> numbers("0:2,5", 8, "conv1")
    (0, 1, 5)

    Raises `BadChannels`, also for a condition, which needs the values.
    """
    if channels is None:
        return tuple(range(count))
    if isinstance(channels, str):
        query = parse(channels)
        if query.tests:
            raise BadChannels(f"channels={channels!r} needs the values: capture {path!r} first, then find_channels")
        return tuple(query.numbers(range(count), repr(path)))
    return indices("channels", channels, count, of=f" of {path!r}", error=BadChannels)


def needs_values(channels: Any) -> bool:
    """Whether a choice of channels is a condition, which can be told only from the layer's values.

    >>> needs_values("0:16"), needs_values("0:16 and not dead")
    (False, True)
    """
    return callable(channels) or (isinstance(channels, str) and bool(parse(channels).tests))


def where_text(channels: Any) -> str:
    """What a caption says of a choice of channels: `", where mean > 0.1"` for a condition in words, else nothing.

    >>> where_text("mean > 0.1"), where_text("0:16")
    (', where mean > 0.1', '')
    """
    return f", where {channels}" if isinstance(channels, str) and needs_values(channels) else ""


def positions(one: FeatureMap, channels: Any) -> np.ndarray:
    """Where the chosen channels lie in a map: by anything of the grammar. Raises `BadChannels`."""
    if channels is None:
        return np.arange(len(one.channels))
    position_of = {channel: position for position, channel in enumerate(one.channels)}
    if isinstance(channels, str) or callable(channels):
        chosen = _chosen(one, channels)
        if not chosen:
            condition = repr(channels) if isinstance(channels, str) else "the condition"
            raise BadChannels(
                f"no channel of {one.layer.path!r} satisfies {condition}: "
                + by_surface(
                    "statistics() lists the figures of each channel",
                    "--statistics writes mean and share of zeros below each tile",
                    "the table has the figures of each channel",
                )
            )
        return np.array([position_of[channel] for channel in chosen])
    mask = np.asarray(channels) if not isinstance(channels, slice) else None
    if mask is not None and mask.dtype == bool:
        if mask.shape != (len(one.channels),) or not mask.any():
            raise BadChannels(
                f"a mask of shape {mask.shape} that selects {int(mask.sum())}: give one entry for each of the "
                f"{counted(len(one.channels), 'channel')}, and select at least one"
            )
        return np.flatnonzero(mask)
    return np.array([position_of[channel] for channel in one.select(channels).channels])


def _chosen(one: FeatureMap, condition: Condition) -> list[int]:
    """The channels of a condition; figures are computed where it asks for them."""
    query = parse(condition) if isinstance(condition, str) else None
    if query is not None and not query.tests:
        return query.numbers(one.channels, repr(one.layer.path))
    return _fitting(statistics(one), condition)


def _held(held: Sequence[int]) -> str:
    run = list(held) == list(range(held[0], held[-1] + 1))
    text = f"{held[0]} to {held[-1]}" if run else ", ".join(map(str, held[:12])) + (", …" if len(held) > 12 else "")
    return f"its channels are {text}"
