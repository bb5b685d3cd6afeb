"""Exporting a picture: each format holds the same pixels, the same text and the same limits as the PNG."""

import copy
import io
import itertools
import json
import os
import pickle
import subprocess
import sys
import threading
import warnings
from base64 import b64decode
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree as xml

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from pypdf import PdfReader

import layerscope as ls
from helpers.wording import raises, warns, wording
from layerscope.core.feature_map import as_map
from layerscope.core.note import kind_of
from layerscope.picture.codes import GAP
from layerscope.picture.colorbar import bar_ticks
from layerscope.picture.font import font
from layerscope.picture.numbers import number
from layerscope.safe_text import printable

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"


def special():
    """Nine channels: two plain ones, then dead, constant, NaN, both inf, all NaN, and two more."""
    values = np.random.default_rng(0).normal(size=(1, 6, 7, 9)).astype(np.float32)
    values[..., 2] = 0
    values[..., 3] = 2.5
    values[0, 1:3, 1:3, 4] = np.nan
    values[0, 2, 2, 5], values[0, 3, 3, 5] = np.inf, -np.inf
    values[..., 6] = np.nan
    return values


@cache
def late():
    return ls.open(ls.demo_model()).capture(ls.demo_photo(), "_blocks.4._swish:1")["_blocks.4._swish:1"]


def on_a_photo():
    return ls.overlay(ls.mean(late()))


def of_maps():
    random = np.random.default_rng(5)
    return ls.compare({"a": random.random((2, 8, 8, 4)), "b": random.random((2, 4, 4, 6))}, scale="row")


def bars():
    return ls.bars(np.array([0.1, -2, 12, 0.5]), labels=["cat", "a  dog", "fox", "ü"], text=2)


PICTURES = {
    "sheet": lambda: ls.sheet(special(), zoom=9),
    "wide sheet": lambda: ls.sheet(special(), zoom=20),
    "one range": lambda: ls.sheet(special(), scale="layer"),
    "limits": lambda: ls.sheet(special(), scale=(-1, 1)),
    "many tiles": lambda: ls.sheet(np.random.default_rng(1).random((1, 3, 3, 300))),
    "heat map": lambda: ls.heatmap(np.array([[0.0, 1.0], [2.0, 4.0]])),
    "off centre": lambda: ls.heatmap(np.array([[-1.0, 0.0], [2.0, 4.0]])),
    "constant": lambda: ls.heatmap(np.ones((2, 2))),
    "colours": lambda: ls.heatmap(ls.pca(np.random.default_rng(2).random((5, 5, 4)))),
    "dense": lambda: ls.strip(np.arange(40.0)[None], layout="bc"),
    "sequence": lambda: ls.strip(np.random.default_rng(3).normal(size=(1, 20, 5)), layout="bnc", scale="channel"),
    "overlay": on_a_photo,
    "print": lambda: ls.sheet(special(), statistics=True, text=3),
    "print, one range": lambda: ls.sheet(special(), scale=(-1, 1), text=2, theme="dark"),
    "clipped": lambda: ls.heatmap(special()[..., :1], clip=(10, 90), text=4),
    "long": lambda: ls.strip(np.random.default_rng(3).normal(size=(1, 20, 5)), layout="bnc", axis="seconds", text=3),
    "cells": lambda: ls.strip(np.arange(40.0)[None], layout="bc", text=3),
    "bars": bars,
    "slices": lambda: ls.montage(special()[..., None], layout="bdhwc", text=2, zoom=12),
    "beside": lambda: ls.beside(ls.mean(late()), text=2),
    "clusters": lambda: ls.heatmap(ls.clusters(late(), 4), text=3),
    "comparison": of_maps,
}


@pytest.fixture(params=PICTURES, scope="module")
def picture(request):
    return PICTURES[request.param]()


@pytest.fixture(scope="module")
def figure_pixels(picture):
    """RGB of the picture's matplotlib figure at its own dots, by Agg."""
    return agg_pixels(picture.to_matplotlib())


def agg_pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def place_of(box):
    return slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)


def far_from(pixels, color):
    return (np.abs(pixels.astype(int) - color) > 60).any(-1)


