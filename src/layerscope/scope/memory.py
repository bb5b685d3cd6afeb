"""How much memory is free, and whether an error says that there was too little."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import BadOption

LIMIT = "LAYERSCOPE_MAX_MEMORY"


SHARE = 0.9  # of what is free: the model's own activations need some as well


UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


# What frameworks say: numpy and Python, torch on CPU and CUDA, TensorFlow, JAX, ONNX Runtime and C++ below them all.
SHORT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|unable to allocate|failed to allocate|\boom\b|resource_?exhausted|bad_?\s?alloc",
    re.I,
)


def limit() -> int | None:
    """The bytes that a capture may keep: `LAYERSCOPE_MAX_MEMORY` (`20GB`), else nine tenths of what is free.

    `None` where the system doesn't say.
    """
    given = os.environ.get(LIMIT, "")
    if given:
        found = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]?)i?b?\s*", given, re.I)
        if found is None:
            raise BadOption(f"{LIMIT}={given!r}: give bytes, or a number with a unit such as 20GB")
        return int(float(found[1]) * UNITS[found[2].lower()])
    free = available()
    return None if free is None else int(free * SHARE)


def available() -> int | None:
    """Bytes that this process may still take: of the machine, and of the container around it (Linux; else `None`)."""
    found = [each for each in (_machine(), _container()) if each is not None]
    return min(found) if found else None


def _machine(source: Path = Path("/proc/meminfo")) -> int | None:
    text = _text(source)
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.M)
    return int(found[1]) * 1024 if found else None


def _container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        both = _text(folder / most).strip(), _text(folder / used).strip()
        if all(each.isdigit() for each in both):
            return max(0, int(both[0]) - int(both[1]))
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
    """Bytes in words.

    >>> amount(12_845_056), amount(80e9)
    ('12.8 MB', '80.0 GB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:.0f} bytes"
