"""The rows of docs/limits.md, and what a test marked `@pytest.mark.limit("how the row begins")` has to show of its row."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import layerscope as ls
from helpers import wording
from layerscope import errors

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "limits.md"
RULE = "|---|---|"
KINDS = (errors.LayerscopeError, errors.LayerscopeWarning)
NAMED = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, KINDS)}

LAST = np.random.default_rng(1).random((1, 8, 8, 3)).astype(np.float32)  # an image, channels last
FIRST = LAST.transpose(0, 3, 1, 2)


def rows(model: Any, batch: Any) -> dict[str, ls.Layer]:
    """The table of layers by path."""
    return {layer.path: layer for layer in ls.open(model, preprocess=None).layers(batch)}


@dataclass
class Row:
    """One row of the table: what can't be read, what happens; `quoted` is what stands in backticks in the second cell."""

    what: str
    happens: str
    quoted: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.quoted = re.findall(r"`([^`]+)`", self.happens)


def table() -> list[Row]:
    """Every row of every table, below its heading."""
    lines = [*PAGE.read_text("utf-8").splitlines(), ""]
    rows = [line for line, below in pairwise(lines) if line.startswith("|") and RULE not in (line, below)]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in rows]


def row_of(start: str) -> Row:
    """The only row that begins with this text."""
    matching = [row for row in table() if row.what.startswith(start)]
    assert len(matching) == 1, f"{len(matching)} rows of docs/limits.md begin with {start!r}"
    return matching[0]


def marks() -> Iterator[str]:
    """The row of every `limit` mark of the test files, without importing them."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for decorator in getattr(node, "decorator_list", ()):
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.limit":
                    yield ast.literal_eval(decorator.args[0])


class Limit:
    """What a test shows of its row: the messages that it reads, and what the row quotes."""

    def __init__(self, row: Row) -> None:
        self.row, self.kinds, self.text = row, set[str](), ""

    @contextlib.contextmanager
    def raises(self, *data: Any) -> Iterator[None]:
        """An error whose class the row names, with all these names and numbers in its message."""
        with wording.raises(errors.LayerscopeError, *data) as caught:
            yield
        self._record(caught.value)

    @contextlib.contextmanager
    def warns(self, *data: Any) -> Iterator[None]:
        """One warning whose class the row names, with all these names and numbers in it."""
        with wording.warns(errors.LayerscopeWarning, *data) as caught:
            yield
        assert len(caught) == 1, [str(warning.message) for warning in caught]
        self._record(caught[0].message)

    def notes(self, layer: ls.Layer, *data: Any) -> None:
        """A row of the table of layers with a note that holds all these names and numbers."""
        assert layer.note, layer
        wording.wording(layer.note, *data)
        self.text += f"\n{layer.path} {layer.kind} {layer.note}"

    def shows(self, text: str) -> None:
        """Something else that the row quotes and the test has just shown: an option that works, a layer's path."""
        self.text += f"\n{text}"

    def _record(self, message: BaseException | str) -> None:
        kind = type(message).__name__
        assert kind in self.row.quoted, f"the row says {self.row.happens!r}; the error is a {kind}: {message}"
        self.kinds.add(kind)
        self.text += f"\n{message}"

    def check(self) -> None:
        """Every error that the row names was raised, and everything else that it quotes was seen."""
        assert self.kinds == NAMED.intersection(self.row.quoted), self.row.happens
        for quoted in self.row.quoted:
            assert quoted in NAMED or quoted in self.text, f"{quoted!r} of the row was never seen in: {self.text}"
