"""The last dense layer of a Keras model, as it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import Head
from .keras_engine import Engine
from .keras_kernel import stored
from .keras_names import is_a
from .keras_watch import Call, run


def head(model: Any, on: Engine, forward: Callable[[], Any]) -> Head | None:
    """The `Dense` that ran last, `None` also where its kernel is packed into a few bits."""
    ran: list[Call] = []

    def ended(call: Call) -> None:
        if is_a(call.layer, "Dense"):
            ran.append(call)

    run(model, on, forward, ended, lambda path: False)
    if not ran:
        return None
    layer = ran[-1].layer
    kernel = stored(layer.kernel, on)
    if kernel.dtype.kind not in "fV":
        return None
    bias = None if getattr(layer, "bias", None) is None else stored(layer.bias, on).astype(np.float32)
    name = getattr(layer.activation, "__name__", "")
    weights = np.ascontiguousarray(kernel.astype(np.float32).T)
    return Head(ran[-1].place.path, weights, bias, "" if name == "linear" else name)
