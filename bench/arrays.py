"""The feature maps that are drawn and combined: like a network's, or noise; in both memory orders."""

from __future__ import annotations

import numpy as np
from PIL import Image

import layerscope as ls

SIZES = {64: 224, 512: 14, 2048: 7}


def name(channels: int) -> str:
    return f"{channels:,} × {SIZES[channels]} × {SIZES[channels]}"


def photo_map(channels: int) -> np.ndarray:
    """float32 `[1, size, size, channels]`, channels last in memory: random 3×3 convolutions of the cat photo, then ReLU.

    The smaller sizes are pooled to their size and mixed by a random 1×1 convolution. Its biases differ as widely as in
    the last blocks of VGG16: about a sixth of the values are above zero, and about a tenth of the channels is dead.
    """
    random = np.random.default_rng(0)
    first = _convolved(random, min(channels, 64))
    size = SIZES[channels]
    if size == 224:
        return first.reshape(1, size, size, channels)
    step = 224 // size
    pooled = first.reshape(size, step, size, step, -1).max((1, 3))
    mixed = pooled @ random.normal(size=(pooled.shape[-1], channels)).astype(np.float32)
    mixed = (mixed - mixed.mean((0, 1))) / mixed.std((0, 1))
    rectified = np.maximum(mixed - random.normal(1.2, 0.7, channels).astype(np.float32), 0)
    # reshape, as [None] would give the batch axis a stride of 0, which no framework's array has
    return rectified.reshape(1, size, size, channels)


def noise(channels: int) -> np.ndarray:
    """float32 `[1, size, size, channels]` of normal noise: what packs worst."""
    size = SIZES[channels]
    return np.random.default_rng(1).normal(size=(1, size, size, channels)).astype(np.float32)


def channels_first_in_memory(values: np.ndarray) -> np.ndarray:
    """The same values, seen channels last, with each channel's plane in one piece, as torch and ONNX hand them over."""
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)


def _convolved(random: np.random.Generator, channels: int) -> np.ndarray:
    photo = Image.open(ls.demo_photo()).convert("RGB").resize((226, 226))
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(photo, np.float32) / 255, (3, 3), (0, 1))
    kernels = random.normal(size=(27, channels)).astype(np.float32)
    kernels -= kernels.mean(0) / 2
    return np.maximum(windows.reshape(-1, 27) @ kernels, 0).reshape(224, 224, channels)
