"""Arrays in files: `.npy`, and `.npz` with several inputs by name or in order. No pickles."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.npz import archive_in, array_in, array_of
from ..errors import BadOption
from ..files import open_regular, parsing
from ..surface import option

SUFFIXES = (".npy", ".npz")
UNNAMED = re.compile(r"arr_([0-9]+)")  # what `np.savez` calls arrays that it is given without a name


def is_arrays(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds arrays, by its name.

    >>> is_arrays("batch.NPZ"), is_arrays("cat.png")
    (True, False)
    """
    return os.fspath(path).lower().endswith(SUFFIXES)


@dataclass(frozen=True)
class ArrayFile:
    """A file of arrays in which there are images."""

    path: Path

    @property
    def count(self) -> int:
        """How many images its array holds, by the head of the file; 1 where `read` will say why that can't be told."""
        try:
            shape = self._shape()
        except BadOption:
            return 1
        return shape[0] if len(shape) == len("bhwc") else 1

    def _shape(self) -> tuple[int, ...]:
        if self.path.suffix.lower() != ".npy":
            held: tuple[int, ...] = getattr(self.read(), "shape", ())
            return held
        with open_regular(self.path) as file, parsing(self.path, "an .npy array"):
            shape: tuple[int, ...] = np.load(file.name, mmap_mode="r").shape
            return shape

    def read(self) -> Any:
        """What it holds: an array, or several as a batch."""
        return _read(str(self.path))


def read_ready(paths: Sequence[str]) -> Any:
    """A batch that is ready for a model, from one file or several.

    One array alone is the batch; an `.npz` of several arrays gives them by their names, or in order where they have none.
    Several files are joined along their first axis. Raises `BadOption` for other files, and where they don't fit together.
    """
    if other := next((path for path in paths if not is_arrays(path)), None):
        raise BadOption(
            f"{other}: with {option('preprocess', None)} the model gets arrays as they are: give .npy files, or an .npz with"
            " one array for each input, by its name or in order"
        )
    batches = [_read(path) for path in paths]
    first = batches[0]
    if len(batches) == 1:
        return first
    if not all(_like(batch) == _like(first) for batch in batches):
        raise BadOption(
            f"{', '.join(paths)} hold arrays of different names, shapes or types: show them one after another"
        )
    if isinstance(first, dict):
        return {name: _joined([batch[name] for batch in batches]) for name in first}
    if isinstance(first, tuple):
        return tuple(map(_joined, zip(*batches, strict=True)))
    return _joined(batches)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays along their first axis; single numbers that are the same in all files stay one."""
    return np.concatenate(arrays) if arrays[0].ndim else arrays[0]


def _like(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {name: _like(array) for name, array in batch.items()}
    if isinstance(batch, tuple):
        return tuple(map(_like, batch))
    return batch.dtype, batch.shape[1:], batch.ndim, None if batch.ndim else batch.item()


def _read(name: str) -> Any:
    """The array in an `.npy`; the only array of an `.npz`, or its arrays by name."""
    path = Path(name)
    if path.suffix.lower() == ".npz":
        with archive_in(path, "arrays", "an .npz of arrays") as archive:
            names = [entry.removesuffix(".npy") for entry in archive.namelist() if entry.endswith(".npy")]
            if "about" in names:
                raise BadOption("it holds a feature map that was saved, not input for a model")
            if not names:
                raise BadOption("it holds no array")
            return _inputs({entry: array_in(archive, entry) for entry in names})
    with open_regular(path, what="array") as file, parsing(path, "an .npy array"):
        return array_of(io.BytesIO(file.read()), "it")


def _inputs(arrays: Mapping[str, np.ndarray]) -> Any:
    """The arrays of an `.npz` as a batch: one alone, several in order where none of them has a name, else by their names."""
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    numbers = {name: int(match[1]) for name in arrays if (match := UNNAMED.fullmatch(name))}
    if len(numbers) == len(arrays):
        return tuple(arrays[name] for name in sorted(arrays, key=numbers.__getitem__))
    if numbers:
        named, unnamed = (", ".join(name for name in arrays if (name in numbers) is wanted) for wanted in (False, True))
        raise BadOption(
            f"it holds arrays with names ({named}) and without ({unnamed}): name all of them in np.savez, or none"
        )
    return dict(arrays)
