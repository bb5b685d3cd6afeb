"""What `predict` makes of a TFLite file's output: by the last operators in it."""

from __future__ import annotations

import numpy as np
import pytest

import layerscope as ls
from helpers.tflite_models import K, converted, keras

IMAGES = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("units", "activation", "labels", "kind"),
    [
        (1, "sigmoid", None, ""),
        (4, "sigmoid", "abcd", ""),
        (4, "softmax", "abcd", ""),
        (1, None, None, "own-numbers"),
        (4, "relu", "abcd", "own-numbers"),
        (4, None, "abcd", "softmax"),
    ],
)
def test_the_last_operators_decide(units, activation, labels, kind):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((8, 8, 3)), K.Flatten(), K.Dense(units, activation)])
    output = np.array(model(IMAGES))
    if kind == "softmax":
        output = np.array(keras.ops.softmax(output))
    scope = ls.open(converted(model), preprocess=None, labels=list(labels) if labels else None)
    for row, numbers in zip(scope.predict(IMAGES), output, strict=True):
        assert [one.probability for one in row] == pytest.approx(sorted(map(float, numbers), reverse=True), abs=1e-5)
        assert getattr(row[0].note, "kind", "") == kind