def test_matplotlib_shows_each_tile_pixel_by_pixel(picture, figure_pixels):
    figure, expected = figure_pixels, picture.rgb()
    assert figure.shape == expected.shape
    for cell in picture.cells:
        bare = without_words(picture)[place_of(cell)]
        assert np.array_equal(figure[place_of(cell)][bare], expected[place_of(cell)][bare]), cell


SETTINGS = {
    "origin": {"image.origin": "lower"},
    "letters": {"text.usetex": True, "text.parse_math": True},
    "layout": {"figure.constrained_layout.use": True, "savefig.bbox": "tight", "image.interpolation": "bilinear"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_matplotlib_change_no_picture(name):
    picture = ls.heatmap(np.arange(12.0).reshape(3, 4) - 2)

    def drawn():
        return agg_pixels(picture.to_matplotlib()), picture.pdf()

    expected, file = drawn()
    with matplotlib.rc_context(SETTINGS[name]):
        pixels, again = drawn()
        picture.to_matplotlib(ax=(own := Figure().subplots()))
    assert np.array_equal(pixels, expected) and again == file
    assert own.images[0].origin == "upper"


def without_words(picture):
    """bool `[y, x]`: where no word stands on a tile."""
    bare = np.ones((picture.height, picture.width), bool)
    for line in picture.texts:
        letters = font(line.size, line.bold)
        bare[line.y : line.y + letters.height, line.x - 1 : line.x + letters.width(line.text) + 1] = False
    return bare


def test_matplotlib_writes_each_line_where_the_picture_has_it(picture, figure_pixels):
    """Its letters are antialiased by another hand, so lines are compared by where their ink begins and ends."""
    paper = picture.palette()[GAP]
    figure, expected = (far_from(pixels, paper) for pixels in (figure_pixels, picture.rgb()))
    bare = np.ones(figure.shape, bool)
    ticks = picture.drawing.bar.labels if picture.drawing.bar else ()
    for line in (*picture.texts, *ticks):
        letters = font(line.size, line.bold)
        x, y, width = line.x, line.y, letters.width(line.text)
        bare[y : y + letters.height, max(0, x - 2) : x + width + 2] = False
        ours, theirs = (np.argwhere(ink[y : y + letters.height, x : x + width]) for ink in (expected, figure))
        if line.text.strip(" .…·−") and len(ours):
            ends = [np.concatenate([points.min(0), points.max(0)]) for points in (ours, theirs)]
            # Its letters aren't whole pixels wide, so that long lines end elsewhere; its own bar places the ticks.
            apart = np.abs(ends[0] - ends[1]) - [0, 0, 0, width // 25]
            assert apart.max() <= line.size // (2 if line in ticks else 4), line
    # And there is no ink in other places.
    for box in (*picture.cells, *picture.drawing.patches(), *picture.drawing.ramps, *bar_boxes(picture)):
        y, x = place_of(box)
        edge = round(picture.text)
        bare[max(0, y.start - edge) : y.stop + edge, max(0, x.start - edge) : x.stop + edge] = False
    assert not figure[bare].any()


def bar_boxes(picture):
    bar = picture.drawing.bar
    return (bar.ramp, *bar.ticks) if bar else ()


def test_a_picture_is_its_tiles_and_the_record_of_what_was_drawn(picture):
    """Drawn again from nothing but these, it is the same in every pixel: no line and no box is forgotten or misplaced."""
    colors, drawing = picture.palette(), picture.drawing
    again = np.empty((picture.height, picture.width, 3), np.uint8)
    again[:] = colors[GAP]
    for box in (*drawing.patches(), *(drawing.bar.ticks if drawing.bar else ())):
        again[place_of(box)] = colors[box.color] if isinstance(box.color, int) else box.color
    for ramp in (*drawing.ramps, *((drawing.bar.ramp,) if drawing.bar else ())):
        again[place_of(ramp)] = colors[ramp.codes] if ramp.across else colors[ramp.codes][:, None]
    for cell in picture.cells:
        again[place_of(cell)] = picture.rgb()[place_of(cell)]
    for line in (*picture.texts, *(drawing.bar.labels if drawing.bar else ())):
        ink = font(line.size, line.bold).line(line.text, line.ink)
        box = again[line.y : line.y + ink.shape[0], line.x : line.x + ink.shape[1]]
        ink = ink[: box.shape[0], : box.shape[1]]
        box[ink != GAP] = colors[ink[ink != GAP]]
    assert np.array_equal(again, picture.rgb())


def drawn_lines(picture):
    """Title and caption; the key of colours stands for the note on ranges of their own, and for the shares of variance."""
    keyed = {"scale"} if picture.drawing.foot.key is not None else set()
    keyed |= {"variance"} if any("PC1 ·" in text.text for text in picture.texts) else set()
    return picture.title, *(line for line in picture.lines if kind_of(line) not in keyed)


def test_every_text_of_a_picture_is_there_once(picture):
    texts = picture.texts
    assert len(set(texts)) == len(texts)
    assert {text.tile for text in texts} <= {-1, *range(len(picture.cells))}
    written = {text for line in texts for text in line.text.split()}
    assert {word for line in drawn_lines(picture) for word in line.split() if word != "·"} <= written


def test_a_picture_without_a_record_is_one_image():
    picture = replace(ls.sheet(special()), drawing=None)
    (image,) = xml.fromstring(picture.svg().encode()).findall(f".//{SVG}image")
    data = b64decode(image.get(f"{XLINK}href").partition(",")[2])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), picture.rgb())
    assert np.array_equal(agg_pixels(picture.to_matplotlib()), picture.rgb())
    assert picture.texts == ()


def test_the_record_of_a_picture_of_another_size_is_dropped():
    picture = ls.sheet(special())
    assert replace(picture, pixels=picture.pixels.copy()).texts == picture.texts
    padded = replace(picture, pixels=np.pad(picture.pixels, 20))
    assert padded.drawing is None
    assert len(xml.fromstring(padded.svg()).findall(f".//{SVG}image")) == 1
    cut = replace(on_a_photo(), pixels=on_a_photo().pixels[:200])
    assert cut.frame is None
    with pytest.raises(ls.BadOption):
        cut.dark()


@pytest.mark.parametrize(
    ("name", "words"),
    {
        "bars": ["1", "fox", "channel", "a", "dog", "12.0", "−2.0", "10"],
        "long": ["0", "10", "seconds", "4"],
        "print": ["mean 0", "zeros 100%", "8"],
        "slices": ["0", "5"],
        "beside": ["photo", "map", "overlay"],
        "comparison": ["a", "8 × 8", "b", "4 × 4", "image 1"],
        "print, one range": ["above the limits", "−1.0", "dead"],
        "clipped": ["below the limits"],
    }.items(),
)
def test_what_is_written_around_tiles_is_text_too(name, words):
    picture = PICTURES[name]()
    texts = [element.text for element in xml.fromstring(picture.svg().encode()).findall(f".//{SVG}text")]
    assert set(words) <= set(texts)
    pages = " ".join(PdfReader(io.BytesIO(picture.pdf())).pages[0].extract_text().split())
    assert all(word in pages for word in words)


def test_the_names_of_groups_are_text():
    groups = PICTURES["clusters"]()
    texts = [element.text for element in xml.fromstring(groups.svg().encode()).findall(f".//{SVG}text")]
    assert all(cell.note in " ".join(filter(None, texts)) for cell in groups.cells[1:])  # broken into lines


def test_labels_at_the_ends_of_a_bar_stay_beside_it():
    bar = next(axes for axes in PICTURES["limits"]().to_matplotlib().axes if axes.get_label() == "colour bar")
    alignments = {text.get_text(): text.get_verticalalignment() for text in bar.get_yticklabels()}
    assert alignments == {"−1.0": "bottom", "1.0": "top", "0": "center", "0.5": "center", "−0.5": "center"}


def test_a_blank_cell_of_a_comparison_has_no_colour_of_nan():
    maps = {"a": np.random.default_rng(0).random((1, 8, 8, 4)), "b": as_map(np.ones((1, 8)), "bc")}
    blank = ls.compare(maps, combine="mean")
    axes = blank.to_matplotlib().axes
    arrays = [panel.images[0].get_array() for panel in axes if panel.images and panel.get_label() == "channel -1"]
    assert len(arrays) == 1 and arrays[0].ndim == 3


def test_a_panel_holds_the_values_with_their_own_norm():
    values = special()
    picture = ls.sheet(values)
    axes = picture.to_matplotlib().axes
    assert [panel.get_title(loc="left") for panel in axes] == [str(channel) for channel in range(9)]
    for channel in (0, 1, 4, 7, 8):
        image = axes[channel].images[0]
        plane = values[0, ..., channel]
        known = np.isfinite(plane)
        cell = picture.cells[channel]
        reach = max(abs(cell.low), abs(cell.high))
        assert (image.norm.vmin, image.norm.vmax) == pytest.approx((-reach, reach))
        assert np.abs(image.get_array() - plane)[known].max() <= reach / 240 * 1.001
        assert np.ma.getmaskarray(image.get_array())[~known].all()


@pytest.mark.parametrize("name", ["limits", "heat map", "off centre", "one range"])
def test_the_colour_bar_is_one_of_matplotlib_with_the_limits_of_the_scale(name):
    picture = PICTURES[name]()
    bar = next(axes for axes in picture.to_matplotlib().axes if axes.get_label() == "colour bar")
    assert bar.get_ylim() == pytest.approx(picture.scale.limits)
    labels = {text.get_text() for text in bar.get_yticklabels()}
    assert {text for _, text in bar_ticks(picture.scale)[:2]} <= labels
    # Its middle has the colour that the scale gives that value.
    low, high = picture.scale.limits
    middle = picture.palette()[picture.scale.codes([(low + high) / 2])[0]] / 255
    mappable = bar._colorbar.mappable
    assert mappable.to_rgba((low + high) / 2)[:3] == pytest.approx(middle, abs=1.5 / 255)


def test_the_caption_stands_in_the_figure_as_text():
    picture = ls.sheet(special())
    texts = " ".join(text.get_text() for text in picture.to_matplotlib().texts)
    for word in " ".join(drawn_lines(picture)).replace("·", " ").split():
        assert word in texts


def test_many_tiles_share_an_axes(monkeypatch):
    figure = ls.sheet(np.zeros((1, 2, 2, 257))).to_matplotlib()
    assert len(figure.axes) == 1
    assert {"0", "256"} <= {text.get_text() for text in figure.texts}
    monkeypatch.setattr("layerscope.picture.export.rasters.MOST_TILES", 20)
    assert len(ls.sheet(np.zeros((1, 2, 2, 20))).to_matplotlib().axes) == 20
    assert len(ls.sheet(np.zeros((1, 2, 2, 21))).to_matplotlib().axes) == 1


def test_a_dollar_in_a_name_is_no_formula():
    fm = ls.FeatureMap.of_array(np.ones((1, 2, 2, 2)))
    fm = replace(fm, layer=replace(fm.layer, path="a$x^2$b"))
    assert agg_pixels(ls.sheet(fm).to_matplotlib()).size


def test_a_tile_in_the_callers_axes():
    ours = Figure()
    axes = ours.add_subplot(1, 2, 1)
    picture = PICTURES["off centre"]()
    assert picture.to_matplotlib(ax=axes) is ours
    assert axes.get_title() == picture.title
    assert np.allclose(axes.images[0].get_array(), [[-1, 0], [2, 4]], atol=5 / 240)
    assert axes.child_axes[0].get_ylim() == pytest.approx((-1, 4))
    with raises(ls.BadOption, "9", "ax="):
        ls.sheet(special()).to_matplotlib(ax=axes)
    overlay = on_a_photo()
    overlay.to_matplotlib(ax=(other := ours.add_subplot(1, 2, 2)))
    assert other.child_axes[0].get_ylim() == pytest.approx(overlay.scale.limits)


def test_a_tile_in_ones_own_axes_has_what_its_picture_has():
    first, second = Figure().subplots(1, 2)
    ls.heatmap(np.eye(4), title="", caption=False, bar=False).to_matplotlib(ax=first)
    sheet = ls.sheet(special())
    sheet.tile(5).to_matplotlib(ax=second)
    assert not first.get_title()
    assert not first.child_axes + second.child_axes
    assert second.get_title() == sheet.tile(5).title == "array · channel 5"


@pytest.mark.parametrize("layout", ["constrained", "tight", None])
def test_bars_and_titles_in_ones_own_axes_keep_clear_of_the_others(layout):
    figure = Figure(figsize=(7, 2.5), layout=layout)
    axes = figure.subplots(1, 3)
    for ax in axes:
        ls.heatmap(np.random.default_rng(0).random((8, 8)), title="Mean of 40 channels · _blocks.4").to_matplotlib(
            ax=ax
        )
    renderer = FigureCanvasAgg(figure).get_renderer()
    FigureCanvasAgg(figure).draw()
    for ax, after in itertools.pairwise(axes):
        assert ax.get_tightbbox(renderer).x1 <= after.get_window_extent().x0
    assert all(ax.title.get_window_extent().y1 <= figure.bbox.height for ax in axes)


def test_neither_pyplot_nor_the_backend_is_touched():
    script = (
        "import sys, io, matplotlib, numpy as np, layerscope as ls\n"
        "matplotlib.use('svg')\n"
        "settings = dict(matplotlib.rcParams)\n"
        "picture = ls.sheet(np.random.default_rng(0).random((1, 4, 4, 3)), scale='layer')\n"
        "picture.to_matplotlib().savefig(io.BytesIO()); picture.pdf(); picture.svg()\n"
        "assert dict(matplotlib.rcParams) == settings\n"
        "print(matplotlib.get_backend(), 'matplotlib.pyplot' in sys.modules)"
    )
    without = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=without)
    assert done.stdout.split() == ["svg", "False"]


