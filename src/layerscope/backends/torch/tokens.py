"""The tokens of a PyTorch transformer that lie nowhere on the image, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ...core.axes import prefix_names
from ..common.axes import prefix_labels

# Parameters of timm, transformers, torchvision and the DINO repositories.
PREFIX = (
    *("cls_token", "class_token", "class_embedding", "dist_token", "distillation_token"),
    *("reg_token", "register_tokens", "storage_tokens"),
)


def windows(rows: int) -> str:
    """The note of a layer with several rows for one image."""
    return f"{rows} rows for each image, as with windows: no grid over the whole image"


def stated_prefix(modules: Iterable[nn.Module]) -> tuple[str, ...] | None:
    """The names of the prefix tokens by a model's own parameters and `num_prefix_tokens`, `None` where it says nothing."""
    for module in modules:
        names = prefix_labels(
            (name, _tokens(tensor)) for name in PREFIX if (tensor := _tensor(module, name)) is not None
        )
        count: Any = getattr(module, "num_prefix_tokens", None)
        if isinstance(count, int) and not isinstance(count, bool):
            return prefix_names(count, names)
        if names:
            return names
    return None


def _tensor(module: nn.Module, name: str) -> torch.Tensor | None:
    """A parameter or buffer of the module itself."""
    for held in (module._parameters, module._buffers):  # those of TorchScript have no `get`
        if name in held and held[name] is not None:
            return held[name]
    return None


def _tokens(tensor: torch.Tensor) -> int:
    return tensor.shape[-2] if tensor.ndim >= 2 else 1
