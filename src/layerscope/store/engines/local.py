"""The engine of this machine: one process with threads that decode ahead, or a pool of processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from ...errors import BadOption
from ..manifest import Unit
from ..receipts import Receipt
from ..unit import Spec, process
from . import Job
from .worker import check_travels, do, end_with


def receipts(job: Job) -> Iterator[Receipt]:
    """Do the units in this process, or in as many as there are workers."""
    if job.processes > 1:
        yield from _by_processes(job, job.processes)
    else:
        yield from process(job.spec, job.units, job.scope, job.tell)


_SPEC: list[tuple[Spec, int]] = []  # of a worker, sent once and not with each unit


def _begin(spec: Spec, threads: int, parent: int) -> None:
    _SPEC[:] = [(spec, threads)]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    end_with(parent)


def _do(unit: Unit) -> Receipt:
    spec, threads = _SPEC[0]
    return do(spec, unit, threads)


def _by_processes(job: Job, workers: int) -> Iterator[Receipt]:
    check_travels(job.spec)
    # Not forked: threads of frameworks and of zarr don't survive that.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (job.spec, job.threads or 1, os.getpid()))
    waiting: set[Future[Receipt]] = set()
    try:
        for unit in job.units:
            waiting.add(pool.submit(_do, unit))
            if len(waiting) > 2 * workers:
                yield from _ended(job, waiting)
        while waiting:
            yield from _ended(job, waiting)
    except BrokenProcessPool as error:
        raise BadOption(
            "a worker of the scan was killed, maybe for want of memory",
            "the same scan goes on from here; with fewer workers, or a smaller batch for a new store, it takes less",
        ) from error
    except BaseException:
        # What they have in hand is done again, so that nobody waits for it.
        for worker in (getattr(pool, "_processes", None) or {}).values():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _ended(job: Job, waiting: set[Future[Receipt]]) -> Iterator[Receipt]:
    """The receipts of units that are done, at least one."""
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        waiting.remove(future)
        receipt = future.result()
        job.tell(len(receipt.images), len(receipt.failures))
        yield receipt
