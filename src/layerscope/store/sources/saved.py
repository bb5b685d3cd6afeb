"""Data sets that Hugging Face's `datasets` saved to disk: the image and the label of each row, read by that library."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from ...errors import BadOption, ImageNotReadable, LibraryMissing
from ...files import parsing
from .lists import PATHS, label_column, label_text, path_column
from .origins import Files, Table, not_there
from .texts import Rows

MARKS = ("dataset_dict.json", "state.json")  # of several splits, and of one


def is_saved(folder: str) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any(os.path.isfile(os.path.join(folder, mark)) for mark in MARKS)


def saved_rows(folder: str, labels: str | None, column: str | None) -> tuple[Table, Rows]:
    """The origin and the rows of a data set on disk: `12`, or `train/12` of each of its splits."""
    root, rows = os.path.abspath(folder), Rows()
    splits = _splits(root, _stamp(root))
    first = next(iter(splits.values()), None)
    if first is None:
        raise BadOption(f"{folder}: a data set without a split")
    names = list(first.column_names)
    image = names[_image_column(folder, first.features, column)]
    label = label_column(folder, names, None if labels == "folder" else labels, but=names.index(image))
    for split, data in splits.items():
        found = [None] * len(data) if label is None else _labels(data, names[label])
        for number, text in enumerate(found):
            rows.add(f"{split}/{number}" if split else str(number), label=text)
    return Table(root, image), rows


def _image_column(folder: str, features: Any, column: str | None) -> int:
    """The column that has the type of an image; else the one with a usual name."""
    names = list(features)
    images = [name for name in names if type(features[name]).__name__ == "Image"]
    return path_column(folder, names, images[0] if column is None and len(images) == 1 else column, PATHS)


def _labels(data: Any, column: str) -> list[str | None]:
    """The labels of a split, by their names where its type has them."""
    named = getattr(data.features[column], "names", None)
    values = data.with_format("arrow").select_columns([column])[:][column].to_pylist()
    if named is None:
        return [label_text(value) for value in values]
    return [None if value is None or not 0 <= value < len(named) else named[value] for value in values]


def cell(origin: Table, source: str) -> Any:
    """The bytes of the image in a row, or the image. Raises `ImageNotReadable` where the row isn't there or has none."""
    split, _, row = source.rpartition("/")
    stamp = _stamp(origin.root)
    if split not in (splits := _splits(origin.root, stamp)) or int(row) >= len(splits[split]):
        raise not_there(f"row {source} isn't there any more")
    data = _column(origin.root, stamp, split, origin.column)
    value = data[int(row)][origin.column]
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if value is None:
        raise ImageNotReadable(f"row {source}: no image is in it")
    return Files(origin.root).content(value) if isinstance(value, str) else value


@lru_cache(maxsize=8)
def _column(root: str, stamp: int, split: str, column: str) -> Any:
    """One column of a split, whose images stay bytes."""
    from datasets import Image

    data = _splits(root, stamp)[split].select_columns([column])
    kind = data.features[column]
    return (
        data.cast_column(column, Image(decode=False)) if type(kind).__name__ == "Image" else data.with_format("numpy")
    )


@lru_cache(maxsize=8)
def _splits(root: str, stamp: int) -> dict[str, Any]:
    """The splits of a data set, mapped into memory; `""` is the name of the only one."""
    try:
        from datasets import load_from_disk
    except ImportError as error:
        raise LibraryMissing(
            "reading a data set that `datasets` saved needs it", 'pip install "layerscope[datasets]"'
        ) from error
    with parsing(root, "a data set that `datasets` saved"):
        data = load_from_disk(root)
        return dict(data) if hasattr(data, "keys") else {"": data}


def _stamp(root: str) -> int:
    """When a data set was written, so that one that is written anew is read anew."""
    paths = [os.path.join(root, mark) for mark in MARKS]
    try:
        return max(os.stat(path).st_mtime_ns for path in paths if os.path.exists(path))
    except ValueError:
        raise BadOption(f"{root}: the data set isn't there any more") from None
