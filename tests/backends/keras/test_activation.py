"""What `predict` makes of a Keras model's output: by the activation that the head really has."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import layerscope as ls
from helpers.keras_models import K, images, keras, to_numpy

IMAGES = images(2, 12, 12, 3)


def net(*tail):
    inputs = keras.Input((12, 12, 3))
    x = K.GlobalAveragePooling2D()(K.Conv2D(4, 3)(inputs))
    for layer in tail:
        x = layer(x)
    return keras.Model(inputs, x)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.flat, self.dense = K.Flatten(), K.Dense(3)

    def call(self, x):
        return keras.ops.sigmoid(self.dense(self.flat(x)))


class Squash:
    """An activation that has no name."""

    def __call__(self, x):
        return keras.ops.sigmoid(x)


@pytest.mark.parametrize(
    ("model", "labels", "kind", "expected"),
    [
        (lambda: net(K.Dense(1, activation="sigmoid")), None, "", lambda x: x),
        (lambda: net(K.Dense(1, activation="sigmoid"), K.Reshape(())), None, "", lambda x: x[:, None]),
        (
            lambda: net(K.Dense(3, activation="sigmoid"), K.Identity(), lambda x: 100 * x),
            "abc",
            "own-numbers",
            lambda x: x,
        ),
        (lambda: net(K.Dense(5), K.BatchNormalization(), K.Activation("sigmoid")), "abcde", "", lambda x: x),
        (lambda: net(K.Dense(5), keras.ops.sigmoid, K.Reshape((5,))), "abcde", "", lambda x: x),
        (lambda: net(K.Dense(5, activation="sigmoid"), K.Dropout(0.5)), "abcde", "", lambda x: x),
        (lambda: keras.Sequential([net(), keras.Sequential([K.Dense(5, "sigmoid")])]), "abcde", "", lambda x: x),
        (lambda: net(K.Dense(3, activation="log_softmax")), None, "exponential", np.exp),
        (lambda: net(K.Dense(3, activation=partial(keras.activations.hard_sigmoid))), "abc", "", lambda x: x),
        (lambda: net(K.Dense(3, activation=Squash())), "abc", "own-numbers", lambda x: x),
        (lambda: net(K.Dense(3), K.Lambda(keras.ops.sigmoid, output_shape=(3,))), "abc", "own-numbers", lambda x: x),
        (Subclassed, "abc", "own-numbers", lambda x: x),
        (lambda: net(K.Dense(1)), None, "own-numbers", lambda x: x),
        (lambda: net(K.Dense(3, activation="relu")), "abc", "own-numbers", lambda x: x),
        # names and places of activations are Keras's own on every framework, so one of these runs on each
        pytest.param(
            lambda: net(K.Dense(3)),
            "abc",
            "softmax",
            lambda x: to_numpy(keras.ops.softmax(x)),
            marks=pytest.mark.each_framework,
        ),
    ],
)
def test_the_head_decides(model, labels, kind, expected):
    model = model()
    output = to_numpy(model(IMAGES))
    scope = ls.open(model, preprocess=None, labels=list(labels) if labels else None)
    for row, numbers in zip(scope.predict(IMAGES), expected(output), strict=True):
        assert [one.probability for one in row] == pytest.approx(sorted(map(float, numbers), reverse=True), abs=1e-5)
        assert getattr(row[0].note, "kind", "") == kind


def test_the_output_that_is_meant_is_named_on_the_maps():
    inputs = keras.Input((12, 12, 3))
    flat = K.Flatten()(inputs)
    scope = ls.open(keras.Model(inputs, [K.Dense(2)(flat), K.Dense(3)(flat)]), preprocess=None)
    (fm,) = scope.capture(IMAGES, "output").values()
    assert [note.kind for note in fm.notes] == ["main-output"]
