"""Light and dark: paper and ink change, the content of the picture doesn't."""

import json

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises
from layerscope.inputs.preprocess import Recipe
from layerscope.picture.canvas import Frame
from layerscope.picture.codes import ABOVE, BELOW, CONSTANT, GAP, INK, INK_LIGHT, INK_MIDDLE, TOP
from layerscope.picture.palette import DIVERGING, MARKS, SEQUENTIAL, THEMES, palette
from layerscope.picture.picture import Picture
from layerscope.plots.rgb import paper
from layerscope.testing import TinyBackend, tiny_model


def contrast(color, other):
    """WCAG 2.2's contrast ratio of two sRGB colours."""

    def luminance(rgb):
        share = np.asarray(rgb, float) / 255
        return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(color), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_marks_stand_out_from_paper(theme):
    colors = palette("viridis", theme)
    assert contrast(colors[INK], colors[GAP]) > 7
    assert contrast(colors[INK_MIDDLE], colors[GAP]) >= 4.5, "muted text"
    for mark in MARKS:
        assert contrast(colors[mark], colors[GAP]) > 1.7, "a square of the legend is seen on its paper"
        for other in {*MARKS} - {mark}:
            assert np.abs(colors[mark].astype(int) - colors[other]).max() > 40
    assert contrast(colors[INK_LIGHT], colors[GAP]) > 1.3


def test_dark_sheets_decode_to_the_same_values(tmp_path):
    values = noise(1, 12, 12, 9)
    values[..., 4] = 0
    light = ls.sheet(values)
    dark = light.dark()
    assert dark.theme == "dark"
    assert np.array_equal(dark.pixels, light.pixels)
    for cell in dark.cells:
        np.testing.assert_array_equal(dark.decode(cell), light.decode(cell))
    assert tuple(dark.rgb()[0, 0]) == THEMES["dark"][0]
    assert tuple(light.rgb()[0, 0]) == THEMES["light"][0]
    assert np.array_equal(dark.palette()[: TOP + 1], light.palette()[: TOP + 1])
    for table in (light.palette(), dark.palette()):
        assert contrast(table[INK], table[CONSTANT]) > 4.5, "a word stands on a dead tile"
    assert np.array_equal(ls.sheet(values, theme="dark").rgb(), dark.rgb())
    assert np.array_equal(dark.light().rgb(), light.rgb())
    with Image.open(dark.save(tmp_path / "dark.png")) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), dark.rgb())
        assert json.loads(image.text["layerscope"])["theme"] == "dark"


def test_rgb_pictures_keep_their_own_colours():
    """Also where a pixel of the map has the very colours of paper or ink."""
    body = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)
    body[0, 0], body[1, 1] = THEMES["light"]
    canvas = Frame("title", "a line", bar=(scale := ls.Scale((0.0, 2.0)))).around(30, 50)
    inside = np.s_[canvas.y : canvas.y + 30, canvas.x : canvas.x + 50]
    pixels = paper(canvas, scale.palette())
    pixels[inside] = body
    canvas.own(canvas.x, canvas.y, 50, 30)
    picture = Picture(pixels, (), scale, "title", bar=canvas.bar, frame=canvas.codes)
    dark = picture.dark()
    assert np.array_equal(dark.rgb()[inside], body)
    assert tuple(dark.rgb()[0, 0]) == THEMES["dark"][0]
    assert not (dark.rgb() == THEMES["light"][0]).all(-1).sum() > 1, "no light paper is left but in the map itself"
    assert np.array_equal(dark.light().rgb(), picture.rgb())
    bar = np.s_[canvas.bar.y : canvas.bar.y + canvas.bar.height, canvas.bar.x : canvas.bar.x + canvas.bar.width]
    assert np.array_equal(dark.rgb()[bar], picture.rgb()[bar])


def test_a_colour_map_of_components_has_a_dark_frame():
    values = noise(1, 10, 10, 8)
    light = ls.heatmap(ls.pca(values))
    assert not light.indexed
    dark = light.dark()
    cell = light.cells[0]
    box = np.s_[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
    assert np.array_equal(dark.rgb()[box], light.rgb()[box])
    assert tuple(dark.rgb()[0, 0]) == THEMES["dark"][0]


def test_an_overlay_has_a_dark_frame_around_the_same_photo():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=Recipe("unit", divide=255.0, size=(32, 32)))
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    photo[:5] = THEMES["light"][0]
    light = ls.overlay(ls.mean(scope.capture(photo, 0)[scope.layers()[0].path]), alpha=0.3)
    dark = light.dark()
    cell, bar = light.cells[0], light.bar
    for box in (cell, bar):
        region = np.s_[box.y : box.y + box.height, box.x : box.x + box.width]
        assert np.array_equal(dark.rgb()[region], light.rgb()[region])
    assert tuple(dark.rgb()[0, 0]) == THEMES["dark"][0]
    assert np.array_equal(dark.light().rgb(), light.rgb())


