"""The weights of a convolution of Keras, which has the channels last in every data format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..layer import split_call
from . import Kernel
from .keras_engine import Engine, host
from .keras_names import is_a
from .keras_watch import Call, Stop, run

SPACE = {1: "n", 2: "hw", 3: "dhw"}
RANKS = (1, 2, 3)
SEPARABLE = "the depthwise half of a separable convolution; its pointwise half mixes what these give"


def kernel(model: Any, on: Engine, forward: Callable[[], Any], path: str) -> Kernel | None:
    """The weights of the convolution at `path`, found in a run that stops there; `None` where another layer stands there."""
    found: list[Any] = []
    names = {path, split_call(path)[0]}

    def ended(call: Call) -> None:
        if call.place.path in names:
            found.append(call.layer)
            raise Stop

    run(model, on, forward, ended)
    return _read(found[0], on) if found else None


def _read(layer: Any, on: Engine) -> Kernel | None:
    # Depthwise ones first, as tf_keras makes them from Conv2D.
    for rank in RANKS:
        space = SPACE[rank]
        if is_a(layer, f"SeparableConv{rank}D"):
            return Kernel(_values(layer.depthwise_kernel, on), space + "im", note=SEPARABLE)
        if is_a(layer, f"DepthwiseConv{rank}D"):
            held = getattr(layer, "depthwise_kernel", None)
            return Kernel(_values(layer.kernel if held is None else held, on), space + "im")
        if is_a(layer, f"Conv{rank}DTranspose"):
            return Kernel(_values(layer.kernel, on), space + "oi")
        if is_a(layer, f"Conv{rank}D"):
            return Kernel(_values(layer.kernel, on), space + "io", int(layer.groups))
    return None


def stored(weight: Any, on: Engine) -> np.ndarray:
    """What a variable holds, or the tensor that a layer makes of several of them (LoRA)."""
    return host(on, on.raw(weight) if hasattr(weight, "assign") else weight)[0]


def _values(weight: Any, on: Engine) -> np.ndarray:
    return stored(weight, on).astype(np.float32, copy=False)
