"""Checks of arguments that are the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.inputs.photo import read


@pytest.mark.parametrize("path", [None, 3, b"x.png", ["x.png"], object], ids=str)
def test_what_is_no_path_is_refused(path):
    picture, fm = ls.heatmap(np.eye(4)), ls.FeatureMap.of_array(np.zeros((1, 4, 4, 3), np.float32))
    for save in (picture.save, fm.save, lambda path: ls.animate([picture, picture], path)):
        with pytest.raises(ls.BadOption):
            save(path)


@pytest.mark.parametrize("value", ["no", "", 1, None, 0.0])
def test_only_true_and_false_are_flags(value):
    array = np.zeros((1, 4, 4, 3), np.float32)
    for call in (
        lambda: ls.sheet(array, statistics=value),
        lambda: ls.strip(array[0, 0], flip=value),
        lambda: ls.open("demo", trust=value),
    ):
        with pytest.raises(ls.BadOption):
            call()
    ls.sheet(array, statistics=np.True_)


def test_a_limit_of_memory_is_named_where_it_stops_something(monkeypatch, tmp_path):
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "0")
    with raises(ls.LayerscopeError, "LAYERSCOPE_MAX_MEMORY=0"):
        ls.open("demo").capture(ls.demo_photo(), "last")


def test_a_small_limit_of_pixels_is_a_number_of_pixels(monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_MAX_PIXELS", "100")
    with raises(ls.ImageTooLarge, "100 pixels"):
        read(ls.demo_photo())
