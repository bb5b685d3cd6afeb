"""The rows of docs/limits.md, and what a test has to show of the one that it proves."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from layerscope import errors

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
KINDS = (errors.LayerscopeError, errors.LayerscopeWarning)
NAMED = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, KINDS)}


@dataclass
class Row:
    """One row of the table: what can't be read, what happens; `quoted` is what stands in backticks in the second cell."""

    what: str
    happens: str
    quoted: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.quoted = re.findall(r"`([^`]+)`", self.happens)


def table() -> list[Row]:
    """Every row below the heading of the table."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines[2:]]


def row(start: str) -> Callable[[Any], Any]:
    """Marks a test with the words that its row begins with."""

    def marked(function: Any) -> Any:
        function.row = start
        return function

    return marked


def found(start: str) -> Row:
    """The only row that begins with these words."""
    rows = [each for each in table() if each.what.startswith(start)]
    assert len(rows) == 1, f"{len(rows)} rows of docs/limits.md begin with {start!r}"
    return rows[0]


class Said:
    """What a test got to hear, held against its row."""

    def __init__(self, row: Row) -> None:
        self.row, self.kinds, self.text = row, set(), ""

    @contextlib.contextmanager
    def raises(self, *words: str) -> Iterator[None]:
        """An error whose class the row names, with all these words in its message."""
        with pytest.raises(errors.LayerscopeError) as caught:
            yield
        self._told(caught.type.__name__, str(caught.value), words)

    @contextlib.contextmanager
    def warns(self, *words: str) -> Iterator[None]:
        """One warning whose class the row names, with all these words in it."""
        with pytest.warns(errors.LayerscopeWarning) as caught:
            yield
        assert len(caught) == 1, [str(each.message) for each in caught]
        self._told(type(caught[0].message).__name__, str(caught[0].message), words)

    def notes(self, layer: Any, *words: str) -> None:
        """A row of the table of layers, with all these words in its note."""
        for each in words:
            assert each in layer.note, layer
        self.text += f"\n{layer.path} {layer.kind} {layer.note}"

    def shows(self, text: str) -> None:
        """Something else that the row quotes and the test has just shown: an option that works, a layer's path."""
        self.text += f"\n{text}"

    def _told(self, kind: str, message: str, words: tuple[str, ...]) -> None:
        assert kind in self.row.quoted, f"the row says {self.row.happens!r}; the error is a {kind}: {message}"
        for each in words:
            assert each in message, message
        self.kinds.add(kind)
        self.text += f"\n{message}"

    def check(self) -> None:
        """Every error that the row names was raised, and everything else that it quotes was seen."""
        assert self.kinds == NAMED.intersection(self.row.quoted), self.row.happens
        for each in self.row.quoted:
            assert each in NAMED or each in self.text, f"{each!r} of the row was never seen in: {self.text}"
