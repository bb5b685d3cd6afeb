"""What a PyTorch model shows of its training data: its first BatchNorm's statistics, a Normalize module of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..common.facts import compare, recipe_of_scaling
from ..common.run import Stop, until_stopped
from ..protocol import Evidence
from .model import forward, preserve_state
from .outputs import as_captured


def evidence(model: torch.nn.Module, batch: Any) -> Evidence | None:
    """The statistics at the first BatchNorm, `None` where more than one layer with weights comes before it, or none is trained.

    The run stops there, or at the second layer with weights.
    """
    watch = _Watch()
    with preserve_state(model) as added:
        for name, module in model.named_modules():
            if _keeps(module) or not any(True for _ in module.children()):
                added.append(module.register_forward_pre_hook(watch.hook(name)))
        with until_stopped(watch):
            forward(model, batch)
    return watch.found


class _Watch:
    def __init__(self) -> None:
        self.found: Evidence | None = None
        self.before = 0

    def hook(self, name: str) -> Any:
        def entered(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            if _keeps(module):
                if inputs and isinstance(inputs[0], torch.Tensor):
                    self.found = _compare(name, module, inputs[0])
                raise Stop(self)
            self.before += any(True for _ in module.parameters())
            if self.before > 1:
                raise Stop(self)

        return entered


def _keeps(module: torch.nn.Module) -> bool:
    """Whether a module keeps statistics of what it is given: BatchNorm, frozen or not."""
    statistics = (getattr(module, "running_mean", None), getattr(module, "running_var", None))
    is_norm = "BatchNorm" in "".join(kind.__name__ for kind in type(module).__mro__)
    return is_norm and all(isinstance(tensor, torch.Tensor) for tensor in statistics)


def _compare(name: str, module: Any, tensor: torch.Tensor) -> Evidence | None:
    mean, variance = (as_captured(kept).values for kept in (module.running_mean, module.running_var))
    return compare(name, as_captured(tensor).values, mean, variance, 1) if tensor.ndim == 4 else None


def own_scaling(model: torch.nn.Module) -> tuple[str | None, str]:
    """(the recipe whose pixels a Normalize module in front of all weights takes, what that module is).

    Such are `torchvision.transforms.Normalize`, kornia's, and one's own of that name with `mean` and `std`.
    """
    for name, module in model.named_modules():
        mean, std = getattr(module, "mean", None), getattr(module, "std", None)
        if "normali" in type(module).__name__.lower() and mean is not None and std is not None:
            deviation, middle = (np.asarray(_numbers(values), np.float64).reshape(-1) for values in (std, mean))
            if not deviation.all() or deviation.size not in (1, 3) or middle.size not in (1, 3):
                return None, ""
            recipe = recipe_of_scaling(1 / deviation, -middle / deviation)
            return recipe, f"the model's own {type(module).__name__} module {name!r}" if recipe else ""
        if not any(True for _ in module.children()) and any(True for _ in module.parameters()):
            return None, ""
    return None, ""


def _numbers(values: Any) -> Any:
    return as_captured(values).values if isinstance(values, torch.Tensor) else values
