"""Where models of JAX run, on two devices that are one processor (tests/conftest.py)."""

import equinox as eqx
import jax
import numpy as np
import pytest
from flax import linen, nnx

import layerscope as ls

BATCH = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)


class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)

    def __call__(self, x):
        return nnx.relu(self.conv(x))


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.relu(linen.Conv(4, (3, 3), name="conv")(x))


class Eqx(eqx.Module):
    conv: eqx.nn.Conv2d

    def __call__(self, x):
        return jax.nn.relu(self.conv(x))


def equinox_model():
    return Eqx(eqx.nn.Conv2d(3, 4, 3, key=jax.random.key(0)))


def linen_model():
    module = Linen()
    return module, module.init(jax.random.key(0), BATCH)


@pytest.mark.parametrize(
    ("make", "batch"),
    [(lambda: Net(nnx.Rngs(0)), BATCH), (linen_model, BATCH), (equinox_model, BATCH.transpose(0, 3, 1, 2))],
    ids=["nnx", "linen", "equinox"],
)
def test_arrays_of_models_are_copied_to_the_device(make, batch):
    model, (here, there) = make(), jax.devices()
    expected = ls.open(model, preprocess=None).capture(batch, "conv")["conv"].values
    scope = ls.open(model, preprocess=None, device="cpu:1")
    assert scope.model is not model
    assert scope.backend.device == "cpu:1" and "cpu:1" in repr(scope), repr(scope)
    opened = scope.backend.open(scope.model)
    assert {device for _, array in opened.leaves() for device in array.devices()} == {there}
    assert {device for _, array in scope.backend.open(model).leaves() for device in array.devices()} == {here}
    np.testing.assert_allclose(scope.capture(batch, "conv")["conv"].values, expected, atol=1e-6)
    assert ls.open(model, preprocess=None, device="cpu:0").model is model


def test_a_device_that_is_not_there_is_said_and_the_processor_used():
    with pytest.warns(ls.DeviceWarning, match="cuda"):
        assert ls.open(Net(nnx.Rngs(0)), preprocess=None, device="cuda").backend.device == "cpu:0"
