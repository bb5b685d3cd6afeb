"""The last dense layer of a model of Flax or Equinox, as it runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..protocol import Head
from .axes import is_a
from .model import JaxModel
from .outputs import as_captured
from .watch import Call, Watch


def head(model: JaxModel, batch: Any) -> Head | None:
    """The `Dense` or `Linear` that ran last for a batch."""
    ran: list[Call] = []

    def ended(call: Call) -> None:
        if is_a(call.module, "Dense", "Linear"):
            ran.append(call)

    model.run(batch, Watch(ended))
    if not ran:
        return None
    weights, bias = _parameters(ran[-1].module)
    if weights.ndim != 2:  # one of several in a vmap
        return None
    return Head(ran[-1].path, weights, bias)


def _parameters(module: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """(weights `[class, channel]`, bias): Flax keeps its kernels the other way round."""
    if hasattr(module, "variables"):  # linen
        held = module.variables["params"]
        kernel, bias, turned = held["kernel"], held.get("bias"), True
    elif hasattr(module, "kernel"):  # NNX
        kernel, bias, turned = module.kernel[...], module.bias, True
        bias = None if bias is None or bias[...] is None else bias[...]
    else:  # Equinox
        kernel, bias, turned = module.weight, module.bias, False
    weights = as_captured(kernel).values
    found = np.ascontiguousarray(weights.T if turned else weights, np.float32)
    return found, None if bias is None else as_captured(bias).values.astype(np.float32)
