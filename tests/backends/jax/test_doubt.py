"""Axes behind functions of JAX, also where all sizes are the same: known by where the positions lie, or their doubt is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import layerscope as ls


class Tap(nn.Module):
    def __call__(self, x):
        return x * 1.0


class Net(nn.Module):
    function: Callable[[Any], Any]

    @nn.compact
    def __call__(self, x):
        return Tap(name="tap")(self.function(nn.Conv(8, (1, 1), name="conv")(x)))


class EqxTap(eqx.Module):
    def __call__(self, x):
        return x * 1.0


class EqxNet(eqx.Module):
    conv: eqx.nn.Conv2d
    tap: EqxTap
    function: Any = eqx.field(static=True)

    def __call__(self, x):
        return self.tap(self.function(self.conv(x)[None])[0])


def row(library: str, function: Callable[[Any], Any], size: tuple[int, int]) -> Any:
    """The row of what `function` gives for a map of 8 channels and this size, as pictures are in the library."""
    shape = (1, *size, 3) if library == "linen" else (1, 3, *size)
    batch = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if library == "linen":
        net = Net(function)
        model: Any = (net, net.init(jax.random.key(0), jnp.asarray(batch)))
    else:
        model = EqxNet(eqx.nn.Conv2d(3, 8, 1, key=jax.random.key(0)), EqxTap(), function)
    return next(layer for layer in ls.open(model, preprocess=None).layers(batch) if layer.path == "tap")


@pytest.mark.parametrize("size", [(8, 8), (6, 10)])
@pytest.mark.parametrize("library", ["linen", "equinox"])
@pytest.mark.parametrize("order", [(0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1, 3), (0, 3, 2, 1)])
def test_what_is_turned_keeps_its_names(library, order, size):
    names = "bhwc" if library == "linen" else "bchw"
    layer = row(library, lambda x: jnp.transpose(x, order), size)
    assert layer.axes == "".join(names[axis] for axis in order)
    assert not layer.doubt


def test_rows_that_are_stacked_behind_channels_are_doubted():
    assert row("linen", lambda x: jnp.stack([x[:, index] for index in range(8)], -1), (8, 8)).doubt


@pytest.mark.parametrize("library", ["linen", "equinox"])
def test_products_and_sums_of_a_square_map_are_doubted(library):
    for function in (
        lambda x: jnp.matmul(x, jnp.swapaxes(x, 2, 3)),
        lambda x: x + jnp.transpose(x, (0, 3, 1, 2)),
        lambda x: x.reshape(1, 8, 4, 2, 8).transpose(0, 2, 1, 3, 4).reshape(1, 8, 8, 8)[..., ::-1] @ jnp.ones((8, 8)),
    ):
        assert row(library, function, (8, 8)).doubt


def test_a_reshape_across_the_image_is_doubted():
    assert row("linen", lambda x: x.reshape(1, 8, 6, 8), (6, 8)).doubt
    assert row("equinox", lambda x: x.reshape(1, 8, 10, 6).reshape(1, 8, 6, 10), (6, 10)).axes == "bchw"
