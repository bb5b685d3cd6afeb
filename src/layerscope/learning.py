"""What scikit-learn is asked for: its import, one thread, and the matrix of places that it learns from."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import BadOption, LibraryMissing
from .featuremap import FeatureMap
from .reducing import Rows, finite_places


def scikit_learn(module: str, what: str) -> Any:
    """A module of scikit-learn; raises `LibraryMissing` with the pip line where it isn't installed."""
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise LibraryMissing(
            f"{what} needs scikit-learn, which isn't installed: pip install 'layerscope[factors]' ({error})"
        ) from error


@contextmanager
def one_thread() -> Iterator[None]:
    """With several, sums are taken in an order that changes from run to run, and with it the last digits of the result."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def whole_number(name: str, given: Any) -> int:
    """`given` as a whole number from 1; raises `BadOption`."""
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or given < 1:
        raise BadOption(f"{name}={given!r}: use a whole number from 1")
    return int(given)


def seed_number(given: Any) -> int:
    """`given` as scikit-learn takes a seed; raises `BadOption`."""
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or not 0 <= given < 2**32:
        raise BadOption(f"seed={given!r}: use a whole number from 0 to {2**32 - 1}")
    return int(given)


def places_of(fm: FeatureMap, what: str) -> tuple[np.ndarray, np.ndarray]:
    """(float32 `[place, channel]`, which must not be written to; bool `[image, *spatial]`, the places that it has)."""
    sound = finite_places(fm.values)
    if not sound.any():
        reason = "every place has NaN or inf in it" if sound.size else f"its shape is {fm.shape}"
        raise BadOption(f"{what}: there is no place to learn from in {fm.layer.path!r}: {reason}")
    if sound.all() and fm.values.flags.c_contiguous:
        return fm.values.reshape(-1, fm.values.shape[-1]), sound
    return Rows(fm.values).matrix(), sound


def spread(rows: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """`rows` `[place, k]` at their places, float32 `[image, *spatial, k]`; NaN at all others."""
    out = np.full((*sound.shape, rows.shape[-1]), np.nan, np.float32)
    out[sound] = rows
    return out


def left_out(sound: np.ndarray) -> tuple[str, ...]:
    """What the caption says of places with NaN or inf."""
    missing = int(sound.size - sound.sum())
    return (f"{missing:,} of {sound.size:,} places left out (NaN or inf)",) if missing else ()
