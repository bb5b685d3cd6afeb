"""The weights of a convolution of Keras, which has the channels last in every data format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.layer import split_call
from ..protocol import Head, Kernel
from .engine import Engine, host
from .names import is_a
from .watch import Call, Stop, run

# MOVED

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
