"""Checks of arguments that are the same everywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.inputs.photo import read
from layerscope.scope.target import resolve_target


@pytest.mark.parametrize("path", [None, 3, b"x.png", ["x.png"], object], ids=str)
def test_what_is_no_path_is_refused(path):
    picture, fm = ls.heatmap(np.eye(4)), ls.FeatureMap.of_array(np.zeros((1, 4, 4, 3), np.float32))
    for save in (picture.save, fm.save, lambda path: ls.animate([picture, picture], path)):
        with pytest.raises(ls.BadOption):
            save(path)


@pytest.mark.parametrize("value", ["no", "", 1, None, 0.0])
def test_only_true_and_false_are_flags(value):
    array = np.zeros((1, 4, 4, 3), np.float32)
    for call in (
        lambda: ls.sheet(array, statistics=value),
        lambda: ls.strip(array[0, 0], flip=value),
        lambda: ls.open("demo", trust=value),
    ):
        with pytest.raises(ls.BadOption):
            call()
    ls.sheet(array, statistics=np.True_)


def test_a_limit_of_memory_is_named_where_it_stops_something(monkeypatch, tmp_path):
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "0")
    with raises(ls.LayerscopeError, "LAYERSCOPE_MAX_MEMORY=0"):
        ls.open("demo").capture(ls.demo_photo(), "last")


def test_a_small_limit_of_pixels_is_a_number_of_pixels(monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_MAX_PIXELS", "100")
    with raises(ls.ImageTooLarge, "100 pixels"):
        read(ls.demo_photo())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda fm: ls.sheet(fm, dark=True), "'theme'"),
        (lambda fm: ls.sheet(fm, dpi=300), "dpi=300"),
        (lambda fm: ls.sheet(fm, figsize=(3, 4)), "width_mm=85"),
        (lambda fm: ls.show("demo", ls.demo_photo(), figsize=(3, 4)), "width_mm=85"),
        (lambda fm: ls.show("demo", ls.demo_photo(), vmin=0), "scale=(low, high)"),
        (lambda fm: ls.sheet("cat.jpg"), "ls.show(model, image, layer)"),
        (lambda fm: ls.sheet(fm).save("photos"), "photos/name.png"),
        (lambda fm: ls.show("demo", ls.demo_photo(), width_mm=85), "picture.save('x.pdf', width_mm=85)"),
        (lambda fm: ls.strongest(fm, n=3), "'top'"),
        (lambda fm: ls.strongest(fm, box=(0, 0, 1, 1)), "'region'"),
        (lambda fm: ls.show(fm), "sheet()"),
        (lambda fm: ls.show(fm.values), "ls.sheet(array)"),
        (lambda fm: ls.open(fm.values), "ls.sheet(array)"),
        (lambda fm: ls.show("demo", np.zeros((1, 8, 8, 64)), "_conv_stem"), "ls.sheet(array)"),
        (lambda fm: ls.mean(ls.open("demo")), "ls.open(model).capture(image, layer)"),
        (lambda fm: ls.grad_cam(ls.open("demo")), "ls.open(model).capture(image, layer)"),
        (lambda fm: ls.class_cam("demo", 3), "str"),
        (lambda fm: ls.sheet(fm, colorbar=False), "'bar'"),
        (lambda fm: ls.sheet(fm, normalize=True), "scale='layer'"),
        (lambda fm: ls.heatmap(fm, channel=3), "fm.select(channel)"),
        (lambda fm: ls.heatmap(np.zeros((5, 24, 24)), layout="hwc"), "layout='bhw'"),
        (lambda fm: ls.show("demo", ls.demo_photo(), combine={3000: 0.5}), "3000"),
        (lambda fm: ls.show("demo", ls.demo_photo(), combine="weights:3=0.5,7=-1"), "ls.weighted(fm, {3: 0.5, 7: -1})"),
        (lambda fm: ls.show("demo", ls.demo_photo(), combine="average"), "'mean'"),
        (lambda fm: ls.show("demo", ls.demo_photo(), ["_conv_stem", "_swish"]), "ls.compare(maps)"),
        (lambda fm: resolve_target(replace(ls.open("demo"), labels=None), "tiger cat"), "labels='imagenet'"),
        (lambda fm: ls.show("cat.png", "demo"), "model comes first"),
        (lambda fm: fm[..., 5], "select(channels)"),
        (lambda fm: fm.image("cat"), "'dog.jpg', 'cow.jpg'"),
        (lambda fm: fm.image("o"), "a part of 2 names"),
    ],
)
def test_what_newcomers_write_is_answered_by_what_they_want(call, said):
    fm = replace(ls.FeatureMap.of_array(np.zeros((2, 4, 4, 3), np.float32)), ids=("dog.jpg", "cow.jpg"))
    with raises(ls.LayerscopeError, said):
        call(fm)


def test_an_image_is_chosen_by_its_name_too():
    fm = replace(ls.FeatureMap.of_array(np.eye(4).reshape(2, 2, 2, 2)), ids=("a/dog.jpg", "b/dog.jpg"))
    assert fm.image("b/dog.jpg").ids == fm.image("b/").ids == ("b/dog.jpg",)
    assert ls.sheet(fm, image="b/").cells[0].image == 1
    assert ls.strongest(fm, image="a/") == ls.strongest(fm, image=0)


def test_one_channel_is_a_number():
    fm = ls.FeatureMap.of_array(np.zeros((4, 4, 30), np.float32))
    assert fm.select(5).channels == fm.select(np.int64(5)).channels == (5,)
    assert [cell.channel for cell in ls.sheet(fm, channels=5).cells] == [5]
    with pytest.raises(ls.BadChannels):
        fm.select(True)


def test_names_of_the_package_that_are_misspelt_are_recognised():
    with pytest.raises(AttributeError, match="'grad_cam'"):
        ls.gradcam  # noqa: B018
    with pytest.raises(AttributeError, match=r"ls.open\(model\).layers"):
        ls.layers  # noqa: B018


def test_a_class_is_found_in_any_letters_and_by_its_word():
    scope = replace(ls.open("demo"), labels=("catamaran", "tiger cat", "Egyptian cat"))
    assert resolve_target(scope, "Tiger Cat") == 1
    with raises(ls.BadOption, "'tiger cat', 'Egyptian cat' or 'catamaran'"):
        resolve_target(scope, "cat")
