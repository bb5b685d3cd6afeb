"""A model of Keras and its file on a second device: where it runs in this process, and in one that divides its processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerscope as ls

from .keras_models import K, images, keras


def loaded_on_the_second(folder: Path) -> Any:
    """The model of a file that was opened for the device `cpu:1`, after its values were compared."""
    batch = images(2, 8, 8, 3)
    model = keras.Sequential([keras.Input((8, 8, 3)), K.Conv2D(4, 3, name="conv"), K.ReLU()])
    model.save(folder / "net.keras")
    expected = ls.open(model, preprocess=None).capture(batch, "conv")["conv"].values
    ours, loaded = [ls.open(source, preprocess=None, device="cpu:1") for source in (model, folder / "net.keras")]
    assert ours.model is model
    for scope in (ours, loaded):
        assert scope.backend.device == "cpu:1"
        np.testing.assert_allclose(scope.capture(batch, "conv")["conv"].values, expected, atol=1e-6)
    with pytest.warns(ls.DeviceWarning, match="gpu"):
        ls.open(model, preprocess=None, device="gpu")
    return loaded.model
