"""Warnings of what is easily misread: when they come, and when not."""

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import wording


def positive(*shape, seed=0):
    return np.abs(noise(*shape, seed=seed))


def notes(*args, **options):
    picture = ls.sheet(*args, **options)
    for note in picture.notes:
        assert note in picture.alt(), "a note stands in the caption"
    return " · ".join(picture.notes)


def test_stretched_tiles_are_counted():
    values = positive(1, 20, 20, 8)
    values[..., 2] *= 1e-4
    values[..., 5] *= 1e-6
    values[..., 6] = 0
    line = "2 tiles (2, 5) show less than 0.1% of the layer's range: scale='layer' shows them as they are"
    assert line in notes(values)
    assert line in notes(values, channels=[5, 2, 0])
    wording(notes(values, channels=[1, 2]), "1", "2")
    assert "0.1%" not in notes(values, channels=[0, 1, 6]), (
        "those that are shown count, and dead ones are named as such"
    )
    assert "0.1%" not in notes(values, scale="layer")
    values[..., (2, 5)] *= 1e3
    wording(notes(values), "1", "5")
    assert "0.1%" not in notes(positive(1, 20, 20, 8))


@pytest.mark.parametrize("sign", [1, -1])
def test_one_unit_that_takes_the_range_is_named(sign):
    values = positive(1, 20, 20, 8)
    values[0, 3, 7, 5] = 100
    values *= sign
    rest = np.delete(values.ravel(), np.abs(values).argmax())
    text = notes(values, scale="layer")
    wording(text, "5", "3", "7", "9")
    end = f"which ends at {rest.max():.3g}" if sign > 0 else f"which begins at −{-rest.min():.3g}"
    assert end in text
    wording(notes(values, scale="images"))
    assert "one unit" not in notes(values), "in its own range it is its own tile's affair"
    assert "one unit" not in notes(values, scale=(0, 100))
    values[0, 9, 9, 1] = 99 * sign
    assert "one unit" not in notes(values, scale="layer"), "two of them are not one"


def test_an_outlier_of_nine_tenths_is_the_least_that_is_named():
    values = np.zeros((1, 20, 20, 2), np.float32)
    values[0, 0, 0, 0], values[0, 1, 1, 1] = 1, 0.11
    assert "one unit" not in notes(values, scale="layer")
    values[0, 1, 1, 1] = 0.09
    wording(notes(values, scale="layer"), "0", "90%", "0.09")
    assert "one unit (" not in notes(values[:, :5, :5], scale="layer"), "50 units: each is a large part of them"


def test_enlarged_small_maps_say_that_blocks_are_units():
    picture = ls.sheet(positive(1, 7, 7, 20))
    wording(picture.alt(), picture.zoom)
    assert "one unit" not in notes(positive(1, 7, 7, 20), zoom=3)
    assert "one unit" not in notes(positive(1, 17, 17, 20), zoom=8)
    assert "one unit" not in notes(positive(1, 56, 56, 64))


def test_a_plain_sheet_has_no_notes():
    assert ls.sheet(positive(1, 56, 56, 64)).notes == ()


def test_maps_without_a_finite_value_are_drawn_without_a_word_of_ranges():
    values = np.full((1, 20, 20, 3), np.nan, np.float32)
    for scale in ("channel", "layer"):
        assert notes(values, scale=scale) == ""
    values[..., 0] = 1
    assert "one unit" not in notes(values, scale="layer")


def test_a_heat_map_warns_of_one_unit_that_takes_its_range():
    values = np.random.default_rng(0).random((1, 12, 12, 1)).astype(np.float32)
    assert ls.heatmap(values).notes == ()
    values[0, 3, 4, 0] = 90
    (note,) = ls.heatmap(values).notes
    assert "one unit" in note and "y 3, x 4" in note
    assert any(note in line for line in ls.heatmap(values).lines)
