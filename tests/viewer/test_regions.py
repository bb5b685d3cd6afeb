"""Where units lie on the photo, row by row and column by column, is what `FeatureMap.unit_grid` says of each."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import layerscope as ls
from layerscope.core.placement import Placement
from layerscope.core.receptive_field import WHOLE, Field, Line, resize, unknown, window
from layerscope.viewer.regions import about, field_text, regions

SIDES = st.integers(1, 40)
FIELDS = st.sampled_from(
    [
        Field(),
        window(Field(), 3, 2, padding=1),
        window(window(Field(), 7, 2, padding=3), 3, 2, padding=1),
        resize(window(Field(), 3, 2), 5, 10, "linear"),
        resize(Field(), 4, 8),
    ]
)


@st.composite
def placements(draw):
    height, width = draw(SIDES), draw(SIDES)
    box = (draw(st.integers(-8, 8)), draw(st.integers(-8, 8)), draw(st.integers(1, 60)), draw(st.integers(1, 60)))
    return Placement((height, width), (draw(SIDES), draw(SIDES)), tuple(map(float, box)))


def placed(rows, columns, placement, **layer):
    fm = ls.FeatureMap.of_array(np.zeros((1, rows, columns, 1), np.float32), "bhwc")
    return replace(fm, placement=(placement,), layer=replace(fm.layer, **layer))


def holding(cells, pixels):
    """The unit whose cell holds the centre of each pixel, -1 for none."""
    centres = np.arange(pixels) + 0.5
    inside = (centres >= cells[:, :1]) & (centres < cells[:, 1:])
    return np.where(inside.any(0), inside.argmax(0), -1)


@settings(deadline=None)
@given(placements(), st.integers(1, 9), st.integers(1, 9), FIELDS, FIELDS)
def test_the_cell_that_holds_a_pixel_is_that_of_the_unit_drawn_there(placement, rows, columns, down, across):
    one = placed(rows, columns, placement, receptive=(down, across))
    found, grid = regions(one), one.unit_grid()
    np.testing.assert_array_equal(holding(found["row_cells"], placement.photo[0]), grid.rows)
    np.testing.assert_array_equal(holding(found["column_cells"], placement.photo[1]), grid.columns)


@settings(deadline=None)
@given(placements(), st.integers(1, 9), st.integers(1, 9), FIELDS, FIELDS)
def test_the_fields_are_those_of_each_unit(placement, rows, columns, down, across):
    one = placed(rows, columns, placement, receptive=(down, across))
    found, grid = regions(one), one.unit_grid()
    for y in range(rows):
        for x in range(columns):
            (top, bottom), (left, right) = found["row_fields"][y], found["column_fields"][x]
            box = grid.receptive_box(y, x)
            np.testing.assert_allclose((top, left, bottom - top, right - left), box, atol=1e-8)


@settings(deadline=None)
@given(st.integers(2, 9))
def test_units_that_run_backwards_lie_where_they_are_drawn(columns):
    placement = Placement.whole((7, 2 * columns), (7, columns))
    lines = (Line(0.5, 1.0), Line(columns - 0.5, -1.0))
    one = placed(7, columns, placement, lines=lines)
    cells = regions(one)["column_cells"]
    assert cells.tolist() == [[2.0 * (columns - 1 - x), 2.0 * (columns - x)] for x in range(columns)]


def test_cells_are_cut_to_what_the_model_saw_of_the_photo_and_fields_are_not():
    crop = Placement((20, 20), (8, 8), (2.0, -6.0, 16.0, 32.0))
    found = regions(placed(4, 4, crop, receptive=(window(Field(), 5, 2, padding=2),) * 2))
    assert found["row_cells"][[0, -1]].tolist() == [[2.0, 5.0], [13.0, 17.0]]
    assert found["column_cells"][0].tolist() == [0.0, 0.0]  # in the padding
    assert found["row_fields"][0].tolist() == [-2.0, 8.0]


def test_a_unit_that_sees_everything_has_no_end_and_one_that_sees_nothing_no_place():
    whole = Placement.whole((10, 10), (5, 5))
    one = placed(2, 2, whole, receptive=(WHOLE, Field((0.0, np.inf), (1.0, -np.inf), 2.0)))
    found = regions(one)
    assert found["row_fields"].tolist() == [[-np.inf, np.inf]] * 2
    assert found["column_fields"][0].tolist() == [0.0, 4.0] and np.isnan(found["column_fields"][1]).all()


def test_rolled_units_see_what_they_came_from():
    whole = Placement.whole((8, 8), (8, 8))
    rolled = window(Field(), 2, 2).roll(1, 4)
    found = regions(placed(4, 4, whole, receptive=(rolled, rolled)))
    assert found["row_fields"].tolist() == [[6.0, 8.0], [0.0, 2.0], [2.0, 4.0], [4.0, 6.0]]
    assert [placed(4, 4, whole, receptive=(rolled, rolled)).unit_grid().receptive_box(y, 1)[0] for y in range(4)] == [
        6,
        0,
        2,
        4,
    ]


@pytest.mark.parametrize("receptive", [None, (unknown("a custom layer"), Field())])
def test_where_no_field_is_known_units_have_an_equal_part_and_a_reason(receptive):
    one = placed(2, 4, Placement.whole((10, 40), (8, 8)), receptive=receptive)
    found = regions(one)
    assert found.keys() == {"row_cells", "column_cells"}
    assert found["column_cells"].tolist() == [[0.0, 10.0], [10.0, 20.0], [20.0, 30.0], [30.0, 40.0]]
    assert about(one)["unknown"] == ("a custom layer" if receptive else "no receptive field is known")


def test_without_a_photo_there_are_no_regions():
    assert regions(ls.FeatureMap.of_array(np.zeros((1, 4, 4, 2), np.float32), "bhwc")) == {}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ((WHOLE, WHOLE), "whole image"),
        ((window(Field(), 3), WHOLE), "all × 3 pixels of the input"),
        ((window(Field(), 5), window(Field(), 7)), "7 × 5 pixels of the input"),
        ((unknown("lost"), Field()), ""),
    ],
)
def test_fields_in_words(fields, words):
    assert field_text(fields) == words


def test_a_layer_of_one_unit_sees_the_whole_image():
    one = ls.FeatureMap.of_array(np.zeros((1, 8), np.float32), "bc")
    assert about(one) == {"measured": False, "text": "whole image", "unknown": ""}