def test_the_svg_is_valid_and_holds_the_tiles_themselves(picture):
    root = xml.fromstring(picture.svg().encode())
    assert root.tag == f"{SVG}svg"
    assert (root.get("width"), root.get("height")) == (str(picture.width), str(picture.height))
    assert (root.find(f"{SVG}title").text, root.find(f"{SVG}desc").text) == (picture.title, picture.alt())
    images = root.findall(f".//{SVG}image")
    assert all("pixelated" in image.get("style") for image in images)
    expected, bare = picture.rgb(), without_words(picture)
    covered = np.zeros(expected.shape[:2], bool)
    for image in images:
        x, y, width, height = (int(image.get(name)) for name in ("x", "y", "width", "height"))
        kind, _, data = image.get(f"{XLINK}href").partition(",")
        assert kind == "data:image/png;base64"
        tile = Image.open(io.BytesIO(b64decode(data))).convert("RGB").resize((width, height), Image.Resampling.NEAREST)
        box = slice(y, y + height), slice(x, x + width)
        same = (np.asarray(tile) == expected[box]).all(-1)
        covered[box] = True
        # One image of many tiles has nothing but paper between them.
        assert (
            same
            | ~bare[box]
            | ((np.asarray(tile) == picture.palette()[GAP]).all(-1) & (image.find(f"{SVG}title") is None))
        ).all()
    for cell in picture.cells:
        assert covered[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width].all()


