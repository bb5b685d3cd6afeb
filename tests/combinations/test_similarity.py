"""Similarity to one position against scipy's distances, through crop and EXIF orientation of the photo, across images."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

import layerscope as ls
from helpers.arrays import noise, planes_first
from helpers.wording import raises, wording
from layerscope.core.note import kind_of
from layerscope.core.placement import Placement
from layerscope.picture.codes import INK


@pytest.mark.parametrize("order", [np.ascontiguousarray, planes_first], ids=["nhwc", "nchw"])
@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1), st.integers(0, 4), st.integers(0, 6), st.integers(0, 9))
def test_every_metric_is_scipys(order, metric, image, y, x, seed):
    values = noise(2, 5, 7, 9, seed=seed)
    flat = values.reshape(-1, 9).astype(np.float64)
    query = values[image, y, x].astype(np.float64)
    expected = {
        "cosine": lambda: 1 - cdist(flat, query[None], "cosine")[:, 0],
        "dot": lambda: flat @ query,
        "euclidean": lambda: -cdist(flat, query[None])[:, 0],
    }[metric]()
    fm = ls.similarity(order(values), (y, x), image=image, metric=metric)
    np.testing.assert_allclose(fm.values.ravel(), expected, rtol=1e-4, atol=1e-5)
    best = np.unravel_index(fm.values.argmax(), fm.shape)
    if metric != "dot":
        assert best == (image, y, x, 0)
    assert (
        fm.notes[-1]
        == f"query (outlined): the position at row {y}, column {x} of the map of image {image}, counted from 0"
    )


def test_a_map_of_any_number_of_axes_has_positions():
    values = noise(1, 2, 3, 4, 5)
    fm = ls.similarity(ls.FeatureMap.of_array(values, "bdhwc"), (1, 2, 3))
    assert np.unravel_index(fm.values.argmax(), fm.shape) == (0, 1, 2, 3, 0)
    row = ls.similarity(ls.FeatureMap.of_array(noise(1, 6, 5), "bnc"), 4)
    assert row.values.argmax() == 4
    with raises(ls.BadLayout):
        ls.similarity(ls.FeatureMap.of_array(noise(1, 6), "bc"), 0)


def test_vectors_without_a_direction_are_nan_and_noted():
    values = noise(1, 4, 4, 3)
    values[0, 1, 1] = 0
    values[0, 2, 2, 0] = np.nan
    fm = ls.similarity(values, (0, 0))
    assert np.argwhere(np.isnan(fm.values[0, ..., 0])).tolist() == [[1, 1], [2, 2]]
    assert kind_of(fm.notes[-1]) == "no-direction"
    assert np.isnan(ls.similarity(values, (0, 0), metric="euclidean").values).sum() == 1
    nothing = ls.similarity(values, (1, 1))
    assert np.isnan(nothing.values).all()
    assert kind_of(nothing.notes[-1]) == "no-direction"
    wording([fm.notes[-1], nothing.notes[-1]], "1", "0")
    ls.heatmap(nothing)
    with raises(ls.BadOption, "2", "0"):
        ls.similarity(values, (2, 2))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_neither_large_nor_small_vectors_leave_float32(size):
    values = noise(1, 4, 4, 3)
    for metric, unit in (("cosine", 1), ("euclidean", size)):
        scaled = ls.similarity(values * np.float32(size), (1, 2), metric=metric).values / unit
        np.testing.assert_allclose(scaled, ls.similarity(values, (1, 2), metric=metric).values, rtol=1e-4, atol=1e-6)


def on_photo(values, placement):
    fm = ls.FeatureMap.of_array(values)
    photo = np.zeros((*placement.photo, 3), np.uint8)
    return replace(fm, photos=(photo,), placement=(placement,))


@given(st.integers(0, 299), st.integers(0, 399))
def test_a_place_on_the_photo_is_the_unit_that_covers_it(y, x):
    placement = Placement(photo=(300, 400), input=(224, 224), box=(18.75, 68.75, 262.5, 262.5))
    fm = on_photo(noise(1, 7, 7, 5), placement)
    row, column = (y + 0.5 - 18.75) / 262.5 * 7, (x + 0.5 - 68.75) / 262.5 * 7
    if not (0 <= row < 7 and 0 <= column < 7):
        with pytest.raises(ls.BadOption, match="cropped away before the model: it saw the rows 19 to 280"):
            ls.similarity(fm, photo=(y, x))
        return
    similar = ls.similarity(fm, photo=(y, x))
    assert similar.provenance["query"]["at"] == [int(row), int(column)]
    assert kind_of(similar.notes[-1]) == "query" and f"row {y}, column {x} of the photo" in similar.notes[-1]


def test_the_photo_of_a_capture_is_the_upright_one():
    scope = ls.open("demo")
    fm = scope.capture(ls.demo_photo(), "_blocks.0._swish")["_blocks.0._swish"]
    similar = ls.similarity(fm, photo=(150, 230))
    top, left, height, width = fm.unit_grid().cell_box(*similar.provenance["query"]["at"])
    assert top <= 150.5 < top + height and left <= 230.5 < left + width


def test_another_map_is_compared_with_the_query_of_the_first():
    first, other = noise(1, 4, 5, 6), noise(3, 2, 2, 6, seed=1)
    fm = ls.similarity(first, (3, 4), to=other)
    expected = 1 - cdist(other.reshape(-1, 6), first[0, 3, 4][None], "cosine")
    np.testing.assert_allclose(fm.values.reshape(-1, 1), expected, atol=1e-5)
    assert fm.ids == ("image 0", "image 1", "image 2")
    with raises(ls.BadLayout, "6", "to=", "2"):
        ls.similarity(first, (0, 0), to=other[..., :2])
    fm = ls.FeatureMap.of_array(first)
    with raises(ls.BadLayout):
        ls.similarity(fm.select([0, 1]), (0, 0), to=fm.select([0, 2]))


def test_the_query_is_outlined_on_its_own_image_alone():
    values = noise(2, 4, 4, 6)
    fm = ls.similarity(values, (1, 2), image=1)
    ink = [(ls.heatmap(fm, image=image).pixels == INK) for image in (0, 1)]
    cell = ls.heatmap(fm, image=1).cells[0]
    zoom = cell.width // 4
    for image in (0, 1):
        body = ink[image][cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
        where = np.argwhere(body) // zoom
        assert {tuple(index) for index in where.tolist()} == ({(1, 2)} if image else set())
    picture = ls.heatmap(fm, image=1)
    np.testing.assert_allclose(picture.decode(picture.cells[0]), fm.values[1, ..., 0], atol=0.01)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"at": (0, 0), "photo": (0, 0)},
        {"at": (4, 0)},
        {"at": (-1, 0)},
        {"at": (1,)},
        {"at": (1.0, 2.0)},
        {"photo": (1, 1)},
        {"at": (0, 0), "metric": "cosin"},
        {"at": (0, 0), "image": 3},
    ],
)
def test_bad_places_are_named(options):
    with raises(ls.BadOption):
        ls.similarity(noise(1, 4, 5, 3), **options)


def test_a_place_outside_the_photo_is_named():
    fm = on_photo(noise(1, 7, 7, 5), Placement.whole((30, 40), (30, 40)))
    for bad in ((30, 0), (0, -1)):
        with raises(ls.BadOption, "30", "40"):
            ls.similarity(fm, photo=bad)
    with raises(ls.BadOption):
        ls.similarity(fm, photo="here")
