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

_lock = threading.Lock()


_put_back: list[Callable[[], None]] = []


_users = 0


@contextlib.contextmanager
def random_as_found() -> Iterator[None]:
    """What is drawn inside leaves the sequences of `tf.random.set_seed` and of the global generator as they were.

    Threads that run at the same time share one note of them: the first takes it, the last puts it back.
    """
    global _users
    with _lock:
        if not _users:
            _put_back[:] = [_seeded(), _generator()]
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                for each in _put_back:
                    each()


def _seeded() -> Callable[[], None]:
    """Draws go on with other seeds: kernels keep a count for each seed, so the same ones would move the user's on."""
    found: Any = context.context()
    if context.global_seed() is None:
        return lambda: None
    numbers = found._rng

    def put_back() -> None:
        found._rng = numbers

    found._rng = random.Random(str(numbers.getstate()))
    return put_back


def _generator() -> Callable[[], None]:
    generator = stateful_random_ops.global_generator
    if generator is None:
        return lambda: None
    # a copy: what is drawn is written into the same memory
    state = np.array(generator.state.read_value())
    # a run that watches writes notes here what it puts back itself
    generator.state.assign(state)
    return lambda: generator.state.assign(state)
