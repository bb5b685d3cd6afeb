"""How much memory a capture needs and how much is available, and whether an error says that there was too little."""

from __future__ import annotations

import logging
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadOption, CaptureTooLarge
from ..safe_text import counted

if TYPE_CHECKING:
    from .batches import Batch
    from .run import Request

log = logging.getLogger("layerscope")
LIMIT = "LAYERSCOPE_MAX_MEMORY"
SHARE = 0.9  # of what is free: the model's own activations need some as well
UNCHECKED_BYTES = 64 << 20  # less fits anywhere, and asking how much is free takes as long as a small layer
ANNOUNCED_BYTES = 2 << 30
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}

# What frameworks say: numpy and Python, torch on CPU and CUDA, TensorFlow, JAX, ONNX Runtime and C++ below them all.
SHORT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|unable to allocate|failed to allocate|\boom\b|resource_?exhausted|bad_?\s?alloc",
    re.I,
)


def check_memory(request: Request, batch: Batch, count: int, *, kept: bool) -> None:
    """Log how much memory a large capture will take, or refuse one that can't fit, before its first forward pass.

    `count` images are in memory at once; `kept` says whether they are all there are. Raises `CaptureTooLarge`.
    """
    one = request.bytes_per_image() + _bytes_beside(batch, kept) / len(batch.ids)
    most = limit() if one * count > UNCHECKED_BYTES else None
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


def limit() -> int | None:
    """The bytes that a capture may keep: `LAYERSCOPE_MAX_MEMORY` (`20GB`), else nine tenths of what is free.

    `None` where the system doesn't say.
    """
    setting = os.environ.get(LIMIT, "")
    if setting:
        match = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]?)i?b?\s*", setting, re.I)
        if match is None:
            raise BadOption(f"{LIMIT}={setting!r}: give bytes, or a number with a unit such as 20GB")
        return int(float(match[1]) * UNITS[match[2].lower()])
    free = available()
    return None if free is None else int(free * SHARE)


def available() -> int | None:
    """Bytes that this process may still take: of the machine, and of the container around it (Linux; else `None`)."""
    free = [size for size in (_machine(), _container()) if size is not None]
    return min(free, default=None)


def _machine(source: Path = Path("/proc/meminfo")) -> int | None:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", _text(source), re.M)
    return int(match[1]) * 1024 if match else None


def _container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit_text, used_text = _text(folder / most).strip(), _text(folder / used).strip()
        if limit_text.isdigit() and used_text.isdigit():
            return max(0, int(limit_text) - int(used_text))
    return None


def _text(source: Path) -> str:
    try:
        return source.read_text("ascii")
    except (OSError, UnicodeDecodeError):  # another system, or a container that hides it
        return ""


def short_of_memory(error: BaseException) -> bool:
    """Whether an error, of whatever framework, says that memory ran out.

    >>> short_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"))
    True
    >>> short_of_memory(RuntimeError("sizes of tensors must match"))
    False
    """
    return isinstance(error, MemoryError) or bool(SHORT_OF_MEMORY.search(f"{type(error).__name__}: {error}"))


def amount(size: float) -> str:
    """Bytes as text.

    >>> amount(12_845_056), amount(80e9)
    ('12.8 MB', '80.0 GB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:.0f} bytes"
