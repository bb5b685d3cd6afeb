"""The placement of the model's input on the photo: worked examples and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.wording import raises
from layerscope.core.placement import Placement
from layerscope.errors import BadOption

sides = st.integers(1, 400)
starts = st.floats(-200, 200)
lengths = st.floats(0.5, 500)
placements = st.builds(
    Placement,
    photo=st.tuples(sides, sides),
    input=st.tuples(sides, sides),
    box=st.tuples(starts, starts, lengths, lengths),
)


def test_a_whole_photo_maps_corner_to_corner() -> None:
    whole = Placement.whole((300, 400), (224, 100))
    assert whole.to_photo(0, 0) == (0, 0)
    assert whole.to_photo(224, 100) == pytest.approx((300, 400))
    assert whole.to_input(150, 200) == pytest.approx((112, 50))


def test_points_may_be_arrays() -> None:
    y, x = Placement.whole((8, 8), (4, 4)).to_photo(np.array([0.5, 1.5]), np.array([2.5, 3.5]))
    np.testing.assert_array_equal(y, [1, 3])
    np.testing.assert_array_equal(x, [5, 7])


def test_rows_and_cols_by_hand() -> None:
    # The input covers rows 2–5 and, padded, all four columns and two beyond each side.
    placement = Placement((8, 4), (4, 8), (2.0, -2.0, 4.0, 8.0))
    assert placement.rows(2).tolist() == [-1, -1, 0, 0, 1, 1, -1, -1]
    assert placement.cols(4).tolist() == [1, 1, 2, 2]
    assert placement.rows(2).dtype.kind == "i"


def test_positions_are_counted_from_cell_centres() -> None:
    placement = Placement((6, 4), (4, 4), (1.0, 0.0, 4.0, 4.0))
    np.testing.assert_array_equal(placement.row_positions(2), [np.nan, -0.25, 0.25, 0.75, 1.25, np.nan])
    np.testing.assert_array_equal(placement.col_positions(4), [0, 1, 2, 3])


def test_cell_box_of_a_padded_input_reaches_beyond_the_photo() -> None:
    placement = Placement((10, 20), (20, 20), (-5.0, 0.0, 20.0, 20.0))
    assert placement.cell_box(0, 0, (2, 4)) == (-5, 0, 10, 5)
    assert placement.cell_box(1, 3, (2, 4)) == (5, 15, 10, 5)


@pytest.mark.parametrize("cell", [(-1, 0), (0, 4), (2, 0)])
def test_cell_box_refuses_cells_outside_the_map(cell: tuple[int, int]) -> None:
    with raises(BadOption, "2", "4"):
        Placement.whole((10, 20), (20, 20)).cell_box(*cell, (2, 4))


def test_sizes_must_be_above_zero() -> None:
    with raises(BadOption):
        Placement.whole((10, 20), (0, 20))
    with raises(BadOption, "1"):
        Placement.whole((10, 20), (20, 20)).rows(0)


@given(placements, st.floats(-500, 500), st.floats(-500, 500))
def test_to_input_undoes_to_photo(placement: Placement, y: float, x: float) -> None:
    assert placement.to_input(*placement.to_photo(y, x)) == pytest.approx((y, x), abs=1e-6)


@given(placements, sides)
def test_rows_rise_and_cover_exactly_the_box(placement: Placement, cells: int) -> None:
    rows = placement.rows(cells)
    top, height = placement.box[0], placement.box[2]
    centres = np.arange(placement.photo[0]) + 0.5
    clear = (np.abs(centres - top) > 1e-9) & (np.abs(centres - top - height) > 1e-9)  # rounding decides on the edge
    inside = (centres > top) & (centres < top + height)
    assert ((rows >= 0) == inside)[clear].all()
    assert (np.diff(rows[rows >= 0]) >= 0).all()
    assert rows.max(initial=-1) < cells


@given(placements, sides)
def test_a_column_lies_in_the_box_of_its_cell(placement: Placement, cells: int) -> None:
    for column, cell in enumerate(placement.cols(cells)):
        if cell >= 0:
            _, left, _, width = placement.cell_box(0, int(cell), (1, cells))
            assert left - 1e-6 <= column + 0.5 <= left + width + 1e-6


@given(placements, sides)
def test_positions_round_to_the_cells(placement: Placement, cells: int) -> None:
    rows, positions = placement.rows(cells), placement.row_positions(cells)
    np.testing.assert_array_equal(np.isnan(positions), rows < 0)
    within = rows >= 0
    assert (np.abs(positions[within] - rows[within]) <= 0.5 + 1e-9).all()
