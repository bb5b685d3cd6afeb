"""Overlays lie on the right pixels of the photo, at its own size; contours, thresholds, and the photo beside."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial import cKDTree
from skimage.measure import find_contours

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope.core.note import kind_of
from layerscope.inputs.preprocess import Recipe
from layerscope.picture.codes import ABOVE, BELOW, GAP
from layerscope.picture.palette import palette
from layerscope.testing import TinyBackend, TinyModel, tiny_model


def cell_rgb(picture, cell=None):
    """The RGB pixels of one cell."""
    cell = cell or picture.cells[0]
    return picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]


def on_photo(values, photo, box=None):
    """A map `[y, x]` that lies on the whole photo, or on a part of it."""
    placement = ls.Placement(photo.shape[:2], (64, 64), box or (0.0, 0.0, *map(float, photo.shape[:2])))
    fm = ls.FeatureMap.of_array(np.asarray(values, np.float32)[None, ..., None])
    return replace(fm, photos=(photo,), placement=(placement,))


def grey_photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(60, 190, (height, width, 3), dtype=np.uint8)


class Brightness(TinyBackend):
    """A network of one layer that averages blocks of 8 × 8 pixels: where it is bright, the photo was."""


def brightness_model():
    def pooled(x):
        images, channels, height, width = x.shape
        return x.reshape(images, channels, height // 8, 8, width // 8, 8).mean((3, 5))

    from layerscope.backends import Facts, Input
    from layerscope.testing import Step

    return TinyModel(
        (Step("pool", "Pool", "bchw", pooled),),
        facts=Facts("brightness", (Input("image", "bchw", (None, 3, None, None)),)),
    )


@pytest.mark.parametrize("recipe", ["shorter", "squash", "letterbox"])
@pytest.mark.parametrize("turn", [1, 3, 6, 8])
@pytest.mark.parametrize("smooth", [False, True])
def test_a_planted_bright_square_comes_back_where_it_was(recipe, turn, smooth, tmp_path):
    """A bright square of the upright photo must be where the overlay is brightest, through crop, squash, letterbox, EXIF."""
    height, width, y, x, side = 200, 280, 84, 150, 20
    upright = np.zeros((height, width, 3), np.uint8)
    upright[y : y + side, x : x + side] = 255
    undo = {1: lambda p: p, 3: lambda p: np.rot90(p, 2), 6: lambda p: np.rot90(p, 1), 8: lambda p: np.rot90(p, -1)}
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(np.ascontiguousarray(undo[turn](upright))).save(tmp_path / "a.png", exif=exif)
    steps = Recipe("test", divide=255.0, resize=recipe, size=(64, 96), short=80 if recipe == "shorter" else None)
    scope = ls.open(brightness_model(), backend=Brightness(), preprocess=steps)
    fm = ls.mean(scope.capture(tmp_path / "a.png", "pool")["pool"])
    assert np.array_equal(fm.photos[0], upright)
    picture = ls.overlay(fm, alpha=1.0, smooth=smooth, colors="gray")
    cell = picture.cells[0]
    brightness = picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width].astype(float).sum(-1)
    bright = np.argwhere(brightness >= brightness.max() * 0.98)
    center = (bright.min(0) + bright.max(0)) / 2
    unit = max(fm.placement[0].box[2] / fm.spatial[0], fm.placement[0].box[3] / fm.spatial[1])
    assert np.abs(center - [y + side / 2, x + side / 2]).max() <= unit, "within one unit of the map"


def test_what_the_model_did_not_see_stays_bare():
    scope = ls.open(
        brightness_model(),
        backend=Brightness(),
        preprocess=Recipe("crop", divide=255.0, resize="shorter", size=(64, 64)),
    )
    photo = np.random.default_rng(0).integers(0, 255, (100, 300, 3), dtype=np.uint8)
    fm = ls.mean(scope.capture(photo, "pool")["pool"])
    picture = ls.overlay(fm, alpha=1.0)
    cell = picture.cells[0]
    region = picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
    assert region.shape == photo.shape
    same = (region == photo).all((0, 2))
    _, left, _, wide = fm.placement[0].box
    assert same[: int(left)].all()
    assert same[int(left + wide) + 1 :].all()
    assert not same[int(left) + 1 : int(left + wide) - 1].any()
    bare = ls.overlay(fm, alpha=0.0)
    assert np.array_equal(bare.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width], photo)


@pytest.mark.limit("overlays of maps without a photo")
def test_overlays_need_a_photo_and_one_map(limit):
    with limit.raises():
        ls.overlay(ls.mean(noise(1, 4, 4, 3)))
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit")
    photo = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    maps = scope.capture(photo, ["conv1", "head"])
    with raises(ls.BadLayout):
        ls.overlay(maps["conv1"])
    with raises(ls.BadLayout):
        ls.overlay(ls.mean(maps["head"]))
    with raises(ls.BadOption, "0"):
        ls.overlay(ls.mean(maps["conv1"]), alpha=2)
    assert ls.overlay(ls.pca(maps["conv1"])).pixels.ndim == 3


# How the stored pixels come from the upright photo, for each value of the EXIF orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
# All shrink by two, so that a unit of 8 pixels of the input is 16 of the photo: (photo, recipe, corner of unit (2, 3)).
GEOMETRIES = {
    "squash": ((128, 192), {"resize": "squash"}, (32, 48)),
    "crop": ((128, 256), {"resize": "shorter", "short": 64}, (32, 32 + 48)),
    "crop of a tall photo": ((320, 192), {"resize": "shorter", "short": 96}, (96 + 32, 48)),
    "letterbox": ((96, 192), {"resize": "letterbox"}, (32 - 16, 48)),
    "letterbox of a tall photo": ((128, 64), {"resize": "letterbox"}, (32, 48 - 64)),
}


@pytest.mark.parametrize("turn", STORED)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_planted_square_comes_back_on_its_own_pixels(name, turn, tmp_path):
    """One unit's share of the photo is white: the overlay must be bright there, to one pixel, worked out by hand."""
    (height, width), recipe, (y, x) = GEOMETRIES[name]
    x = x if x >= 0 else x + 48
    upright = np.zeros((height, width, 3), np.uint8)
    upright[y : y + 16, x : x + 16] = 255
    image = Image.fromarray(upright)
    image = image.transpose(STORED[turn]) if STORED[turn] is not None else image
    exif = Image.Exif()
    exif[0x0112] = turn
    image.save(tmp_path / "a.png", exif=exif)
    steps = Recipe("test", divide=255.0, size=(64, 96), **recipe)
    scope = ls.open(brightness_model(), backend=Brightness(), preprocess=steps)
    fm = ls.mean(scope.capture(tmp_path / "a.png", "pool")["pool"])
    assert np.array_equal(fm.photos[0], upright)
    for smooth in (False, True):
        bright = cell_rgb(ls.overlay(fm, alpha=1.0, smooth=smooth, colors="gray")).astype(int).sum(-1)
        bright_pixels = np.argwhere(bright >= (0.98 if smooth else 0.5) * bright.max())
        if smooth:
            assert np.abs(bright_pixels.mean(0) + 0.5 - [y + 8, x + 8]).max() <= 1
        else:
            assert np.abs(bright_pixels.min(0) - [y, x]).max() <= 1
            assert np.abs(bright_pixels.max(0) + 1 - [y + 16, x + 16]).max() <= 1


