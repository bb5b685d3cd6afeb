"""`colors=` as a name, a colour map of another library, or a list of colours: wherever it is taken."""

import inspect
import json

import cmap
import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.picture.codes import TOP
from layerscope.picture.palette import as_colors, lut
from layerscope.plots.options import DrawOptions

MAP = np.random.default_rng(0).random((1, 6, 7, 3)).astype(np.float32)
LIST = ["navy", (1.0, 0.5, 0.0), "#ffffff"]
EXPECTED = ("#000080", "#ff8000", "#ffffff")


def test_colours_of_a_list_stand_at_equal_steps():
    assert as_colors(LIST) == EXPECTED
    table = lut(EXPECTED)
    for place, color in ((0, (0, 0, 128)), (TOP // 2, (255, 128, 0)), (TOP, (255, 255, 255))):
        assert tuple(table[place]) == color
    assert as_colors(np.array([[0, 0, 128], [255, 128, 0]], np.uint8)) == EXPECTED[:2]
    assert as_colors(np.array([[0, 0, 0.5, 1], [1, 0.5, 0, 0.3]])) == EXPECTED[:2]


@pytest.mark.parametrize("name", ["viridis", "magma_r", "coolwarm", "tab10", "jet", "gray"])
def test_a_colour_map_of_matplotlib_has_its_own_colours(name):
    matplotlib = pytest.importorskip("matplotlib")
    theirs = matplotlib.colormaps[name]
    expected = np.round(theirs(np.linspace(0, 1, TOP + 1))[:, :3] * 255)
    assert isinstance(as_colors(theirs), str)
    assert np.abs(lut(as_colors(theirs)) - expected).max() <= 6
    # Another one of that name is no name.
    other = matplotlib.colors.LinearSegmentedColormap.from_list(name, ["red", "blue", "green"])
    assert isinstance(as_colors(other), tuple)
    np.testing.assert_array_equal(lut(as_colors(other)), np.round(other(np.linspace(0, 1, TOP + 1))[:, :3] * 255))


def test_a_colour_map_of_cmap_is_known_by_its_colours():
    made = cmap.Colormap(["red", "blue"])
    assert np.abs(lut(as_colors(made)).astype(int) - lut(("#ff0000", "#0000ff"))).max() <= 1
    assert isinstance(as_colors(cmap.Colormap("batlow")), str)


def functions():
    """The public functions that take colours."""
    for name in ls.__all__:
        value = getattr(ls, name)
        if callable(value) and not inspect.isclass(value) and "colors" in inspect.signature(value).parameters:
            yield name


@pytest.mark.parametrize("colors", [LIST, cmap.Colormap(LIST)])
@pytest.mark.parametrize("name", ["sheet", "heatmap", "bars", "compare", "montage"])
def test_pictures_take_them(name, colors):
    given = {"bars": MAP[0, 0, 0], "montage": np.repeat(MAP[:, None, ..., :1], 2, 1)}.get(name, MAP)
    given = MAP[..., :1] if name == "heatmap" else given
    draw = getattr(ls, name)
    picture = (
        draw({"a": MAP[..., :1], "b": MAP[..., :1]}, colors=colors) if name == "compare" else draw(given, colors=colors)
    )
    difference = picture.palette()[: TOP + 1].astype(int) - lut(EXPECTED)
    assert np.abs(difference).max() <= 3
    assert picture.png()
    assert picture.svg()


def test_no_function_that_takes_colours_has_another_rule_for_them():
    assert {"sheet", "heatmap", "overlay", "show", "shared_scale", "kernels"} <= set(functions())
    for name in functions():
        assert inspect.signature(getattr(ls, name)).parameters["colors"].default is None, name


def test_a_scale_keeps_them_through_json():
    scale = ls.Scale((0.0, 1.0), LIST)
    again = ls.Scale.from_dict(json.loads(json.dumps(scale.to_dict())))
    assert again.colors == scale.colors == EXPECTED
    options = DrawOptions(colors=LIST)
    assert DrawOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    assert "('#000080', '#ff8000', '#ffffff')" in options.python("sheet", "fm")
    assert ls.shared_scale(MAP, colors=LIST).colors == EXPECTED
    picture = ls.heatmap(MAP[..., :1], colors=LIST)
    pytest.importorskip("matplotlib")
    assert picture.to_matplotlib() is not None


@pytest.mark.parametrize(
    "wrong",
    [3, [], ["red"], ["red", "rad"], [(2, 0, 0), "red"], lambda x: x, [[0.1, 0.2], "red"], {"red": 1}, "virdis"],
)
def test_what_is_no_colour_map_is_named(wrong):
    for call in (
        lambda: ls.sheet(MAP, colors=wrong),
        lambda: ls.Scale((0, 1), wrong),
        lambda: ls.shared_scale(MAP, colors=wrong),
    ):
        with raises(ls.BadScale):
            call()
