"""Layers that hold no numbers: a size of 0 has no picture, and takes no other layer with it."""

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.testing import TinyBackend, TinyModel, tiny_model
from layerscope.testing.tiny import Step

CUTS = {
    "rows": lambda x: x[:, :, 4:4],
    "channels": lambda x: x[:, :0],
    "images": lambda x: x[:0],
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_layer_without_numbers_is_left_out_and_named(cut):
    model = TinyModel((tiny_model().steps[0], Step("cut", "Slice", "bchw", CUTS[cut])))
    scope = ls.open(model, backend=TinyBackend(), preprocess=None)
    batch = np.random.default_rng(0).random((1, 3, 8, 8)).astype(np.float32)
    maps = scope.capture(batch, "*")
    assert "cut" not in maps
    assert len(maps) == 1
    with raises(ls.LayerNotCalled, "×0×" if cut != "images" else "0×"):
        scope.capture(batch, "cut")
    assert str(scope.layers(batch))
