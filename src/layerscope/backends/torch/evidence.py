"""What a PyTorch model shows of its training data: its first BatchNorm's statistics, a Normalize module of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ...core.placement import Size
from ..common.facts import FirstShape, NormSearch, compare, names_in_code, recipe_of_scaling, resizes_by_itself
from ..common.run import until_stopped
from ..protocol import Evidence, Input
from .hooks import hooked
from .isolation import run_replica
from .model import forward
from .outputs import as_captured
from .tree import named_modules_of


def evidence(model: torch.nn.Module, batch: Any) -> Evidence | None:
    """The statistics at the first BatchNorm, `None` where more than one layer with weights comes before it, or none is trained.

    The run stops there, or at the second layer with weights.
    """

    return run_replica(model, lambda replica: _at_first_norm(replica, batch))


def _at_first_norm(replica: torch.nn.Module, batch: Any) -> Evidence | None:
    search = NormSearch()

    def hook(name: str) -> Callable[[Any, Any], None]:
        def entered(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            if not _keeps(module):
                search.passed(any(True for _ in module.parameters()))
            else:
                tensor = inputs[0] if inputs else None
                search.reached(_compare(name, module, tensor) if isinstance(tensor, torch.Tensor) else None)

        return entered

    with hooked() as handles:
        for name, module in replica.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            if _keeps(module) or not any(True for _ in module.children()):
                handles.append(module.register_forward_pre_hook(hook(name)))
        with until_stopped(search):
            forward(replica, batch)
    return search.evidence


def resizes(model: torch.nn.Module, taken: Sequence[Input]) -> bool:
    """Whether a model brings photos of any size to its own before its first layer with weights.

    It is only run where the code of a module that isn't torch's own may resize something.
    """
    (entry,) = taken if len(taken) == 1 else [Input("", "", ())]
    channels = entry.shape[1] if entry.axes == "bchw" and entry.shape[2:] == (None, None) else None
    kinds = {type(module) for _, module in named_modules_of(model)}
    if channels is None or not any(map(_may_resize, kinds)):
        return False

    def shape_at_weights(size: Size) -> Sequence[int] | None:
        search = FirstShape()

        def entered(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            if any(True for _ in module.parameters()):
                search.reached(next((tuple(part.shape) for part in inputs if isinstance(part, torch.Tensor)), None))

        def watched(replica: torch.nn.Module) -> None:
            leaves = [module for module in replica.modules() if not any(True for _ in module.children())]
            with hooked() as handles, until_stopped(search):
                for module in leaves:
                    if not isinstance(module, torch.jit.ScriptModule):
                        handles.append(module.register_forward_pre_hook(entered))
                forward(replica, np.zeros((1, channels, *size), np.float32))

        run_replica(model, watched)
        return search.shape

    return resizes_by_itself(shape_at_weights)


def _may_resize(kind: type) -> bool:
    names = f"{kind.__name__} {names_in_code(kind, lambda base: base.__module__.startswith('torch.'))}".lower()
    own = not kind.__module__.startswith("torch.")
    return own and any(word in names for word in ("interpolate", "resiz", "crop", "adaptive_avg_pool", "grid_sample"))


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
    for name, module in named_modules_of(model):
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
