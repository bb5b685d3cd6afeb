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
from helpers.wording import raises, warns, wording
from layerscope.combinations.registry import RULES
from layerscope.core.note import kind_of
from layerscope.core.receptive_field import Field, Line
from layerscope.inputs.preprocess import Recipe
from layerscope.picture.codes import ABOVE, BELOW, GAP
from layerscope.picture.font import font
from layerscope.picture.palette import palette
from layerscope.plots.contours import widths
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


def overlay(fm, **options):
    """The overlay at the photo's own size."""
    return ls.overlay(fm, **{"zoom": 1, **options})


def ground(fm, **options):
    """The pixels under a map."""
    return cell_rgb(overlay(fm, **{**options, "alpha": 0.0}))


def alone(fm, **options):
    """The pixels of the map without the photo, from `beside`."""
    picture = ls.beside(fm, zoom=1, **options)
    return cell_rgb(picture, picture.cells[1])


def lightness(fm, **options):
    """The sum of red, green and blue where units lie, 0 elsewhere."""
    grid = fm.unit_grid()
    pixels = cell_rgb(overlay(fm, alpha=1.0, colors="gray", **options)).astype(int).sum(-1)
    return np.where((grid.rows >= 0)[:, None] & (grid.columns >= 0), pixels, 0)


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
    brightness = lightness(fm, smooth=smooth)
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
    region = cell_rgb(overlay(fm, alpha=1.0))
    assert region.shape == photo.shape
    same = (region == ground(fm)).all((0, 2))
    _, left, _, wide = fm.placement[0].box
    assert same[: int(left)].all()
    assert same[int(left + wide) + 1 :].all()
    assert not same[int(left) + 1 : int(left + wide) - 1].any()


@pytest.mark.limit("overlays of maps without a photo")
def test_overlays_need_a_photo_and_one_map(limit):
    with limit.raises():
        overlay(ls.mean(noise(1, 4, 4, 3)))
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit")
    photo = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    maps = scope.capture(photo, ["conv1", "head"])
    with raises(ls.BadLayout):
        overlay(maps["conv1"])
    with raises(ls.BadLayout):
        overlay(ls.mean(maps["head"]))
    with raises(ls.BadOption, "0"):
        overlay(ls.mean(maps["conv1"]), alpha=2)
    assert overlay(ls.pca(maps["conv1"])).pixels.ndim == 3


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
        bright = lightness(fm, smooth=smooth)
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
    fm = on_photo(values, photo)
    picture = overlay(fm, alpha=0.0, smooth=True, contours=[0.3])
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
    assert (pixels[~white & ~black] == ground(fm)[~white & ~black]).all()
    wording(picture.alt(), "0.3")


def test_a_number_of_contours_is_spread_between_the_limits_and_levels_that_are_not_crossed_are_noted():
    fm = on_photo(np.linspace(0, 4, 16).reshape(4, 4), grey_photo(40, 40))
    wording(overlay(fm, contours=3).alt(), "1", "2", "3")
    wording(overlay(fm, contours=[9]).alt(), "9")
    flat = on_photo(np.ones((4, 4)), grey_photo(40, 40))
    assert np.array_equal(cell_rgb(overlay(flat, alpha=0.0, contours=[1.0])), ground(flat))
    counted = overlay(on_photo(np.ones((4, 4)), grey_photo(40, 40)), contours=3)
    wording(counted.alt(), "1")


def test_nan_has_no_contour():
    values = np.zeros((4, 4))
    values[1, 1], values[3, 3] = np.nan, 2
    photo = np.full((40, 40, 3), 128, np.uint8)
    fm = on_photo(values, photo)
    pixels = cell_rgb(overlay(fm, alpha=0.0, contours=[1.0]))
    assert np.array_equal(pixels[:25, :25], ground(fm)[:25, :25])
    assert (pixels == 255).all(-1).sum() == 19, "the left and upper edge of the last unit"


def test_a_hole_in_a_high_place_has_no_contour():
    values = np.full((4, 4), 2.0)
    values[1, 1], values[3, 3] = np.nan, 0
    photo = np.full((40, 40, 3), 128, np.uint8)
    fm = on_photo(values, photo)
    pixels = cell_rgb(overlay(fm, alpha=0.0, contours=[1.0]))
    assert np.array_equal(pixels[:25, :25], ground(fm)[:25, :25])
    assert (pixels == 0).all(-1).sum() == 19


