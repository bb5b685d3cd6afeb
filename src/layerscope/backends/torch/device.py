"""Where a PyTorch model computes, when its user says it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ...errors import BadOption
from ...surface import option
from ..common.device import Device
from .model import unwrap
from .replica import replicate
from .tree import modules_of


def device_named(device: str) -> torch.device:
    """The device of that name; the CPU, with a `DeviceWarning`, where torch finds none.

    >>> device_named("cpu")
    device(type='cpu')
    """
    asked = Device.of(device)
    name = str(replace(asked, kind=_gpu()) if asked.kind in ("gpu", "rocm") else asked)
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):  # torch's ways to say that there is none
        asked.warn_missing(f"torch {torch.__version__}", ["cpu"])
        return torch.device("cpu")


def _gpu() -> str:
    accelerator = getattr(torch, "accelerator", None)  # since torch 2.6
    found = accelerator.current_accelerator() if accelerator is not None and accelerator.is_available() else None
    return "cuda" if found is None else str(found.type)


def placed(model: Any, device: torch.device) -> Any:
    """The model itself where all of it is on the device, else a copy there. Raises `BadOption` for one that is spread."""
    module = unwrap(model)
    if not isinstance(module, torch.nn.Module) or isinstance(module, torch.jit.ScriptModule):
        return model
    if all(tensor.device == device for part in modules_of(module) for tensor in _tensors(part)):
        return model
    if any(hasattr(part, "_hf_hook") for part in modules_of(module)):
        raise BadOption(
            f"{option('device', str(device))}: accelerate brings the parts of this model to their devices: leave it out"
        )
    return replicate(module, own_parameters=True).to(device)


def _tensors(module: torch.nn.Module) -> list[torch.Tensor]:
    own = (*module._parameters.values(), *module._buffers.values())
    return [tensor for tensor in own if tensor is not None]
