"""What a combination learns from some maps and can be used for others: kept in `.npz` files without pickles."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from .errors import BadOption

Kept = TypeVar("Kept", bound="Stored")


@dataclass(frozen=True, eq=False)
class Stored:
    """A record of arrays and words that `save` writes and `load` reads.

    `AXES` names the axes of its arrays, a letter each; those of one letter have one size. Raises `BadOption` where they don't.
    """

    AXES: ClassVar[dict[str, str]] = {}

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        for name, axes in self.AXES.items():
            array = getattr(self, name)
            if array is None:
                continue
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim != len(axes):
                raise BadOption(
                    f"{type(self).__name__}.{name} is an array of numbers with {len(axes)} axes, not {array!r:.60}"
                )
            if not np.isfinite(array).all():
                raise BadOption(f"{type(self).__name__}.{name} holds NaN or inf")
            if wrong := [at for at, size in zip(axes, array.shape, strict=True) if sizes.setdefault(at, size) != size]:
                raise BadOption(
                    f"{type(self).__name__}.{name} has the shape {array.shape}, where other arrays have {sizes[wrong[0]]}"
                )

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
            # Opened here, since numpy leaves a broken file open.
            with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                kind = str(file["kind"]) if "kind" in file else cls.__name__
                if kind != cls.__name__:
                    raise BadOption(f"it holds a {kind}, and a {cls.__name__} is needed")
                names = {each.name for each in fields(cls)}
                return cls(**{name: _read(file[name]) for name in file.files if name in names})
        except BadOption as error:
            raise BadOption(f"{path}: {error}") from error
        except FileNotFoundError as error:
            raise BadOption(f"no file {path} with a {cls.__name__}") from error
        except (KeyError, ValueError, TypeError, OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            # numpy's own words would advise to load it unsafely.
            raise BadOption(f"{path} is not a {cls.__name__} that its save() has written") from error

    @classmethod
    def of(cls: type[Kept], given: Any) -> Kept:
        """A basis as it is, or the one in the file of that path."""
        if isinstance(given, cls):
            return given
        if isinstance(given, str | Path):
            return cls.load(given)
        raise BadOption(f"basis= is a {type(given).__name__}: give a {cls.__name__}, or the path of one saved as .npz")


def _read(array: np.ndarray) -> Any:
    """Words as a tuple or a string, everything else as the array it is."""
    if array.dtype.kind == "U":
        return tuple(array.tolist()) if array.ndim else str(array)
    return array
