"""Who runs the units of a scan: this process, a pool of processes, a cluster. None of them carries activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from ...errors import BadOption

if TYPE_CHECKING:
    from ...scope.scope import Scope
    from ..manifest import Unit
    from ..receipts import Receipt
    from ..unit import Spec, Tell

ENGINES = ("local", "dask", "ray")


@dataclass(frozen=True)
class Job:
    """The units that are to be done, and by how many workers; `scope` is the model in this process.

    `address` is that of a cluster that runs already, `gpus_per_worker` the part of a GPU that each worker takes.
    `tell` is told of images done and how many of them were skipped; an engine that isn't this process tells it unit by unit.
    """

    spec: Spec
    units: Sequence[Unit]
    scope: Scope
    tell: Tell
    workers: int = 1
    address: str | None = None
    gpus_per_worker: float | None = None


def run(engine: str, job: Job) -> Iterator[Receipt]:
    """The receipts of a job's units as they come, in whatever order."""
    if engine not in ENGINES:
        raise BadOption(f"engine={engine!r}: use {' or '.join(map(repr, ENGINES))}")
    receipts: Iterator[Receipt] = import_module(f".{engine}", __package__).receipts(job)
    return receipts
