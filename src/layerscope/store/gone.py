"""Photos and maps of top images that are gone, taken from what the last stage of an earlier scan has left.

They lie in a file of their own until the stage is done, as it writes over the parts that they come from.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Mapping, Set

import numpy as np

from ..core.npz import array_in
from ..errors import ImageNotReadable
from ..files import parsing
from .held import FOLDER, RECEIPTS
from .receipts import unsealed
from .samples import Sample
from .sources.origins import Files, file_of
from .storage import Storage
from .summary import DAMAGED, damage
from .tally import packed

NAME = f"{FOLDER}/gone.npz"


def is_gone(sample: Sample) -> bool:
    """Whether an image can't be read now; of a file the system is asked, and nothing is read."""
    if isinstance(sample.origin, Files):
        return not os.access(os.path.join(sample.origin.root, file_of(sample.source)), os.R_OK)
    try:
        sample.content()
    except ImageNotReadable:
        return True
    return False


def carried(storage: Storage, rows: Set[int]) -> dict[str, np.ndarray]:
    """What there is of these images: `photos/ROW`, `inputs/ROW`, and the maps `ROW/LAYER/CHANNEL`."""
    if not rows:
        return {}
    found: dict[str, np.ndarray] = {}
    sizes = storage.sizes(FOLDER)
    for name in (name for name in sizes if name.startswith(f"{RECEIPTS}/")):
        about = unsealed(storage.get(name))
        if about is not None and not rows.isdisjoint(about["rows"]) and not list(damage(storage, about)):
            for part in about["files"]:
                found.update(_of_part(storage, part, rows & set(about["rows"])))
    if NAME in sizes:  # of a stage that didn't come to its end
        with parsing(NAME, DAMAGED), zipfile.ZipFile(io.BytesIO(storage.get(NAME))) as archive:
            found |= {entry: array_in(archive, entry) for entry in _entries(archive)}
    if found:
        storage.put(NAME, packed(found))
    return found


def _of_part(storage: Storage, part: str, rows: Set[int]) -> Iterator[tuple[str, np.ndarray]]:
    with parsing(part, DAMAGED), zipfile.ZipFile(io.BytesIO(storage.get(part))) as archive:
        for entry in _entries(archive):
            kind, _, rest = entry.partition("/")
            if kind == "rows":
                maps = array_in(archive, f"maps/{rest}")
                for row, values in zip(array_in(archive, entry).tolist(), maps, strict=True):
                    if row in rows:
                        yield f"{row}/{rest}", values
            elif kind != "maps" and int(rest) in rows:
                yield entry, array_in(archive, entry)


def _entries(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist()]


def map_of(found: Mapping[str, np.ndarray], row: int, name: str, channel: int) -> np.ndarray | None:
    """The map of a channel on one of these images; `None` where it wasn't shown there."""
    return found.get(f"{row}/{name}/{channel}")