def test_only_the_highest_units_are_coloured():
    photo, values = grey_photo(50, 60), noise(5, 6)
    picture = overlay(on_photo(values, photo), top=20, alpha=1.0)
    changed = (cell_rgb(picture) != ground(on_photo(values, photo))).any(-1)
    expected = (values >= np.sort(values.ravel())[-6]).repeat(10, 0).repeat(10, 1)
    assert np.array_equal(changed, expected)
    wording(picture.alt(), "20")
    tied = overlay(on_photo(np.zeros((4, 4)), photo), top=10)
    (line,) = [line for line in tied.lines if kind_of(line) == "top"]
    wording(line, "100%", "10%")  # equal units are all drawn
    smooth = overlay(on_photo(values, photo), top=20, smooth=True)
    assert 0 < (cell_rgb(smooth) != ground(on_photo(values, photo))).any(-1).mean() < 0.5


@pytest.mark.parametrize("size", [(60, 40), (30, 90)])
def test_beside_shows_photo_map_and_overlay_in_the_same_size(size):
    photo = grey_photo(*size)
    fm = on_photo(noise(4, 3), photo, box=(10.0, 5.0, size[0] - 20.0, size[1] - 10.0))
    picture = ls.beside(fm, zoom=1, alpha=0.4, contours=[0.0], top=50)
    assert [cell.note for cell in picture.cells] == ["photo", "map", "overlay"]
    first, middle, last = picture.cells
    assert {(cell.height, cell.width) for cell in picture.cells} == {size}
    framed = (cell_rgb(picture, first) != photo).any(-1)
    assert not framed[10:-10, 5:-5].any() and not framed[:8].any() and not framed[:, :3].any()
    assert np.array_equal(cell_rgb(picture, last), cell_rgb(overlay(fm, alpha=0.4, contours=[0.0], top=50)))
    pixels, grid = cell_rgb(picture, middle), fm.unit_grid()
    plain = picture.scale.palette()[picture.scale.codes(fm.values[0, ..., 0])][grid.rows][:, grid.columns]
    assert np.array_equal(pixels[10:-10, 5:-5], plain[10:-10, 5:-5])
    assert (pixels[:10] == palette(None)[GAP]).all()
    assert (pixels[:, -5:] == palette(None)[GAP]).all()
    taken = np.zeros(picture.pixels.shape[:2], int)
    for cell in picture.cells:
        taken[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] += 1
    assert taken.max() == 1
    assert picture.bar is not None


@pytest.mark.parametrize("smooth", [True, False])
def test_a_small_photo_is_painted_at_once_as_a_large_one_is_by_rows(smooth, monkeypatch):
    values = noise(7, 5) - 0.5
    values[2, 3], values[4, 0], values[5, 1:3] = np.nan, np.inf, -np.inf
    fm = on_photo(values, grey_photo(90, 70), (11.3, -4.6, 70.2, 80.1))
    at_once = overlay(fm, smooth=smooth).rgb()
    monkeypatch.setattr("layerscope.plots.overlay_paint.SMALL", 0)
    np.testing.assert_array_equal(at_once, overlay(fm, smooth=smooth).rgb())


def test_blocks_leave_no_seam():
    """A photo of many blocks of rows has the colours that a single lookup gives."""
    values = noise(7, 7)
    photo = grey_photo(700, 400)
    fm = on_photo(values, photo)
    scale = overlay(fm).scale
    rows, columns = (((np.arange(size) + 0.5) * 7 / size).astype(int) for size in (700, 400))
    assert np.array_equal(alone(fm), scale.palette()[scale.codes(values)][rows][:, columns])
    smooth = alone(fm, interpolation="smooth").astype(int)
    ys, xs = (np.clip((np.arange(size) + 0.5) * 7 / size - 0.5, 0, 6) for size in (700, 400))
    placed = RegularGridInterpolator((np.arange(7), np.arange(7)), values)(
        np.stack(np.meshgrid(ys, xs, indexing="ij"), -1)
    )
    table = scale.palette()
    codes = scale.codes(placed).astype(int)
    near = [np.abs(smooth - table[(codes + shift).clip(0, 240)]).sum(-1) for shift in (-1, 0, 1)]
    assert np.min(near, axis=0).max() == 0, "at most one step off, where two steps meet"


