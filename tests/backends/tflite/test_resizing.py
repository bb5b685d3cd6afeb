"""Files that resize by themselves are fed photos in their own size."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import layerscope as ls
from helpers.tflite_models import interpreted, of_function

PHOTOS = [np.random.default_rng(0).integers(0, 255, (h, w, 3), np.uint8) for h, w in ((20, 60), (60, 20), (33, 33))]
KERNEL = np.random.default_rng(1).normal(size=(3, 3, 3, 2)).astype(np.float32)
ANY = tf.TensorSpec([1, None, None, 3], tf.float32, name="image")
RESIZES = {
    "bilinear": lambda x: tf.image.resize(x, (24, 16)),
    "nearest": lambda x: tf.nn.relu(tf.image.resize(x, (24, 16), "nearest")),
    "scaled": lambda x: tf.image.resize(x, (24, 16)) / 127.5 - 1.0,
}


def content_of(front):
    return of_function(lambda image: tf.nn.conv2d(front(image), KERNEL, 1, "SAME"), ANY)


@pytest.mark.parametrize("name", RESIZES)
def test_photos_are_fed_as_they_are(name):
    content = content_of(RESIZES[name])
    scope = ls.open(content, preprocess="unit")
    assert scope.facts.resizes
    for photo in PHOTOS:
        (fm,) = scope.capture(photo, "output").values()
        expected = interpreted(content, photo[None].astype(np.float32) / 255)["Identity"]
        np.testing.assert_allclose(fm.values, expected, atol=1e-4)


def test_a_size_that_follows_the_photo_stays_open():
    for front in (lambda x: x, lambda x: tf.image.resize(x, tf.shape(x)[1:3] * 2)):
        assert not ls.open(content_of(front), preprocess="unit").facts.resizes
    fixed = of_function(
        lambda image: tf.nn.conv2d(tf.image.resize(image, (24, 16)), KERNEL, 1, "SAME"), tf.TensorSpec([1, 32, 32, 3])
    )
    assert not ls.open(fixed, preprocess="unit").facts.resizes
