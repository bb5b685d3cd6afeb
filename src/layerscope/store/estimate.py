"""What a scan will take, said before it begins; a large one is asked about on a terminal, and elsewhere needs `--yes`."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass

import numpy as np

from ..core.progress_bar import duration
from ..errors import BadOption, Cancelled
from ..memory import amount
from ..safe_text import counted
from ..surface import option
from .arrays import arrays_of
from .plan import Plan
from .storage import Folder, Storage

LARGE_BYTES, LARGE_SECONDS = 10e9, 3600.0
TALLY_BYTES = 3000  # of a channel in a unit, by the scans of ResNet-18 and of the embedded network


@dataclass(frozen=True)
class Estimate:
    """Bytes at most, and seconds, of the images that are still to be done."""

    images: int
    size: float
    seconds: float
    free: int | None = None

    @property
    def is_large(self) -> bool:
        full = self.free is not None and self.size > self.free
        return full or self.size > LARGE_BYTES or self.seconds > LARGE_SECONDS

    def __str__(self) -> str:
        room = "" if self.free is None else f" ({amount(self.free)} are free)"
        return f"{self.images:,} images: up to {amount(self.size)} to be written{room}, about {duration(self.seconds)}"


def estimate(storage: Storage, plan: Plan, *, images: int, seconds: float) -> Estimate:
    """What so many images take, `seconds` each."""
    one = sum(int(np.prod(array.unit[1:])) * np.dtype(array.dtype).itemsize for array in arrays_of(plan))
    channels = sum(len(kept.channels) for kept in plan.layers)
    size = images * one + -(-images // plan.unit) * channels * TALLY_BYTES
    free = shutil.disk_usage(storage.root).free if isinstance(storage, Folder) else None
    return Estimate(images, size, images * seconds, free)


def ask(expected: Estimate, *, yes: bool) -> None:
    """Let a large scan be agreed to. Raises `BadOption` where nobody can be asked, `Cancelled` where the answer is no."""
    if yes or not expected.is_large:
        return
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadOption(f"this is a large scan of {expected}", f"{option('yes', True)} begins it")
    answer = ""
    try:
        print(f"This is a large scan of {expected}. Begin? [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
    finally:
        if not answer.endswith("\n"):  # Ctrl-C, or the end of the input: what is said next has a line of its own
            print(file=sys.stderr)
    if answer.strip().lower() not in ("y", "yes"):
        raise Cancelled(f"the scan of {counted(expected.images, 'image')} was not begun")
