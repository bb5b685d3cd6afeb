"""The last dense layer of a PyTorch model, as it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from . import Head
from .outputs import first_image
from .torch_run import as_captured, fed, left_as_found


def head(model: torch.nn.Module, batch: Any) -> Head | None:
    """The `torch.nn.Linear` that ran last for a batch."""
    ran: list[tuple[str, torch.nn.Linear]] = []

    def hook(name: str) -> Any:
        return lambda module, inputs, output: ran.append((name, module))

    with left_as_found(model) as added:
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear):
                added.append(module.register_forward_hook(hook(name)))
        fed(model, first_image(batch))
    if not ran:
        return None
    name, last = ran[-1]
    bias = None if last.bias is None else _numbers(last.bias)
    return Head(name, _numbers(last.weight), bias)


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return as_captured(tensor).values.astype(np.float32, copy=False)
