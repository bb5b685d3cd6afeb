"""A process that does units for a scan: it opens the model once, and takes no more threads than its share."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import BadOption, one_line
from ..unit import Spec, opened, process

if TYPE_CHECKING:
    from ...scope.scope import Scope
    from ..manifest import Unit
    from ..receipts import Receipt

# What the libraries that compute read when they are imported, our own setting for ONNX Runtime among them.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "LAYERSCOPE_ONNX_THREADS",
    "LAYERSCOPE_TFLITE_THREADS",
)
_SCOPES: dict[str, Scope] = {}  # of this process, by what makes the results


def do(spec: Spec, unit: Unit) -> Receipt:
    """Do one unit; the model is opened for the first one."""
    makers = spec.plan.makers
    if makers not in _SCOPES:
        _SCOPES.clear()
        _SCOPES[makers] = opened(spec)
        if (torch := sys.modules.get("torch")) is not None and os.environ.get(THREADS[0]):
            torch.set_num_threads(int(os.environ[THREADS[0]]))
    (receipt,) = process(spec, [unit], _SCOPES[makers])
    return receipt


def do_units(spec: Spec, units: Sequence[Unit]) -> list[Receipt]:
    """Do some units on a worker of a cluster, which has the threads that its environment says."""
    return [do(spec, unit) for unit in units]


def take_share(workers: int) -> None:
    """Leave other workers of this machine their threads, before a model is opened; what the user has set stays."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in THREADS:
        os.environ.setdefault(name, str(max(1, count // workers)))


def end_with(parent: int) -> None:
    """End this process soon after the one that started it, however that ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="layerscope-watch", daemon=True).start()


def check_travels(spec: Spec) -> None:
    """Raises `BadOption` where what is to be done can't be sent to another process."""
    try:
        pickle.dumps(spec)
    except Exception as error:  # whatever the classes of a model raise
        raise BadOption(
            f"this model can't be sent to other processes ({one_line(error)}): give a file or a reference such as"
            " 'package.module:factory', or use workers=1"
        ) from error
