"""Arrays that come together have one scale; whole numbers up to 255 are pixels, whatever their type."""

from __future__ import annotations

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.core.note import kind_of
from layerscope.inputs.images import load

PIXELS = np.arange(8 * 8 * 3).reshape(8, 8, 3) % 256
DARK = PIXELS % 2  # nothing but 0 and 1
TYPES = ["int8", "int16", "int32", "int64", "uint32", "uint64", ">i4", "float16", "float32", "float64", ">f4"]


def photos(images):
    read, skipped = load(images)
    assert not skipped
    return read


def kinds(photo):
    return [kind_of(note) for note in photo.notes]


@pytest.mark.parametrize("dtype", TYPES)
def test_a_dark_image_of_a_batch_has_the_scale_of_the_others(dtype):
    bright = PIXELS % 128 if dtype == "int8" else PIXELS
    for images in (np.stack([bright, DARK]).astype(dtype), [bright.astype(dtype), DARK.astype(dtype)]):
        first, second = photos(images)
        np.testing.assert_array_equal(first.pixels, bright)
        np.testing.assert_array_equal(second.pixels, DARK)
        assert kinds(first) == ["whole-numbers"]


def test_the_order_in_a_list_doesnt_matter_and_a_stream_says_what_it_took():
    pixels, dark = PIXELS.astype(np.float32), DARK.astype(np.float32)
    assert photos([dark, pixels])[0].pixels.max() == 1
    late, early = photos(item for item in (pixels, dark)), photos(item for item in (dark, pixels))
    assert (late[1].pixels.max(), early[0].pixels.max()) == (1, 255)
    assert kinds(early[0]) == ["zeros-and-ones"]
    batches = photos(item for item in (np.stack([pixels, pixels]), np.stack([dark, dark])))
    assert [photo.pixels.max() for photo in batches] == [191, 191, 1, 1]


def test_floats_up_to_1_are_as_they_were():
    images = np.stack([PIXELS / 255, DARK / 255])
    first, second = photos(images)
    assert (first.pixels.max(), second.pixels.max()) == (191, 1)
    assert not first.notes and not second.notes


def test_a_batch_with_fractions_above_1_is_refused_whole():
    with raises(ls.ImageNotReadable):
        load(np.stack([PIXELS + 0.25, DARK / 1.0]))


def test_alpha_has_a_scale_of_its_own():
    opaque = np.full((8, 8, 1), 255.0)
    (photo,) = photos(np.concatenate([PIXELS / 255, opaque], 2)[None])
    np.testing.assert_array_equal(photo.pixels, PIXELS)


def test_few_levels_are_said():
    assert kinds(photos(DARK)[0]) == ["whole-numbers", "range"]
    assert kinds(photos(np.stack([PIXELS, DARK]))[1]) == ["whole-numbers"]
    assert kinds(photos(np.stack([PIXELS * 257, DARK]).astype(np.uint16))[1]) == []


@pytest.mark.limit("floats with fractions above 1 or below 0, integers beyond 0–255")
@pytest.mark.parametrize(("low", "high"), [(-128, 127), (0, 4080)])
def test_other_integers_need_a_range_which_the_message_gives(low, high):
    with raises(ls.ImageNotReadable, str(low)):
        load(np.array([[low, high]]))


@pytest.mark.limit("NaN in an image, and infinite values without a `range`")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_counted_and_hides_no_scale(value):
    broken = PIXELS.astype(np.float32)
    broken[0, 0] = value
    with raises(ls.ImageNotReadable, "3"):
        load(broken)
    with pytest.warns(ls.ImagesSkipped):
        (photo,), _ = load(np.stack([broken, DARK]))
    assert photo.pixels.max() == 1


class Dlpack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Interface:
    def __init__(self, array):
        self.array, self.__array_interface__ = array, array.__array_interface__


class OnDevice:
    __cuda_array_interface__ = {}

    def __init__(self, array):
        self.array = array

    def get(self):
        return self.array

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


@pytest.mark.parametrize("wrap", [Dlpack, Interface, OnDevice, np.asfortranarray, lambda array: array[::-1][::-1]])
def test_arrays_of_any_library_and_order(wrap):
    array = PIXELS.astype(np.uint8)
    for images in (wrap(array), [wrap(array)], wrap(array[None])):
        np.testing.assert_array_equal(photos(images)[0].pixels, array)


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[s]", "U3", "O", "c8", [("r", "u1")]])
def test_arrays_of_no_numbers_are_not_advised_a_range(dtype):
    with raises(ls.ImageNotReadable) as caught:
        load(PIXELS[..., 0].astype(dtype))
    assert "range" not in str(caught.value)
