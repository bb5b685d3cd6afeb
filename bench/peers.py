"""The other ways from an array `[height, width, channel]` to a PNG file."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image


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
