"""Tokens that the user lays on a grid."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import layerscope as ls

ROWS = np.arange(8 * 2, dtype=np.float32).reshape(1, 8, 2)


def test_tokens_lie_on_the_grid_that_the_user_states() -> None:
    fm = ls.FeatureMap.of_array(ROWS, "bnc").on_grid((2, 3), prefix=["cls"], suffix=1)
    assert np.array_equal(fm.values[0], ROWS[0, 1:7].reshape(2, 3, 2))
    assert fm.prefix().layer.prefix == ("cls", "suffix1")
    assert np.array_equal(fm.tokens[0], ROWS[0, [0, 7]])
    assert np.array_equal(fm.on_grid((2, 4)).values[0], ROWS[0].reshape(2, 4, 2))


def test_a_bare_array_of_tokens_takes_a_grid() -> None:
    fm = ls.FeatureMap.of_array(ROWS, "bnc", (2, 3))
    assert np.array_equal(fm.values[0], ROWS[0, 2:].reshape(2, 3, 2))
    assert fm.layer.prefix == ("prefix1", "prefix2")
    assert ls.sheet(ROWS, layout="bnc", grid=(2, 4)).cells[0].note == ls.sheet(ROWS.reshape(1, 2, 4, 2)).cells[0].note


@pytest.mark.parametrize("grid", [(2, 5), (3,), (0, 8), "24", (2.0, 4)])
def test_a_grid_that_does_not_fit_is_refused(grid: object) -> None:
    with pytest.raises(ls.BadLayout):
        ls.FeatureMap.of_array(ROWS, "bnc").on_grid(grid)
    with pytest.raises(ls.BadLayout):
        ls.FeatureMap.of_array(np.zeros((4, 4)), "hw").on_grid((4, 4))


def test_tokens_of_a_clip_lie_on_a_grid_of_three_sides(tmp_path: Path) -> None:
    rows = np.arange(14 * 2, dtype=np.float32).reshape(1, 14, 2)
    fm = ls.FeatureMap.of_array(rows, "bnc").on_grid((3, 2, 2), prefix=("cls",), suffix=["end"])
    assert fm.spatial == (3, 2, 2)
    assert np.array_equal(fm.values[0], rows[0, 1:13].reshape(3, 2, 2, 2))
    assert np.array_equal(fm.tokens[0], rows[0, [0, 13]])
    assert fm.layer.lines is None
    again = fm.on_grid((2, 6), prefix=2)  # from the tokens in their own order, not from the picture
    assert np.array_equal(again.values[0], rows[0, 2:].reshape(2, 6, 2))
    assert np.array_equal(ls.load(fm.save(tmp_path / "clip.npz")).values, fm.values)
    assert ls.mean(fm).spatial == (3, 2, 2)
    assert len(ls.sheet(fm).cells) == 2
    assert fm.to_xarray().dims == ("image", "d", "h", "w", "channel")
    with pytest.raises(ls.BadLayout):
        fm.on_grid((3, 2, 3))


def test_a_grid_keeps_the_gradient_of_its_tokens() -> None:
    fm = replace(ls.FeatureMap.of_array(ROWS, "bnc"), gradient=ROWS * 2)
    laid = fm.on_grid((1, 2, 3), prefix=2)
    assert laid.gradient is not None
    assert np.array_equal(laid.gradient, laid.values * 2)
