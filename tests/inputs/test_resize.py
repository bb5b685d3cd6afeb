"""Filters, crops and padding against Pillow and torchvision, and where the input lies on the photo."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.photos import CAT, pil
from helpers.wording import raises
from layerscope.core.placement import Placement
from layerscope.errors import PreprocessUnknown
from layerscope.inputs import resize
from layerscope.inputs.photo import Photo, read
from layerscope.inputs.preprocess import apply
from layerscope.inputs.recipe import Recipe, named

source = resize._source

# ---- resizing


def waves(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([127 + 120 * np.sin(rows / 9 + columns / 5 + shift) for shift in range(3)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("kind", ["colours", "grey", "floats"])
@pytest.mark.parametrize(
    ("height", "width", "short"), [(5, 700, 30), (700, 5, 30), (40, 900, 9), (300, 7, 7), (1, 99, 50)]
)
def test_a_part_of_a_thin_photo_is_that_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, interpolation: str, kind: str, height: int, width: int, short: int
) -> None:
    pixels = waves(height, width)
    photo = read(pixels[..., 0] / np.float32(255) if kind == "floats" else pixels)
    recipe = Recipe(resize="shorter", short=short, interpolation=interpolation, fill=(9, 9, 9))
    channels = 1 if kind == "grey" else 3
    size = (24, 20)  # larger than what there is in some, so that the rest is filled
    whole, place = apply(recipe, photo, "hwc", size, channels=channels)
    monkeypatch.setattr(resize, "WHOLE", 0)
    calls = []
    monkeypatch.setattr(resize, "_source", lambda *args: calls.append(args) or source(*args))
    part, same = apply(recipe, photo, "hwc", size, channels=channels)
    assert calls or math.prod(resize.geometry(recipe, photo, size)[0]) <= 8 * 24 * 20
    assert place == same
    # "nearest" may take the neighbour where the middle of a new pixel lies between two, a wave's step away
    assert np.abs(whole - part).max() <= (60 if interpolation == "nearest" else 2)
    assert np.mean(whole != part) < 0.6
    assert np.abs(whole - part).mean() < 3


@pytest.mark.parametrize("shape", [(20_000, 1), (1, 20_000), (300, 30_000), (1, 5_000_000)])
@pytest.mark.parametrize("interpolation", ["nearest", "lanczos"])
def test_a_thin_photo_takes_little_memory(shape: tuple[int, int], interpolation: str) -> None:
    photo = read(np.broadcast_to(np.uint8(7), shape))
    recipe = Recipe(resize="shorter", interpolation=interpolation)
    resized, _, size = resize.geometry(recipe, photo, (224, 224))
    assert resize.bytes_to_resize(photo, resized, size, interpolation) < 350e6
    assert (apply(recipe, photo, "hwc", (224, 224))[0] == 7).all()


def test_ordinary_photos_are_resized_whole() -> None:
    recipe = Recipe(resize="shorter", interpolation="bicubic")
    resized, offset, size = resize.geometry(recipe, CAT, (224, 224))
    expected = np.asarray(pil(CAT).resize(resized[::-1], Image.Resampling.BICUBIC))
    rows, columns = (slice(start, start + length) for start, length in zip(offset, size, strict=True))
    np.testing.assert_array_equal(apply(recipe, CAT, "hwc", (224, 224))[0], expected[rows, columns])


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_filters_are_pillows(interpolation: str) -> None:
    expected = np.asarray(pil(CAT).resize((60, 50), Image.Resampling[interpolation.upper()]))
    array, _ = apply(Recipe(interpolation=interpolation), CAT, "hwc", (50, 60))
    np.testing.assert_array_equal(array, expected.astype(np.float32))


def test_letterbox_pads_with_the_fill() -> None:
    photo = read(np.full((20, 40, 3), 200, np.uint8))
    array, placement = apply(Recipe(resize="letterbox", fill=(1, 2, 3)), photo, "hwc", (32, 32))
    assert (array[8:24] == 200).all()
    assert (array[:8] == (1, 2, 3)).all()
    assert (array[24:] == (1, 2, 3)).all()
    assert placement.box == (-10, 0, 40, 40)


def test_letterbox_fill_is_treated_like_a_pixel() -> None:
    photo = read(np.full((20, 40, 3), 200, np.uint8))
    recipe = Recipe(resize="letterbox", fill=(10, 20, 30), order="bgr", divide=10)
    assert apply(recipe, photo, "hwc", (32, 32))[0][0, 0].tolist() == [3, 2, 1]
    grey, _ = apply(recipe, photo, "hwc", (32, 32), channels=1)
    assert grey[0, 0].tolist() == [np.float32(18) / np.float32(10)]


@pytest.mark.parametrize(
    ("photo", "crop"), [((10, 15), (5, 4)), ((9, 9), (4, 4)), ((224, 227), (224, 224)), ((3, 9), (4, 4))]
)
def test_crop_offsets_are_torchvisions(photo: tuple[int, int], crop: tuple[int, int]) -> None:
    image = read(np.arange(photo[0] * photo[1], dtype=np.uint16).reshape(photo).astype(np.uint8))
    _, placement = apply(Recipe(resize="shorter", short=min(photo)), image, "hwc", crop)
    for side in (0, 1):
        gap = photo[side] - crop[side]
        # torchvision: center_crop pads (crop - size) // 2 before, else starts at int(round((size - crop) / 2.0))
        assert placement.box[side] == (round(gap / 2.0) if gap >= 0 else -(-gap // 2))


def test_shorter_covers_an_input_that_is_not_square() -> None:
    array, placement = apply(Recipe(resize="shorter", fill=(255, 0, 255)), CAT, "hwc", (320, 96))
    assert array.shape == (320, 96, 3)
    top, left, height, width = placement.box
    assert top >= 0
    assert left >= 0
    assert top + height <= 300
    assert left + width <= 451
    assert height / width == pytest.approx(320 / 96, rel=0.02)


@pytest.mark.limit("photos of another size than the model takes")
def test_own_size_and_multiples(limit) -> None:
    array, placement = apply(Recipe(resize="none", multiple=32), CAT, "hwc")
    assert array.shape == (288, 448, 3)
    assert placement == Placement((300, 451), (288, 448), (6, 2, 288, 448))
    np.testing.assert_array_equal(array, CAT.pixels[6:294, 2:450].astype(np.float32))
    assert apply(Recipe(resize="none"), CAT, "hwc", (300, 451))[1].box == (0, 0, 300, 451)
    with limit.raises("300", "451", "224", "resize"):
        apply(Recipe(resize="none"), CAT, "hwc", (224, 224))
    with raises(PreprocessUnknown, "512"):
        apply(Recipe(resize="none", multiple=512), CAT)


def test_resizing_without_a_size() -> None:
    with raises(PreprocessUnknown, "size=(height, width)"):
        apply(named("unit"), CAT)


# ---- case 34: the map lies on the right pixels of the photo

WAYS = [
    Recipe(resize="squash"),
    Recipe(resize="shorter", interpolation="bicubic"),
    Recipe(resize="shorter", short=224),
    Recipe(resize="letterbox", fill=(0, 0, 0)),
]


def brightest_on_photo(
    photo: Photo, recipe: Recipe, size: tuple[int, int], cells: tuple[int, int]
) -> tuple[float, ...]:
    """The box on the photo of the brightest cell of a map that is the block mean of the model's input."""
    array, placement = apply(recipe, photo, "hwc", size)
    assert array.shape[:2] == size
    grey = array.mean(axis=2)
    blocks = grey.reshape(cells[0], size[0] // cells[0], cells[1], size[1] // cells[1]).mean(axis=(1, 3))
    y, x = np.unravel_index(blocks.argmax(), blocks.shape)
    return placement.cell_box(int(y), int(x), cells)


def planted(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    pixels = np.zeros((height, width, 3), np.uint8)
    top, left, high, wide = box
    pixels[top : top + high, left : left + wide] = 255
    return pixels


@pytest.mark.parametrize("recipe", WAYS, ids=lambda recipe: f"{recipe.resize}-{recipe.short}")
@pytest.mark.parametrize("size", [(224, 224), (160, 224), (224, 96)], ids=str)
@pytest.mark.parametrize("photo", [(301, 403), (403, 301), (257, 777), (64, 48)], ids=str)
def test_a_planted_square_comes_back(recipe: Recipe, size: tuple[int, int], photo: tuple[int, int]) -> None:
    _, placement = apply(recipe, read(np.zeros((*photo, 3), np.uint8)), "hwc", size)
    cells = (size[0] // 8, size[1] // 8)
    for y, x in ((cells[0] // 2, cells[1] // 2), (cells[0] // 2 - 2, cells[1] // 2 + 1)):
        # plant a square where one cell lies; it must come back within one pixel of its position
        exact = placement.cell_box(y, x, cells)
        top, left = round(exact[0]), round(exact[1])
        box = (top, left, round(exact[0] + exact[2]) - top, round(exact[1] + exact[3]) - left)
        box_on_photo = brightest_on_photo(read(planted(*photo, box)), recipe, size, cells)
        assert box_on_photo == pytest.approx(box, abs=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_planted_square_comes_back_through_every_exif_orientation(orientation: int) -> None:
    upright = read(planted(96, 128, (24, 80, 8, 8)))
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    picture = pil(upright) if orientation == 1 else pil(upright).transpose(stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=100, subsampling=0, exif=exif)
    box_on_photo = brightest_on_photo(read(file.getvalue()), Recipe(resize="squash"), (96, 128), (12, 16))
    assert box_on_photo == (24, 80, 8, 8)


@given(
    st.tuples(st.integers(8, 90), st.integers(8, 90)),
    st.tuples(st.integers(8, 64), st.integers(8, 64)),
    st.sampled_from(WAYS),
)
@settings(max_examples=60, deadline=None)
def test_the_placement_agrees_with_the_pixels(photo: tuple[int, int], size: tuple[int, int], recipe: Recipe) -> None:
    """Two ramps, down and across, read from the input give the position on the photo that the placement states."""
    height, width = photo
    down = np.repeat((np.arange(height, dtype=np.float64) + 0.5)[:, None], width, axis=1) / 100
    across = np.repeat((np.arange(width, dtype=np.float64) + 0.5)[None], height, axis=0) / 100
    image = read(np.stack([down, across, np.zeros(photo)], axis=2))
    array, placement = apply(replace(recipe, interpolation="bilinear"), image, "hwc", size)
    assert placement.photo == photo
    assert placement.input == size
    y, x = placement.to_photo(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    # away from the photo's edges, where the filter is cut off; a sampled filter is itself some tenths of a pixel off
    rows = (y > placement.box[2] / size[0] + 1) & (y < height - placement.box[2] / size[0] - 1)
    cols = (x > placement.box[3] / size[1] + 1) & (x < width - placement.box[3] / size[1] - 1)
    values = array[np.ix_(rows, cols)] / 2.55
    np.testing.assert_allclose(values[..., 0], np.broadcast_to(y[rows][:, None], values.shape[:2]), atol=0.25)
    np.testing.assert_allclose(values[..., 1], np.broadcast_to(x[cols][None], values.shape[:2]), atol=0.25)
