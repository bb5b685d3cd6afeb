"""The engine of a Dask cluster: one that runs already, or one of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ...core.tables import library
from ...errors import BadOption, one_line
from ..manifest import Unit
from ..receipts import Receipt
from ..unit import Spec
from . import Job
from .worker import check_travels, do_units

LOOPBACK = "127.0.0.1"
RETRIES = 3  # of a unit whose worker was lost
WAITING = 3  # units for each worker that are handed out at a time


def receipts(job: Job) -> Iterator[Receipt]:
    """Do the units on the workers of a cluster; a unit whose worker dies is done by another."""
    check_travels(job.spec)
    distributed = library("distributed", "engine='dask'", '; pip install "layerscope[dask]"')
    with _client(distributed, job) as client:
        spec = client.scatter(job.spec, broadcast=True, hash=False)
        units = iter(job.units)

        def submit(unit: Any) -> Any:
            # Not pure: a unit is done again where its files are gone, though it was done before.
            return client.submit(_do, spec, [unit], job.threads, retries=RETRIES, pure=False)

        most = WAITING * max(job.workers, len(client.scheduler_info(n_workers=-1)["workers"]))
        coming = distributed.as_completed([submit(unit) for unit in islice(units, most)])
        for future in coming:
            try:
                done = future.result()
            except distributed.KilledWorker as error:
                raise BadOption(
                    f"workers of the cluster were lost in a row over one unit: {one_line(error)}",
                    "the same scan goes on from here; mostly they have too little memory",
                ) from error
            for unit in islice(units, 1):
                coming.add(submit(unit))
            for receipt in done:
                job.tell(len(receipt.images), len(receipt.failures))
                yield receipt


def _do(spec: Spec, units: list[Unit], threads: int | None) -> list[Receipt]:
    """Do some units on a worker, by default with as many threads as it has: one unit at a time uses all of them."""
    from distributed import get_worker

    return do_units(spec, units, threads or get_worker().state.nthreads)


@contextmanager
def _client(distributed: Any, job: Job) -> Iterator[Any]:
    """A client of the cluster at the address that was given, or of one with so many workers, on loopback alone."""
    if job.address:
        try:
            client = distributed.Client(job.address, timeout="10s")
        except (OSError, ValueError) as error:
            raise BadOption(f"there is no Dask scheduler at {job.address}: {one_line(error)}") from error
        with client:
            yield client
        return
    # One thread each, as a model runs in one thread at a time; the libraries below it have threads of their own.
    cluster = distributed.LocalCluster(
        n_workers=job.workers, threads_per_worker=1, host=LOOPBACK, dashboard_address=None, silence_logs=50
    )
    with cluster, distributed.Client(cluster) as client:
        yield client
