"""What a notebook shows of a feature map and of a scope: quick, and never an error."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.arrays import noise
from layerscope.testing import TinyBackend, tiny_model


def image_in(html):
    """The image of a display, or none."""
    found = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    return found and Image.open(io.BytesIO(base64.b64decode(found[1])))


def test_a_map_is_its_line_and_a_sheet_of_its_first_channels():
    fm = ls.FeatureMap.of_array(noise(1, 6, 5, 40))
    html = fm._repr_html_()
    assert "[1, 6, 5, 40]" in html
    assert np.array_equal(np.asarray(image_in(html).convert("RGB")), ls.sheet(fm, channels=range(32)).rgb())
    assert 'alt="array' in html


@pytest.mark.parametrize(
    "fm",
    [
        ls.FeatureMap.of_array(noise(1, 4, 5, 6, 7)),
        ls.FeatureMap.of_array(noise(2, 700), "bc"),
        ls.FeatureMap.of_array(noise(1, 30, 9), "bnc"),
        ls.pca(noise(1, 6, 6, 9)),
        ls.nmf(np.abs(noise(1, 6, 6, 9)), 3),
        ls.mean(noise(1, 6, 6, 9)),
        ls.FeatureMap.of_array(np.full((1, 6, 6, 2), np.nan, np.float32)),
        ls.FeatureMap.of_array(noise(1, 2000, 1500, 3)),
    ],
    ids=["volume", "dense", "sequence", "colours", "factors", "mean", "nan", "large"],
)
def test_every_kind_of_map_has_a_picture(fm):
    assert image_in(fm._repr_html_()) is not None


def test_what_can_not_be_drawn_quickly_is_its_line():
    row = np.broadcast_to(np.float32(0), (1, 3000, 3000, 2))
    html = ls.FeatureMap(row, ls.Layer("<b>", "Conv", "bhwc"), ("one",), (0, 1))._repr_html_()
    assert image_in(html) is None and "3000" in html and "<b>" not in html


def fail(self, model, batch):
    raise ValueError("no such input")


@pytest.fixture
def scope():
    return ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)


def test_a_scope_is_its_line_and_the_table_of_its_layers(scope, monkeypatch):
    html = scope._repr_html_()
    assert "unit: RGB" in html and scope.layers()._repr_html_() in html
    monkeypatch.setattr(TinyBackend, "layers", fail)  # it is kept
    assert scope._repr_html_() == html


def test_a_scope_of_ready_batches_or_of_large_images_runs_nothing(monkeypatch):
    monkeypatch.setattr(TinyBackend, "layers", fail)
    for options in ({"preprocess": None}, {"preprocess": "unit", "size": 4000}):
        assert "<table>" not in ls.open(tiny_model(), backend=TinyBackend(), **options)._repr_html_()


def test_a_model_that_fails_is_a_line(scope, monkeypatch):
    monkeypatch.setattr(TinyBackend, "layers", fail)
    assert "<table>" not in scope._repr_html_() and "unit: RGB" in scope._repr_html_()
