"""What a PyTorch model tells without being run."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from . import Facts, Input
from .torch_evidence import own_scaling
from .torch_run import as_captured

SAMPLES = 64


def facts(model: nn.Module) -> Facts:
    """Name, input, weights digest, and the preprocessing that a timm model carries with it."""
    recipe = _timm_recipe(model)
    own, module = own_scaling(model) if recipe is None else (None, "")
    return Facts(
        type(model).__name__,
        _inputs(model, recipe),
        digest(model),
        f"torch {torch.__version__}",
        recipe or own,
        "the model's timm configuration" if recipe else module,
    )


def digest(model: nn.Module) -> str:
    """A digest over name, shape, type and 64 evenly spaced values of each parameter and buffer: milliseconds for VGG16."""
    hashed = hashlib.sha256()
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        hashed.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if tensor.device.type != "meta" and tensor.numel() and tensor.layout == torch.strided:
            flat = tensor.detach().reshape(-1)
            hashed.update(_sample(flat, max(1, flat.numel() // SAMPLES)))
    for name, module in model.named_modules():
        # Quantised layers keep their weights in a package of the engine's own, and give them by a method.
        if type(module).__module__.startswith("torch.ao.nn.quantized") and callable(getattr(module, "weight", None)):
            weight = module.weight()
            hashed.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
            flat = weight.detach().dequantize().reshape(-1)
            hashed.update(_sample(flat, max(1, flat.numel() // SAMPLES)))
    return f"sampled-sha256:{hashed.hexdigest()}"


def _sample(flat: torch.Tensor, step: int) -> bytes:
    if flat.device.type == "cpu" and flat.dtype == torch.float32:
        # Straight from the memory: half a dozen tensor operations for each weight would be felt in every capture.
        return flat.numpy()[::step][:SAMPLES].tobytes()
    return np.ascontiguousarray(as_captured(flat[::step][:SAMPLES]).values).tobytes()


def _inputs(model: nn.Module, recipe: Mapping[str, Any] | None) -> tuple[Input, ...]:
    """The input that the first convolution (or the first linear layer) takes; sizes are free unless the model says so."""
    height, width = recipe["size"] if recipe else (None, None)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return (Input("input", "bchw", (None, module.in_channels, height, width)),)
        if isinstance(module, nn.Conv3d):
            return (Input("input", "bcdhw", (None, module.in_channels, None, None, None)),)
        if isinstance(module, nn.Conv1d):
            return (Input("input", "bcn", (None, module.in_channels, None)),)
        if isinstance(module, nn.Linear):
            return (Input("input", "bc", (None, module.in_features)),)
    return ()


def _timm_recipe(model: nn.Module) -> dict[str, Any] | None:
    found = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if not isinstance(found, Mapping) or not {"mean", "std", "input_size"} <= found.keys():
        return None
    _, height, width = found["input_size"]
    crop = found.get("crop_pct") or 0.875
    return {
        "name": "timm",
        "order": "rgb",
        "divide": 255.0,
        "mean": list(found["mean"]),
        "std": list(found["std"]),
        "resize": "shorter",
        "short": int(min(height, width) / crop),
        "size": [height, width],
        "interpolation": found.get("interpolation") or "bicubic",
    }
