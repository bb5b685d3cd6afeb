"""Arrays that many tests take: noise from a fixed seed, and the same values in another order in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Normal numbers as float32, the same for each shape and seed."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def planes_first(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same array with its channels apart in memory, as PyTorch and ONNX give them."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, -1, 1)), 1, -1)
