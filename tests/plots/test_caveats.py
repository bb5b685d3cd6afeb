"""Warnings of what is easily misread: when they come, and when not."""

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import wording
from layerscope.core.note import kind_of


def positive(*shape, seed=0):
    return np.abs(noise(*shape, seed=seed))


def notes(*args, **options):
    """The warnings of a sheet by their kinds."""
    picture = ls.sheet(*args, **options)
    for note in picture.notes:
        assert note in picture.alt(), "a note stands in the caption"
    return {kind_of(note): str(note) for note in picture.notes}


def test_stretched_tiles_are_counted():
    values = positive(1, 20, 20, 8)
    values[..., 2] *= 1e-4
    values[..., 5] *= 1e-6
    values[..., 6] = 0
    wording(notes(values)["faint"], "2", "(2, 5)")
    assert notes(values, channels=[5, 2, 0]) == notes(values)
    wording(notes(values, channels=[1, 2])["faint"], "Channel 2")
    assert "faint" not in notes(values, channels=[0, 1, 6]), (
        "those that are shown count, and dead ones are named as such"
    )
    assert "faint" not in notes(values, scale="layer")
    values[..., (2, 5)] *= 1e3
    wording(notes(values)["faint"], "Channel 5")
    assert "faint" not in notes(positive(1, 20, 20, 8))


@pytest.mark.parametrize("sign", [1, -1])
def test_one_unit_that_takes_the_range_is_named(sign):
    values = positive(1, 20, 20, 8)
    values[0, 3, 7, 5] = 100
    values *= sign
    rest = np.delete(values.ravel(), np.abs(values).argmax())
    end = f"{rest.max():.3g}" if sign > 0 else f"−{-rest.min():.3g}"
    wording(notes(values, scale="layer")["outlier"], "channel 5", "y 3", "x 7", "96%", end)
    assert "outlier" in notes(values, scale="images")
    assert "outlier" not in notes(values), "in its own range it is its own tile's affair"
    assert "outlier" not in notes(values, scale=(0, 100))
    values[0, 9, 9, 1] = 99 * sign
    assert "outlier" not in notes(values, scale="layer"), "two of them are not one"


def test_an_outlier_of_nine_tenths_is_the_least_that_is_named():
    values = np.zeros((1, 20, 20, 2), np.float32)
    values[0, 0, 0, 0], values[0, 1, 1, 1] = 1, 0.11
    assert "outlier" not in notes(values, scale="layer")
    values[0, 1, 1, 1] = 0.09
    wording(notes(values, scale="layer")["outlier"], "0", "90%", "0.09")
    assert "outlier" not in notes(values[:, :5, :5], scale="layer"), "50 units: each is a large part of them"


def test_enlarged_small_maps_say_that_blocks_are_units():
    picture = ls.sheet(positive(1, 7, 7, 20))
    (note,) = picture.notes
    assert kind_of(note) == "blocks"
    wording(note)
    assert "blocks" not in notes(positive(1, 7, 7, 20), zoom=3)
    assert "blocks" not in notes(positive(1, 17, 17, 20), zoom=8)
    assert "blocks" not in notes(positive(1, 56, 56, 64))


def test_a_plain_sheet_has_no_notes():
    assert ls.sheet(positive(1, 56, 56, 64)).notes == ()


def test_maps_without_a_finite_value_have_no_note_on_ranges():
    values = np.full((1, 20, 20, 3), np.nan, np.float32)
    for scale in ("channel", "layer"):
        assert notes(values, scale=scale) == {}
    values[..., 0] = 1
    assert "outlier" not in notes(values, scale="layer")


def test_a_heat_map_warns_of_one_unit_that_takes_its_range():
    values = np.random.default_rng(0).random((1, 12, 12, 1)).astype(np.float32)
    assert ls.heatmap(values).notes == ()
    values[0, 3, 4, 0] = 90
    (note,) = ls.heatmap(values).notes
    assert kind_of(note) == "outlier"
    wording(note, "y 3", "x 4")
    assert any(note in line for line in ls.heatmap(values).lines)


def test_many_values_at_the_limit_of_a_relu6_are_said():
    layer = ls.Layer("act", "Clip", "bchw", (1, 4, 10, 10), calls=1, usual_name="ReLU6")
    values = np.linspace(0, 5, 400, dtype=np.float32).reshape(1, 10, 10, 4)
    fm = ls.FeatureMap(values, layer, ("cat.jpg",), (0, 1, 2, 3))
    assert not any("limit of ReLU6" in line for line in ls.sheet(fm).lines)
    values = values.copy()
    values[0, :5, :, 0] = 6
    fm = ls.FeatureMap(values, layer, ("cat.jpg",), (0, 1, 2, 3))
    assert any("12% of the values are 6, the limit of ReLU6" in line for line in ls.sheet(fm).lines)
    assert any("50% of the values are 6" in line for line in ls.heatmap(ls.maximum(fm)).lines)
    assert not any("limit of ReLU6" in line for line in ls.heatmap(ls.mean(fm)).lines)