def test_an_svg_draws_bar_and_marks_in_the_colours_of_the_picture():
    picture = ls.sheet(special(), scale=(-1, 1))
    expected = picture.rgb()
    boxes = xml.fromstring(picture.svg().encode()).findall(f".//{SVG}g/{SVG}rect")
    assert len(boxes) > 100
    for box in boxes:
        x, y, width, height = (int(box.get(name)) for name in ("x", "y", "width", "height"))
        color = list(bytes.fromhex(box.get("fill")[1:]))
        assert (expected[y : y + height, x : x + width] == color).all()


def test_text_of_an_svg_is_text():
    picture = ls.sheet(special(), zoom=20)
    texts = [element.text for element in xml.fromstring(picture.svg().encode()).findall(f".//{SVG}text")]
    assert picture.title in texts
    assert {*map(str, range(9)), "dead", "all 2.5", "1 +inf 1 −inf", "42 NaN"} <= set(texts)
    assert any("…" in text and text.endswith(" · 4 NaN") for text in texts)
    assert f"{number(picture.cells[0].low)}…{number(picture.cells[0].high)}" in texts


def test_hostile_names_stay_text():
    fm = ls.FeatureMap.of_array(np.ones((1, 2, 2, 2)))
    name = "a<script>&\"']]>\x00\x1b\udcff\n\r\x85b"
    fm = replace(fm, layer=replace(fm.layer, path=name), ids=(f"{name}.png",))
    text = ls.sheet(fm).svg()
    text.encode()
    root = xml.fromstring(text.encode())
    assert "<script" not in text
    assert printable(name) in root.find(f"{SVG}desc").text
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg",
        "title",
        "desc",
        "rect",
        "image",
        "g",
        "text",
    }
    attributes = [(key, value) for element in root.iter() for key, value in element.items()]
    assert all(value.startswith("data:image/png;base64,") for key, value in attributes if "href" in key)
    assert not [value for key, value in attributes if "url(" in value or key.startswith("on")]


