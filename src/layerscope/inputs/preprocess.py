"""How the right recipe is found for a model, and photos turned into the model's input by it.

Every step is in float32, in the order that `recipe` states, and the result is exactly that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from ..backends.protocol import Facts, Input
from ..checks import sides
from ..core.placement import Placement, Size
from ..errors import CaptureTooLarge, PreprocessUnknown, first_line
from ..memory import LIMIT, amount, available_text, is_little, limit
from ..safe_text import counted
from ..surface import option
from .formats import check_needed
from .photo import Photo, as_array
from .recipe import READY, RECIPES, Recipe, as_recipe, callable_name, from_fields, numbers_text
from .resize import bytes_to_resize, geometry, part_of_resized
from .transforms import from_transform

# Frameworks, by a part of their name, whose images have the channels last; for models whose input isn't described.
CHANNELS_LAST = ("keras", "tensorflow", "jax", "flax", "tflite")


@dataclass(frozen=True)
class InputPlan:
    """What the model's input looks like: axes, size (`None`: the photo's own), channels, type, fixed batch size.

    `known` is false where nothing said how to preprocess; then the values may be wrong and the user must be told.
    `note` says where recipe and size come from.
    """

    axes: str = "bhwc"
    size: Size | None = None
    channels: int = 3
    dtype: str = "float32"
    batch: int | None = None
    known: bool = True
    note: str = ""


# ---- which recipe and which size -------------------------------------------------------------------------------------
def choose(preprocess: Any, facts: Facts, size: int | str | Sequence[int] | None = None) -> tuple[Recipe, InputPlan]:
    """The recipe for a model, with its size filled in, and the plan of the model's input.

    `preprocess` is "auto", a recipe's name, a `Recipe`, a mapping of its fields (with the name "auto", of changes), a
    transform or a weights entry of torchvision or timm, a function of the RGB pixels, or `None` (batches are ready). The size
    is `size`, else what the model fixes, else the recipe's, else the photo's own where the model resizes it by itself, else
    224 × 224. Raises `PreprocessUnknown` where the model's input
    isn't one image batch of 1 or 3 channels.

    >>> vgg = Facts("vgg", (Input("x", "bhwc", (None, 224, 224, 3)),), recipe="caffe", source="keras.applications")
    >>> recipe, plan = choose("auto", vgg)
    >>> recipe.name, plan.size, plan.note
    ('caffe', (224, 224), 'preprocessing from keras.applications; size fixed by the model')
    """
    if preprocess is None or (isinstance(preprocess, str) and preprocess.lower() == "none"):
        first = facts.inputs[0] if facts.inputs else Input("", "", ())
        return READY, InputPlan(first.axes, None, 0, first.dtype, note="ready batch")
    entry = _image_input(facts)
    recipe, known, source = _recipe(preprocess, facts, entry)
    recipe, size_source = _with_size(recipe, entry, size, facts.resizes)
    sizes = dict(zip(entry.axes, entry.shape, strict=True))
    channels = sizes["c"] or 3
    _check_fit(recipe, entry, channels)
    dtype, codes = _dtype(entry), ""
    if entry.codes and (dtype != "uint8" or not _keeps_whole(recipe)):
        dtype, codes = "float32", f"then quantised into the model's input ({entry.codes})"
    note = "; ".join(filter(None, (source, size_source, codes)))
    return recipe, InputPlan(entry.axes, recipe.size, channels, dtype, sizes["b"], known, note)


def _image_input(facts: Facts) -> Input:
    """The model's only input, if photos can be fed to it."""
    if len(facts.inputs) > 1:
        names = ", ".join(entry.name for entry in facts.inputs)
        raise PreprocessUnknown(
            f"the model has {len(facts.inputs)} inputs ({names}), not one image: {_ready_instead()}"
        )
    if not facts.inputs:
        last = any(name in facts.framework.lower() for name in CHANNELS_LAST)
        return Input("", "bhwc" if last else "bchw", (None,) * 4)
    entry = facts.inputs[0]
    if sorted(entry.axes) != sorted("bchw") or len(entry.shape) != 4:
        raise PreprocessUnknown(
            f"the model's input {entry.name!r} has the shape {entry.shape} ({entry.axes or 'axes unknown'}), not a batch"
            f" of images: {_ready_instead()}"
        )
    channels = entry.shape[entry.axes.index("c")]
    if channels not in (None, 1, 3):
        raise PreprocessUnknown(
            f"the model's input {entry.name!r} has {channels} channels, but a photo has 3 or 1: {_ready_instead()}"
        )
    return entry