@pytest.mark.parametrize("smooth", [False, True])
def test_marks_and_clipped_units_show_on_an_overlay(smooth):
    values = np.linspace(0, 10, 64).reshape(8, 8)
    values[4, 4] = np.nan
    fm = on_photo(values, grey_photo(160, 160))
    picture = overlay(fm, alpha=1.0, clip=(10, 90), smooth=smooth)
    pixels, table = cell_rgb(picture), picture.scale.palette()
    assert pixels[90, 90].tolist() == [255, 0, 255], "a mark covers, however strong the values are"
    assert pixels[-2, -2].tolist() == table[240].tolist()
    assert np.array_equal(pixels[2, 2], ground(fm)[2, 2]), "below the range there is no strength"
    pixels = alone(fm, clip=(10, 90), smooth=smooth)
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
        {"on": "gray"},
        {"on": None},
        {"interpolation": "bilinear"},
        {"interpolation": "nearest", "smooth": True},
        {"smooth": 1},
        {"zoom": 0},
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
    nothing = overlay(on_photo(np.full((4, 4), np.nan), photo), alpha=1.0)
    assert (cell_rgb(nothing) == [255, 0, 255]).all()
    with raises(ls.BadOption):
        overlay(on_photo(np.full((4, 4), np.nan), photo), top=10)
    assert cell_rgb(overlay(on_photo([[2.0]], photo))).shape == (20, 20, 3)
    colours = replace(ls.pca(noise(1, 4, 4, 5)), photos=(photo,), placement=(ls.Placement.whole((20, 20), (4, 4)),))
    with raises(ls.BadOption):
        overlay(colours, contours=2)
    wording(overlay(colours, clip=(5, 95)).alt(), "5", "95")


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 3000), (3000, 1)])
def test_the_thinnest_photos_have_overlays(size):
    crop = Recipe("crop", divide=255.0, resize="shorter", size=(8, 8), short=9)  # it covers 8/9 of a pixel
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=crop)
    fm = ls.mean(scope.capture(Image.new("RGB", size), "conv1")["conv1"])
    for smooth in (False, True):
        assert overlay(fm, smooth=smooth, alpha=1.0).cells[0].channel == 0


def test_the_opacity_of_a_unit_is_its_share_of_the_greatest_strength():
    photo = np.full((40, 40, 3), (200, 120, 40), np.uint8)
    for values, zero in (
        ([[0, 1], [2, 4]], 0),
        ([[-4, 1], [2, 3]], 0),
        ([[5, 6], [7, 9]], 5),
        ([[-9, -8], [-7, -5]], -5),
    ):
        fm = on_photo(values, photo)
        strength = np.abs(np.array(values, float) - zero)
        strength = (strength / strength.max()).repeat(20, 0).repeat(20, 1)[..., None]
        for on in ("grey", "photo"):
            under = ground(fm, on=on).astype(float)
            expected = under * (1 - 0.8 * strength) + alone(fm) * 0.8 * strength
            assert np.abs(cell_rgb(overlay(fm, on=on, alpha=0.8)) - expected).max() <= 1.5
            smooth = cell_rgb(overlay(fm, on=on, alpha=0.8, interpolation="smooth"))
            assert (
                np.abs(smooth[[0, 0, -1, -1], [0, -1, 0, -1]] - expected[[0, 0, -1, -1], [0, -1, 0, -1]]).max() <= 1.5
            )
    wording(overlay(on_photo([[-4, 1], [2, 3]], photo)).alt(), "4", "85%")
    wording(overlay(on_photo([[-4, 1], [2, 4]], photo), alpha=0.5).alt(), "4", "50%")
    wording(overlay(on_photo([[5, 6], [7, 9]], photo), on="photo").alt(), "5", "9")


def test_the_photo_is_darker_than_light_colours_and_lighter_than_dark_ones():
    photo = np.full((20, 20, 3), (255, 0, 0), np.uint8)
    photo[:10] = 128
    fm = on_photo([[0, 1], [2, 4]], photo)
    light, dark = ground(fm), ground(fm, colors="vik", scale=ls.Scale((-4, 4), center=0))
    assert light.max() <= 180 and dark.min() >= 100
    assert (np.ptp(light, axis=-1) == 0).all() and (np.ptp(dark, axis=-1) == 0).all()
    assert ground(fm, on="photo")[15, 15].tolist() == [180, 0, 0]
    assert np.array_equal(ground(fm)[5, 5], ground(fm, on="photo")[5, 5])
    assert (photo[15] == (255, 0, 0)).all(), "the caller's photo stays"


