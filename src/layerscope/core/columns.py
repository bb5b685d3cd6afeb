"""Text in columns, as many of them as fit on the terminal that it is printed on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Sequence


def terminal_width() -> int | None:
    """The width of the terminal that is printed on; `None` for a file, a pipe or a notebook, which have room."""
    isatty = getattr(sys.stdout, "isatty", None)
    return shutil.get_terminal_size().columns if isatty is not None and isatty() else None


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def columns_within(widths: Sequence[int], width: int | None, spare: Sequence[int], gap: int = 2) -> list[int]:
    """The columns that fit into `width` with a gap between them: all, or without the first of those to spare.

    >>> columns_within([5, 20, 5], 30, spare=(2, 0)), columns_within([5, 20, 5], None, spare=(2, 0))
    ([0, 1], [0, 1, 2])
    """
    kept = list(range(len(widths)))
    for column in spare if width is not None else ():
        if sum(widths[one] for one in kept) + gap * (len(kept) - 1) <= (width or 0):
            break
        kept.remove(column)
    return kept


def aligned(rows: Sequence[Sequence[str]], right: Collection[int], kept: Sequence[int]) -> list[str]:
    """The rows as lines with the columns `kept`, those of `right` at their right end.

    >>> aligned([("layer", "size"), ("conv1", "8")], {1}, [0, 1])
    ['layer  size', 'conv1     8']
    """
    widths = widths_of(rows)
    return [
        "  ".join(
            row[column].rjust(widths[column]) if column in right else row[column].ljust(widths[column])
            for column in kept
        ).rstrip()
        for row in rows
    ]
