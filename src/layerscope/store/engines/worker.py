"""A process that does units for a scan: it opens the model once, and takes no more threads than its share."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...errors import BadOption, one_line
from ..unit import Spec, opened, process

if TYPE_CHECKING:
    from ...scope.scope import Scope
    from ..manifest import Unit
    from ..receipts import Receipt

ONNX, TFLITE, ALL = "LAYERSCOPE_ONNX_THREADS", "LAYERSCOPE_TFLITE_THREADS", "OMP_NUM_THREADS"
# What libraries read when they are imported or open a model. Clusters set the first of them for their workers themselves.
USUAL = (ALL, "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
OTHERS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", ONNX, TFLITE)
_SCOPES: dict[str, Scope] = {}  # of this process, by what makes the results
_ONE = threading.Lock()  # a model runs in one thread at a time, also where a cluster gives a process several


def do(spec: Spec, unit: Unit, threads: int) -> Receipt:
    """Do one unit with so many threads, which are as they were afterwards; the model is opened for the first one."""
    makers = spec.plan.makers
    with _ONE, pinned(threads) as pin:
        if makers not in _SCOPES:
            _SCOPES.clear()
            _SCOPES[makers] = opened(spec)
            pin()
        (receipt,) = process(spec, [unit], _SCOPES[makers])
    return receipt


def do_units(spec: Spec, units: Sequence[Unit], threads: int) -> list[Receipt]:
    """Do some units on a worker of a cluster."""
    return [do(spec, unit, threads) for unit in units]


@contextmanager
def pinned(threads: int) -> Iterator[Callable[[], None]]:
    """Inside the block libraries compute in so many threads; what it gives does that for those imported meanwhile, too."""
    before = {name: os.environ.get(name) for name in (*USUAL, *OTHERS)}
    loaded = sys.modules.get("torch")
    own = loaded.get_num_threads() if loaded is not None else None

    def pin() -> None:
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(threads)

    os.environ.update({name: str(threads) for name in before if name in USUAL or before[name] is None})
    pin()
    try:
        yield pin
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if loaded is not None:
            loaded.set_num_threads(own)


def threads_each(workers: int) -> int:
    """The share of this machine's threads that one of so many workers takes; `OMP_NUM_THREADS` says another number."""
    return _set(ALL) or max(1, cores() // workers)


def threads_of(framework: str) -> int:
    """How many threads a model of this framework runs in where nobody shares them out, as in this process."""
    if framework == "torch":
        count: int = sys.modules["torch"].get_num_threads()
        return count
    if framework == "tflite":
        return _set(TFLITE) or 1
    return (_set(ONNX) if framework == "onnx" else _set(ALL)) or cores()


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _set(name: str) -> int:
    """The number that the environment states; 0 where it states none."""
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else 0


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
