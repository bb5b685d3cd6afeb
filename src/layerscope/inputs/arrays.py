"""Arrays in files, for the command line: `.npy`, and `.npz` with several inputs by name. No pickles."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.npz import archive_in, array_in
from ..errors import BadOption
from ..files import open_regular, parsing

SUFFIXES = (".npy", ".npz")


def is_arrays(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds arrays, by its name.

    >>> is_arrays("batch.NPZ"), is_arrays("cat.png")
    (True, False)
    """
    return os.fspath(path).lower().endswith(SUFFIXES)


def read_ready(paths: Sequence[str]) -> Any:
    """A batch that is ready for a model, from one file or several.

    One array alone is the batch; an `.npz` of several arrays gives them by their names. Several files are joined along their
    first axis. Raises `BadOption` for other files, and where they don't fit together.
    """
    if other := next((path for path in paths if not is_arrays(path)), None):
        raise BadOption(
            f"{other}: with preprocess=None the model gets arrays as they are: give .npy files, or an .npz with one array for"
            " each input by its name"
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
        return {name: np.concatenate([batch[name] for batch in batches]) for name in first}
    return np.concatenate(batches)


def _like(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {name: _like(array) for name, array in batch.items()}
    return batch.dtype, batch.shape[1:], batch.ndim


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
            arrays = {entry: array_in(archive, entry) for entry in names}
        return arrays if len(arrays) > 1 else next(iter(arrays.values()))
    with open_regular(path, what="array") as file, parsing(path, "an .npy array"):
        data = io.BytesIO(file.read())
        try:
            return np.lib.format.read_array(data, allow_pickle=False)
        except ValueError as error:  # numpy's own words would advise to load a pickle unsafely
            raise ValueError("no .npy array, or one that is cut short or holds objects") from error
