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


_lock = threading.Lock()


_restores: list[Restore] = []


_users = 0


@contextlib.contextmanager
def preserve_random_state() -> Iterator[None]:
    """What is drawn inside leaves the sequences of `tf.random.set_seed` and of the global generator as they were.

    Threads that run at the same time share one saved state: the first saves it, the last restores it.
    """
    global _users
    with _lock:
        if not _users:
            _restores[:] = [_save_seeds(), _save_generator()]
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                for restore in _restores:
                    restore()


def _save_seeds() -> Restore:
    """Draws go on with other seeds: kernels count for each seed, so the same ones would advance the user's sequence."""
    eager: Any = context.context()
    if context.global_seed() is None:
        return lambda: None
    numbers = eager._rng

    def restore() -> None:
        eager._rng = numbers

    eager._rng = random.Random(str(numbers.getstate()))
    return restore


def _save_generator() -> Restore:
    """What restores the global generator, if there is one."""
    generator = stateful_random_ops.global_generator
    if generator is None:
        return lambda: None
    # a copy: what is drawn is written into the same memory
    state = np.array(generator.state.read_value())
    # a watched run restores by itself what is written through here
    generator.state.assign(state)
    return lambda: generator.state.assign(state)
