"""The other ways from an array `[height, width, channel]` to a PNG file, and the libraries that have them."""

from __future__ import annotations

import sys
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .measure import HERE


def beside_torchvision(module: str) -> Any:
    """A module that imports torchvision, whose operators may not fit this torch; `None` with a message where it is missing."""
    sys.path.append(str(HERE.parent / "tests"))
    try:
        import_module("helpers.torchvision_ops")
        return import_module(module)
    except ImportError as error:
        print(f"{module} is left out: {error}")
        return None
    finally:
        sys.path.pop()


def matplotlib_loop(values: np.ndarray, rows: int, columns: int, path: Path) -> None:
    """The loop of tutorials and forum answers: one subplot a channel in a figure of 32 × 32 inches."""
    import matplotlib.pyplot as plt

    plt.figure(figsize=(32, 32))
    for channel in range(values.shape[-1]):
        plt.subplot(rows, columns, channel + 1)
        plt.title(str(channel))
        plt.imshow(values[..., channel], cmap="gray")
    plt.savefig(path)
    plt.close()


def make_grid(values: np.ndarray, columns: int, path: Path) -> None:
    """What torchvision's make_grid (normalize, scale_each, a loop over tiles, three channels) and save_image do."""
    padding = 2
    height, width, channels = values.shape
    rows = ceil(channels / columns)
    grid = np.zeros((3, rows * (height + padding) + padding, columns * (width + padding) + padding), np.float32)
    for channel in range(channels):
        plane = values[..., channel]
        low, high = plane.min(), plane.max()
        tile = (plane.clip(low, high) - low) / max(high - low, 1e-5)
        y = channel // columns * (height + padding) + padding
        x = channel % columns * (width + padding) + padding
        grid[:, y : y + height, x : x + width] = tile
    pixels = (grid * 255 + 0.5).clip(0, 255).transpose(1, 2, 0).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def torchvision_grid(utils: Any, planes: Any, columns: int, path: Path) -> None:
    """torchvision itself, tile by tile, of a tensor `[channel, 1, height, width]`."""
    utils.save_image(utils.make_grid(planes, nrow=columns, normalize=True, scale_each=True), path)


def signed_palette(plane: np.ndarray, table: np.ndarray, path: Path) -> None:
    """What zennit's imsave does with a map and symmetric=True: a range around 0, whole numbers, a palette, Pillow's PNG."""
    most = np.abs(plane).max()
    codes = ((plane + most) / (2 * most) * 255).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(codes)
    image.putpalette(table.tobytes())
    image.save(path)


def low_rank_colors(tokens: Any, size: tuple[int, int], enlarged: tuple[int, int]) -> Image.Image:
    """What FeatLens does with tokens `[position, channel]` of torch: a low-rank PCA, the range of what lies within twice the
    median deviation, colours, enlarged."""
    import torch

    colors = tokens @ torch.pca_lowrank(tokens, q=3, niter=20)[2]
    away = (colors - colors.median(0).values).abs()
    inside = away / (away.median(0).values + 1e-8) < 2
    low = torch.stack([colors[inside[:, channel], channel].min() for channel in range(3)])
    high = torch.stack([colors[inside[:, channel], channel].max() for channel in range(3)])
    shares = ((colors - low) / (high - low + 1e-8)).clamp(0, 1).numpy().reshape(*size, 3)
    return Image.fromarray((shares * 255).astype(np.uint8)).resize(enlarged, Image.Resampling.NEAREST)


def min_max_colors(tokens: np.ndarray, size: tuple[int, int], enlarged: tuple[int, int]) -> Image.Image:
    """The same as most scripts write it: scikit-learn's PCA, each component from its minimum to its maximum."""
    from sklearn.decomposition import PCA

    colors = PCA(3).fit_transform(tokens)
    shares = (colors - colors.min(0)) / np.ptp(colors, 0)
    return Image.fromarray((shares.reshape(*size, 3) * 255).astype(np.uint8)).resize(enlarged, Image.Resampling.NEAREST)


def palette_mosaic(values: np.ndarray, columns: int, path: Path) -> None:
    """A vectorised mosaic without text, written by Pillow as a palette PNG at its fastest level."""
    height, width, channels = values.shape
    low, high = values.min((0, 1)), values.max((0, 1))
    codes = ((values - low) * (np.float32(255) / np.maximum(high - low, 1e-12))).astype(np.uint8)
    rows = ceil(channels / columns)
    tiles = np.zeros((rows * columns, height, width), np.uint8)
    tiles[:channels] = codes.transpose(2, 0, 1)
    mosaic = tiles.reshape(rows, columns, height, width).transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    image = Image.fromarray(np.ascontiguousarray(mosaic))
    image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    image.save(path, compress_level=1)