def test_class_activation_maps_blend_unless_told_otherwise():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit")
    photo = grey_photo(32, 32)
    fm = scope.capture(photo, "conv2")["conv2"]
    fm = replace(fm, gradient=noise(*fm.shape))
    rules = [rule for rule in RULES if (rule.target or rule.model or rule.name == "eigen-cam") and rule.name != "cam"]
    assert len(rules) == 8
    for rule in rules:
        evidence = rule.function(fm, 1) if rule.model else rule.function(fm)
        usual, smooth, nearest = (
            overlay(evidence, **more) for more in ({}, {"smooth": True}, {"interpolation": "nearest"})
        )
        assert np.array_equal(usual.pixels, smooth.pixels), rule.name
        assert not np.array_equal(usual.pixels, nearest.pixels), rule.name
        said, plain = (next(filter(lambda line: kind_of(line) == "photo", p.lines)) for p in (usual, nearest))
        assert len(said) > len(plain), "it says that they blend"
    mean = ls.mean(fm)
    assert np.array_equal(overlay(mean).pixels, overlay(mean, interpolation="nearest", smooth=False).pixels)
    wording(overlay(ls.grad_cam(fm)).alt())


def test_evidence_of_one_sign_has_the_colours_of_that_side_of_0():
    fm = replace(
        on_photo([[2, 4], [6, 8]], grey_photo(20, 20)), method="Grad-CAM for class 1", rule="Grad-CAM for class 1"
    )
    for draw in (overlay, ls.heatmap):
        picture = draw(fm, clip=(30, 100))
        assert picture.scale.center == 0 and picture.scale.limits[0] > 2
        table = picture.scale.palette()
        red, _, blue = table[BELOW].astype(int)
        assert red > blue, "cut off, yet on the side of 0 where it is"
        assert np.array_equal(table[BELOW], table[picture.scale.codes(picture.scale.limits)[0]])
    assert overlay(fm, colors="viridis").scale.center is None
    assert overlay(replace(fm, method="mean", rule="mean")).scale.center is None


# (photo, recipe, [top, left, bottom, right] that the model sees)
SEEN = {
    "squash": ((60, 90), {"resize": "squash"}, (0, 0, 60, 90)),
    "crop": ((60, 90), {"resize": "shorter", "short": 32}, (0, 15, 60, 75)),
    "crop on all sides": ((80, 120), {"resize": "shorter", "short": 40}, (8, 28, 72, 92)),
    "letterbox": ((60, 90), {"resize": "letterbox"}, (0, 0, 60, 90)),
}


@pytest.mark.parametrize("zoom", [1, 3])
@pytest.mark.parametrize("name", SEEN)
def test_a_thin_frame_lies_around_what_the_model_saw(name, zoom):
    size, recipe, (top, left, bottom, right) = SEEN[name]
    recipe = Recipe("test", divide=255.0, size=(32, 32), **recipe)
    scope = ls.open(brightness_model(), backend=Brightness(), preprocess=recipe)
    fm = ls.mean(scope.capture(grey_photo(*size), "pool")["pool"])
    picture = overlay(fm, alpha=0.0, zoom=zoom, on="photo", colors="gray")
    pixels = cell_rgb(picture)
    framed = (pixels == palette(None)[GAP]).all(-1)
    expected = np.zeros(framed.shape, bool)
    height, width = (side * zoom for side in size)
    first, last = max(top * zoom - 1, 0), min(bottom * zoom + 1, height)
    near, far = max(left * zoom - 1, 0), min(right * zoom + 1, width)
    if top:
        expected[first, near:far] = expected[last - 1, near:far] = True
    if left:
        expected[first:last, near] = expected[first:last, far - 1] = True
    assert np.array_equal(framed, expected)
    said = [line for line in picture.lines if kind_of(line) == "photo"]
    wording(said)


def test_a_small_photo_is_enlarged_by_a_whole_number_and_letters_grow_with_a_large_one():
    fm = on_photo(noise(4, 4), grey_photo(32, 30))
    enlarged = ground(fm, zoom=None)
    assert enlarged.shape == (32 * 14, 30 * 14, 3)
    assert np.array_equal(enlarged, ground(fm).repeat(14, 0).repeat(14, 1))
    for width in (500, 1600, 4000):
        picture = ls.overlay(on_photo(noise(4, 4), np.zeros((600, width, 3), np.uint8)))
        assert picture.cells[0].width == width
        assert min(line.size for line in picture.texts) * 900 / picture.width >= 10


