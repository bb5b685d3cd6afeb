"""Flax models that resize by themselves are fed photos in their own size."""

from __future__ import annotations

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


def linen(factor=0):
    module = Linen(factor)
    return module.bind(module.init(jax.random.key(0), np.zeros((1, 24, 16, 3), np.float32)))


@pytest.mark.parametrize("model", [linen, Nnx])
def test_photos_are_fed_as_they_are(model):
    model = model()
    scope = ls.open(model, preprocess="unit")
    assert scope.facts.resizes
    (fm,) = scope.capture(PHOTOS, "conv").values()
    expected = [np.asarray(model(photo[None].astype(np.float32) / 255))[0] for photo in PHOTOS]
    np.testing.assert_allclose(fm.values, expected, atol=1e-5)


def test_a_resize_by_a_factor_leaves_the_size_open():
    assert not ls.open(linen(2), preprocess="unit").facts.resizes
