"""`show` and the command line beside the functions that draw: the same options, and the same picture by each of them."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope import cli, surface
from layerscope.plots.overlay import OverlayOptions
from layerscope.scope.scope import Scope
from layerscope.testing import TinyBackend, tiny_model

DRAWN = ("sheet", "pages", "heatmap", "overlay", "beside")
# What these choose `show` takes from its image and its layer; an array has a layout.
OWN = {"fm", "image", "photo", "layout", "grid"}
PHOTO = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def scope():
    return ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", labels=list("abcdef"))


@pytest.fixture(scope="module")
def maps(scope):
    return scope.capture(PHOTO, "conv1")


def options_of(function):
    return set(inspect.signature(function).parameters)


def options_of_the_command():
    (commands,) = (action for action in cli.parser()._actions if hasattr(action, "choices") and action.choices)
    return {action.dest for action in commands.choices["show"]._actions}


# ---- the same options everywhere


def test_show_has_every_option_of_a_sheet_a_heat_map_and_an_overlay():
    """A new one becomes a keyword of `show` with a line in its docstring; it reaches the picture by its name."""
    for name in DRAWN:
        assert options_of(getattr(ls, name)) - OWN <= options_of(ls.show), name


def test_the_command_has_every_option_of_show():
    """A new one becomes an `add_argument` in cli/__init__.py and a word in surface.py; it reaches the picture by its name."""
    # IMAGE is an argument, every page is written, files of photos are those that a map lies on
    python_only = {"image", "page", "backend", "photo"}
    assert options_of(ls.show) - options_of_the_command() == python_only
    assert options_of(ls.figure) - options_of_the_command() == {"image", "backend"}
    drawn = {field.name for field in fields(OverlayOptions)} - OWN - python_only
    assert drawn <= {*surface.OPTIONS}


VALUES = {
    "columns": 1,
    "sort": "mean",
    "scale": (0, 0.5),
    "colors": "magma",
    "clip": (5, 95),
    "norm": "symlog",
    "page": 1,
    "per_page": 2,
    "zoom": 3,
    "statistics": True,
    "text": 2,
    "title": "Mine",
    "caption": False,
    "bar": False,
    "theme": "dark",
    "alpha": 0.9,
    "even": True,
    "smooth": True,
    "contours": 3,
    "top": 20,
    "on": "photo",
    "interpolation": "smooth",
}


@pytest.mark.parametrize("name", sorted(set(VALUES) & options_of(ls.sheet)))
def test_an_option_of_a_sheet_does_the_same_in_show(scope, maps, name):
    given = {**{"page": {"per_page": 2}, "bar": {"scale": "layer"}}.get(name, {}), name: VALUES[name]}
    picture, plain = ls.show(scope, PHOTO, "conv1", **given), ls.sheet(maps)
    assert np.array_equal(picture.rgb(), ls.sheet(maps, **given).rgb())
    assert not np.array_equal(picture.rgb(), plain.rgb())


@pytest.mark.parametrize("name", sorted(set(VALUES) & options_of(ls.overlay)))
def test_an_option_of_an_overlay_does_the_same_in_show(scope, maps, name):
    given = {name: VALUES[name]}
    picture, plain = ls.show(scope, PHOTO, "conv1", overlay=True, **given), ls.overlay(ls.mean(maps))
    assert np.array_equal(picture.rgb(), ls.overlay(ls.mean(maps), **given).rgb())
    assert not np.array_equal(picture.rgb(), plain.rgb())


def test_no_option_of_a_picture_is_without_such_a_test():
    options = set().union(*(options_of(getattr(ls, name)) for name in DRAWN))
    assert options - OWN - {"channels"} <= set(VALUES)


def test_top_is_how_many_bars_the_output_has(scope):
    picture = ls.show(scope, PHOTO, "output", top=2)
    assert [cell.note.partition(":")[0] for cell in picture.cells] == [
        cell.note.partition(":")[0] for cell in ls.bars(scope.capture(PHOTO, "output"), top=2).cells
    ]
    assert len(picture.cells) == 2


@pytest.mark.parametrize("name", ["on", "alpha", "even", "interpolation", "contours"])
def test_what_is_for_an_overlay_needs_one(scope, name):
    with raises(ls.BadOption, name, "overlay"):
        ls.show(scope, PHOTO, "conv1", **{name: VALUES[name]})


def test_an_overlay_alone_is_one_of_the_mean_and_says_so(scope, maps):
    picture = ls.show(scope, PHOTO, "conv1", overlay=True)
    assert np.array_equal(picture.rgb(), ls.overlay(ls.mean(maps)).rgb())
    assert "Mean" in picture.title
    assert np.array_equal(picture.rgb(), ls.show(scope, PHOTO, "conv1", overlay=True, combine="mean").rgb())
    assert "Norm" in ls.show(scope, PHOTO, "conv1", overlay=True, combine="norm").title


def test_an_overlay_of_one_channel_is_of_that_channel(scope, maps, tmp_path, monkeypatch, capsys):
    picture = ls.show(scope, PHOTO, "conv1", overlay=True, channels=[3])
    assert np.array_equal(picture.rgb(), ls.overlay(maps["conv1"].select([3])).rgb())
    wording(picture.title)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["show", "demo", str(ls.demo_photo()), "-l", "_conv_stem", "--channels", "3", "--overlay"]) == 0
    with Image.open(capsys.readouterr().out.strip()) as image:
        wording([image.filename, image.text["Title"]])
    assert cli.main(["show", "demo", str(ls.demo_photo()), "--channels", "mean > 0", "--overlay"]) == 1
    wording(capsys.readouterr().err.splitlines()[-1])


def test_a_value_too_many_is_answered_with_what_to_do(maps):
    photo, fm = "photo.jpg", maps["conv1"]
    for call in (
        lambda: ls.overlay(fm, photo),
        lambda: ls.heatmap(fm, PHOTO),
        lambda: ls.sheet(fm, 8),
        lambda: ls.compare(maps, maps),
        lambda: ls.mean(fm, -1),
        lambda: ls.grad_cam(fm, 281),
        lambda: ls.show("demo", photo, "last", "mean"),
    ):
        with raises(ls.BadOption, "without a name"):
            call()


def test_the_command_draws_by_these_options_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    usual = ["demo", str(ls.demo_photo()), "-l", "_conv_stem", "--channels", "0:8"]
    scope = ls.open("demo")
    maps = scope.capture(ls.demo_photo(), "_conv_stem", channels=range(8))
    assert cli.main(["show", *usual, "--zoom", "2", "-o", "sheet.png"]) == 0
    assert (tmp_path / "sheet.png").read_bytes() == ls.sheet(maps, zoom=2).png()
    overlaid = ["--overlay", "--on", "photo", "--alpha", "0.9", "--smooth", "--contours", "0.5,1.5", "--top", "40"]
    assert cli.main(["show", *usual, *overlaid, "-o", "overlay.png"]) == 0
    expected = ls.overlay(ls.mean(maps), on="photo", alpha=0.9, smooth=True, contours=[0.5, 1.5], top=40)
    assert (tmp_path / "overlay.png").read_bytes() == expected.png()
    assert cli.main(["show", *usual, "--title", "Mine", "--no-caption", "--no-bar", "-o", "bare.png"]) == 0
    assert (tmp_path / "bare.png").read_bytes() == ls.sheet(maps, title="Mine", caption=False, bar=False).png()
    with pytest.raises(SystemExit):
        cli.main(["show", *usual, "--dpi", "300", "--width-mm", "85"])
    assert cli.main(["show", *usual, "--zoom", "2", "--width-mm", "85", "-o", "paper.png"]) == 0
    with Image.open("paper.png") as image:
        assert image.width / image.info["dpi"][0] * 25.4 == pytest.approx(85, rel=1e-3)
    capsys.readouterr()
    assert cli.main(["show", *usual, "--alpha", "0.9", "-o", "sheet.png"]) == 1
    assert "--alpha" in capsys.readouterr().err


def test_the_command_writes_tiles(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    usual = ["show", "demo", str(ls.demo_photo()), "-l", "_conv_stem", "--channels", "0:12", "--tiles"]
    assert cli.main([*usual, "-o", "out"]) == 0
    (folder,) = (tmp_path / "out").iterdir()
    maps = ls.open("demo").capture(ls.demo_photo(), "_conv_stem", channels=range(12))
    expected = ls.sheet(maps).save_tiles("expected")
    assert [path.name for path in sorted(folder.iterdir())] == [path.name for path in expected]
    assert all((folder / path.name).read_bytes() == path.read_bytes() for path in expected)
    capsys.readouterr()
    for wrong in (["-o", "out.png"], ["-o", "out.npz"], ["-o", "out", "--resume"]):
        assert cli.main([*usual, *wrong]) == 1
        assert "--tiles" in capsys.readouterr().err
    (folder / "photo.png").write_bytes(ls.demo_photo().read_bytes())
    (tmp_path / "chelsea-_conv_stem").mkdir()
    photo = tmp_path / "chelsea-_conv_stem" / "chelsea.png"
    photo.write_bytes(ls.demo_photo().read_bytes())
    assert cli.main(["show", "demo", str(photo), *usual[3:], "-o", "."]) == 1
    assert "chelsea.png" in capsys.readouterr().err


# ---- a misspelt option


def with_options():
    for name in ls.__all__:
        value = getattr(ls, name)
        if inspect.isfunction(value):
            yield name, value
    yield "capture", Scope.capture
    yield "stream", Scope.stream


WITH_OPTIONS = {
    name: (function, names)
    for name, function in with_options()
    if (
        names := [
            each.name for each in inspect.signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY
        ]
    )
}


@pytest.mark.parametrize("function", WITH_OPTIONS)
def test_a_misspelt_option_is_named_with_the_right_one(function):
    call, names = WITH_OPTIONS[function]
    long = max(names, key=len)
    misspelt = long[:2] + long[3:]
    with pytest.raises(ls.BadOption) as caught:
        call(None, None, **{misspelt: 8})
    assert f"{function}()" in str(caught.value)
    assert repr(misspelt) in str(caught.value)
    assert repr(long) in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "right"), [("--colums", "--columns"), ("--perpage=3", "--per-page"), ("--lables", "--labels")]
)
def test_a_misspelt_option_of_the_command_is_named_with_the_right_one(capsys, typed, right):
    with pytest.raises(SystemExit):
        cli.main(["show", "demo", "cat.jpg", typed, "8"])
    assert f"Did you mean '{right}'" in capsys.readouterr().err


def test_what_another_library_calls_it_is_named_too():
    with raises(ls.BadOption, "'cmap'", "'colors'"):
        ls.sheet(noise(1, 4, 4, 2), cmap="magma")
    with raises(ls.BadOption, "'vmax'", "scale=(low, high)"):
        ls.overlay(noise(1, 4, 4, 2), vmax=3)


def test_an_option_of_another_function_is_named_with_it():
    with raises(ls.BadOption, "'alpha'", "overlay()"):
        ls.sheet(noise(1, 4, 4, 2), alpha=0.5)
    with raises(ls.BadOption, "'qqqq'", "columns"):
        ls.sheet(noise(1, 4, 4, 2), qqqq=0.5)


# ---- the maps of a capture in place of the one map


def outcome(function, fm, *arguments):
    """What comes back, or the error, as something to compare."""
    try:
        result = function(fm, *arguments)
    except ls.LayerscopeError as error:
        return type(error), str(error)
    result = list(result) if function is ls.pages else [result]
    return [getattr(one, "pixels", getattr(one, "values", one)) for one in result]


TAKES_A_MAP = [
    name
    for name in ls.__all__
    if inspect.isfunction(getattr(ls, name)) and next(iter(inspect.signature(getattr(ls, name)).parameters), "") == "fm"
]


@pytest.mark.parametrize("combined", [False, True])
@pytest.mark.parametrize("name", TAKES_A_MAP)
def test_maps_of_one_layer_are_that_map(maps, name, combined):
    (fm,) = maps.values()
    fm = ls.mean(fm) if combined else replace(fm, gradient=fm.values[..., ::-1].copy())
    more = {"weighted": [np.arange(fm.shape[-1])], "find_channels": ["mean > 0"]}.get(name, [])
    function = getattr(ls, name)
    for given in (ls.Maps({"conv1": fm}), {"any name": fm}):
        one, other = outcome(function, given, *more), outcome(function, fm, *more)
        if isinstance(other, tuple):
            assert one == other
        else:
            assert all(
                np.array_equal(*pair) if isinstance(pair[0], np.ndarray) else repr(pair[0]) == repr(pair[1])
                for pair in zip(one, other, strict=True)
            )


@pytest.mark.parametrize("name", ["sheet", "heatmap", "overlay", "mean", "grad_cam", "attention", "statistics"])
def test_of_several_layers_one_must_be_chosen(scope, name):
    several = scope.capture(PHOTO, ["conv1", "conv2"])
    with raises(ls.BadOption, "'conv1'", "'conv2'", "2"):
        getattr(ls, name)(several)
    with raises(ls.BadOption):
        getattr(ls, name)(ls.Maps({}))


OPENED = {
    "weights": "w.npz",
    "preprocess": "raw",
    "size": 8,
    "labels": ["cat"],
    "backend": "torch",
    "device": "cpu",
    "trust": True,
}
DOORS = {
    "show": lambda scope, given: ls.show(scope, PHOTO, "conv1", **given),
    "figure": lambda scope, given: ls.figure(scope, PHOTO, "conv1", **given),
    "figure of a map": lambda scope, given: ls.figure(scope.capture(PHOTO, "conv1"), **given),
    "report": lambda scope, given: ls.report(scope, PHOTO, "never.html", **given),
    "view": lambda scope, given: ls.view(scope, PHOTO, browser=False, **given),
    "widget": lambda scope, given: ls.widget(scope, PHOTO, **given),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", OPENED)
def test_options_of_open_are_refused_where_the_model_is_open_already(scope, door, name):
    with pytest.raises(ls.BadOption, match=f"^{name}= belongs to ls.open, .*ls.open\\(model, {name}=…\\)"):
        DOORS[door](scope, {name: OPENED[name]})


def test_several_options_of_open_are_named_together(scope):
    with raises(ls.BadOption, "size=", "labels="):
        ls.show(scope, PHOTO, "conv1", size=8, labels=["cat"])


@pytest.mark.parametrize("opened", [False, True])
def test_weights_of_channels_are_told_from_those_of_a_model(scope, opened):
    with raises(ls.BadOption, "combine=", "ls.weighted", "ndarray"):
        ls.show(scope if opened else tiny_model(), PHOTO, "conv1", weights=np.ones(32, np.float32))


def test_weights_for_the_channels_are_a_combination(scope):
    weights = np.linspace(-1, 1, 4)
    expected = ls.heatmap(ls.weighted(scope.capture(PHOTO, "conv1"), weights)).rgb()
    for given in (weights, weights.tolist(), dict(enumerate(weights))):
        assert np.array_equal(ls.show(scope, PHOTO, "conv1", combine=given).rgb(), expected)
    with raises(ls.BadWeights, "4"):
        ls.show(scope, PHOTO, "conv1", combine=np.ones(3))


def test_a_ready_batch_is_laid_on_the_photo_that_is_given():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    batch, photo = np.random.default_rng(0).random((2, 3, 8, 8), np.float32), np.full((40, 60, 3), 90, np.uint8)
    picture = ls.show(scope, batch, "conv1", overlay=True, photo=photo)
    assert np.array_equal(picture.rgb(), ls.overlay(ls.mean(scope.capture(batch, "conv1")), photo=photo).rgb())
    with raises(ls.BadOption, "photo=", "overlay=True"):
        ls.show(scope, batch, "conv1", photo=photo)


def test_files_of_arrays_are_images_and_ready_batches(scope, tmp_path):
    np.save(tmp_path / "photo.npy", PHOTO)
    stored = scope.capture(tmp_path / "photo.npy", "conv1")["conv1"]
    assert stored.ids == ("photo",)
    assert np.array_equal(stored.values, scope.capture(PHOTO, "conv1")["conv1"].values)
    assert "photo" in ls.show(scope, str(tmp_path / "photo.npy"), "conv1").alt()
    batch = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    np.save(tmp_path / "batch.npy", batch)
    ready = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    shown = ls.show(ready, str(tmp_path / "batch.npy"), "conv1")
    assert np.array_equal(shown.rgb(), ls.show(ready, batch, "conv1").rgb())
