"""The last dense layer of a model of Flax or Equinox as it runs, and the weights of a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.layer import split_call
from ..common.run import dry_run, part_for_dry_run
from ..protocol import Head, Kernel
from .axes import is_a
from .model import JaxModel, canonical_paths
from .outputs import as_captured
from .watch import Call, Watch


def head(model: JaxModel, batch: Any) -> Head | None:
    """The `Dense` or `Linear` that ran last, `None` where it is one of several in a vmap."""
    calls: list[Call] = []

    def record(call: Call) -> None:
        if is_a(call.module, "Dense", "Linear"):
            calls.append(call)

    dry_run(batch, lambda part, _: model.run(part, Watch(record)))
    if not calls:
        return None
    weights, bias = _parameters(calls[-1].module)
    return Head(calls[-1].path, weights, bias) if weights.ndim == 2 else None


def kernel(model: JaxModel, path: str, batch: Any) -> Kernel | None:
    """The weights of the convolution at `path`; linen is traced as far as that layer."""
    base = split_call(path)[0]
    return model.kernel(canonical_paths(model).get(base, base), part_for_dry_run(batch)[0])


def _parameters(module: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """(weights `[class, channel]`, bias): Flax stores its kernels transposed."""
    if hasattr(module, "variables"):  # linen
        params = module.variables["params"]
        stored, bias, transposed = params["kernel"], params.get("bias"), True
    elif hasattr(module, "kernel"):  # NNX
        stored, bias, transposed = module.kernel[...], module.bias, True
        bias = None if bias is None or bias[...] is None else bias[...]
    else:  # Equinox
        stored, bias, transposed = module.weight, module.bias, False
    values = as_captured(stored).values
    weights = np.ascontiguousarray(values.T if transposed else values, np.float32)
    return weights, None if bias is None else as_captured(bias).values.astype(np.float32)
