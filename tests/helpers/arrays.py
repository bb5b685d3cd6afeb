"""Arrays that many tests take: noise from a fixed seed, and the same values in another order in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import layerscope as ls


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Normal numbers as float32, the same for each shape and seed."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def planes_first(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same array with its channels apart in memory, as PyTorch and ONNX give them."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, -1, 1)), 1, -1)


def map_of(rank: int) -> ls.FeatureMap:
    """Noise of six channels that are numbers, sequences, pictures or volumes."""
    shape, axes = {
        0: ((1, 6), "bc"),
        1: ((1, 9, 6), "bnc"),
        2: ((1, 7, 5, 6), "bhwc"),
        3: ((1, 4, 7, 5, 6), "bdhwc"),
    }[rank]
    return ls.FeatureMap.of_array(noise(*shape), axes)
