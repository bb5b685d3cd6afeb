"""What a run changes in a model of tf_keras is put back, also what its graph is made of."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from layerscope.backends.tf_keras.backend import TfKerasBackend

K = tf_keras.layers
BACKEND = TfKerasBackend()
BATCH = np.random.default_rng(0).uniform(-1, 1, (2, 6, 8, 3)).astype(np.float32)


class Halves(K.Layer):
    """Makes a layer in its call, and keeps a number."""

    def __init__(self):
        super().__init__()
        self.conv, self.scale = K.Conv2D(3, 3, padding="same"), 1.0

    def call(self, x):
        self.scale *= 0.5
        return K.ReLU()(self.conv(x)) * self.scale


class Nested(tf_keras.Model):
    """Holds a Sequential, which makes its graph anew for another number of images."""

    def __init__(self):
        super().__init__()
        self.parts = {"second": tf_keras.Sequential([Halves(), K.MaxPooling2D()])}

    def call(self, x):
        return self.parts["second"](x)


class Draws(K.Layer):
    def __init__(self):
        super().__init__()
        self.source = tf.random.Generator.from_seed(5)

    def call(self, x):
        return x + self.source.normal((1,))


def test_a_graph_that_is_made_anew_is_put_back():
    model = Nested()
    model(BATCH)
    BACKEND.layers(model, BATCH)
    first, second = (BACKEND.capture(model, BATCH, [""])[""].values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, model(BATCH), atol=1e-6)


def test_an_unbuilt_sequential_keeps_no_graph():
    model = tf_keras.Sequential([K.Conv2D(2, 3), K.Flatten(), K.Dense(2)])
    before = set(vars(model))
    BACKEND.layers(model, BATCH)
    assert set(vars(model)) == before
    assert not model.built


def test_the_generator_of_a_layer_draws_what_it_would_have_drawn():
    inputs = K.Input((6, 8, 3))
    model = tf_keras.Model(inputs, Draws()(inputs))
    first, second = (BACKEND.capture(model, BATCH, [""])[""].values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, model(BATCH))
