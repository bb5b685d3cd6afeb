"""The JAX backend in the suite that every backend passes: Flax NNX, Flax linen and Equinox."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from helpers.jax_models import RAN, as_bytes, equinox_network, linen_network, nnx_network, nnx_state
from layerscope.backends.jax.backend import JaxBackend
from layerscope.testing import BackendTests


class LinenNormed(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(4, (3, 3), padding=1, name="conv1")(x)
        return nn.BatchNorm(use_running_average=True, name="norm")(x)


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

    def normed(self, parameters: Any, mean: Any, variance: Any) -> Any:
        norm = nnx.BatchNorm(4, use_running_average=True, rngs=nnx.Rngs(0))
        norm.mean[...], norm.var[...] = jnp.array(mean), jnp.array(variance)
        return nnx.Sequential(nnx_network(parameters).conv1, norm)

    def state(self, model: Any) -> bytes:
        return nnx_state(model)


class TestLinen(Suite):
    axes = "bhwc"

    def build(self, parameters: Any, fail: bool = False) -> Any:
        return linen_network(parameters, fail)

    def normed(self, parameters: Any, mean: Any, variance: Any) -> Any:
        params = {"conv1": linen_network(parameters)[1]["params"]["conv1"]}
        params["norm"] = {"scale": jnp.ones(4), "bias": jnp.zeros(4)}
        return LinenNormed(), {
            "params": params,
            "batch_stats": {"norm": {"mean": jnp.array(mean), "var": jnp.array(variance)}},
        }

    def state(self, model: Any) -> bytes:
        return as_bytes(model[1]) + repr(model[0]).encode()

    def answer(self, model: Any, batch: np.ndarray) -> np.ndarray:
        return np.asarray(model[0].apply(model[1], jnp.asarray(batch), train=False))


class TestEquinox(Suite):
    axes = "bchw"

    def build(self, parameters: Any, fail: bool = False) -> Any:
        return equinox_network(parameters, fail)

    def normed(self, parameters: Any, mean: Any, variance: Any) -> Any:
        return None  # Equinox keeps these statistics in a state of its own

    def state(self, model: Any) -> bytes:
        return as_bytes(model)

    def answer(self, model: Any, batch: np.ndarray) -> np.ndarray:
        return np.asarray(jax.vmap(eqx.nn.inference_mode(model))(jnp.asarray(batch)))
