"""A PyTorch model without what is wrapped around it, and its call with a batch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...errors import ModelNotReadable
from ..common.fault import call_model


def unwrap(model: Any) -> Any:
    """The module itself, without `torch.compile`, DataParallel or DistributedDataParallel around it."""
    if isinstance(model, torch.export.ExportedProgram):
        return torch.export.unflatten(model)
    while True:
        if isinstance(model, torch.nn.Module) and isinstance(getattr(model, "_orig_mod", None), torch.nn.Module):
            model = model._orig_mod
        elif isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def forward(model: torch.nn.Module, batch: Any) -> Any:
    """The model's output for a batch: an array, a tuple of arrays, or a dict of them by name."""
    if isinstance(batch, Mapping):
        return call_model(model, **{name: _tensor(model, value) for name, value in batch.items()})
    if isinstance(batch, tuple | list):
        return call_model(model, *(_tensor(model, value) for value in batch))
    # Models of transformers say by which name they take images; the forward of some takes it by name only.
    name = getattr(model, "main_input_name", None)
    if name == "pixel_values":
        return call_model(model, pixel_values=_tensor(model, batch))
    return call_model(model, _tensor(model, batch))


def _tensor(model: torch.nn.Module, value: Any) -> Any:
    """On the model's device, in its floating type; a copy, so that a model may write into its input."""
    held = itertools.chain(model.parameters(), model.buffers())
    like = next((weight for weight in held if weight.is_floating_point()), torch.zeros(0))
    if isinstance(value, np.ndarray):
        value = call_model(torch.from_numpy, np.ascontiguousarray(value).copy())
    elif isinstance(value, torch.Tensor):
        value = value.detach().clone()
    else:
        return value
    if like.device.type == "meta":
        raise ModelNotReadable("the model's weights are on the meta device, so it can't compute: load them first")
    kind = like.dtype if value.is_floating_point() and like.element_size() > 1 else value.dtype
    return value.to(like.device, kind)


def kind_of(module: torch.nn.Module) -> str:
    """The module's class name, its original one where `torch.export` kept it."""
    name = type(module).__name__
    original = getattr(module, "type_name", None) if callable(getattr(module, "type_name", None)) else None
    kept = original() if original else None
    return kept.rpartition(".")[2] if isinstance(kept, str) and kept else name
