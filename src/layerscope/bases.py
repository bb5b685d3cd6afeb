"""What a combination learns from some maps and can be used for others: kept in `.npz` files without pickles."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .errors import BadOption

Kept = TypeVar("Kept", bound="Stored")


@dataclass(frozen=True, eq=False)
class Stored:
    """A record of arrays and words that `save` writes and `load` reads."""

    def save(self, path: str | Path) -> Path:
        """Write it as `.npz`."""
        path = Path(path)
        if path.suffix != ".npz":
            raise BadOption(f"{path.name!r}: a basis is saved as .npz")
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        kept = {
            name: np.asarray(value) for name, value in found.items() if isinstance(value, np.ndarray | float) or value
        }
        try:
            np.savez(path, kind=np.array(type(self).__name__), **kept)  # type: ignore[arg-type] # a keyword of numpy's stub
        except OSError as error:
            raise BadOption(f"can't write {path}: {error.strerror or error}") from error
        return path

    @classmethod
    def load(cls: type[Kept], path: str | Path) -> Kept:
        """What `save` wrote. Raises `BadOption` for any other file."""
        try:
            with np.load(path, allow_pickle=False) as file:
                kind = str(file["kind"]) if "kind" in file else cls.__name__
                if kind != cls.__name__:
                    raise BadOption(f"{path} holds a {kind}, and a {cls.__name__} is needed")
                names = {each.name for each in fields(cls)}
                return cls(**{name: _read(file[name]) for name in file.files if name in names})
        except (KeyError, ValueError, TypeError, OSError) as error:
            if isinstance(error, BadOption):
                raise
            raise BadOption(f"{path} is not a basis saved by layerscope: {error}") from error

    @classmethod
    def of(cls: type[Kept], given: Any) -> Kept:
        """A basis as it is, or the one in the file of that path."""
        if isinstance(given, cls):
            return given
        if isinstance(given, str | Path):
            return cls.load(given)
        raise BadOption(f"basis={given!r}: give a {cls.__name__}, or the path of one saved as .npz")


def _read(array: np.ndarray) -> Any:
    """Words as a tuple or a string, everything else as the array it is."""
    if array.dtype.kind == "U":
        return tuple(array.tolist()) if array.ndim else str(array)
    return array