def test_pdf_holds_text_and_the_tiles_own_pixels(tmp_path):
    picture = ls.sheet(special(), scale="layer")
    page = PdfReader(picture.save(tmp_path / "a.pdf")).pages[0]
    text = page.extract_text()
    assert picture.title in text
    wording(text)
    assert "dead" in text and "9 NaN" not in text and "4 NaN" in text
    assert (float(page.mediabox.width), float(page.mediabox.height)) == pytest.approx((picture.width, picture.height))
    sizes = [image.image.size for image in page.images if image.image.size == (7, 6)]
    assert len(sizes) >= 9
    # PDF counts rows from below; the image's matrix turns it over.
    expected = {
        picture.palette()[picture.codes(cell)[::-1]].tobytes() for cell in picture.cells if cell.channel in (0, 1, 7, 8)
    }
    assert expected <= {np.asarray(image.image.convert("RGB")).tobytes() for image in page.images}


def test_the_same_picture_gives_the_same_files():
    picture = PICTURES["limits"]()
    assert (picture.svg(), picture.pdf()) == (picture.svg(), picture.pdf())


def test_a_pdf_remembers_where_it_comes_from():
    picture = ls.sheet(special())
    about = PdfReader(io.BytesIO(picture.pdf())).metadata
    assert (about.title, about.creator, about.subject) == (picture.title, "layerscope", picture.alt())
    assert json.loads(about["/Keywords"])["channels"] == "9 of 9"


