"""Flax and Equinox models that resize by themselves are fed photos in their own size."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import layerscope as ls

PHOTOS = [np.random.default_rng(0).integers(0, 255, (h, w, 3), np.uint8) for h, w in ((20, 60), (33, 33))]


class Linen(nn.Module):
    factor: int = 0

    @nn.compact
    def __call__(self, x):
        height, width = (x.shape[1] * self.factor, x.shape[2] * self.factor) if self.factor else (24, 16)
        return nn.Conv(2, (3, 3), name="conv")(jax.image.resize(x, (x.shape[0], height, width, 3), "bilinear"))


class Nnx(nnx.Module):
    def __init__(self):
        self.conv = nnx.Conv(3, 2, (3, 3), rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.conv(jax.image.resize(x, (x.shape[0], 24, 16, 3), "bilinear"))


class ReadsValues(Nnx):
    """Can't be traced: it decides by what is in the image."""

    def __call__(self, x):
        return self.conv(jax.image.resize(x, (x.shape[0], 24, 16 if float(x[0, 0, 0, 0]) < 2 else 8, 3), "nearest"))


def linen(factor=0):
    module = Linen(factor)
    return module.bind(module.init(jax.random.key(0), np.zeros((1, 24, 16, 3), np.float32)))


class Equinox(eqx.Module):
    """Takes one example, channels first; `ls` and this test call it on batches."""

    conv: eqx.nn.Conv2d

    def __init__(self):
        self.conv = eqx.nn.Conv2d(3, 2, 3, key=jax.random.key(0))

    def __call__(self, x):
        return self.conv(jax.image.resize(x, (3, 24, 16), "bilinear"))


class InSequential(eqx.Module):
    layers: eqx.nn.Sequential

    def __init__(self):
        resize = eqx.nn.Lambda(lambda x: jax.image.resize(x, (3, 24, 16), "nearest"))
        self.layers = eqx.nn.Sequential([resize, Equinox().conv])

    def __call__(self, x):
        return self.layers(x)


def answer(model, photo):
    image = photo.astype(np.float32) / 255
    if isinstance(model, eqx.Module):
        return np.asarray(model(image.transpose(2, 0, 1))).transpose(1, 2, 0)
    return np.asarray(model(image[None]))[0]


@pytest.mark.parametrize("model", [linen, Nnx, ReadsValues, Equinox, InSequential])
def test_photos_are_fed_as_they_are(model):
    model = model()
    scope = ls.open(model, preprocess="unit")
    assert scope.facts.resizes
    (fm,) = scope.capture(PHOTOS, "layers.layers.1" if type(model) is InSequential else "conv").values()
    expected = [answer(model, photo) for photo in PHOTOS]
    np.testing.assert_allclose(fm.values, expected, atol=1e-5)


def test_a_resize_by_a_factor_leaves_the_size_open():
    assert not ls.open(linen(2), preprocess="unit").facts.resizes
