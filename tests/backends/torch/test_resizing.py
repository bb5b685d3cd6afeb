"""PyTorch models that resize by themselves are fed photos in their own size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import layerscope as ls

PHOTOS = [np.random.default_rng(0).integers(0, 255, (h, w, 3), np.uint8) for h, w in ((20, 60), (60, 20), (33, 33))]


class Interpolates(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options, self.conv = options, nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return self.conv(self.resized(x))

    def resized(self, x):
        return functional.interpolate(x, **self.options)


class Resize(nn.Module):
    """As torchvision's, whose code lies in functions of its own."""

    def forward(self, x):
        return FUNCTIONS["resize"](x)


FUNCTIONS = {"resize": lambda x: functional.interpolate(x, (24, 16), mode="bilinear", antialias=True)}


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (lambda: Interpolates(size=(24, 16), mode="bilinear"), "conv"),
        (lambda: nn.Sequential(Resize(), nn.Conv2d(3, 2, 3)), "1"),
        (lambda: nn.Sequential(nn.Sequential(Resize(), nn.Hardtanh()), nn.Conv2d(3, 2, 3)), "1"),
    ],
)
def test_photos_are_fed_as_they_are(model, layer):
    model = model().eval()
    scope = ls.open(model, preprocess="unit")
    assert scope.facts.resizes
    (fm,) = scope.capture(PHOTOS, layer).values()
    inputs = [torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255 for photo in PHOTOS]
    expected = [model(array)[0].permute(1, 2, 0).detach().numpy() for array in inputs]
    np.testing.assert_allclose(fm.values, expected, atol=1e-5)


def test_a_resize_by_a_factor_or_behind_weights_leaves_the_size_open():
    for model in (Interpolates(scale_factor=2), nn.Sequential(nn.Conv2d(3, 2, 3), Resize())):
        assert not ls.open(model, preprocess="unit").facts.resizes