def test_a_channel_of_nothing_but_nan_decodes():
    picture = ls.sheet(special())
    assert np.isnan(picture.decode(picture.cells[6])).all()


def test_unknown_formats_are_refused(tmp_path, monkeypatch):
    picture = PICTURES["heat map"]()
    for name in ("a.png", "a.svg", "a.pdf", "a.webp"):
        with raises(ls.BadOption):
            picture.save(tmp_path / "nowhere" / name)
    with raises(ls.BadOption):
        picture.save(tmp_path / "a.xyz")
    with raises(ls.BadOption, "dpi=0"):
        picture.to_matplotlib(dpi=0)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for way in (picture.to_matplotlib, picture.pdf, lambda: picture.save(tmp_path / "b.pdf")):
        with raises(ls.BackendMissing, "layerscope[matplotlib]"):
            way()
    assert not (tmp_path / "b.pdf").exists()


@pytest.mark.parametrize("kind", ["sheet", "heatmap", "strip", "bars"])
def test_a_picture_can_be_copied_and_sent_to_another_process(kind):
    shape, layout = ((1, 6, 6, 3), "bhwc") if kind in ("sheet", "heatmap") else ((1, 9), "bc")
    fm = ls.FeatureMap.of_array(np.random.default_rng(0).random(shape), layout)
    picture = getattr(ls, kind)(ls.mean(fm) if kind == "heatmap" else fm)
    for twin in (copy.deepcopy(picture), pickle.loads(pickle.dumps(picture))):
        assert (twin.pixels == picture.pixels).all() and twin.svg() == picture.svg()


