"""Maps that the last stage will want of a unit that keeps none: of a channel's largest images so far, and of sampled images.

They are written beside the unit and removed when the last stage has ended. Where they are missing, the model runs once more.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np

from ..core.npz import array_in
from .halves import narrow
from .plan import Plan
from .storage import Storage
from .tally import packed

FOLDER = "passing"
SAMPLE = 256  # images of which every channel can be shown


def sample_rows(images: int) -> np.ndarray:
    """The rows of at most `SAMPLE` images, as evenly in the manifest as can be."""
    return np.unique(np.arange(min(images, SAMPLE)) * images // max(1, min(images, SAMPLE)))


def name_of(unit: int) -> str:
    return f"{FOLDER}/{unit:06d}.npz"


class Largest:
    """The largest values of each channel in the units that one process has done so far, of lower numbers than those to come."""

    def __init__(self, plan: Plan) -> None:
        self.sampled = sample_rows(plan.images)
        self.values = {kept.name: np.full((len(kept.channels), plan.top), -np.inf, np.float32) for kept in plan.layers}

    def wanted(self, name: str, rows: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Which of `[image, channel]` are among the largest so far, or sampled; then these count as well."""
        best, high = self.values[name], np.where(np.isnan(high), -np.inf, high)
        count = best.shape[1]
        wanted = (high > best[:, 0]) | np.isin(rows, self.sampled)[:, None]
        joined = np.concatenate([best, high.T], 1)
        self.values[name] = np.partition(joined, -count, axis=1)[:, -count:]
        return wanted


class Passing:
    """The maps that are kept of one unit until the last stage has ended."""

    def __init__(self, largest: Largest) -> None:
        self.largest = largest
        self.taken: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {name: [] for name in largest.values}

    def take(self, name: str, rows: np.ndarray, high: np.ndarray, maps: np.ndarray) -> None:
        """Of float32 `[image, channel, *spatial]` what may be wanted; `high` is `[image, channel]`."""
        wanted = self.largest.wanted(name, rows, high)
        image, channel = np.nonzero(wanted)
        self.taken[name].append((rows[image], channel, narrow(maps[wanted])))

    def write(self, storage: Storage, unit: int) -> None:
        held: dict[str, np.ndarray] = {}
        for name, parts in self.taken.items():
            if parts:
                columns = (np.concatenate(column) for column in zip(*parts, strict=True))
                held |= dict(zip((f"{name}/rows", f"{name}/channels", f"{name}/maps"), columns, strict=True))
        if held:
            storage.put(name_of(unit), packed(held, level=0))


Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]  # rows and channels that are wanted of each layer


def passed(storage: Storage, unit: int, pairs: Pairs) -> dict[str, np.ndarray] | None:
    """The maps of these images and channels, by layer; `None` where not all of them were kept."""
    try:
        data = storage.get(name_of(unit))
    except FileNotFoundError:
        return None
    found = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name, (rows, channels) in pairs.items():
            if not len(rows):
                continue
            own_rows, own_channels, maps = (
                array_in(archive, f"{name}/{part}") for part in ("rows", "channels", "maps")
            )
            step = 1 + max(own_channels.max(), channels.max())
            keys, wanted = own_rows * step + own_channels, rows * step + channels
            order = np.argsort(keys)
            at = np.searchsorted(keys, wanted, sorter=order)
            if (at == len(keys)).any() or (keys[order[at]] != wanted).any():
                return None
            found[name] = maps[order[at]]
    return found


def forget(storage: Storage) -> None:
    """Remove what was kept for the last stage."""
    for name in storage.sizes(FOLDER):
        storage.delete(name)
