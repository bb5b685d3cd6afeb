"""Drawing options as one value: checked, to JSON and back, and as the line of Python that draws the same."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises
from layerscope.picture.export.rasters import pixels_of
from layerscope.picture.font import LARGE
from layerscope.plots.animate import draw_frames
from layerscope.plots.bars import BarOptions, draw_bars
from layerscope.plots.heatmap import draw_heatmap
from layerscope.plots.montage import MontageOptions, draw_montage
from layerscope.plots.options import DrawOptions
from layerscope.plots.overlay import OverlayOptions, draw_overlay
from layerscope.plots.sheet import draw_sheet
from layerscope.plots.strip import StripOptions, draw_strip
from layerscope.testing import TinyBackend, tiny_model

SHEET = ls.FeatureMap.of_array(noise(2, 6, 7, 12), "bhwc")
HEAT = ls.FeatureMap.of_array(noise(1, 6, 7, 1), "bhwc")
SEQUENCE = ls.FeatureMap.of_array(noise(1, 30, 4), "bnc")
VOLUME = ls.FeatureMap.of_array(noise(1, 4, 5, 6, 2), "bdhwc")
DENSE = ls.FeatureMap.of_array(noise(1, 9), "bc")
ON_PHOTO = replace(
    HEAT, photos=(np.full((12, 14, 3), 99, np.uint8),), placement=(ls.Placement.whole((12, 14), (12, 14)),)
)

CASES = [
    ("sheet", draw_sheet, SHEET, DrawOptions()),
    ("sheet", draw_sheet, SHEET, DrawOptions(columns=3, scale="layer", clip=(1, 99), theme="dark", statistics=True)),
    ("sheet", draw_sheet, SHEET, DrawOptions(channels=[5, 2, 7], scale=(-1, 2.5), colors="magma", image=1)),
    ("sheet", draw_sheet, SHEET, DrawOptions(channels="mean > 0", per_page=2, page=1, sort="similarity:3", text=2)),
    ("sheet", draw_sheet, SHEET, DrawOptions(channels=slice(0, 4), scale=ls.Scale((-1.5, 2), "magma", center=0.5), zoom=4)),
    ("sheet", draw_sheet, SHEET, DrawOptions(channels=np.arange(12) % 3 == 0, scale=ls.Scale((0, 1), clip=(2, 98)))),
    ("heatmap", draw_heatmap, HEAT, DrawOptions(zoom=5, theme="dark")),
    ("strip", draw_strip, SEQUENCE, StripOptions(axis="seconds", step=0.01, flip=True, scale="channel")),
    ("montage", draw_montage, VOLUME, MontageOptions(channel=1, axis="h", slices=[0, 3], columns=1)),
    ("overlay", draw_overlay, ON_PHOTO, OverlayOptions(alpha=0.7, contours=[0.1], top=50, zoom=2)),
    ("overlay", draw_overlay, ON_PHOTO, OverlayOptions(on="photo", interpolation="smooth")),
    ("overlay", draw_overlay, ON_PHOTO, OverlayOptions(smooth=True)),
    ("bars", draw_bars, DENSE, BarOptions(labels=list("abcdefghi"), top=None, by="magnitude")),
]  # fmt: skip


@pytest.mark.parametrize(("function", "draw", "fm", "options"), CASES)
def test_the_line_of_python_draws_the_same(function, draw, fm, options):
    line = options.python(function, "fm")
    expected = draw(fm, options).themed(options.theme)
    assert np.array_equal(eval(line, {"ls": ls, "fm": fm}).rgb(), expected.rgb())


@pytest.mark.parametrize(("function", "draw", "fm", "options"), CASES)
def test_json_and_back_draws_the_same(function, draw, fm, options):
    again = type(options).from_dict(json.loads(json.dumps(options.to_dict())))
    assert again.to_dict() == options.to_dict()
    assert np.array_equal(draw(fm, again).pixels, draw(fm, options).pixels)


def test_the_line_holds_only_what_differs_from_the_functions_own_defaults():
    assert DrawOptions(scale="channel").python("sheet", "fm") == "ls.sheet(fm)"
    assert DrawOptions(scale="layer").python("sheet", "fm") == "ls.sheet(fm, scale='layer')"
    assert DrawOptions(scale="layer", columns=8).python("heatmap", "fm") == "ls.heatmap(fm)"
    assert DrawOptions(text=3).python("show", "model", "'cat.jpg'") == "ls.show(model, 'cat.jpg', text=3)"
    assert DrawOptions().to_dict() == {}


def test_options_are_checked_when_they_are_made_and_keep_no_list_of_the_callers():
    channels = [1, 2]
    options = DrawOptions(channels=channels, scale=np.array([0.0, 2.0]))
    channels.append(3)
    assert (options.channels, options.scale) == ((1, 2), (0.0, 2.0))
    for name, value in {
        "columns": 0,
        "text": 5,
        "theme": "drak",
        "sort": "meen",
        "per_page": 1.5,
        "zoom": True,
    }.items():
        with raises(ls.BadOption, name):
            DrawOptions(**{name: value})
    with raises(ls.BadScale, "clip"):
        DrawOptions(clip=(99, 1))
    with raises(ls.BadOption, "'columns'"):
        DrawOptions.from_dict({"column": 3})


def test_a_function_has_no_form_in_json_or_in_python():
    options = DrawOptions(channels=lambda row: row.mean > 0)
    with raises(ls.BadOption, "channels"):
        options.to_dict()
    with raises(ls.BadOption, "channels"):
        options.python("sheet", "fm")


@pytest.mark.parametrize("ends", [3, [1, 2], [0, 1, 2, 3], ["a", None, None], None])
def test_a_slice_of_a_file_is_checked(ends):
    with raises(ls.BadOption, repr(ends)):
        DrawOptions.from_dict({"channels": {"slice": ends}})


def test_the_line_of_an_infinite_limit_is_python():
    line = DrawOptions(scale=(0, float("inf"))).python("sheet", "fm")
    assert eval(line, {"ls": SimpleNamespace(sheet=lambda fm, scale: scale), "fm": None}) == (0, float("inf"))


# ---- title, caption and bar


def on_a_photo(**options):
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit")
    photo = np.full((16, 16, 3), 128, np.uint8)
    return ls.overlay(ls.mean(scope.capture(photo, "conv1")["conv1"]), **options)


def of_weights(**options):
    return ls.kernels(ls.open(ls.demo_model()), "_conv_stem", **options)


KINDS = {
    "sheet": lambda **options: ls.sheet(SHEET, scale="layer", **options),
    "heatmap": lambda **options: ls.heatmap(HEAT, **options),
    "rgb": lambda **options: ls.heatmap(ls.pca(SHEET), **options),
    "groups": lambda **options: ls.heatmap(ls.clusters(SHEET, 3), **options),
    "overlay": on_a_photo,
    "strip": lambda **options: ls.strip(SEQUENCE, scale="layer", **options),
    "cells": lambda **options: ls.strip(DENSE, **options),
    "montage": lambda **options: ls.montage(VOLUME, channel=1, **options),
    "kernels": of_weights,
    "rows": lambda **options: ls.compare({"a": SHEET, "b": SHEET}, scale="row", **options),
    "columns": lambda **options: ls.compare({"a": SHEET, "b": SHEET}, scale="column", **options),
    "bars": lambda bar=True, **options: ls.bars(DENSE, **options),
}


@pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)
def test_title_caption_and_bar_leave_out_what_is_drawn_and_keep_what_the_file_says(draw):
    whole, bare = draw(), draw(title="", caption=False, bar=False)
    assert (bare.title, bare.lines) == (whole.title, whole.lines)
    assert bare.bar is None and not any(text.size >= LARGE for text in bare.texts)
    assert not {text.text for text in bare.texts} & {*bare.lines, bare.title}
    # The legend of groups is what a bar is elsewhere.
    assert len(bare.cells) == (1 if whole.scale is None and "cluster" in whole.cells[-1].note else len(whole.cells))
    for old, new in zip(whole.cells, bare.cells, strict=False):
        assert old[2:] == new[2:]
        assert np.array_equal(pixels_of(whole, old), pixels_of(bare, new))
    mine = draw(title="Mine", caption=False)
    assert mine.title == "Mine" and mine.about()["title"] == "Mine"
    assert " · ".join(mine.lines) == " · ".join((whole.title, *whole.lines))
    assert [text.text for text in mine.texts if text.size >= LARGE] == ["Mine"]


def test_a_heat_map_without_caption_and_bar_is_the_map_alone():
    bare = ls.heatmap(HEAT, caption=False, bar=False, zoom=3)
    assert bare.pixels.shape == (18, 21)
    assert np.array_equal(bare.codes(bare.cells[0]), ls.heatmap(HEAT).codes(ls.heatmap(HEAT).cells[0]))
    assert np.allclose(bare.decode(bare.cells[0]), HEAT.values[0, ..., 0], atol=np.abs(HEAT.values).max() / 240)


def test_the_title_is_text():
    with raises(ls.BadOption, "title"):
        ls.heatmap(HEAT, title=3)


def test_the_usual_title_stands_below_ones_own():
    mine = ls.sheet(SHEET, title="In the eye")
    assert mine.title == "In the eye"
    assert mine.lines[0].startswith(ls.sheet(SHEET).title + " · ")
    assert ls.sheet(SHEET, title=ls.sheet(SHEET).title).lines == ls.sheet(SHEET).lines
    assert ls.sheet(SHEET, title="").lines == ls.sheet(SHEET).lines


def test_a_combined_map_is_no_channel_of_the_layer():
    mean = ls.mean(np.random.default_rng(0).random((1, 8, 8, 24)))
    for picture in (ls.sheet(mean), ls.heatmap(mean), *draw_frames(mean, MontageOptions())):
        assert "channel 0" not in picture.alt()
        assert "1 of 24" not in picture.alt()
    sequence = ls.mean(ls.FeatureMap.of_array(np.random.default_rng(0).random((1, 50, 24)), "bnc"))
    assert ls.strip(sequence).title == f"Mean of 24 channels · {sequence.layer.path} · 50 positions"
