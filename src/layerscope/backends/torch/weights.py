"""The weights of convolutions and of the last dense layer of a PyTorch model."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from ..common.axes import SPACE
from ..common.run import dry_run
from ..protocol import Head, Kernel, turned
from .functions import unwatch
from .hooks import hooked
from .isolation import run_replica
from .model import forward
from .outputs import as_captured
from .recorder import Wanted


def kernel(model: torch.nn.Module, path: str, batch: Any) -> Kernel | None:
    """The weights of the convolution at `path`, `None` where no module with weights of its own stands there.

    As the module itself would use them now: a parametrised weight (weight norm, pruning) is computed. Nothing is run, so
    `batch` isn't needed.
    """
    (wanted,) = Wanted.find_all(model, [path])
    module = wanted.module
    if wanted.part is not None or not isinstance(module, torch.nn.modules.conv._ConvNd):
        return None
    # A parametrised weight is computed, and a spectral norm in training would take a step of its own.
    weight: Any = run_replica(module, lambda replica: replica.weight)
    if not isinstance(weight, torch.Tensor):
        return None  # a quantised convolution keeps packed codes, behind a method of that name
    values = as_captured(weight).values.astype(np.float32, copy=False)
    if module.transposed:
        values = turned(values, module.groups)
    return Kernel(values, "oi" + SPACE[values.ndim - 2], module.groups)


def head(model: torch.nn.Module, batch: Any) -> Head | None:
    """The `torch.nn.Linear` that ran last for a batch."""

    def run(part: Any, replica: torch.nn.Module) -> Head | None:
        ran: list[tuple[str, torch.nn.Linear]] = []

        def hook(name: str) -> Any:
            return lambda module, inputs, output: ran.append((name, module))

        with hooked() as handles:
            for name, module in replica.named_modules():
                if isinstance(module, torch.nn.Linear):
                    handles.append(module.register_forward_hook(hook(name)))
            forward(replica, part)
        if not ran:
            return None
        name, last = ran[-1]
        with unwatch():
            bias = None if last.bias is None else _numbers(last.bias)
            return Head(name, _numbers(last.weight), bias)

    return dry_run(batch, lambda part, _: run_replica(model, partial(run, part)))


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return as_captured(tensor).values.astype(np.float32, copy=False)
