"""How much memory a capture needs, against how much there is."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CaptureTooLarge
from ..memory import LIMIT, UNCHECKED, amount, limit
from ..safe_text import counted

if TYPE_CHECKING:
    from .batches import Batch
    from .run import Request

log = logging.getLogger("layerscope")
ANNOUNCED_BYTES = 2 << 30


def check_memory(request: Request, batch: Batch, count: int, *, kept: bool) -> None:
    """Log how much memory a large capture will take, or refuse one that can't fit, before its first forward pass.

    `count` images are in memory at once; `kept` says whether they are all there are. Raises `CaptureTooLarge`.
    """
    one = request.bytes_per_image() + _bytes_beside(batch, kept) / len(batch.ids)
    most = limit() if one * count > UNCHECKED else None
    if most is not None and one * count > most:
        instead = "stream(), which keeps one batch at a time" if kept and count > 1 else "a smaller batch="
        raise CaptureTooLarge(
            f"this capture would keep {amount(one * count)} in memory ({counted(count, 'image')} of {amount(one)}), and "
            f"{amount(most)} is available: ask for fewer layers or channels=, or use {instead}. "
            f"{LIMIT}={math.ceil(one * count / 1e9)}GB overrides this limit"
        )
    if kept and one * count > ANNOUNCED_BYTES:
        log.warning(
            "this capture will keep about %.1f GB in memory (%d images of %.1f MB); stream() gives a batch at a time",
            one * count / 1e9,
            count,
            one / 1e6,
        )


def _bytes_beside(batch: Batch, kept: bool) -> int:
    """Bytes of the photos, and of the input that a capture's maps keep to run the model again; a ready batch is the user's."""
    if batch.photos is None:
        return 0
    inputs = batch.array.nbytes if kept and isinstance(batch.array, np.ndarray) else 0
    return sum(photo.pixels.nbytes for photo in batch.photos) + inputs