def test_every_picture_in_colours_of_its_own_has_a_dark_frame():
    pytest.importorskip("sklearn", reason="factors and clusters")
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=Recipe("unit", divide=255.0, size=(32, 32)))
    photos = list(np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), dtype=np.uint8))
    maps = scope.capture(photos, ["act:0", "conv2"])
    fm = maps["act:0"]
    pictures = [
        ls.beside(ls.mean(fm)),
        ls.compare(maps, photos=True),
        ls.compare(maps, combine="pca"),
        ls.heatmap(ls.nmf(fm, 3)),
        ls.overlay(ls.nmf(fm, 3)),
        ls.heatmap(ls.clusters(fm, 3)),
    ]
    for light in pictures:
        dark = light.dark()
        assert tuple(dark.rgb()[0, 0]) == THEMES["dark"][0], light.title
        assert np.array_equal(dark.light().rgb(), light.rgb()), light.title
        for cell in light.cells:
            region = np.s_[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
            same = (dark.rgb()[region] == light.rgb()[region]).all(-1)
            bare = (light.rgb()[region] == THEMES["light"][0]).all(-1)
            assert cell.note == "no photo" or (same | bare).all(), (light.title, cell)


def on_paper(image, color):
    """An image laid on paper of one colour."""
    paper = Image.new("RGBA", image.size, (*color, 255))
    return np.asarray(Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB"))


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_transparent_files_have_ink_and_map_and_no_paper(tmp_path, suffix):
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=Recipe("unit", divide=255.0, size=(32, 32)))
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    overlay = ls.overlay(ls.mean(scope.capture(photo, 0)[scope.layers()[0].path]))
    for light in (ls.sheet(noise(1, 12, 12, 9)), ls.heatmap(ls.pca(noise(1, 10, 10, 8))), overlay):
        bare = light.themed("transparent")
        assert np.array_equal(bare.rgb(), light.rgb()), "as on white where there has to be paper"
        path = bare.save(tmp_path / f"bare.{suffix}")
        if suffix == "svg":
            assert f'<rect width="{light.width}" height="{light.height}"' in light.svg()
            assert f'<rect width="{light.width}" height="{light.height}"' not in path.read_text()
            continue
        with Image.open(path) as image:
            whole = image.convert("RGBA")
        opacity = np.asarray(whole)[..., 3]
        assert opacity[0, 0] == 0 and set(np.unique(opacity)) > {0, 255}, "with smooth edges of letters"
        for cell in light.cells:
            assert (opacity[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] == 255).all()
        off = np.abs(on_paper(whole, (255, 255, 255)).astype(int) - light.rgb()).max()
        assert off <= 1, "on white it is the light picture"
        assert np.array_equal(np.asarray(bare.to_pil().convert("RGBA")), np.asarray(whole))
        assert tuple(on_paper(whole, (250, 240, 200))[0, 0]) == (250, 240, 200)
    with Image.open(bare.save(tmp_path / "bare.jpg")) as image:
        assert min(image.getpixel((0, 0))) > 250
    assert bare.to_matplotlib().get_facecolor()[3] == 0


def test_strips_and_heat_maps_have_themes():
    assert ls.sheet(noise(64), theme="dark").theme == "dark"
    assert tuple(ls.heatmap(noise(8, 8)).dark().rgb()[0, 0]) == THEMES["dark"][0]


def test_unknown_themes_are_named():
    for wrong in ("drak", None, ["dark"]):
        with raises(ls.BadOption, "'light'", "'dark'"):
            ls.sheet(noise(1, 4, 4, 2), theme=wrong)
        with raises(ls.BadOption, "'light'", "'dark'"):
            ls.sheet(noise(1, 4, 4, 2)).themed(wrong)
    with raises(ls.BadOption, "'dark'"):
        ls.sheet(noise(1, 4, 4, 2), theme="drak")
    bare = Picture(np.zeros((4, 4, 3), np.uint8), (), None, "t")
    with raises(ls.BadOption):
        bare.dark()


@pytest.mark.filterwarnings("ignore:the smallest letters")
def test_the_file_states_how_large_it_prints(tmp_path):
    picture = ls.sheet(noise(1, 8, 8, 4))
    for suffix in ("png", "jpg", "tiff"):
        with Image.open(picture.save(tmp_path / f"a.{suffix}", dpi=300)) as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    with Image.open(picture.save(tmp_path / "b.png")) as image:
        assert "dpi" not in image.info
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), picture.pixels), "no pixel is changed"
    for wrong in (0, -1, np.inf, "300", True):
        for suffix in ("png", "jpg"):
            with raises(ls.BadOption):
                picture.save(tmp_path / f"c.{suffix}", dpi=wrong)


@pytest.mark.parametrize("mark", [BELOW, ABOVE])
def test_what_is_beyond_the_limits_has_no_colour_of_the_usual_maps_and_none_of_the_other_side_of_0(mark):
    color = np.array(MARKS[mark][1], int)
    for colors in (SEQUENTIAL, DIVERGING):
        apart = np.abs(palette(colors)[: TOP + 1].astype(int) - color).sum(1)
        assert apart.min() > 60
        assert colors == SEQUENTIAL or mark == ABOVE or apart.argmin() < TOP // 2