def photo_note(picture):
    """What a caption says of the photo and of how it is covered."""
    return next(line for line in picture.lines if kind_of(line) == "photo")


@pytest.mark.parametrize("margin", [3, 9])
def test_the_frame_is_explained_where_a_strip_outside_of_it_is_seen(margin):
    fm = on_photo(noise(8, 8), grey_photo(500, 900), (0.0, margin, 500.0, 900.0 - margin))
    assert ("The frame marks" in photo_note(overlay(fm))) == (margin == 9)
    # Three photos side by side are seen at a third of their size.
    assert "The frame marks" not in photo_note(ls.beside(fm))


@pytest.mark.parametrize("size", [(96, 96), (12, 12)])
def test_an_edge_without_units_is_said_where_it_is_seen(size):
    fm = on_photo(noise(4, 4), grey_photo(*size))
    fm = replace(fm, layer=replace(fm.layer, lines=(Line(6.0, 12.0), Line(22.0, 12.0)), shape=fm.shape))
    assert ("stops short" in photo_note(overlay(fm))) == (size == (96, 96))


def test_edges_on_which_no_unit_lies_are_said():
    photo = grey_photo(64, 64)
    fm = on_photo(noise(4, 4), photo)
    fm = replace(fm, layer=replace(fm.layer, lines=(Line(6.0, 12.0), Line(22.0, 12.0)), shape=fm.shape))
    assert (fm.unit_grid().rows < 0).sum() == 16 == (fm.unit_grid().columns < 0).sum()
    said = [line for line in overlay(fm).lines if kind_of(line) == "photo"]
    wording(said)


def test_a_few_positions_that_take_the_opacity_are_said_and_warned_of():
    values = np.random.default_rng(0).normal(size=(12, 12)).astype(np.float32)
    assert "faint" not in map(kind_of, overlay(on_photo(values, grey_photo(48, 48))).lines)
    values[3, 4] = 40
    few = on_photo(values, grey_photo(48, 48))
    with warns(ls.LayerscopeWarning, "2%", "clip=(1, 99)"):
        assert "faint" in map(kind_of, overlay(few).lines)
    for options in ({"clip": (1, 99)}, {"scale": (-40, 40)}):
        assert "faint" not in map(kind_of, overlay(few, **options).lines)


def test_a_map_of_ones_own_lies_over_the_whole_of_a_photo_that_is_given():
    photo = np.full((40, 60, 3), 128, np.uint8)
    picture = ls.overlay(np.arange(6.0).reshape(2, 3), photo=photo, zoom=1, on="photo")
    assert (picture.cells[0].width, picture.cells[0].height) == (60, 40)
    assert "over the whole photo" in " ".join(picture.lines)
    assert len(ls.beside(np.eye(4), photo=photo).cells) == 3
    captured = ls.mean(ls.open("demo").capture(ls.demo_photo(), "_blocks.4")["_blocks.4"])
    with pytest.raises(ls.BadOption, match="map of your own"):
        ls.overlay(captured, photo=photo)
    with pytest.raises(ls.ImageNotReadable):
        ls.overlay(np.eye(4), photo="nowhere.png")


def test_every_picture_has_a_theme():
    photo, eye = np.full((40, 60, 3), 128, np.uint8), np.eye(4, dtype=np.float32)
    drawn = [
        ls.heatmap(eye, theme="dark"),
        ls.overlay(eye, photo=photo, theme="dark"),
        ls.beside(eye, photo=photo, theme="dark"),
        ls.bars(eye[0], theme="dark"),
        ls.strip(eye[0], theme="dark"),
        ls.montage(np.zeros((2, 4, 4, 1), np.float32), layout="dhwc", theme="dark"),
        ls.kernels(ls.open("demo"), "_conv_stem", theme="dark"),
    ]
    assert {picture.theme for picture in drawn} == {"dark"}
    with pytest.raises(ls.BadOption):
        ls.heatmap(eye, theme="drak")


def test_one_of_several_arrays_says_which():
    maps = np.zeros((4, 7, 7, 8), np.float32)
    assert "image 0 of 4" in ls.sheet(maps).lines[0]
    assert "image 2 of 4" in ls.sheet(maps, image=2).lines[0]
    assert "image 0" not in ls.sheet(maps[:1]).lines[0]


def test_lines_of_higher_levels_are_thicker():
    assert widths(3, 1, 24) == [1, 2, 3] and widths(1, 2, 99) == [2] and widths(2, 2, 99) == [2, 6]