def _recipe(preprocess: Any, facts: Facts, entry: Input) -> tuple[Recipe, bool, str]:
    """(recipe, whether it is known to be right, where it comes from)."""
    if isinstance(preprocess, Mapping) and str(preprocess.get("name", "")).lower() == "auto":
        recipe, known, source = _recipe("auto", facts, entry)
        return from_fields({**preprocess, "name": recipe.name}, recipe), known, f"{source}, changed as given"
    if isinstance(preprocess, str) and preprocess.lower() == "auto":
        if facts.recipe is not None:
            return as_recipe(facts.recipe), True, f"preprocessing from {facts.source or 'the model'}"
        if _dtype(entry) == "uint8":
            return RECIPES["raw"], True, "the model's input is uint8, so it takes 0–255"
        return (
            RECIPES["unit"],
            False,
            f"the model doesn't say how to preprocess: 0–1 assumed, {option('preprocess')} changes it",
        )
    transform = from_transform(preprocess)
    if transform is not None:
        return (
            transform,
            True,
            f"preprocessing from the given {type(preprocess).__module__.partition('.')[0]} transform",
        )
    return as_recipe(preprocess), True, "preprocessing as given"


def _ready_instead() -> str:
    return f"give batches that are ready for the model, with {option('preprocess', None)}"


def _with_size(recipe: Recipe, entry: Input, size: Any, resizes: bool) -> tuple[Recipe, str]:
    if size is not None:
        given = sides(size)
        return replace(recipe, size=given), f"size as given, {' × '.join(map(str, given))}"
    height, width = (entry.shape[entry.axes.index(axis)] for axis in "hw")
    if height and width:
        return replace(recipe, size=(height, width)), "size fixed by the model"
    if recipe.resize == "none" or recipe.function is not None:
        return recipe, ""
    if resizes and not (height or width or recipe.size or recipe.resize == "letterbox"):
        return replace(recipe, resize="none"), "photos in their own size: the model resizes them by itself"
    free = recipe.size or (width or 224, height or 224)
    pair = (height or free[0], width or free[1])
    note = f"size not fixed by the model: {pair[0]} × {pair[1]} assumed, {option('size')} changes it"
    return replace(recipe, size=pair), "size from the preprocessing" if recipe.size else note


def _check_fit(recipe: Recipe, entry: Input, channels: int) -> None:
    _per_channel(recipe, channels)
    if _dtype(entry) == "uint8" and not _keeps_whole(recipe) and not entry.codes:
        raise PreprocessUnknown(
            f"the model's input {entry.name!r} is uint8, so it takes 0–255, and preprocessing {recipe.name!r} gives"
            " fractions: use 'raw'"
        )


def _keeps_whole(recipe: Recipe) -> bool:
    """Whether a recipe leaves pixels the whole numbers that they are."""
    return (recipe.divide, set(recipe.mean), set(recipe.std)) == (1, {0}, {1})


def _dtype(entry: Input) -> str:
    """The type of the model input: its own where numpy has it and photos fit, float32 for bfloat16."""
    if entry.dtype == "bfloat16":
        return "float32"
    if entry.dtype not in ("float16", "float32", "float64", "uint8"):
        raise PreprocessUnknown(
            f"the model's input {entry.name!r} is {entry.dtype}, which no recipe produces: {_ready_instead()}"
        )
    return entry.dtype