def test_other_tiles_or_no_scale_leave_the_record_behind():
    values = np.random.default_rng(0).random((1, 8, 8, 4))
    sheet, heatmap = ls.sheet(values, scale="layer"), ls.heatmap(ls.mean(values))
    for picture in (
        replace(sheet, cells=sheet.cells[::-1]),
        replace(sheet, cells=sheet.cells[:2]),
        replace(sheet, cells=()),
        replace(heatmap, scale=None),
    ):
        assert picture.drawing is None
        assert picture.texts == ()
        assert xml.fromstring(picture.svg()) is not None
        assert PdfReader(io.BytesIO(picture.pdf())).pages
    assert replace(sheet, title="other").drawing is not None
    assert replace(sheet, cells=tuple(copy.copy(cell) for cell in sheet.cells)).drawing is not None


# ---- the size on paper


@pytest.mark.filterwarnings("ignore:the smallest letters")
@pytest.mark.parametrize("size", [{"dpi": 300}, {"width_mm": 85}, {"width_mm": 180}])
def test_every_format_has_the_size_on_paper_that_is_asked_for(tmp_path, size):
    picture = ls.sheet(special())
    wide = size.get("width_mm", picture.width / 300 * 25.4)
    tall = wide * picture.height / picture.width
    page = PdfReader(picture.save(tmp_path / "a.pdf", **size)).pages[0]
    assert (float(page.mediabox.width) / 72 * 25.4, float(page.mediabox.height) / 72 * 25.4) == pytest.approx(
        (wide, tall)
    )
    assert "9 channels" in page.extract_text()
    root = xml.fromstring(picture.save(tmp_path / "a.svg", **size).read_bytes())
    inches = [float(root.get(side).removesuffix("in")) for side in ("width", "height")]
    assert [inch * 25.4 for inch in inches] == pytest.approx([wide, tall], rel=1e-5)
    assert root.get("viewBox") == f"0 0 {picture.width} {picture.height}"
    for suffix in ("png", "jpg", "tif"):
        with Image.open(picture.save(tmp_path / f"a.{suffix}", **size)) as image:
            assert image.width / image.info["dpi"][0] * 25.4 == pytest.approx(wide, rel=0.01), suffix


def test_letters_of_a_pdf_shrink_with_its_page(tmp_path):
    picture = ls.heatmap(np.eye(4))
    sizes = []
    for dpi in (72, 288):
        found = []

        def visit(text, _matrix, _text_matrix, _font, size, found=found):
            if text.strip():
                found.append(size)

        PdfReader(io.BytesIO(picture.pdf(dpi))).pages[0].extract_text(visitor_text=visit)
        sizes.append(max(found))
    assert sizes[0] == pytest.approx(4 * sizes[1], rel=0.01)


def test_a_size_on_paper_is_given_once_and_can_be_had(tmp_path):
    picture = ls.heatmap(np.eye(4))
    with raises(ls.BadOption, "dpi=", "width_mm="):
        picture.save(tmp_path / "a.png", dpi=300, width_mm=85)
    for wrong in (0, "wide", 1e9):
        with raises(ls.BadOption, "width_mm"):
            picture.save(tmp_path / "a.pdf", width_mm=wrong)
    for draw in (picture.png, picture.svg, picture.pdf):
        with raises(ls.BadOption, "dpi"):
            draw(0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(8, 8), (4, 16)])
def test_a_map_in_ones_own_axes_keeps_its_proportions_and_its_bar_is_as_tall(shape):
    figure = Figure(figsize=(12, 3))
    ax = figure.add_subplot()
    ls.heatmap(np.random.default_rng(0).random(shape)).to_matplotlib(ax=ax)
    FigureCanvasAgg(figure).draw()
    box, bar = ax.get_window_extent(), ax.child_axes[0].get_window_extent()
    assert box.height / box.width == pytest.approx(shape[0] / shape[1])
    assert (bar.y0, bar.y1) == pytest.approx((box.y0, box.y1))
    assert box.x1 < bar.x0 < bar.x1 <= figure.bbox.width


