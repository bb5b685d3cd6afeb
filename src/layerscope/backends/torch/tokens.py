"""Where the tokens of a PyTorch transformer lie: the grid of its patches, and the tokens in front of them by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ...core.axes import MOST_PREFIX_TOKENS, prefix_names
from ..common.axes import prefix_labels, token_grid
from .axes_flow import Grid

# Parameters of timm, transformers, torchvision and the DINO repositories.
PREFIX = (
    *("cls_token", "class_token", "class_embedding", "dist_token", "distillation_token"),
    *("reg_token", "register_tokens", "storage_tokens"),
)

SHUFFLED = "a masked autoencoder's encoder shuffles its patches, so they form no grid"

UNROLLED = "Hiera keeps its tokens window by window, so they aren't in row order"


class TokenGrids:
    """The patch grids seen so far in one dry run, and what the model says of its prefix tokens."""

    def __init__(self, model: nn.Module | None = None) -> None:
        modules = [] if model is None else list(model.modules())
        self.prefix = stated_prefix(modules)
        self._shuffled = getattr(getattr(model, "config", None), "mask_ratio", None) is not None
        self._unrolled = any(type(module).__name__ == "Unroll" for module in modules)
        self._grids: list[Grid] = []
        self._exact: list[Grid] = []

    def note_embedding(self, name: str, module: nn.Module, tensor: torch.Tensor) -> None:
        """Remember the size of a patch embedding: a convolution whose kernel is its stride, or that is named so."""
        if not isinstance(module, nn.Conv2d) or tuple(module.stride) == (1, 1) or tensor.ndim < 3:
            return
        size = tensor.shape[-2], tensor.shape[-1]
        # Inside an attention a convolution like that pools the keys; what it makes are tokens, with nothing in front.
        pooling = "attn" in name.lower() or "attention" in name.lower()
        if tuple(module.kernel_size) == tuple(module.stride) and not pooling:
            self._grids.append(size)
        elif pooling or "embed" in name or "patch" in name:
            self._exact.append(size)

    def locate(
        self, path: str, tokens: int, rows: int, flattened: Grid | None = None
    ) -> tuple[Grid | None, tuple[str, ...], str]:
        """(grid, names of the prefix tokens, note) of `tokens` tokens with `rows` rows for the one image of a dry run.

        `flattened` is the grid that they were made from, where that was watched.
        """
        if rows != 1:
            return None, (), windows(rows)
        if self._shuffled and not path.startswith("decoder"):
            return None, (), SHUFFLED
        if self._unrolled:
            return None, (), UNROLLED
        grid = self._check(tokens, flattened) or self._count(tokens)
        if grid is None:
            return None, (), ""
        if grid not in self._exact:
            self._exact.append(grid)
        front = tokens - grid[0] * grid[1]
        return grid, prefix_names(front, self.prefix or ()), ""

    def _check(self, tokens: int, grid: Grid | None) -> Grid | None:
        """A grid that was seen being flattened, if the tokens that were put in front of it can be so many."""
        left = tokens - grid[0] * grid[1] if grid else -1
        fits = 0 <= left <= MOST_PREFIX_TOKENS if self.prefix is None else left in (0, len(self.prefix))
        return grid if fits else None

    def _count(self, tokens: int) -> Grid | None:
        """A grid by the patch embeddings that ran before."""
        # Merging halves a grid, but only where nothing stands in front of it: else a part of the tokens was dropped.
        halved = next((grid for grid in reversed(self._exact) if grid[0] * grid[1] == tokens), None)
        whole = token_grid(tokens, self._grids, None if self.prefix is None else len(self.prefix))
        if whole is not None and tokens != whole[0] * whole[1] and whole not in self._grids:
            whole = None
        return halved or whole


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
