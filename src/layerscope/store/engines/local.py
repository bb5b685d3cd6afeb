"""The engine of this machine: one process with threads that decode ahead, or a pool of processes."""

from __future__ import annotations

from collections.abc import Iterator

from ..receipts import Receipt
from ..unit import process
from . import Job


def receipts(job: Job) -> Iterator[Receipt]:
    """Do the units in this process."""
    yield from process(job.spec, job.units, job.scope, job.tell)
