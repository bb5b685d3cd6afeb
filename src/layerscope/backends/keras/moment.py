"""A run of a Keras model with the weights of one moment, though another thread may train it meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ...errors import ModelNotReadable
from ..common.run import others_inside
from .engine import GONE, Weights
from .model import KerasModel

Value = TypeVar("Value")
ATTEMPTS = 100


def at_one_moment(model: KerasModel, run: Callable[[], Value]) -> Value:
    """What `run` returns, without a change of the model's weights meanwhile.

    Where they change, `run` is called again: with the weights of one moment in their place where the library can do that.
    Raises `ModelNotReadable` where they never stand still.
    """
    if threading.active_count() == 1:
        return run()
    engine, root = model.engine, model.root

    def changed(weights: Weights) -> bool:
        now = engine.weights(root).identities
        return now != weights.identities or GONE in now or others_inside(engine.optimizers())

    changing = False
    for _ in range(ATTEMPTS):
        weights = engine.weights(root)
        if GONE in weights.identities:
            time.sleep(1e-2)
            continue
        with engine.frozen(weights) if changing else contextlib.nullcontext():
            if changing:
                time.sleep(1e-3)  # a step that was half done when they were read goes on meanwhile, and is seen
            if changed(weights):
                changing = True
                time.sleep(1e-3)
                continue
            try:
                result = run()
            except Exception:
                if not changed(weights):
                    raise
            else:
                if (changing and engine.freezes) or not changed(weights):
                    return result
        changing = True
    raise ModelNotReadable(
        "the weights of this model change all the time, in another thread, or `fit` has moved them elsewhere: capture between"
        " two steps of the training, or from a copy of the model (keras.models.clone_model and set_weights)"
    )