@pytest.mark.parametrize("units", [50, 10])
def test_lines_leave_most_of_a_single_position_free(units):
    values = np.eye(units)[units // 2] * np.eye(units)[units // 2][:, None]
    fm, side = on_photo(values, grey_photo(400, 400)), 400 // units
    plain, drawn = (cell_rgb(overlay(fm, contours=contours)) for contours in (None, 3))
    start = units // 2 * side
    box = slice(start, start + side), slice(start, start + side)
    kept = (plain[box] == drawn[box]).all(-1).mean()
    assert 0.5 < kept < 1
    wording(next(line for line in overlay(fm, contours=3).lines if kind_of(line) == "contours"))


def test_positions_that_reach_beyond_what_the_model_saw_are_said_to_be_cut():
    photo = np.full((64, 64, 3), 128, np.uint8)
    layer = ls.Layer("conv", "Conv", "bchw", (1, 1, 4, 4), calls=1, lines=(Line(16.0, 16.0), Line(8.0, 16.0)))
    values = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    place = (ls.Placement.whole((64, 64), (64, 64)),)
    fm = ls.FeatureMap(values, layer, ("cat.jpg",), (0,), photos=(photo,), placement=place)
    (line,) = (line for line in ls.overlay(fm, zoom=4).lines if "receptive field" in line)
    assert "stops short of the upper edge and is cut at the lower edge" in line


@pytest.mark.parametrize("photo", [(300, 1), (700, 20), (2, 5)])
@pytest.mark.parametrize("text", [1, 4])
def test_the_names_of_narrow_photos_are_whole(photo, text):
    picture = ls.beside(np.eye(4), photo=np.zeros((*photo, 3), np.uint8), zoom=1, text=text, caption=False, bar=False)
    names = [line for line in picture.texts if line.tile >= 0]
    assert [line.text for line in names] == ["photo", "map", "overlay"]
    ends = [line.x + font(line.size).width(line.text) for line in names]
    assert ends[-1] <= picture.width
    assert all(end < after.x or line.y < after.y for end, line, after in zip(ends, names, names[1:], strict=False))


def test_an_even_overlay_covers_strong_and_weak_values_alike():
    values, photo = np.arange(6, dtype=np.float32).reshape(2, 3), np.full((40, 60, 3), 128, np.uint8)
    opaque = overlay(on_photo(values, photo), even=True, alpha=1.0)
    drawn = cell_rgb(opaque)[::20, ::20].reshape(-1, 3)
    expected = opaque.scale.palette()[opaque.scale.codes(values.ravel())]
    assert (np.abs(drawn[:, None].astype(int) - expected.astype(int)).max(-1).diagonal() <= 1).all()
    usual, even = overlay(on_photo(values, photo)), overlay(on_photo(values, photo), even=True)
    assert "60%" in " ".join(even.lines) and "Opacity grows" not in " ".join(even.lines)
    assert np.abs(cell_rgb(usual)[0, 0].astype(int) - cell_rgb(even)[0, 0].astype(int)).max() > 20


def test_factors_that_cover_the_photo_evenly_say_so():
    values = np.random.default_rng(0).random((1, 6, 6, 8), dtype=np.float32)
    whole = ls.Placement((48, 48), (48, 48), (0.0, 0.0, 48.0, 48.0))
    factors = ls.nmf(replace(ls.FeatureMap.of_array(values), photos=(grey_photo(48, 48),), placement=(whole,)), 2)
    assert "up to" in " ".join(overlay(factors).lines)
    assert "up to" not in " ".join(overlay(factors, even=True).lines)


def test_fields_on_an_input_of_an_unknown_size_are_no_places_on_a_photo_that_is_given():
    scope = ls.open(brightness_model(), backend=Brightness(), preprocess=None)
    batch = np.zeros((1, 3, 32, 32), np.float32)
    batch[..., 16:, 16:] = 1
    fm = ls.mean(scope.capture(batch, "pool"))
    fm = replace(fm, layer=replace(fm.layer, receptive=(Field((0.0,), (7.0,), 8.0),) * 2))
    region = cell_rgb(ls.overlay(fm, photo=np.zeros((200, 300, 3), np.uint8), zoom=1))
    assert region.shape == (200, 300, 3)
    assert (region[150, 200] != region[50, 50]).any() and (region[199, 299] == region[101, 151]).all()