# ---- from photos to input --------------------------------------------------------------------------------------------
def batch(photos: Sequence[Photo], recipe: Recipe, plan: InputPlan) -> tuple[np.ndarray, tuple[Placement, ...]]:
    """The photos as one array in the model's input axes and type, and where each input lies on its photo.

    >>> photo = Photo("a", np.zeros((30, 40, 3), np.uint8))
    >>> array, (placement,) = batch([photo], RECIPES["unit"], InputPlan("bchw", (16, 16)))
    >>> array.shape, placement.box
    ((1, 3, 16, 16), (0.0, 0.0, 30.0, 40.0))
    """
    if recipe == READY:
        raise PreprocessUnknown(
            f"{option('preprocess', None)} takes ready batches, and these are photos: choose a preprocessing"
        )
    if not photos:
        raise PreprocessUnknown("there is no photo to preprocess")
    axes, axis = plan.axes.replace("b", ""), plan.axes.index("b")
    check_input(max(len(photos), plan.batch or 0), plan.size or photos[0].size, plan)
    placements = []
    stacked: np.ndarray | None = None
    try:
        for index, photo in enumerate(photos):
            array, placement = apply(recipe, photo, axes, plan.size, channels=plan.channels)
            placements.append(placement)
            if stacked is None:
                stacked = np.empty((len(photos), *array.shape), array.dtype)
            if array.shape != stacked.shape[1:]:
                raise PreprocessUnknown(
                    f"photos of different sizes, {sorted([array.shape, stacked.shape[1:]])}, can't go into one batch: give"
                    f" {option('size')}, a resize other than 'none', or one photo at a time"
                )
            stacked[index] = array
    except MemoryError as error:
        size = "×".join(map(str, plan.size or photos[0].size))
        raise CaptureTooLarge(
            f"memory ran out while images were made into model input of {size} pixels: {first_line(error)}. Use a smaller"
            f" {option('size')} or {option('batch')}"
        ) from error
    assert stacked is not None
    stacked = np.moveaxis(stacked, 0, axis)
    if plan.dtype == "uint8":
        stacked = np.clip(np.rint(stacked), 0, 255)
    return np.ascontiguousarray(stacked, plan.dtype), tuple(placements)


def of_one_size(photos: Sequence[Photo], recipe: Recipe, plan: InputPlan) -> list[list[Photo]]:
    """The photos in parts that go into one batch: neighbours whose model input has the same size."""
    if plan.size is not None or recipe.function is not None:
        return [list(photos)]
    return [list(part) for _, part in groupby(photos, lambda photo: geometry(recipe, photo, None)[2])]


def check_input(count: int, size: Size, plan: InputPlan) -> None:
    """Raises `CaptureTooLarge` where model input for `count` images of that size would take more than the memory there is."""
    height, width = map(int, size)
    each = height * width * plan.channels * 4
    needed = each * (count + 2)  # and the numbers of one image on their way into the input
    most = None if is_little(needed) else limit()
    if most is not None and needed > most:
        raise CaptureTooLarge(
            f"model input for {counted(count, 'image')} of {height} × {width} pixels takes {amount(needed)}, and"
            f" {available_text(most)}: give a smaller {option('size')} or {option('batch')}, where the model doesn't fix them."
            f" {LIMIT}={math.ceil(needed / 1e9)}GB overrides this limit"
        )


def check_photo(photo: Photo, recipe: Recipe, plan: InputPlan) -> None:
    """Raises `ImageTooLarge` for a photo that takes more memory on its way to the model input than there is."""
    if recipe.function is None:
        resized, _, size = geometry(recipe, photo, plan.size or recipe.size)
        check_needed(photo.id, "resizing it", bytes_to_resize(photo, resized, size, recipe.interpolation))


