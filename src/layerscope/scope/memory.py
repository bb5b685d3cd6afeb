"""How much memory a capture needs, against how much there is."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CaptureTooLarge
from ..memory import LIMIT, amount, available_text, is_little, limit
from ..safe_text import counted
from ..surface import by_surface, option

if TYPE_CHECKING:
    from .batches import Batch
    from .run import Request

log = logging.getLogger("layerscope")
ANNOUNCED_BYTES = 2 << 30


@dataclass
class Room:
    """The memory of one capture: how many images are `done`, and the bytes `held` of them where their maps are `kept`."""

    total: int | None
    kept: bool
    done: int = 0
    held: int = 0
    _latest: int = 0

    def check(self, request: Request, batch: Batch, skipped: int) -> None:
        """Before a batch runs; raises `CaptureTooLarge`."""
        count = len(batch.ids)
        if self.kept:
            left = max((self.total or 0) - self.done - skipped, count)
            self._latest = check_memory(request, batch, left, kept=True, held=self.held)
        elif not self.done:
            check_memory(request, batch, count, kept=False)

    def add(self, batch: Batch) -> None:
        """After a batch has run."""
        self.done += len(batch.ids)
        self.held += self._latest


def check_memory(request: Request, batch: Batch, count: int, *, kept: bool, held: int = 0) -> int:
    """The bytes that the maps of a batch keep. Refuses a capture that can't fit before its first pass, and logs a large one.

    `count` images are still to come, this batch included; `kept` says whether all stay in memory, where `held` bytes of this
    capture are already. Raises `CaptureTooLarge`.
    """
    one = request.bytes_per_image + _bytes_beside(batch, kept) / len(batch.ids)
    # In a pass the framework has the values, and mostly those that they were made from, beside the copy that is kept.
    running = 2 * request.bytes_per_image * (len(batch.ids) + batch.filled)
    needed = one * count + running
    most = None if is_little(held + needed) else limit(held)
    if most is not None and needed > most:
        instead = f"a smaller {option('batch')}"
        if kept and one * count > running:
            fewer = "fewer images at a time"
            instead = by_surface("stream(), which keeps one batch at a time", fewer, fewer)
        raise CaptureTooLarge(
            f"this capture would keep {amount(held + one * count)} in memory ({counted(count, 'image')} of {amount(one)}),"
            f" take {amount(running)} in each forward pass, and {available_text(held + most)}: ask for fewer layers or"
            f" {option('channels')}, or use {instead}. {LIMIT}={math.ceil((held + needed) / 1e9)}GB overrides this limit"
        )
    if kept and not held and one * count > ANNOUNCED_BYTES:
        log.warning(
            "this capture will keep about %.1f GB in memory (%d images of %.1f MB); stream() gives a batch at a time",
            one * count / 1e9,
            count,
            one / 1e6,
        )
    return int(one * len(batch.ids))


def images_that_fit(one: int, count: int) -> int:
    """How many images of `one` bytes may run at a time, `count` at most and 1 at least."""
    most = None if is_little(one * count) else limit()
    return count if most is None else max(1, min(count, most // max(one, 1)))


def _bytes_beside(batch: Batch, kept: bool) -> int:
    """Bytes of the photos, and of the input that a capture's maps keep to run the model again; a ready batch is the user's."""
    if batch.photos is None:
        return 0
    inputs = batch.array.nbytes if kept and isinstance(batch.array, np.ndarray) else 0
    return sum(photo.pixels.nbytes for photo in batch.photos) + inputs
