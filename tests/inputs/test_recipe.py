"""Recipes by name and by fields, what is refused, and how they are described."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from helpers.wording import raises, wording
from layerscope.errors import PreprocessUnknown
from layerscope.inputs.recipe import RECIPES, Recipe, from_fields, named


def test_every_recipe_of_the_table_is_named_and_described() -> None:
    assert set(RECIPES) == {"unit", "raw", "bgr", "tf", "torch", "imagenet", "caffe", "efficientnet-lite"}
    assert RECIPES["torch"] is RECIPES["imagenet"]
    for name, recipe in RECIPES.items():
        assert recipe.name == {"torch": "imagenet"}.get(name, name)
        assert recipe.describe().startswith(f"{recipe.name}: ")
        assert "\n" not in recipe.describe()


def test_near_names() -> None:
    assert named("IMAGENET") is RECIPES["imagenet"]
    with raises(PreprocessUnknown, "'imagnet'", "'imagenet'"):
        named("imagnet")


def test_fields_of_a_models_metadata() -> None:
    recipe = from_fields({"name": "lite", "mean": [127, 127, 127], "std": 128, "size": [224, 224], "resize": "shorter"})
    assert recipe == Recipe("lite", mean=(127, 127, 127), std=(128,), size=(224, 224), resize="shorter")
    assert from_fields({"name": "Torch", "resize": "squash"}) == replace(RECIPES["torch"], resize="squash")


@pytest.mark.parametrize(
    "fields",
    [
        {"means": 1},
        {"function": print},
        {"order": "grb"},
        {"resize": "fit"},
        {"interpolation": "area"},
        {"mean": [1, 2]},
        {"mean": "0.5"},
        {"mean": [math.nan] * 3},
        {"std": 0},
        {"divide": 0},
        {"size": [224]},
        {"size": [0, 224]},
        {"short": 0},
        {"fill": [300, 0, 0]},
        {"multiple": 0},
    ],
)
def test_bad_fields_are_refused(fields: dict[str, Any]) -> None:
    with raises(PreprocessUnknown):
        from_fields(fields)


def test_describe_names_every_step() -> None:
    recipe = replace(RECIPES["imagenet"], size=(224, 224))
    statistics = "(0.485, 0.456, 0.406)", "(0.229, 0.224, 0.225)"
    wording(recipe.describe(), "imagenet", "RGB", "256", "bilinear", "224 × 224", "/255", *statistics)
    box = Recipe("box", resize="letterbox", size=(64, 32))
    wording(box.describe(), "box", "RGB", "64 × 32", "bilinear", "(0, 0, 0)", "0–255")
    wording(Recipe("own", "bgr", resize="none", multiple=32).describe(), "own", "BGR", "32", "0–255")
