"""The JAX backend in the suite that every backend passes: Flax NNX, Flax linen and Equinox."""

from __future__ import annotations

from typing import Any

from jax_models import RAN, as_bytes, equinox_network, linen_network, nnx_network, nnx_state

from layerscope.backends.jax import JaxBackend
from layerscope.testing import BackendTests


class Suite(BackendTests):
    paths = {**BackendTests.paths, "spare": "spare"}

    def backend(self) -> Any:
        return JaxBackend()

    def ran(self, model: Any) -> list[str]:
        return RAN


class TestNnx(Suite):
    axes = "bhwc"

    def build(self, parameters: Any, fail: bool = False) -> Any:
        return nnx_network(parameters, fail)

    def state(self, model: Any) -> bytes:
        return nnx_state(model)


class TestLinen(Suite):
    axes = "bhwc"

    def build(self, parameters: Any, fail: bool = False) -> Any:
        return linen_network(parameters, fail)

    def state(self, model: Any) -> bytes:
        return as_bytes(model[1]) + repr(model[0]).encode()


class TestEquinox(Suite):
    axes = "bchw"

    def build(self, parameters: Any, fail: bool = False) -> Any:
        return equinox_network(parameters, fail)

    def state(self, model: Any) -> bytes:
        return as_bytes(model)