@pytest.mark.parametrize("columns", [2, 4, 6])
def test_a_title_in_ones_own_axes_stays_within_them(columns):
    figure = Figure(figsize=(9, 3))
    axes = figure.subplots(1, columns)
    title = "mean of 32 channels · _blocks.2._depthwise_conv, prefix tokens"
    short, long = (ls.heatmap(np.random.default_rng(0).random((8, 8)), title=text) for text in ("Mean", title))
    long.to_matplotlib(ax=axes[0])
    short.to_matplotlib(ax=axes[1])
    FigureCanvasAgg(figure).draw()
    for ax in axes[:2]:
        assert ax.title.get_window_extent().width <= ax.get_window_extent().width + 2
    assert axes[0].get_title().replace("\n", "").replace(" ", "") == title.replace(" ", "").replace("·", "")
    assert axes[1].get_title() == "Mean"
    assert axes[1].title.get_fontsize() > axes[0].title.get_fontsize() or columns == 2


def test_the_ticks_of_a_low_bar_in_ones_own_axes_keep_apart():
    figure = Figure(figsize=(9, 3))
    axes = figure.subplots(1, 3)
    ls.heatmap(np.random.default_rng(0).random((4, 16))).to_matplotlib(ax=axes[2])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    labels = [label.get_window_extent() for label in axes[2].child_axes[0].get_yticklabels() if label.get_text()]
    assert len(labels) >= 2
    for lower, upper in itertools.pairwise(sorted(labels, key=lambda box: box.y0)):
        assert lower.y1 <= upper.y0 + 1


def test_letters_too_small_for_the_paper_are_warned_of(tmp_path):
    picture = ls.sheet(np.random.default_rng(0).random((1, 28, 28, 40)), text=2)
    with warns(ls.LayerscopeWarning, "60 mm", "columns=4"):
        picture.save(tmp_path / "a.pdf", width_mm=60)
    with warns(ls.LayerscopeWarning, "600 dpi", "text=3.5"):
        picture.save(tmp_path / "a.pdf", dpi=600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture.save(tmp_path / "a.png", width_mm=170)
        picture.tile(3).save(tmp_path / "b.png", width_mm=10)


def test_unknown_options_of_a_picture_name_near_ones(tmp_path):
    picture = ls.heatmap(np.eye(4))
    with raises(ls.BadOption, "save()", "'width'", "'width_mm'"):
        picture.save(tmp_path / "a.png", width=84)
    with raises(ls.BadOption, "save()", "path", "dpi", "85"):
        picture.save(tmp_path / "a.png", 300, 85)
    with raises(ls.BadOption, "to_matplotlib()", "'figsize'", "ax=", "width_mm="):
        picture.to_matplotlib(figsize=(3, 2))


def test_a_picture_is_an_array_of_its_colours_and_no_map():
    picture = ls.heatmap(np.eye(4))
    assert np.array_equal(np.asarray(picture), picture.rgb())
    assert np.asarray(picture, dtype=float).dtype == float
    with raises(ls.BadLayout):
        ls.sheet(picture)


def test_tiles_of_a_figure_are_counted(tmp_path):
    picture, events = ls.sheet(np.random.default_rng(0).random((1, 6, 6, 4))), []
    with ls.progress(events.append):
        picture.save(tmp_path / "a.pdf")
        picture.to_matplotlib()
    assert events == [ls.Progress(done, 4, "tiles") for done in range(5)] * 2


@pytest.mark.parametrize("suffix", [".webp", ".jpg", ".gif"])
def test_a_file_of_pillows_is_one_step_that_can_be_left(tmp_path, suffix, monkeypatch):
    picture, events, path = ls.heatmap(np.eye(4)), [], tmp_path / f"a{suffix}"
    with ls.progress(events.append):
        plain = picture.save(path).read_bytes()
    assert {event.what for event in events} == {"encodings"} and events[-1].done == 1
    going_on = threading.Event()
    monkeypatch.setattr(Image.Image, "save", lambda *args, **options: going_on.wait(60))

    def stop(event):
        events.append(event)
        if events[-2:] == [ls.Progress(0, 1, "encodings")] * 2:
            raise ls.Cancelled("enough")

    with pytest.raises(ls.Cancelled), ls.progress(stop):
        picture.save(path)
    going_on.set()
    assert path.read_bytes() == plain and list(tmp_path.iterdir()) == [path]
