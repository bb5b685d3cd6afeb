"""The engine of a Ray cluster, which can give each worker a part of a GPU: one that runs already, or one of this machine."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ...core.tables import library
from ...errors import BadOption, one_line
from ..receipts import Receipt
from . import Job
from .worker import check_travels, do_units

LOOPBACK = "127.0.0.1"
LOCAL = re.compile(r"(?:127\.[\d.]+|localhost|\[::1\]):(\d{1,5})")
RETRIES = 3  # of a unit whose worker or node was lost


def receipts(job: Job) -> Iterator[Receipt]:
    """Do the units as tasks of a cluster; a unit whose worker or node dies is done by another.

    Tasks, not actors: a worker process keeps the model from one task to the next, and the end of one hangs nobody.
    """
    check_travels(job.spec)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if job.address is None or on_loopback_alone(job.address):
        # Else Ray takes the machine's own address for 127.0.0.1, and waits there for a cluster that isn't.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray = library("ray", "engine='ray'", '; pip install "layerscope[ray]"')
    with _cluster(ray, job):
        task = ray.remote(do_units).options(
            num_cpus=1, num_gpus=job.gpus_per_worker or 0, max_retries=RETRIES, retry_exceptions=False
        )
        threads = job.threads or 1  # of a cluster that runs already: one for each processor that a task takes
        spec, units = ray.put(job.spec), iter(job.units)
        waiting = [task.remote(spec, [unit], threads) for unit in islice(units, 3 * _workers(ray, job))]
        while waiting:
            (done, *_), waiting = ray.wait(waiting)
            waiting += [task.remote(spec, [unit], threads) for unit in islice(units, 1)]
            for receipt in _result(ray, done):
                job.tell(len(receipt.images), len(receipt.failures))
                yield receipt


def on_loopback_alone(address: str) -> bool:
    """Whether an address is one of this machine at which a cluster can't be reached by the machine's own."""
    if (match := LOCAL.fullmatch(address)) is None:
        return False
    try:
        with socket.create_connection((own_address(), int(match[1])), timeout=2):
            return False
    except (OSError, OverflowError):
        return True


def own_address() -> str:
    """The address of this machine on its network, as Ray finds it: nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        try:
            unsent.connect(("10.255.255.255", 9))
        except OSError:  # no network
            return LOOPBACK
        host: str = unsent.getsockname()[0]
        return host


def _result(ray: Any, done: Any) -> list[Receipt]:
    try:
        result: list[Receipt] = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise BadOption(
            f"workers of the cluster were lost in a row over one unit: {one_line(error)}",
            "the same scan goes on from here; mostly they have too little memory",
        ) from error
    return result


def _workers(ray: Any, job: Job) -> int:
    """How many units can run at a time: by the processors of the cluster, and by its GPUs where each takes a part of one."""
    have = ray.cluster_resources()
    processors = int(have.get("CPU", 1))
    return max(1, min(processors, int(have.get("GPU", 0) / job.gpus_per_worker)) if job.gpus_per_worker else processors)


@contextmanager
def _cluster(ray: Any, job: Job) -> Iterator[None]:
    """The cluster at the address that was given, or one with so many workers, on loopback alone."""
    own = not ray.is_initialized()
    try:
        if own and job.address:
            ray.init(address=job.address, log_to_driver=False, logging_level="ERROR")
        elif own:
            ray.init(
                address="local",  # not whatever cluster runs on this machine
                num_cpus=job.workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _node_ip_address=LOOPBACK,
            )
    except Exception as error:  # Ray has no class for it, nor one for a node that doesn't start in time
        where = f"no Ray cluster at {job.address}" if job.address else "no Ray cluster could be started"
        raise BadOption(f"{where}: {one_line(error)}") from error
    try:
        yield
    finally:
        if own:
            ray.shutdown()
