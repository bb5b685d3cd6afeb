"""Arrays of any kind as numbers: what lies below a mask is none, and what is no array of numbers is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.core.conversion import to_host
from layerscope.testing import TinyBackend, tiny_model

PLAIN = np.arange(24, dtype=np.int16).reshape(4, 6)
MASKED = np.ma.masked_equal(np.where(PLAIN == 7, 999, PLAIN), 999)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64", "complex64"])
def test_what_is_masked_is_shown_as_missing(dtype: str) -> None:
    array = np.ma.masked_array(PLAIN.astype(dtype), MASKED.mask)
    values = ls.FeatureMap.of_array(array, "hw").values[0, ..., 0]
    assert np.isnan(values[1, 1])
    assert np.isnan(values).sum() == 1
    np.testing.assert_array_equal(values[2:], PLAIN[2:].astype(dtype).astype("complex64").real)


def test_a_mask_that_hides_nothing_changes_nothing() -> None:
    array = np.ma.masked_array(PLAIN, False)
    assert to_host(array).dtype == PLAIN.dtype
    assert ls.FeatureMap.of_array(array, "hw").dtype == "int16"


@pytest.mark.limit("arrays with masked values")
def test_arrays_that_are_no_numbers(limit) -> None:
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    ready = np.zeros((2, 3, 8, 8), np.float32)
    hidden = np.ma.masked_array(ready, np.arange(ready.size).reshape(ready.shape) < 5)
    with limit.raises("1", "array.filled"):
        ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit").layers(MASKED.astype(np.uint8))
    for batch in (hidden, {"x": hidden}, (hidden, ready)):
        with limit.raises("5", "batch.filled(...)"):
            scope.capture(batch)
    record, dates = np.zeros((2, 3, 8, 8), [("a", "f4")]), ready.astype("datetime64[s]")
    objects = np.array([[1, None]], object)
    for array in (record, dates):
        with limit.raises(str(array.dtype)):
            scope.capture(array)
    for array in (record, dates, objects, [[1], [1, 2]], np.array([["a"]])):
        with limit.raises():
            ls.FeatureMap.of_array(array, "bchw")
    for array in (record[0, 0], dates[0, 0], objects):
        with raises(ls.ImageNotReadable):
            ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit").layers(array)


class Unreadable:
    """What a sparse tensor does."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError("can't convert a sparse layout to numpy")


def test_arrays_that_numpy_can_not_read_are_named() -> None:
    with raises(ls.BadLayout, "Unreadable"):
        ls.FeatureMap.of_array(Unreadable(), "hw")
    with raises(ls.ImageNotReadable):
        ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit").layers(Unreadable())
