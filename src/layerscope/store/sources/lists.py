"""Lists of images in a table: CSV, TSV or Parquet with a column of paths and maybe one of labels."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from typing import Any, TextIO

from ...errors import BadOption, LibraryMissing, near
from ...files import open_regular, parsing
from ...inputs.paths import check_local, is_image
from ...surface import option
from .folders import classes, size_of
from .texts import Rows

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
# Names of columns, without what isn't a letter; of labels the first that is there is taken.
PATHS = (
    *(
        "path",
        "paths",
        "filepath",
        "file",
        "files",
        "filename",
        "filenames",
        "image",
        "images",
        "imagepath",
        "imagefile",
    ),
    *("imagefilename", "imagename", "img", "imgpath", "imgname"),
)
LABELS = ("classname", "labelname", "label", "class", "category", "target", "labels")
SEPARATORS = ",;\t|"

# The names of columns, and of some of them the cells: where each row is, in words, and what is in it.
Reader = tuple[list[str], Callable[[Sequence[int]], Iterator[tuple[str, Sequence[Any]]]]]


def is_list(name: str) -> bool:
    """Whether a file is a list of images, by its name."""
    return name.lower().endswith(SUFFIXES)


def rows_of_list(path: str, labels: str | None, column: str | None) -> Rows:
    """The rows of a list, whose paths are relative to its folder. Raises `BadOption` where it can't be read as one."""
    rows, folder, name = Rows(), os.path.dirname(path), os.path.basename(path)
    with parsing(path, "a list of images"):
        names, cells = _parquet(path) if name.lower().endswith((".parquet", ".pq")) else _csv(path)
        place = path_column(name, names, column)
        label = label_column(name, names, labels, but=place)
        places = [place] if label is None else [place, label]
        for where, (text, *others) in cells(places):
            if not isinstance(text, str) or not text:
                what = f"{type(text).__name__} {text!r}"[:40] if text else "nothing"
                raise BadOption(f"{name}: {where} has {what} in the column {names[place]!r}, and no path of a file")
            check_local(text)
            rows.add(text, size=size_of(os.path.join(folder, text)), label=label_text(*others))
    if not rows.sources:
        raise BadOption(f"{name}: a list without a row")
    if labels == "folder":
        rows.labels = classes(rows.sources, labels)
    return rows


def path_column(name: str, names: Sequence[str], column: str | None, known: Sequence[str] = PATHS) -> int:
    """The number of the column of paths or images: that of the option, else the only one with a usual name."""
    if column is not None:
        return _named(name, names, "column", column)
    if not names:
        raise BadOption(f"{name}: an empty list")
    found = [number for number, text in enumerate(names) if _plain(text) in known]
    if len(found) != 1:
        which = "several columns may hold" if found else "no column has a usual name for"
        raise BadOption(f"{name}: {which} the images: choose one of {_listed(names)} with {option('column')}")
    return found[0]


def label_column(name: str, names: Sequence[str], labels: str | None, *, but: int) -> int | None:
    """The number of the column of labels; `None` where there is none, or none is wanted."""
    if labels not in (None, "auto", "folder"):
        return _named(name, names, "labels", str(labels))
    plain = [_plain(text) for text in names]
    found = [plain.index(known) for known in LABELS if known in plain and plain.index(known) != but]
    return found[0] if found and labels == "auto" else None


def label_text(value: Any = None) -> str | None:
    """A label as text; `None` for an empty cell."""
    text = "" if value is None else str(value).strip()
    return text or None


def _named(name: str, names: Sequence[str], what: str, wanted: str) -> int:
    if wanted not in names:
        raise BadOption(f"{name}: {option(what, wanted)}: its columns are {_listed(names)}{near(wanted, names)}")
    return list(names).index(wanted)


def _plain(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:12])) + (" …" if len(names) > 12 else "")


# ---- text ------------------------------------------------------------------------------------------------------------
def _csv(path: str) -> Reader:
    with _lines(path) as (file, separator):
        names = next((line for _, line in _rows(file, separator)), [])
    paths = [number for number, cell in enumerate(names) if is_image(os.path.basename(cell))]
    bare = len(paths) == 1 and not any(
        _plain(cell) in PATHS for cell in names
    )  # a list that begins with its first image
    if bare:
        names = [f"column {number + 1}" for number in range(len(names))]
        names[paths[0]] = "path"
        if len(names) == 2:
            names[1 - paths[0]] = "label"

    def cells(places: Sequence[int]) -> Iterator[tuple[str, Sequence[Any]]]:
        with _lines(path) as (file, separator):
            for number, line in islice(_rows(file, separator), 0 if bare else 1, None):
                yield f"line {number}", [line[place] if place < len(line) else None for place in places]

    return names, cells


def _rows(file: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that have something in them, each with the line of the file that it begins in, counted from 1."""
    reader, begin = csv.reader(file, delimiter=separator, skipinitialspace=True), 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield begin, cells
        begin = reader.line_num + 1


@contextmanager
def _lines(path: str) -> Iterator[tuple[TextIO, str]]:
    """A file as text, with what separates its columns. Bytes that aren't UTF-8 stay those of the files' names."""
    with open_regular(path, what="list") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        file.seek(0)
        text = io.TextIOWrapper(file, encoding, "surrogateescape", newline="")
        first = next((line for line in iter(text.readline, "") if line.strip()), "")
        text.seek(0)
        yield text, "\t" if path.lower().endswith(".tsv") else max(SEPARATORS, key=first.count)


# ---- Parquet ---------------------------------------------------------------------------------------------------------
def _parquet(path: str) -> Reader:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise LibraryMissing(
            f"reading {os.path.basename(path)} needs pyarrow", 'pip install "layerscope[parquet]"'
        ) from error
    with open_regular(path, what="list") as file:
        names = list(parquet.ParquetFile(file).schema_arrow.names)

    def cells(places: Sequence[int]) -> Iterator[tuple[str, Sequence[Any]]]:
        wanted = [names[place] for place in places]
        with open_regular(path, what="list") as file:
            numbers = count(1)
            for batch in parquet.ParquetFile(file).iter_batches(columns=wanted):
                columns = [batch.column(name).to_pylist() for name in wanted]
                yield from ((f"row {next(numbers)}", row) for row in zip(*columns, strict=True))

    return names, cells
