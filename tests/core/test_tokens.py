"""Tokens that the user lays on a grid."""

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
