"""Mixers: layers that work along the tokens of each channel, distinguished by marked channels and positions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import layerscope as ls
from helpers.wording import wording
from layerscope.backends.jax.backend import JaxBackend

HEIGHT, WIDTH = 2, 3


class Nnx(nnx.Module):
    """A block of an MLP-Mixer as papers write it; `width` channels, patches of 4 by 4."""

    def __init__(self, width: int, hidden: int) -> None:
        rngs, tokens = nnx.Rngs(0), HEIGHT * WIDTH
        self.patch = nnx.Conv(3, width, (4, 4), strides=(4, 4), rngs=rngs)
        self.norm, self.norm2 = (nnx.LayerNorm(width, rngs=rngs) for _ in range(2))
        self.mix, self.back = nnx.Linear(tokens, hidden, rngs=rngs), nnx.Linear(hidden, tokens, rngs=rngs)
        self.channels, self.out = nnx.Linear(width, 7, rngs=rngs), nnx.Linear(7, width, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.patch(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        y = jnp.swapaxes(self.norm(x), 1, 2)
        x = x + jnp.swapaxes(self.back(nnx.gelu(self.mix(y))), 1, 2)
        return x + self.out(nnx.gelu(self.channels(self.norm2(x))))


class Linen(nn.Module):
    width: int
    hidden: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(self.width, (4, 4), strides=(4, 4), name="patch")(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        y = jnp.swapaxes(nn.LayerNorm(name="norm")(x), 1, 2)
        y = nn.Dense(HEIGHT * WIDTH, name="back")(nn.gelu(nn.Dense(self.hidden, name="mix")(y)))
        x = x + jnp.swapaxes(y, 1, 2)
        y = nn.Dense(7, name="channels")(nn.LayerNorm(name="norm2")(x))
        return x + nn.Dense(self.width, name="out")(nn.gelu(y))


def nnx_mixer(width: int, hidden: int = 5) -> Any:
    return Nnx(width, hidden)


def linen_mixer(width: int, hidden: int = 5) -> Any:
    model = Linen(width, hidden)
    return model, model.init(jax.random.key(0), jnp.zeros((1, 8, 12, 3)))


def photo() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, 4 * HEIGHT, 4 * WIDTH, 3)).astype(np.float32)


def weight(model: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(model, tuple):
        parameters = model[1]["params"][name]
        return np.asarray(parameters["kernel"]), np.asarray(parameters["bias"])
    return np.asarray(getattr(model, name).kernel[...]), np.asarray(getattr(model, name).bias[...])


@pytest.mark.parametrize("build", [nnx_mixer, linen_mixer])
def test_a_layer_along_the_tokens_has_the_channels_of_its_input(build: Any) -> None:
    model = build(4)
    scope = ls.open(model, preprocess=None)
    table = {layer.path: layer for layer in JaxBackend().layers(model, photo())}
    axes = {name: (table[name].axes, table[name].grid) for name in ("norm", "mix", "back", "norm2", "channels", "out")}
    grid = (HEIGHT, WIDTH)
    assert axes == {
        "norm": ("bnc", grid),
        "mix": ("bcn", None),
        "back": ("bcn", None),  # sums over positions, as many as there are tokens
        "norm2": ("bnc", grid),
        "channels": ("bnc", grid),
        "out": ("bnc", grid),
    }
    assert table["back"].note == table["mix"].note
    wording(table["mix"].note)
    maps = scope.capture(photo(), ["norm", "mix", "back", "channels"])
    assert maps["back"].values.shape == (1, HEIGHT * WIDTH, 4)
    tokens = maps["norm"].values.reshape(HEIGHT * WIDTH, 4)
    for channel in range(4):
        # Channel `channel` of the result comes from this channel of the normalised tokens and from no other.
        (kernel, bias), (kernel2, bias2) = weight(model, "mix"), weight(model, "back")
        mixed = tokens[:, channel] @ kernel + bias
        np.testing.assert_allclose(maps["mix"].values[0, :, channel], mixed, atol=1e-5)
        expected = np.asarray(jax.nn.gelu(mixed)) @ kernel2 + bias2
        np.testing.assert_allclose(maps["back"].values[0, ..., channel].ravel(), expected, atol=1e-5)


@pytest.mark.parametrize("build", [nnx_mixer, linen_mixer])
def test_as_many_tokens_as_channels_are_distinguished_by_their_values_or_noted_as_uncertain(build: Any) -> None:
    model = build(HEIGHT * WIDTH)
    table = {layer.path: layer for layer in JaxBackend().layers(model, photo())}
    assert [table[name].axes for name in ("norm", "mix", "back", "channels", "out")] == [
        "bnc",
        "bcn",
        "bcn",
        "bnc",
        "bnc",
    ]
    wording(table["norm2"].note)
    assert not table["norm"].note and not table["channels"].note
