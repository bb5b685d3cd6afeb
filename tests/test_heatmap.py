"""Heat maps, their bars, and overlays that lie on the right pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import layerscope as ls
from layerscope.canvas import bar_ticks, round_numbers
from layerscope.encoding import TOP
from layerscope.preprocess import Recipe
from layerscope.testing import TinyBackend, TinyModel, tiny_model


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(st.floats(-50, 50), st.floats(0.1, 100), st.sampled_from([None, "magma", "gray"]))
def test_a_colour_on_the_map_is_found_in_the_bar_at_its_value(low, span, colors):
    """Read a value as a person does: find the pixel's colour in the bar, take the bar's value there."""
    values = (low + np.linspace(0, 1, 24).reshape(4, 6) * span).astype(np.float32)
    picture = ls.heatmap(values, colors=colors)
    cell, bar, rgb = picture.cells[0], picture.bar, picture.rgb().astype(int)
    column = rgb[bar.y : bar.y + bar.height, bar.x]
    at = bar.high - (np.arange(bar.height) + 0.5) / bar.height * (bar.high - bar.low)
    for y, x in ((0, 0), (1, 3), (3, 5)):
        color = rgb[cell.y + y * picture.zoom, cell.x + x * picture.zoom]
        distance = np.abs(column - color).sum(1)
        found = at[distance == distance.min()]
        assert np.abs(found - values[y, x]).min() <= span / TOP * 2 + abs(low) * 1e-6


def test_the_bar_has_the_limits_and_round_numbers():
    picture = ls.heatmap(np.linspace(-0.3, 1.7, 64).reshape(8, 8))
    assert (picture.bar.low, picture.bar.high) == pytest.approx((-0.3, 1.7))
    assert picture.scale.center == 0
    assert round_numbers(-0.3, 1.7) == [0.0, 0.5, 1.0, 1.5]
    assert round_numbers(0, 1e6) == [0, 2e5, 4e5, 6e5, 8e5, 1e6]
    assert [text for _, text in bar_ticks(ls.Scale((1.0, 1.0 + 1e-9)))] == ["1"]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_within_the_limits(low, span):
    ticks = round_numbers(low, low + span)
    assert len(ticks) <= 21
    assert all(low - span * 1e-6 <= each <= low + span * (1 + 1e-6) for each in ticks)


def test_a_map_is_enlarged_without_a_new_value():
    values = noise(7, 7)
    picture = ls.heatmap(values)
    assert picture.zoom == 64
    assert len(np.unique(picture.codes(picture.cells[0]))) <= 49
    np.testing.assert_allclose(picture.decode(picture.cells[0]), values, atol=np.abs(values).max() / TOP * 1.01)


def test_channels_must_be_combined_first():
    with pytest.raises(ls.BadLayout, match=r"8.*combine them first"):
        ls.heatmap(noise(1, 4, 4, 8))
    with pytest.raises(ls.BadLayout, match="has 3"):
        ls.heatmap(noise(1, 4, 4, 3)), "three channels of a layer are not colours"
    assert not ls.heatmap(ls.pca(noise(1, 4, 4, 8))).indexed


def test_constant_and_broken_maps_are_drawn():
    for values in (np.zeros((4, 4)), np.full((4, 4), np.nan), np.array([[np.inf, 1.0], [2.0, -np.inf]])):
        picture = ls.heatmap(values.astype(np.float32))
        assert picture.png()


def test_pca_colours_mark_what_is_not_finite():
    values = noise(1, 6, 6, 5)
    values[0, 2, 3] = np.nan
    picture = ls.heatmap(ls.pca(values))
    cell = picture.cells[0]
    zoom = cell.width // 6
    assert picture.rgb()[cell.y + 2 * zoom, cell.x + 3 * zoom].tolist() == [255, 0, 255]
    assert "variance explained: PC1" in picture.alt()


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
def test_a_planted_bright_square_comes_back_at_its_place(recipe, turn, smooth, tmp_path):
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
    shown = picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width].astype(float).sum(-1)
    bright = np.argwhere(shown >= shown.max() * 0.98)
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
    shown = picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
    assert shown.shape == photo.shape
    same = (shown == photo).all((0, 2))
    _, left, _, wide = fm.placement[0].box
    assert same[: int(left)].all()
    assert same[int(left + wide) + 1 :].all()
    assert not same[int(left) + 1 : int(left + wide) - 1].any()
    bare = ls.overlay(fm, alpha=0.0)
    assert np.array_equal(bare.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width], photo)


def test_overlays_need_a_photo_and_one_map():
    with pytest.raises(ls.BadOption, match="no photo"):
        ls.overlay(ls.mean(noise(1, 4, 4, 3)))
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit")
    photo = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    maps = scope.capture(photo, ["conv1", "head"])
    with pytest.raises(ls.BadLayout, match="combine the channels first"):
        ls.overlay(maps["conv1"])
    with pytest.raises(ls.BadLayout, match="one map of pixels"):
        ls.overlay(ls.mean(maps["head"]))
    with pytest.raises(ls.BadOption, match="share from 0"):
        ls.overlay(ls.mean(maps["conv1"]), alpha=2)
    assert ls.overlay(ls.pca(maps["conv1"])).pixels.ndim == 3


def test_to_matplotlib_leaves_the_backend_alone():
    matplotlib = pytest.importorskip("matplotlib", reason="an extra")
    before = (
        matplotlib.rcParams._get_backend_or_none() if hasattr(matplotlib.rcParams, "_get_backend_or_none") else None
    )
    picture = ls.heatmap(noise(8, 8))
    figure = picture.to_matplotlib()
    after = matplotlib.rcParams._get_backend_or_none() if hasattr(matplotlib.rcParams, "_get_backend_or_none") else None
    assert before == after
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert np.array_equal(np.asarray(canvas.buffer_rgba())[..., :3], picture.rgb())


def test_pictures_show_themselves_in_a_notebook():
    picture = ls.heatmap(noise(8, 8))
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert picture._repr_mimebundle_()["image/png"] == picture.png()
    assert 'alt="' in picture._repr_html_()


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ls.BadOption, match="can't write"):
        ls.heatmap(noise(8, 8)).save(tmp_path / "nowhere" / "a.png")
    with pytest.raises(ls.BadOption, match=r"can't write.*\.png"):
        ls.heatmap(noise(8, 8)).save(tmp_path / "a.xyz")
