"""Weights of another head: without one ("notop"), or for another number of classes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import layerscope as ls


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, with NumPy 2
@pytest.mark.parametrize("head", [{"include_top": False}, {"classes": 7}], ids=str)
def test_a_model_is_built_for_the_head_in_the_file(tmp_path, head):
    model = keras.applications.MobileNet(weights=None, **head)
    model.save_weights(tmp_path / "a.weights.h5")
    opened = ls.open("keras:MobileNet", weights=tmp_path / "a.weights.h5").model
    image = np.random.default_rng(0).random((1, 224, 224, 3), np.float32)
    assert np.array_equal(np.asarray(opened(image, training=False)), np.asarray(model(image, training=False)))
