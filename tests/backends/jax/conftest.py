"""The models of these tests have weights that numpy draws."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers import jax_draws


@pytest.fixture(scope="session", autouse=True)
def weights_drawn_by_numpy() -> Iterator[None]:
    with jax_draws.by_numpy():
        yield