@pytest.mark.parametrize("thick", [(300, 400), (1100, 1200)])
def test_contours_lie_where_skimage_finds_them(thick):
    height, width = thick
    photo, values = np.full((height, width, 3), 128, np.uint8), noise(5, 6, seed=3)
    picture = ls.overlay(on_photo(values, photo), alpha=0.0, smooth=True, contours=[0.3])
    pixels = cell_rgb(picture)
    white, black = (pixels == 255).all(-1), (pixels == 0).all(-1)
    ys = np.clip((np.arange(height) + 0.5) * 5 / height - 0.5, 0, 4)
    xs = np.clip((np.arange(width) + 0.5) * 6 / width - 0.5, 0, 5)
    placed = RegularGridInterpolator((np.arange(5), np.arange(6)), values)(
        np.stack(np.meshgrid(ys, xs, indexing="ij"), -1)
    )
    lines = np.concatenate(find_contours(placed, 0.3))
    wide = 1 if min(thick) <= 1000 else 2
    for line, side in ((white, placed >= 0.3), (black, placed < 0.3)):
        assert line.any()
        assert (side | (np.abs(placed - 0.3) < 1e-5))[line].all(), "white above, black below"
        assert cKDTree(np.argwhere(line)).query(lines)[0].max() <= 1.5
        assert cKDTree(lines).query(np.argwhere(line))[0].max() <= 0.5 + wide
    assert (pixels[~white & ~black] == 128).all()
    wording(picture.alt(), "0.3")


