"""TensorFlow's own random state during a run, shared by Keras 3 and tf_keras."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# nothing public reads the seed's state, or the global generator without making one
from tensorflow.python.eager import context
from tensorflow.python.ops import stateful_random_ops

Restore = Callable[[], None]


_lock = threading.RLock()  # a run that was interrupted may be left wherever garbage is collected


_restores: list[Restore] = []


_runs: set[object] = set()


@contextlib.contextmanager
def preserve_random_state() -> Iterator[None]:
    """What is drawn inside leaves the sequences of `tf.random.set_seed` and of the global generator as they were.

    Threads that run at the same time share one saved state: the first saves it, the last restores it.
    """
    run = object()
    try:
        try:
            with _lock:
                _runs.add(run)
                if len(_runs) == 1:
                    _save_seeds()
                    _save_generator()
            yield
        finally:
            _leave(run)
    finally:
        _leave(run)  # a Ctrl-C may have come there


def _leave(run: object) -> None:
    """The last run restores, each part until it has done so."""
    with _lock:
        _runs.discard(run)
        while not _runs and _restores:
            restore = _restores[-1]
            restore()
            if restore in _restores:
                _restores.remove(restore)


def _save_seeds() -> None:
    """Draws go on with other seeds: kernels count for each seed, so the same ones would advance the user's sequence."""
    eager: Any = context.context()
    if context.global_seed() is None:
        return
    numbers = eager._rng
    others = random.Random(str(numbers.getstate()))
    _restores.append(lambda: setattr(eager, "_rng", numbers))
    eager._rng = others


def _save_generator() -> None:
    """The global generator, if there is one."""
    generator = stateful_random_ops.global_generator
    if generator is None:
        return
    # a copy: what is drawn is written into the same memory
    state = np.array(generator.state.read_value())
    _restores.append(lambda: generator.state.assign(state))
    # a watched run restores by itself what is written through here
    generator.state.assign(state)
