"""The input of a model against Pillow and Keras by hand, and how the right recipe is found."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from helpers.photos import CAT, pil
from helpers.wording import raises, wording
from layerscope import memory
from layerscope.backends import Facts, Input
from layerscope.cli import arguments
from layerscope.core.placement import Placement
from layerscope.errors import BadOption, CaptureTooLarge, ImageTooLarge, PreprocessUnknown
from layerscope.inputs import preprocess
from layerscope.inputs.photo import Photo, read
from layerscope.inputs.preprocess import InputPlan, apply, batch, choose
from layerscope.inputs.recipe import READY, RECIPES, Recipe, named

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def facts(axes: str = "bhwc", shape: tuple[int | None, ...] = (None, 224, 224, 3), **more: Any) -> Facts:
    dtype = more.pop("dtype", "float32")
    return Facts("model", (Input("x", axes, shape, dtype),), **more)


# ---- the table, by hand


def test_unit_and_raw() -> None:
    squashed = np.asarray(pil(CAT).resize((224, 200), Image.Resampling.BILINEAR)).astype(np.float32)
    array, placement = apply(named("unit"), CAT, "hwc", (200, 224))
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, squashed / np.float32(255))
    assert placement == Placement.whole((300, 451), (200, 224))
    np.testing.assert_array_equal(apply(named("raw"), CAT, "hwc", (200, 224))[0], squashed)


def test_tf_and_caffe() -> None:
    squashed = np.asarray(pil(CAT).resize((224, 224), Image.Resampling.NEAREST)).astype(np.float32)
    array, _ = apply(named("tf"), CAT, "hwc", (224, 224))
    np.testing.assert_array_equal(array, squashed / np.float32(127.5) - np.float32(1))
    array, _ = apply(named("caffe"), CAT, "hwc", (224, 224))
    mean = np.array([103.939, 116.779, 123.68], np.float32)
    np.testing.assert_array_equal(array, squashed[..., ::-1] - mean)


def test_imagenet_is_torchvisions_pipeline() -> None:
    # Resize(256), CenterCrop(224), ToTensor(), Normalize(MEAN, STD), written out for a photo of 300 × 451
    width = int(256 * 451 / 300)
    resized = pil(CAT).resize((width, 256), Image.Resampling.BILINEAR)
    top, left = round((256 - 224) / 2.0), round((width - 224) / 2.0)
    cropped = np.asarray(resized.crop((left, top, left + 224, top + 224))).astype(np.float32)
    expected = ((cropped / np.float32(255) - MEAN) / STD).transpose(2, 0, 1)
    array, placement = apply(named("imagenet"), CAT, "chw", (224, 224))
    np.testing.assert_array_equal(array, expected)
    assert array.flags.c_contiguous
    assert placement.box == pytest.approx((top * 300 / 256, left * 451 / width, 224 * 300 / 256, 224 * 451 / width))


def test_efficientnet_lite() -> None:
    recipe = named("efficientnet-lite")
    resized = pil(CAT).resize((256 * 451 // 300, 256), Image.Resampling.BICUBIC)
    left = round((resized.width - 224) / 2)
    expected = np.asarray(resized).astype(np.float32)[16:240, left : left + 224]
    np.testing.assert_array_equal(apply(recipe, CAT, "hwc", (224, 224))[0], (expected - 127) / 128)


def test_keras_agrees(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    path = tmp_path / "cat.png"
    pil(CAT).save(path)
    pixels = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    for mode in ("caffe", "tf"):
        preprocess_input = keras.applications.imagenet_utils.preprocess_input
        expected = preprocess_input(pixels[None].copy(), mode=mode, data_format="channels_last")
        array, _ = batch([read(path)], named(mode), InputPlan("bhwc", (224, 224)))
        np.testing.assert_array_equal(array, expected)


# ---- grey, and more than 8 bits


def test_one_channel_is_pillows_grey() -> None:
    expected = np.asarray(pil(CAT).convert("L").resize((28, 28), Image.Resampling.BILINEAR)).astype(np.float32)
    array, _ = apply(named("unit"), CAT, "chw", (28, 28), channels=1)
    np.testing.assert_array_equal(array, expected[None] / np.float32(255))
    assert apply(named("tf"), CAT, "hwc", (28, 28), channels=1)[0].shape == (28, 28, 1)


def test_a_grey_photo_gives_its_exact_grey() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    array, _ = apply(Recipe(), read(grey), "hwc", (16, 16), channels=1)
    np.testing.assert_array_equal(array[..., 0], grey)


def test_16_bits_reach_the_model() -> None:
    deep = (np.arange(64, dtype=np.uint16) * 37).reshape(8, 8)
    array, _ = apply(named("unit"), read(deep), "hwc", (8, 8), channels=1)
    np.testing.assert_allclose(array[..., 0], deep / 65535, rtol=1e-6)
    assert len(np.unique(array)) == 64
    half, _ = apply(named("raw"), read(deep), "hwc", (4, 4))
    exact = Image.fromarray(deep.astype(np.float32) / np.float32(257)).resize((4, 4), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(half, np.repeat(np.asarray(exact)[..., None], 3, axis=2))


def test_float_colours_to_grey_and_no_overshoot() -> None:
    colours = np.zeros((8, 8, 3), np.float32)
    colours[:, 4:] = 1
    grey, _ = apply(named("unit"), read(colours), "hwc", (16, 16), channels=1)
    assert grey.shape == (16, 16, 1)
    sharp, _ = apply(Recipe(interpolation="lanczos"), read(colours), "hwc", (16, 16))
    assert sharp.min() == 0
    assert sharp.max() == 255


# ---- the whole batch


@pytest.mark.parametrize("axes", ["bhwc", "bchw", "bcwh", "hwbc"])
def test_batch_in_the_models_axes(axes: str) -> None:
    photos = [CAT, read(data.coffee(), id="coffee")]
    array, placements = batch(photos, named("unit"), InputPlan(axes, (20, 30)))
    sizes = {"b": 2, "h": 20, "w": 30, "c": 3}
    assert array.shape == tuple(sizes[axis] for axis in axes)
    assert array.dtype == np.float32
    ordered = array.transpose([axes.index(axis) for axis in "bhwc"])
    np.testing.assert_array_equal(ordered[1], apply(named("unit"), photos[1], "hwc", (20, 30))[0])
    assert [placement.photo for placement in placements] == [(300, 451), (400, 600)]


def test_batch_gives_the_inputs_type() -> None:
    for dtype in ("float16", "float64", "uint8"):
        array, _ = batch([CAT], named("raw"), InputPlan("bhwc", (20, 30), dtype=dtype))
        assert array.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(array[0], apply(named("raw"), CAT, "hwc", (20, 30))[0])


def test_batch_refuses_what_it_cannot_stack() -> None:
    own = Recipe(resize="none")
    with raises(PreprocessUnknown):
        batch([CAT, read(data.coffee())], own, InputPlan("bhwc"))
    with raises(PreprocessUnknown):
        batch([], own, InputPlan("bhwc"))
    with raises(PreprocessUnknown):
        batch([CAT], READY, InputPlan("bhwc"))


def test_memory_that_runs_out_while_images_are_resized_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 27.9 GiB")

    monkeypatch.setattr(preprocess, "apply", full)
    with pytest.raises(CaptureTooLarge):
        batch([Photo("a", np.zeros((4, 4, 3), np.uint8))], RECIPES["unit"], InputPlan("bchw", (99_999, 99_999)))


def test_the_photo_is_left_as_it_was() -> None:
    before = CAT.digest
    for recipe in RECIPES.values():
        array, _ = apply(recipe, CAT, "hwc", (300, 451))
        array[:] = 0
    assert replace(CAT).digest == before


# ---- a function of the user's


def test_a_function_replaces_the_recipe() -> None:
    def halves(pixels: np.ndarray) -> np.ndarray:
        pixels[0] = 0  # its own copy
        return np.ascontiguousarray(pixels[::2, ::2].transpose(2, 0, 1))[None] / 255

    recipe, plan = choose(halves, facts("bchw", (None, 3, None, None)))
    array, (placement,) = batch([CAT], recipe, plan)
    assert array.shape == (1, 3, 150, 226)
    assert array.dtype == np.float32
    assert placement == Placement.whole((300, 451), (150, 226))
    assert recipe.describe() == "custom: halves(RGB pixels, uint8)"
    assert CAT.pixels[0].any()


def test_a_function_whose_result_does_not_fit() -> None:
    recipe, plan = choose(lambda pixels: pixels[:10], facts())
    with raises(PreprocessUnknown, "10", "451", "3", "h=224", "w=224", "c=3"):
        batch([CAT], recipe, plan)


# ---- choosing


@pytest.mark.parametrize("none", [None, "none", "None"])
def test_none_is_a_word_as_well(none: Any) -> None:
    assert choose(none, Facts("net", (Input("x", "bhwc", (None, 8, 8, 3)),)))[0] is READY


def test_auto_takes_what_the_model_names() -> None:
    recipe, plan = choose("auto", facts(recipe="caffe", source="keras.applications"))
    assert recipe == replace(RECIPES["caffe"], size=(224, 224))
    assert plan == InputPlan("bhwc", (224, 224), note="preprocessing from keras.applications; size fixed by the model")
    recipe, _ = choose("auto", facts(recipe={"name": "mine", "divide": 2}))
    assert recipe.divide == 2


def test_auto_on_an_unknown_model_is_not_known() -> None:
    recipe, plan = choose("auto", facts())
    assert recipe.name == "unit"
    assert not plan.known
    wording(plan.note, "0", "1", "preprocess=")
    assert choose("unit", facts())[1].known


def test_sizes_in_order() -> None:
    free = facts("bchw", (None, 3, None, None))
    assert choose("unit", facts(), (96, 128))[1].size == (96, 128)
    assert choose("unit", facts(), 96)[1].size == (96, 96)
    assert choose("unit", facts("bchw", (1, 3, 192, 160)))[1].size == (192, 160)
    assert choose(Recipe(size=(64, 32)), free)[1].size == (64, 32)
    assert choose(Recipe(resize="none"), free)[1].size is None
    recipe, plan = choose("unit", free)
    assert recipe.size == plan.size == (224, 224)
    wording(plan.note, "224", "size=")
    assert choose("unit", facts("bchw", (None, 3, 96, None)))[1].size == (96, 96)
    with raises(PreprocessUnknown, "size=(1, 2, 3)"):
        choose("unit", facts(), (1, 2, 3))
    assert choose("unit", facts(), np.int64(96))[1].size == (96, 96)
    with raises(PreprocessUnknown, "1.5"):
        choose("unit", facts(), 1.5)


@pytest.mark.parametrize("size", ["96x128", "96,128", "96×128", " 96 X 128 ", (96, 128), [96, 128]])
def test_a_size_is_written_as_on_the_command_line(size: Any) -> None:
    assert choose("unit", facts(), size)[1].size == (96, 128)
    if isinstance(size, str):
        assert arguments.size(size) == (96, 128)


def test_one_number_is_a_square() -> None:
    assert choose("unit", facts(), "96")[1].size == arguments.size("96") == (96, 96)


@pytest.mark.parametrize("size", ["", "96x", "x96", "0x96", "-96", "96x96x3", "96 96", "9.5", "large", "1e3"])
def test_a_size_that_is_none_is_named(size: str) -> None:
    with raises(BadOption, repr(size)):
        choose("unit", facts(), size)
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.size(size)


def test_the_plan_holds_axes_channels_and_batch() -> None:
    _, plan = choose("unit", facts("bchw", (1, 1, 28, 28)))
    assert (plan.axes, plan.channels, plan.batch, plan.dtype) == ("bchw", 1, 1, "float32")
    assert choose("unit", facts("bchw", (None, None, 28, 28)))[1].channels == 3


def test_a_model_that_states_nothing_about_its_inputs() -> None:
    assert choose("unit", Facts("m", framework="torch 2.1"))[1].axes == "bchw"
    assert choose("unit", Facts("m", framework="keras 3"))[1].axes == "bhwc"


def test_input_types() -> None:
    recipe, plan = choose("auto", facts(dtype="uint8"))
    assert (recipe.name, plan.known, plan.dtype) == ("raw", True, "uint8")
    assert choose("unit", facts(dtype="bfloat16"))[1].dtype == "float32"
    with raises(PreprocessUnknown, "0", "255", "'raw'"):
        choose("unit", facts(dtype="uint8"))
    with raises(PreprocessUnknown):
        choose("unit", facts(dtype="int64"))


@pytest.mark.parametrize(
    "inputs",
    [
        (Input("ids", "bn", (None, 77)),),
        (Input("clip", "bcdhw", (1, 3, 8, 64, 64)),),
        (Input("x", "bhwc", (1, 8, 8, 4)),),
        (Input("a", "bhwc", (1, 8, 8, 3)), Input("b", "bn", (1, 9))),
    ],
)
def test_inputs_that_are_no_image(inputs: tuple[Input, ...]) -> None:
    model = Facts("model", inputs)
    with raises(PreprocessUnknown):
        choose("auto", model)
    recipe, plan = choose(None, model)
    assert recipe is READY
    assert plan.known
    assert plan.axes == inputs[0].axes


def test_three_means_do_not_fit_a_grey_model() -> None:
    with raises(PreprocessUnknown, "3", "0.485"):
        choose("imagenet", facts("bchw", (None, 1, 28, 28)))


def test_wanted_of_another_kind() -> None:
    with raises(PreprocessUnknown, "preprocess=3", "'auto'"):
        choose(3, facts())


# ---- memory


def test_model_input_that_can_not_fit_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 10**10)
    photo = read(np.zeros((9, 9, 3), np.uint8))
    for plan in (InputPlan("bchw", (100_000, 100_000)), InputPlan("bchw", (224, 224), batch=10**8)):
        with raises(CaptureTooLarge, "9.0"):
            preprocess.batch([photo], RECIPES["unit"], plan)


def test_a_photo_that_takes_too_much_to_resize_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    photo = read(np.broadcast_to(np.uint8(0), (1, 20_000_000)))
    plan = InputPlan("bchw", (224, 224))
    with raises(ImageTooLarge, "1.0", "900.0"):
        preprocess.check_photo(photo, Recipe(interpolation="lanczos"), plan)
    preprocess.check_photo(photo, Recipe(resize="shorter", interpolation="nearest"), plan)