def test_a_number_of_contours_is_spread_between_the_limits_and_levels_that_are_not_crossed_are_noted():
    fm = on_photo(np.linspace(0, 4, 16).reshape(4, 4), grey_photo(40, 40))
    wording(ls.overlay(fm, contours=3).alt(), "1", "2", "3")
    wording(ls.overlay(fm, contours=[9]).alt(), "9")
    flat = ls.overlay(on_photo(np.ones((4, 4)), grey_photo(40, 40)), alpha=0.0, contours=[1.0])
    assert np.array_equal(cell_rgb(flat), grey_photo(40, 40))
    counted = ls.overlay(on_photo(np.ones((4, 4)), grey_photo(40, 40)), contours=3)
    wording(counted.alt(), "1")


def test_nan_has_no_contour():
    values = np.zeros((4, 4))
    values[1, 1], values[3, 3] = np.nan, 2
    photo = np.full((40, 40, 3), 128, np.uint8)
    pixels = cell_rgb(ls.overlay(on_photo(values, photo), alpha=0.0, contours=[1.0]))
    assert (pixels[:25, :25] == 128).all()
    assert (pixels == 255).all(-1).sum() == 19, "the left and upper edge of the last unit"


def test_a_hole_in_a_high_place_has_no_contour():
    values = np.full((4, 4), 2.0)
    values[1, 1], values[3, 3] = np.nan, 0
    photo = np.full((40, 40, 3), 128, np.uint8)
    pixels = cell_rgb(ls.overlay(on_photo(values, photo), alpha=0.0, contours=[1.0]))
    assert (pixels[:25, :25] == 128).all()
    assert (pixels == 0).all(-1).sum() == 19


def test_only_the_highest_units_are_coloured():
    photo, values = grey_photo(50, 60), noise(5, 6)
    picture = ls.overlay(on_photo(values, photo), top=20, alpha=1.0)
    changed = (cell_rgb(picture) != photo).any(-1)
    expected = (values >= np.sort(values.ravel())[-6]).repeat(10, 0).repeat(10, 1)
    assert np.array_equal(changed, expected)
    wording(picture.alt(), "20")
    tied = ls.overlay(on_photo(np.zeros((4, 4)), photo), top=10)
    (line,) = [line for line in tied.lines if kind_of(line) == "top"]
    wording(line, "100%", "10%")  # equal units are all drawn
    smooth = ls.overlay(on_photo(values, photo), top=20, smooth=True)
    assert 0 < (cell_rgb(smooth) != photo).any(-1).mean() < 0.5


@pytest.mark.parametrize("size", [(60, 40), (30, 90)])
def test_beside_shows_photo_map_and_overlay_in_the_same_size(size):
    photo = grey_photo(*size)
    fm = on_photo(noise(4, 3), photo, box=(10.0, 5.0, size[0] - 20.0, size[1] - 10.0))
    picture = ls.beside(fm, alpha=0.4, contours=[0.0], top=50)
    assert [cell.note for cell in picture.cells] == ["photo", "map", "overlay"]
    first, middle, last = picture.cells
    assert {(cell.height, cell.width) for cell in picture.cells} == {size}
    assert np.array_equal(cell_rgb(picture, first), photo)
    assert np.array_equal(cell_rgb(picture, last), cell_rgb(ls.overlay(fm, alpha=0.4, contours=[0.0], top=50)))
    alone = cell_rgb(picture, middle)
    assert np.array_equal(alone[10:-10, 5:-5], cell_rgb(ls.overlay(fm, alpha=1.0))[10:-10, 5:-5])
    assert (alone[:10] == palette(None)[GAP]).all()
    assert (alone[:, -5:] == palette(None)[GAP]).all()
    taken = np.zeros(picture.pixels.shape[:2], int)
    for cell in picture.cells:
        taken[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] += 1
    assert taken.max() == 1
    assert picture.bar is not None


