"""Who runs the units of a scan: this process, a pool of processes, a cluster. None of them carries activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

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
    engine: str = "local"

    @property
    def processes(self) -> int:
        """How many processes work where this machine does; 1 is this one."""
        return max(1, min(self.workers, len(self.units)))

    @property
    def alone(self) -> bool:
        """Whether this process does the work itself."""
        return self.engine == "local" and self.processes == 1

    @property
    def threads(self) -> int | None:
        """How many threads the model runs in, in each process; `None` where a cluster that runs already decides."""
        from .worker import threads_each, threads_of

        if self.address is not None:
            return None
        return threads_of(self.scope._reader.name) if self.alone else threads_each(self.workers)


def run(job: Job) -> Iterator[Receipt]:
    """The receipts of a job's units as they come, in whatever order."""
    receipts: Iterator[Receipt] = import_module(f".{job.engine}", __package__).receipts(job)
    return receipts
