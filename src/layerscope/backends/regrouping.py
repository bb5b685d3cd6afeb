"""Names of axes that are split, merged or dropped."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

UNUSED = "hwdn"


def regrouped(axes: str, before: Sequence[int], after: Sequence[int]) -> str | None:
    """The axes after a reshape: which of the old ones each new one is made of follows from the products of their sizes.

    >>> regrouped("bchw", (1, 8, 3, 4), (1, 8, 12))
    'bcn'
    >>> regrouped("bnc", (1, 12, 8), (1, 12, 2, 4))
    'bnhc'
    """
    found, at, to = "", 0, 0
    while at < len(before) and to < len(after):
        start, begin = at, to
        at, to = at + 1, to + 1
        while (left := prod(before[start:at])) != (right := prod(after[begin:to])):
            if left < right and at < len(before):
                at += 1
            elif right < left and to < len(after):
                to += 1
            else:
                return None
        if to == len(after):
            at = len(before)  # what is left of the old axes has size one
        letters = _renamed(axes[start:at], to - begin, found + axes[at:])
        if letters is None:
            return None
        found += letters
    added = len(after) - to  # what is left of the new axes has size one
    found += "".join(each for each in UNUSED if each not in found)[:added]
    return found if at == len(before) and len(found) == len(after) and len(set(found)) == len(found) else None


def _renamed(old: str, count: int, used: str) -> str | None:
    """Letters for `count` new axes that hold what `old` held."""
    if len(old) == count:
        return old
    if count == 1:
        for kept in "bc":
            if kept in old:
                return kept
        return "n" if "n" not in used else None
    if len(old) > 1:
        return None
    if old == "n":
        return {2: "hw", 3: "dhw"}.get(count) if not set("hw") & set(used) else None
    spare = [each for each in "dhwn" if each not in used]
    needed = count - 1
    chosen = "".join(spare[1:] if len(spare) > needed and needed == 1 else spare)[:needed]
    if len(chosen) < needed:
        return None
    return old + chosen if old == "b" else chosen + old


def without(axes: str, positions: Sequence[int]) -> str:
    dropped = {each % len(axes) for each in positions}
    return "".join(letter for at, letter in enumerate(axes) if at not in dropped)


def widened(axes: str, positions: Sequence[int]) -> str | None:
    """The axes with new ones of size one at `positions` of the result.

    >>> widened("bc", [1]), widened("chw", [0])
    ('bhc', 'bchw')
    """
    rank = len(axes) + len(positions)
    added = {each % rank for each in positions}
    spare = [each for each in UNUSED if each not in axes]
    if "b" not in axes and 0 in added:
        spare.insert(0, "b")
    if len(spare) < len(added):
        return None
    old, new = iter(axes), iter(spare)
    return "".join(next(new) if at in added else next(old) for at in range(rank))
