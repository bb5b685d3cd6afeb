"""Where Keras runs on JAX, the models of these tests have weights that numpy draws."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def weights_drawn_by_numpy() -> Iterator[None]:
    if os.environ["KERAS_BACKEND"] != "jax":
        yield
        return
    from helpers import jax_draws

    with jax_draws.by_numpy():
        yield
