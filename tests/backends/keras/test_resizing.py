"""Keras models that resize by themselves are fed photos in their own size."""

from __future__ import annotations

import numpy as np
import pytest

import layerscope as ls
from helpers.keras_models import K, keras, to_numpy

PHOTOS = [np.random.default_rng(0).integers(0, 255, (h, w, 3), np.uint8) for h, w in ((20, 60), (60, 20), (33, 33))]


def net(*front):
    inputs = x = keras.Input((None, None, 3))
    for layer in front:
        x = layer(x)
    return keras.Model(inputs, K.Conv2D(2, 3, name="conv")(x))


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = K.Conv2D(2, 3)

    def call(self, x):
        return self.conv(keras.ops.image.resize(x, (24, 24), crop_to_aspect_ratio=True))


@pytest.mark.parametrize(
    "model",
    [
        lambda: net(K.Resizing(24, 24, pad_to_aspect_ratio=True)),
        lambda: net(keras.Sequential([K.Rescaling(1 / 255), K.Resizing(24, 16, crop_to_aspect_ratio=True)])),
        lambda: net(K.Lambda(lambda x: keras.ops.image.resize(x, (24, 24)))),
        Own,
    ],
)
def test_photos_are_fed_as_they_are(model):
    model = model()
    scope = ls.open(model, preprocess="raw")
    assert scope.facts.resizes
    (fm,) = scope.capture(PHOTOS, "conv").values()
    expected = [to_numpy(model(photo[None].astype("float32"), training=False))[0] for photo in PHOTOS]
    np.testing.assert_allclose(fm.values, expected, atol=1e-4)
    assert [placement.photo for placement in fm.placement] == [(20, 60), (60, 20), (33, 33)]


def test_other_resizes_leave_the_size_of_the_input_open():
    inputs = keras.Input((None, None, 3))
    behind = keras.Model(inputs, K.Resizing(24, 24)(K.Conv2D(2, 3, name="conv")(inputs)))
    for model in (behind, net(K.UpSampling2D(2)), net()):
        assert not ls.open(model, preprocess="raw").facts.resizes
