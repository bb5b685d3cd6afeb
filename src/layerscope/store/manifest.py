"""The samples of a store in their order, as one file of lines, and the units that they are cut into."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..files import parsing
from .samples import Listing, Sample
from .sources.origins import Files, file_of
from .storage import Storage

NAME = "manifest.jsonl.gz"
WHAT = "the manifest of a scan"


@dataclass(frozen=True)
class Unit:
    """Consecutive samples that are processed together: one shard of each array.

    `first` is the row of the first one; `held` are those, counted from there, of which the store has results already.
    """

    number: int
    first: int
    samples: Listing
    held: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)


def units(samples: Listing, size: int) -> Iterator[Unit]:
    """The samples in parts of `size`, of which the last one may be smaller."""
    for number, first in enumerate(range(0, len(samples), size)):
        yield Unit(number, first, samples[first : first + size])


def write_manifest(storage: Storage, samples: Listing) -> None:
    """Write one line for each sample: the same samples give the same bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", 6, packed, mtime=0) as file:
        for row in samples.rows():
            file.write(json.dumps(row, sort_keys=True).encode() + b"\n")
    storage.put(NAME, packed.getvalue())


def manifest_lines(storage: Storage) -> list[bytes]:
    """The lines of the manifest, one for each image; none where there is none yet. Raises `BadOption` where it is damaged."""
    try:
        packed = storage.get(NAME)
    except FileNotFoundError:
        return []
    with parsing(NAME, WHAT):
        return gzip.decompress(packed).split(b"\n")[:-1]


def read_manifest(storage: Storage) -> list[dict[str, Any]]:
    """The rows of the manifest; none where there is none yet. Raises `BadOption` where it is damaged."""
    with parsing(NAME, WHAT):
        return [json.loads(line) for line in manifest_lines(storage)]


def names_and_labels(lines: Iterable[bytes]) -> tuple[list[str], list[str | None]]:
    """What the images of some lines are called, and the class of each, `None` for none.

    >>> names_and_labels([b'{"id": "cat.jpg", "size": 9, "source": "cat.jpg"}'])
    (['cat.jpg'], [None])
    """
    with parsing(NAME, WHAT):
        rows = [json.loads(line) for line in lines]
        return [row["id"] for row in rows], [row.get("label") for row in rows]


def may_have_changed(sample: Sample, moment: float) -> bool:
    """Whether the file of a sample may hold something else than at a moment (seconds since 1970); not where it is gone.

    A file that was moved to its place later says so as well, however old its content is.
    """
    if not isinstance(sample.origin, Files):
        return True
    try:
        about = os.stat(os.path.join(sample.origin.root, file_of(sample.source)))
    except (OSError, ValueError):
        return False
    return max(about.st_mtime, about.st_ctime) >= moment
