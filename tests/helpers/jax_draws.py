"""Random weights that numpy draws: JAX would compile each draw for each shape, which takes longer than most tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@contextlib.contextmanager
def by_numpy() -> Iterator[None]:
    """Inside, uniform numbers and truncated normal ones come from numpy, where no code is traced."""
    by_jax = jax.random.uniform, jax.random.truncated_normal

    def draw(key: Any, low: float, high: float, shape: Any, dtype: Any) -> Any:
        numbers = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
        return jnp.asarray(numbers.uniform(low, high, shape or ()), dtype)

    def uniform(
        key: Any, shape: Any = (), dtype: Any = float, minval: Any = 0.0, maxval: Any = 1.0, **more: Any
    ) -> Any:
        if isinstance(key, jax.core.Tracer):
            return by_jax[0](key, shape, dtype, minval, maxval, **more)
        return draw(key, minval, maxval, shape, dtype)

    def truncated_normal(key: Any, lower: Any, upper: Any, shape: Any = (), dtype: Any = float, **more: Any) -> Any:
        if isinstance(key, jax.core.Tracer):
            return by_jax[1](key, lower, upper, shape, dtype, **more)
        return draw(key, lower, upper, shape, dtype)

    with pytest.MonkeyPatch.context() as patch:
        for module in (jax.random, jax._src.random):  # the initializers of JAX take the second
            patch.setattr(module, "uniform", uniform)
            patch.setattr(module, "truncated_normal", truncated_normal)
        yield