def apply(
    recipe: Recipe, photo: Photo, axes: str = "hwc", size: Size | None = None, *, channels: int = 3
) -> tuple[np.ndarray, Placement]:
    """One photo as the float32 input of a model, in `axes` ("hwc", "chw" …), and where it lies on the photo.

    With 1 channel the input is the photo's grey (ITU-R 601, as Pillow's "L").

    >>> array, _ = apply(RECIPES["tf"], Photo("a", np.full((4, 4, 3), 255, np.uint8)), "chw", (2, 2))
    >>> array.shape, float(array.max())
    ((3, 2, 2), 1.0)
    """
    if recipe.function is not None:
        return _apply_function(recipe, photo, axes, size, channels=channels)
    resized, offset, size = geometry(recipe, photo, size or recipe.size)
    values = scaled(part_of_resized(photo, resized, offset, size, recipe=recipe, channels=channels), recipe)
    return np.ascontiguousarray(_in_axes(values, axes)), _placement(photo, resized, offset, size)


def placed(photo: Photo, recipe: Recipe, plan: InputPlan) -> Placement:
    """Where the model input of a photo lies on it; the input is made where a function alone tells.

    >>> placed(Photo("a", np.zeros((30, 40, 3), np.uint8)), RECIPES["unit"], InputPlan("bchw", (16, 16))).box
    (0.0, 0.0, 30.0, 40.0)
    """
    if recipe.function is not None:
        return batch([photo], recipe, plan)[1][0]
    return _placement(photo, *geometry(recipe, photo, plan.size or recipe.size))


def _placement(photo: Photo, resized: Size, offset: Size, size: Size) -> Placement:
    vertical, horizontal = photo.size[0] / resized[0], photo.size[1] / resized[1]
    box = (offset[0] * vertical, offset[1] * horizontal, size[0] * vertical, size[1] * horizontal)
    return Placement(photo.size, size, box)


def scaled(pixels: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The recipe's numbers, in its order, for RGB or grey pixels `[…, channel]` from 0 to 255."""
    values = (pixels[..., ::-1] if recipe.order == "bgr" else pixels).astype(np.float32)
    mean, std = _per_channel(recipe, values.shape[-1])
    if recipe.divide != 1:
        values /= np.float32(recipe.divide)
    if mean.any():
        values -= mean
    if (std != 1).any():
        values /= std
    return values


def _per_channel(recipe: Recipe, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std for that many channels."""
    for field in ("mean", "std"):
        numbers = getattr(recipe, field)
        if channels == 1 and len(set(numbers)) > 1:
            raise PreprocessUnknown(
                f"preprocessing {recipe.name!r} has a {field} for 3 channels, {numbers_text(numbers)}, and the model's input is"
                f" grey: give a recipe with one number"
            )
    mean, std = (np.asarray(numbers[:channels], np.float32) for numbers in (recipe.mean, recipe.std))
    return mean, std


def _in_axes(values: np.ndarray, axes: str) -> np.ndarray:
    if sorted(axes) != sorted("hwc"):
        raise PreprocessUnknown(f"axes={axes!r}: an image needs the axes h, w and c: {_ready_instead()}")
    return np.asarray(values.transpose(["hwc".index(axis) for axis in axes]))


def _apply_function(
    recipe: Recipe, photo: Photo, axes: str, size: Size | None, *, channels: int
) -> tuple[np.ndarray, Placement]:
    """What the user's function makes of the photo; it is taken to show the whole of it."""
    assert recipe.function is not None
    array = as_array(recipe.function(photo.pixels.copy())).astype(np.float32)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    sizes = dict(zip(axes, array.shape, strict=False))
    fits = array.ndim == 3 and sizes["c"] == channels and (size is None or (sizes["h"], sizes["w"]) == size)
    if not fits:
        lengths = {"h": size[0] if size else "height", "w": size[1] if size else "width", "c": channels}
        expected = ", ".join(f"{axis}={lengths[axis]}" for axis in axes)
        raise PreprocessUnknown(
            f"{photo.id}: the preprocess function {callable_name(recipe.function)} returned an array of shape "
            f"{array.shape}, but the model takes ({expected})"
        )
    return np.ascontiguousarray(array), Placement.whole(photo.size, (sizes["h"], sizes["w"]))
