"""What the last stage of a scan leaves: photos of top images and the maps of channels on them, in parts of a few images."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL.WebPImagePlugin import WebPImageFile

from ..core.npz import array_in
from ..core.placement import Placement
from ..files import parsing
from .passing import sample_rows
from .plan import Plan
from .storage import Storage
from .summary import DAMAGED

FOLDER, RECEIPTS, INDEX = "top", "top/receipts", "top/index.npz"
BINS = 8  # of the order of a channel's images: one of each is shown


@dataclass(frozen=True)
class Part:
    """Some of the top images: their rows in the manifest."""

    number: int
    rows: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{FOLDER}/{self.number:06d}.npz"

    @property
    def receipt(self) -> str:
        return f"{RECEIPTS}/{self.number:06d}.json"


def all_rows(shown: Iterable[np.ndarray], images: int) -> np.ndarray:
    """Every image of which there is a photo, rising: those that channels are shown with, and those sampled."""
    rows = np.unique(np.concatenate([*(each.ravel() for each in shown), sample_rows(images)]))
    return rows[rows >= 0]


def parts_of(rows: np.ndarray, size: int) -> list[Part]:
    """The rows in parts of at most `size`."""
    starts = range(0, len(rows), size)
    return [Part(number, tuple(rows[start : start + size].tolist())) for number, start in enumerate(starts)]


def part_with(rows: np.ndarray, size: int, row: int) -> str:
    """The name of the file that holds what there is of an image."""
    return Part(int(np.searchsorted(rows, row)) // size, ()).name


class _Ranges(io.RawIOBase):
    """A file of a store that is read in ranges, as they are asked for."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage, self.name, self.size, self.at = storage, name, storage.sizes(FOLDER)[name], 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def readinto(self, buffer: Any) -> int:
        data = self.storage.get_range(self.name, self.at, min(len(buffer), self.size - self.at))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


@dataclass(frozen=True, eq=False)
class Held:
    """The images that a finished scan has left photos of: `shown` as in `Gallery`, `rows` all of them."""

    storage: Storage
    plan: Plan
    shown: Mapping[str, np.ndarray]
    rows: np.ndarray
    _archives: dict[str, zipfile.ZipFile] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, storage: Storage, plan: Plan) -> Held:
        """Those of a store. Raises `FileNotFoundError` where the last stage hasn't begun."""
        data = storage.get(INDEX)
        with parsing(INDEX, DAMAGED), zipfile.ZipFile(io.BytesIO(data)) as archive:
            shown = {kept.name: array_in(archive, kept.name) for kept in plan.layers}
        return cls(storage, plan, shown, all_rows(shown.values(), plan.images))

    def photo(self, row: int) -> np.ndarray | None:
        """uint8 `[height, width, 3]`: what the model saw of an image; `None` where the store has no photo of it."""
        data = self._read(row, f"photos/{row}")
        if data is None or not data.size:
            return None
        # Not Image.open, which imports every format before it tries this one.
        return np.asarray(WebPImageFile(io.BytesIO(data.tobytes())).convert("RGB"))

    def placement(self, row: int, photo: np.ndarray) -> Placement:
        """Where the model input lies on the photo of an image: everywhere."""
        height, width = self._read(row, f"inputs/{row}").tolist()
        return Placement.whole((photo.shape[0], photo.shape[1]), (height, width))

    def map(self, name: str, channel: int, row: int) -> np.ndarray | None:
        """float32 `[*spatial]`: the map of the channel at this place in a layer; `None` where the store has none of it."""
        rows = self._read(row, f"rows/{name}/{channel}")
        if rows is None or row not in rows:
            return None
        values: np.ndarray = self._read(row, f"maps/{name}/{channel}")[int(np.flatnonzero(rows == row)[0])]
        return values.astype(np.float32)

    def _read(self, row: int, entry: str) -> Any:
        """An array of the part that an image is in; `None` where it isn't there: the stage isn't done, or the image is gone."""
        if row not in self.rows:
            return None
        name = part_with(self.rows, self.plan.unit, row)
        with parsing(name, DAMAGED):
            try:
                if name not in self._archives:
                    self._archives[name] = zipfile.ZipFile(io.BufferedReader(_Ranges(self.storage, name), 1 << 16))
                return array_in(self._archives[name], entry)
            except KeyError:
                return None
