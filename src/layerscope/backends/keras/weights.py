"""The weights of a convolution of Keras (channels last in every data format), and of the dense layer that runs last."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.layer import split_call
from ..common.axes import SPACE
from ..common.run import Stop, dry_run
from ..protocol import Head, Kernel
from .engine import Engine, copy_to_host
from .model import KerasModel
from .tree import is_a
from .watch import Call, watched_run

SEPARABLE = "the depthwise half of a separable convolution; its pointwise half mixes their outputs"


def kernel(model: KerasModel, path: str, batch: Any) -> Kernel | None:
    """The weights of the convolution at `path`, found in a run that stops there; `None` where another layer stands there."""
    layers: list[Any] = []
    names = {path, split_call(path)[0]}

    def record(call: Call) -> None:
        if call.location.path in names:
            layers.append(call.layer)
            raise Stop

    with watched_run(model, lambda: model.forward(model.part_for_dry_run(batch)[0]), record):
        return _kernel_of(layers[0], model.engine) if layers else None


def head(model: KerasModel, batch: Any) -> Head | None:
    """The `Dense` that ran last."""
    calls: list[Call] = []

    def record(call: Call) -> None:
        if is_a(call.layer, "Dense"):
            calls.append(call)

    def run(part: Any, _: int) -> Head | None:
        with watched_run(model, lambda: model.forward(part), record):
            return _head_of(calls[-1], model.engine) if calls else None

    return dry_run(batch, run, model.part_for_dry_run)


def _head_of(call: Call, engine: Engine) -> Head | None:
    """The weights of a `Dense`."""
    layer = call.layer
    quantised = bool(getattr(layer, "quantization_mode", None))
    weights = _dequantised(layer, engine) if quantised else _stored(layer.kernel, engine)
    bias = None if getattr(layer, "bias", None) is None else _stored(layer.bias, engine).astype(np.float32)
    activation = getattr(layer.activation, "__name__", "")
    weights = np.ascontiguousarray(weights.astype(np.float32).T)
    activation = "" if activation == "linear" else activation
    return Head(call.location.path, weights, bias, activation, rounds=quantised)


def _dequantised(layer: Any, engine: Engine) -> np.ndarray:
    """The weights with which a quantised `Dense` computes: its own answer to each channel alone, which loses nothing."""
    channels = np.eye(int(layer.input_spec.axes[-1]), dtype=np.float32)
    activation, bias = layer.activation, layer.bias
    try:
        layer.activation = layer.bias = None
        return copy_to_host(engine, layer(channels))[0]
    finally:
        layer.activation, layer.bias = activation, bias


def _kernel_of(layer: Any, engine: Engine) -> Kernel | None:
    """The weights of a convolution, `None` for another layer."""
    for rank, space in SPACE.items():
        # Depthwise ones first, as tf_keras derives them from Conv2D.
        if is_a(layer, f"SeparableConv{rank}D"):
            return Kernel(_float32(layer.depthwise_kernel, engine), space + "im", note=SEPARABLE)
        if is_a(layer, f"DepthwiseConv{rank}D"):
            depthwise = getattr(layer, "depthwise_kernel", None)
            return Kernel(_float32(layer.kernel if depthwise is None else depthwise, engine), space + "im")
        if is_a(layer, f"Conv{rank}DTranspose"):
            return Kernel(_float32(layer.kernel, engine), space + "oi")
        if is_a(layer, f"Conv{rank}D"):
            return Kernel(_float32(layer.kernel, engine), space + "io", int(layer.groups))
    return None


def _stored(weight: Any, engine: Engine) -> np.ndarray:
    """What a variable holds, or the tensor that a layer makes of several of them (LoRA)."""
    return copy_to_host(engine, engine.stored_value(weight) if hasattr(weight, "assign") else weight)[0]


def _float32(weight: Any, engine: Engine) -> np.ndarray:
    """What a variable holds, as float32."""
    return _stored(weight, engine).astype(np.float32, copy=False)
