"""The weights of a convolution of PyTorch."""

from __future__ import annotations

import numpy as np
import torch

from . import Kernel, turned
from .torch_run import as_captured, left_as_found
from .torch_take import Wanted

SPACE = {1: "n", 2: "hw", 3: "dhw"}


def kernel(model: torch.nn.Module, path: str) -> Kernel | None:
    """The weights of the convolution at `path`, `None` where no module with weights of its own stands there.

    As the module itself would use them now: a parametrised weight (weight norm, pruning) is computed.
    """
    wanted = Wanted.find(model, path)
    module = wanted.module
    if wanted.part is not None or not isinstance(module, torch.nn.modules.conv._ConvNd):
        return None
    # A parametrised weight is computed, and a spectral norm in training would take a step of its own.
    with left_as_found(module):
        weight = module.weight
    if not isinstance(weight, torch.Tensor):
        return None  # a quantised convolution keeps packed codes, behind a method of that name
    values = as_captured(weight).values.astype(np.float32, copy=False)
    if module.transposed:
        values = turned(values, module.groups)
    return Kernel(values, "oi" + SPACE[values.ndim - 2], module.groups)
