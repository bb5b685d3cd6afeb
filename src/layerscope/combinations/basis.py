"""What a combination learns from some maps and applies to others, saved as `.npz` without pickles."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..arrays.reductions import Rows, finite_positions
from ..checks import file_path
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..core.npz import archive_in, array_in
from ..errors import BadOption, LibraryMissing
from ..safe_text import counted
from ..writing import replacing

LARGEST_SEED = 2**32 - 1  # of scikit-learn
Kept = TypeVar("Kept", bound="Stored")


@dataclass(frozen=True, eq=False)
class Stored:
    """A record of arrays and texts that `save` writes and `load` reads.

    `AXES` names the axes of its arrays, a letter each; those of one letter have one size. Raises `BadOption` where they
    don't.
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
                    f"{type(self).__name__}.{name} must be an array of numbers of rank {len(axes)},"
                    f" not {' '.join(repr(array).split()):.60}"
                )
            if not np.isfinite(array).all():
                raise BadOption(f"{type(self).__name__}.{name} holds NaN or inf")
            if wrong := [
                axis for axis, size in zip(axes, array.shape, strict=True) if sizes.setdefault(axis, size) != size
            ]:
                raise BadOption(
                    f"{type(self).__name__}.{name} has the shape {array.shape}, where other arrays have {sizes[wrong[0]]}"
                )

    def save(self, path: str | Path) -> Path:
        """Write it as `.npz`, without pickles, and return the path.

        >>> import tempfile
        >>> import layerscope as ls
        >>> basis = ls.pca_basis(np.random.default_rng(0).random((1, 5, 6, 4)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ls.Basis.load(basis.save(f"{folder}/basis.npz")).components.shape
        (3, 4)

        Args:
            path: A file name that ends in `.npz`.

        Raises:
            BadOption: The name ends otherwise, or the file can't be written.
        """
        path = file_path(path)
        if path.suffix != ".npz":
            raise BadOption(f"{path.name!r}: the file name must end in .npz")
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        kept = {
            name: np.asarray(value) for name, value in values.items() if isinstance(value, np.ndarray | float) or value
        }
        with replacing(path) as file:
            np.savez(file, kind=np.array(type(self).__name__), **kept)  # type: ignore[arg-type] # a keyword of numpy's stub
        return path

    @classmethod
    def load(cls: type[Kept], path: str | Path) -> Kept:
        """What `save` wrote.

        >>> import tempfile
        >>> import layerscope as ls
        >>> basis = ls.pca_basis(np.random.default_rng(0).random((1, 5, 6, 4)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.array_equal(ls.Basis.load(basis.save(f"{folder}/basis.npz")).components, basis.components)
        True

        Args:
            path: The `.npz` file.

        Raises:
            BadOption: There is no such file, or it holds something else.
        """
        needed = {field.name: field.default is MISSING for field in fields(cls)}
        with archive_in(path, "basis", f"a {cls.__name__} saved by layerscope") as archive:
            entries = {entry.removesuffix(".npy") for entry in archive.namelist()}
            kind = str(array_in(archive, "kind")) if "kind" in entries else cls.__name__
            if kind != cls.__name__:
                raise BadOption(f"it holds a {kind}, not a {cls.__name__}")
            if missing := [name for name, required in needed.items() if required and name not in entries]:
                raise BadOption(f"it has no {', '.join(missing)}")
            return cls(**{name: _value(array_in(archive, name)) for name in needed if name in entries})

    @classmethod
    def of(cls: type[Kept], given: Any) -> Kept:
        """A basis as it is, or the one in the file of that path.

        >>> import layerscope as ls
        >>> basis = ls.pca_basis(np.random.default_rng(0).random((1, 5, 6, 4)))
        >>> ls.Basis.of(basis) is basis
        True

        Args:
            given: The basis, or the path of a file that `save` wrote.

        Raises:
            BadOption: It is neither, or the file can't be read.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, str | Path):
            return cls.load(given)
        raise BadOption(
            f"basis= is of type {type(given).__name__}: give a {cls.__name__}, or the path of one saved as .npz"
        )


def _value(array: np.ndarray) -> Any:
    """Texts as a tuple or a string, everything else as the array it is."""
    if array.dtype.kind == "U":
        return tuple(array.tolist()) if array.ndim else str(array)
    return array


def scikit_learn(module: str, what: str) -> Any:
    """A module of scikit-learn; raises `LibraryMissing` with the pip line where it isn't installed."""
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise LibraryMissing(
            f"{what} needs scikit-learn, which isn't installed", f'pip install "layerscope[factors]" ({error})'
        ) from error


@contextmanager
def learning(what: str) -> Iterator[None]:
    """Around scikit-learn's work: in one thread, and without its warning that it hasn't settled, which the caption says.

    With several threads, sums are taken in an order that changes from run to run, and with it the last digits of the result.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", scikit_learn("exceptions", what).ConvergenceWarning)
        yield


class EachRound(int):
    """`verbose=` of scikit-learn, which asks in each round whether it is true: it isn't, and `told` is called.

    scikit-learn has no other way into a fit of NMF or k-means; a version that asks less often only makes the bar late.
    """

    told: Callable[[], object]

    def __new__(cls, told: Callable[[], object]) -> EachRound:
        number = super().__new__(cls, 0)
        number.told = told
        return number

    def __bool__(self) -> bool:
        self.told()
        return False


def finite_vectors(fm: FeatureMap, what: str) -> tuple[np.ndarray, np.ndarray]:
    """(float32 `[position, channel]`, which must not be written to; bool `[image, *spatial]`, the positions that it has)."""
    sound = finite_positions(fm.values)
    if not sound.any():
        reason = "every one holds NaN or inf" if sound.size else f"its shape is {fm.shape}"
        raise BadOption(f"{what}: no position of {fm.layer.path!r} can be used: {reason}")
    if sound.all() and fm.values.flags.c_contiguous:
        return fm.values.reshape(-1, fm.values.shape[-1]), sound
    return Rows(fm.values).matrix(), sound


def spread(rows: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """`rows` `[position, k]` at their positions, float32 `[image, *spatial, k]`; NaN at all others."""
    out = np.full((*sound.shape, rows.shape[-1]), np.nan, np.float32)
    out[sound] = rows
    return out


def left_out(sound: np.ndarray) -> tuple[str, ...]:
    """The note on positions with NaN or inf."""
    missing = int(sound.size - sound.sum())
    return (Note("left-out", f"{missing:,} of {sound.size:,} positions left out (NaN or inf)"),) if missing else ()


def fitted_to(fm: Any, parts: str, *, given: bool) -> Note:
    """The note on which images the components, factors or clusters were fitted to."""
    if given:
        return Note("basis", f"{parts} of the given basis")
    images = "this image" if len(fm.ids) == 1 else f"{counted(len(fm.ids), 'image')} together"
    return Note("basis", f"{parts} fitted to {images}")


def no_direction(count: int) -> Note:
    """The note on positions whose vector has length 0."""
    return Note("no-direction", f"{counted(count, 'position')} without a direction (a vector of length 0)")
