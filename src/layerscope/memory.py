"""How much memory this process may still take, and whether an error says that there was too little."""

from __future__ import annotations

import gc
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import BadOption

LIMIT = "LAYERSCOPE_MAX_MEMORY"
UNCHECKED = 64 << 20  # less fits anywhere, and asking how much is free takes as long as a small layer
SHARE = 0.9  # of what is free: the model's own activations need some as well
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}

# What frameworks say: numpy and Python, torch on CPU and CUDA, TensorFlow, JAX, ONNX Runtime and C++ below them all.
SHORT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|unable to allocate|failed to allocate|\boom\b|resource_?exhausted|bad_?\s?alloc",
    re.I,
)


def limit(held: int = 0) -> int | None:
    """The bytes that may be taken: `LAYERSCOPE_MAX_MEMORY` (`20GB`) less what is `held`, else nine tenths of what is free.

    `None` where the system doesn't say.
    """
    setting = os.environ.get(LIMIT, "")
    if setting:
        match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d*)?|\.\d+)\s*([kmgt]?)i?b?\s*", setting, re.I)
        if match is None:
            raise BadOption(f"{LIMIT}={setting!r}: give bytes, or a number with a unit such as 20GB")
        return max(0, int(float(match[1]) * UNITS[match[2].lower()]) - held)
    free = available()
    return None if free is None else int(free * SHARE)


def available_text(most: float) -> str:
    """What there is for a task that takes more, by whose limit."""
    setting = os.environ.get(LIMIT, "")
    return f"{LIMIT}={setting} leaves {amount(most)}" if setting else f"{amount(most)} of memory is available"


def is_little(needed: float) -> bool:
    """Whether so many bytes fit anywhere: then the system isn't asked, and only a limit that the user has set counts."""
    return needed <= UNCHECKED and not os.environ.get(LIMIT)


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


_LOCK = threading.RLock()  # a run that was interrupted may be left wherever garbage is collected
_holders = 0
_usual = 0  # the threshold before them; 0 where it stayed
RARELY = 200_000  # objects that stay, between two collections: cycles of other threads must still go


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Around making thousands of objects that stay: the garbage collector would look at all of them again and again."""
    global _holders, _usual
    with _LOCK:
        usual, *older = gc.get_threshold()
        if not _holders:
            _usual = usual if usual < RARELY else 0
            if _usual:
                gc.set_threshold(RARELY, *older)
        _holders += 1
    try:
        yield
    finally:
        with _LOCK:
            _holders -= 1
            now, *older = gc.get_threshold()
            if not _holders and _usual and now == RARELY:  # else it was set meanwhile
                gc.set_threshold(_usual, *older)


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
