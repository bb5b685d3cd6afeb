"""Rows of numbers for other programs: as CSV, and as what libraries that needn't be installed make of them."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import LibraryMissing
from ..writing import write


def library(name: str, call: str, instead: str = "") -> Any:
    """The library that a call needs; raises `LibraryMissing` where it isn't installed. `instead` ends the advice."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LibraryMissing(f"{call} needs {name} ({error})", f"pip install {name}{instead}") from error


def pandas() -> Any:
    """pandas, for a call of `to_dataframe`."""
    return library("pandas", "to_dataframe()", ", or use to_csv(), which needs none")


def csv_line(cells: Iterable[Any]) -> str:
    """A line of a CSV.

    >>> csv_line(["a, b.png", 0, 0.5])
    '"a, b.png",0,0.5\\n'
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def as_csv(lines: Iterable[str], path: str | Path | None) -> str | Path:
    """The lines as one text; where there is a `path`, they are written to that file, which is returned. Raises `BadOption`."""
    text = "".join(lines)
    # Names of files may hold bytes that aren't UTF-8.
    return text if path is None else write(path, text.encode(errors="backslashreplace"))
