"""Colours of arrays and of every mode of Pillow, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.image_files import GREY, RAMP, encoded
from helpers.wording import raises
from layerscope.errors import ImageNotReadable
from layerscope.inputs.photo import read

# ---- arrays


@pytest.mark.parametrize("array", [GREY, GREY[..., None]], ids=["hw", "hw1"])
def test_grey_arrays_become_three_equal_channels(array: np.ndarray) -> None:
    photo = read(array)
    np.testing.assert_array_equal(photo.pixels, np.repeat(GREY[..., None], 3, axis=2))
    assert photo.mode == "L"
    assert photo.grey


def test_pixels_are_a_frozen_copy() -> None:
    array = RAMP.copy()
    photo = read(array)
    array[:] = 0
    np.testing.assert_array_equal(photo.pixels, RAMP)
    with pytest.raises(ValueError, match="read-only"):
        photo.pixels[0] = 0


def test_bool_arrays_are_black_and_white() -> None:
    photo = read(np.array([[True, False]]))
    assert photo.pixels[..., 0].tolist() == [[255, 0]]
    assert photo.mode == "1"


def test_uint16_arrays_keep_their_precision() -> None:
    photo = read(np.array([[0, 257, 300, 65535]], np.uint16))
    assert photo.pixels[0, :, 0].tolist() == [0, 1, 1, 255]
    assert photo.values is not None
    np.testing.assert_array_equal(photo.values[0, :, 0], np.array([0, 257, 300, 65535], np.float32) / np.float32(257))
    assert photo.mode == "I;16"


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_float_arrays_lie_in_0_to_1(kind: type) -> None:
    photo = read(np.array([[[0, 0.5, 1]]], kind))
    assert photo.pixels.tolist() == [[[0, 128, 255]]]
    assert photo.values is not None
    assert photo.values.tolist() == [[[0, 127.5, 255]]]
    assert not photo.grey


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_alpha_of_arrays_is_composited_on_white(kind: type) -> None:
    array = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]])
    array = array.astype(kind) if kind is np.uint8 else (array / 255).astype(kind)
    assert read(array).pixels.tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 20, 30), np.uint8),
        np.zeros((20, 30, 2), np.uint8),
        np.zeros(9, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.full((4, 4), 200.5),
        np.full((4, 4), -0.5),
        np.full((4, 4), np.nan),
        np.full((4, 4), np.inf),
        np.full((4, 4), 256, np.int64),
        np.zeros((4, 4), complex),
    ],
)
def test_arrays_that_are_no_images_are_refused(array: np.ndarray) -> None:
    with raises(ImageNotReadable) as caught:
        read(array)
    assert str(caught.value).startswith("array-0: ")
    assert "\n" not in str(caught.value)


# ---- modes of Pillow


def test_grey_files_keep_the_exact_grey() -> None:
    photo = read(encoded(Image.fromarray(GREY)))
    np.testing.assert_array_equal(photo.pixels[..., 1], GREY)
    assert (photo.mode, photo.grey) == ("L", True)


def test_one_bit_files() -> None:
    photo = read(encoded(Image.fromarray(GREY > 100)))
    np.testing.assert_array_equal(photo.pixels[..., 0], np.where(GREY > 100, 255, 0))
    assert photo.mode == "1"


def test_transparency_is_composited_on_white() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 102]]], np.uint8)
    photo = read(encoded(Image.fromarray(rgba)))
    assert photo.pixels.tolist() == [[[10, 20, 30], [255, 255, 255], [153, 153, 153]]]
    assert photo.mode == "RGBA"


def test_grey_with_transparency_stays_grey() -> None:
    photo = read(encoded(Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8))))
    assert photo.pixels.tolist() == [[[10, 10, 10], [255, 255, 255]]]
    assert (photo.mode, photo.grey) == ("LA", True)


def test_palette_files_with_and_without_transparency() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([200, 0, 0, 0, 200, 0])
    picture.putpixel((1, 0), 1)
    assert read(encoded(picture)).pixels.tolist() == [[[200, 0, 0], [0, 200, 0]]]
    photo = read(encoded(picture, transparency=1))
    assert photo.pixels.tolist() == [[[200, 0, 0], [255, 255, 255]]]
    assert photo.mode == "P"


def test_a_transparent_colour_of_an_rgb_png() -> None:
    array = np.array([[[1, 2, 3], [9, 9, 9]]], np.uint8)
    assert read(encoded(Image.fromarray(array), transparency=(9, 9, 9))).pixels.tolist() == [[[1, 2, 3], [255] * 3]]


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_tiff_of_both_byte_orders(order: str) -> None:
    array = np.array([[0, 1000, 40000, 65535]], order)
    mode = "I;16" if order == "<u2" else "I;16B"
    photo = read(encoded(Image.frombytes(mode, (4, 1), array.tobytes()), "TIFF"))
    assert photo.pixels[0, :, 1].tolist() == [0, 4, 156, 255]
    assert photo.values is not None
    np.testing.assert_array_equal(photo.values[0, :, 0], array[0].astype(np.float32) / np.float32(257))
    assert photo.grey


def test_16_bit_png() -> None:
    array = np.array([[0, 1000, 40000, 65535]], np.uint16)
    photo = read(encoded(Image.fromarray(array)))
    assert photo.pixels[0, :, 1].tolist() == [0, 4, 156, 255]
    assert photo.values is not None


def test_whole_numbers_of_32_bits_are_read_as_16_or_refused() -> None:
    assert read(Image.fromarray(np.array([[0, 65535]], np.int32))).pixels[0, :, 0].tolist() == [0, 255]
    with raises(ImageNotReadable, "-1", "70000", "16", "0", "65535"):
        read(Image.fromarray(np.array([[-1, 70000]], np.int32)))


def test_float_tiff_follows_the_rule_of_float_arrays() -> None:
    photo = read(encoded(Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), "TIFF"))
    assert photo.pixels[0, :, 0].tolist() == [0, 128, 255]
    assert photo.mode == "F"
    with raises(ImageNotReadable, "0", "12.5"):
        read(encoded(Image.fromarray(np.array([[0, 12.5]], np.float32)), "TIFF"))


def test_cmyk_jpeg() -> None:
    colours = np.zeros((16, 16, 3), np.uint8) + np.array([250, 20, 40], np.uint8)
    photo = read(encoded(Image.fromarray(colours).convert("CMYK"), "JPEG", quality=100))
    assert photo.mode == "CMYK"
    assert np.abs(photo.pixels.astype(int) - colours).max() <= 3


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "HSV"])
def test_other_colour_spaces_become_rgb(mode: str) -> None:
    colours = np.zeros((4, 4, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    if mode == "LAB":  # red is lab(54.29 80.8 69.89), see "lab()" in CSS Color 4; a and b are stored + 128
        bands = (round(54.29 * 2.55), 81 + 128, 70 + 128)
        picture = Image.merge("LAB", [Image.new("L", (4, 4), band) for band in bands])
    else:
        picture = Image.fromarray(colours).convert(mode)
    photo = read(picture)
    assert np.abs(photo.pixels.astype(int) - colours).max() <= 6
    assert (photo.mode, photo.grey) == (mode, False)