def test_blocks_leave_no_seam():
    """A photo of many blocks of rows has the colours that a single lookup gives."""
    values = noise(7, 7)
    photo = grey_photo(700, 400)
    picture = ls.overlay(on_photo(values, photo), alpha=1.0)
    rows, columns = (((np.arange(size) + 0.5) * 7 / size).astype(int) for size in (700, 400))
    expected = picture.scale.palette()[picture.scale.codes(values)][rows][:, columns]
    assert np.array_equal(cell_rgb(picture), expected)
    smooth = ls.overlay(on_photo(values, photo), alpha=1.0, smooth=True)
    ys, xs = (np.clip((np.arange(size) + 0.5) * 7 / size - 0.5, 0, 6) for size in (700, 400))
    placed = RegularGridInterpolator((np.arange(7), np.arange(7)), values)(
        np.stack(np.meshgrid(ys, xs, indexing="ij"), -1)
    )
    table = smooth.scale.palette()
    codes = smooth.scale.codes(placed).astype(int)
    near = [np.abs(cell_rgb(smooth).astype(int) - table[(codes + shift).clip(0, 240)]).sum(-1) for shift in (-1, 0, 1)]
    assert np.min(near, axis=0).max() == 0, "at most one step off, where two steps meet"


@pytest.mark.parametrize("smooth", [False, True])
def test_marks_and_clipped_units_show_on_an_overlay(smooth):
    values = np.linspace(0, 10, 64).reshape(8, 8)
    values[4, 4] = np.nan
    picture = ls.overlay(on_photo(values, grey_photo(160, 160)), alpha=1.0, clip=(10, 90), smooth=smooth)
    pixels, table = cell_rgb(picture), picture.scale.palette()
    assert pixels[90, 90].tolist() == [255, 0, 255]
    assert pixels[2, 2].tolist() == table[BELOW].tolist() == table[0].tolist()
    assert pixels[-2, -2].tolist() == table[ABOVE].tolist() == table[240].tolist()
    wording(picture.alt())
    wording(picture.alt(), "10")


@pytest.mark.parametrize(
    "options",
    [
        {"contours": 0},
        {"contours": []},
        {"contours": [np.nan]},
        {"contours": "abc"},
        {"contours": "12"},
        {"contours": 101},
        {"contours": True},
        {"top": 0},
        {"top": 101},
        {"top": "20"},
        {"alpha": -0.1},
        {"alpha": "half"},
        {"alpha": None},
        {"clip": (99, 1)},
        {"clip": 5},
        {"clip": (1, 99), "scale": (0, 1)},
        {"colors": "virids"},
    ],
)
@pytest.mark.parametrize("draw", ["overlay", "beside"])
def test_bad_options_are_named(draw, options):
    fm = on_photo(noise(4, 4), grey_photo(20, 20))
    with raises((ls.BadOption, ls.BadScale)):
        getattr(ls, draw)(fm, **options)


def test_maps_of_nothing_and_of_one_pixel():
    photo = grey_photo(20, 20)
    nothing = ls.overlay(on_photo(np.full((4, 4), np.nan), photo), alpha=1.0)
    assert (cell_rgb(nothing) == [255, 0, 255]).all()
    with raises(ls.BadOption):
        ls.overlay(on_photo(np.full((4, 4), np.nan), photo), top=10)
    assert cell_rgb(ls.overlay(on_photo([[2.0]], photo))).shape == (20, 20, 3)
    colours = replace(ls.pca(noise(1, 4, 4, 5)), photos=(photo,), placement=(ls.Placement.whole((20, 20), (4, 4)),))
    with raises(ls.BadOption):
        ls.overlay(colours, contours=2)
    wording(ls.overlay(colours, clip=(5, 95)).alt(), "5", "95")


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 3000), (3000, 1)])
def test_the_thinnest_photos_have_overlays(size):
    crop = Recipe("crop", divide=255.0, resize="shorter", size=(8, 8), short=9)  # it covers 8/9 of a pixel
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=crop)
    fm = ls.mean(scope.capture(Image.new("RGB", size), "conv1")["conv1"])
    for smooth in (False, True):
        assert ls.overlay(fm, smooth=smooth, alpha=1.0).cells[0].channel == 0
