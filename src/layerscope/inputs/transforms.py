"""Other libraries' transforms as recipes: torchvision's weights and presets, `Compose` of torchvision and timm.

Nothing is imported: the objects come from the user's own library and are read by their class names and attributes.
A recipe of ours then gives what the transform gives, and knows in addition where the input lies on the photo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from ..errors import PreprocessUnknown
from .recipe import Recipe

LIBRARIES = ("torchvision", "timm")
# PIL.Image.Resampling by number, as old torchvision and Pillow's users write it
FILTER_NUMBERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
TO_TENSOR = ("ToTensor", "MaybeToTensor")
ONLY_TYPE = ("PILToTensor", "MaybePILToTensor", "ToImage", "ToImageTensor", "ToPureTensor", "Identity")


class _Unreadable(Exception):
    """A step that no recipe has."""


def weights_of(wanted: Any) -> Any:
    """`wanted` if it is a torchvision weights entry (`VGG16_Weights.IMAGENET1K_V1`), else `None`."""
    is_entry = callable(getattr(wanted, "transforms", None)) and isinstance(getattr(wanted, "meta", None), dict)
    return wanted if is_entry and not isinstance(wanted, type) else None


def categories(wanted: Any) -> tuple[str, ...] | None:
    """The class names that a weights entry carries."""
    entry = weights_of(wanted)
    names = entry.meta.get("categories") if entry is not None else None
    return tuple(str(name) for name in names) if names else None


def from_transform(wanted: Any) -> Recipe | None:
    """The recipe of a transform of torchvision or timm, or of a weights entry; `None` for anything else.

    A transform with steps that no recipe has is used as a function of the RGB pixels, given to it as a PIL image.
    """
    entry = weights_of(wanted)
    if entry is not None:
        recipe = from_transform(entry.transforms())
        return None if recipe is None else replace(recipe, name=f"{type(entry).__name__}.{entry.name}")
    if isinstance(wanted, type):
        if weights_of(getattr(wanted, "DEFAULT", None)) is not None:
            raise PreprocessUnknown(
                f"{wanted.__name__} is a set of weights: give one of them, such as {wanted.__name__}.DEFAULT"
            )
        return None
    if not _is_transform(wanted):
        return None
    name = type(wanted).__name__
    try:
        return _preset(wanted) if hasattr(wanted, "crop_size") else _composed(wanted)
    except _Unreadable as why:
        return Recipe(f"{name} (as a function: {why})", function=_on_pil(wanted))


def _is_transform(wanted: Any) -> bool:
    library = type(wanted).__module__.partition(".")[0]
    return library in LIBRARIES and "transforms" in type(wanted).__module__ and callable(wanted)


def _preset(wanted: Any) -> Recipe:
    """`torchvision.transforms._presets.ImageClassification`: resize, centre crop, 0–1, normalise."""
    if not {"resize_size", "crop_size", "mean", "std", "interpolation"} <= vars(wanted).keys():
        raise _Unreadable("not the preset of a classifier")
    resized = _resized(wanted.resize_size, wanted.interpolation, Recipe("torchvision", divide=255))
    return replace(_cropped(resized, wanted.crop_size), mean=_three(wanted.mean), std=_three(wanted.std))


def _composed(wanted: Any) -> Recipe:
    steps = list(_steps(wanted))
    recipe = Recipe(type(wanted).__module__.partition(".")[0], resize="none")
    state = {"scaled": False, "cropped": False}
    for number, step in enumerate(steps):
        recipe = _after(recipe, step, state, number)
    if not state["scaled"]:
        # torch's convolutions take no uint8, so what such a pipeline gives is its user's affair
        raise _Unreadable("it doesn't scale to 0–1")
    return recipe


def _steps(wanted: Any) -> Iterable[Any]:
    inner = getattr(wanted, "transforms", None)
    if isinstance(inner, Sequence) and type(wanted).__name__ in ("Compose", "Sequential"):
        for step in inner:
            yield from _steps(step)
    else:
        yield wanted


def _after(recipe: Recipe, step: Any, state: dict[str, bool], number: int) -> Recipe:
    """The recipe with one more step, the one with that number."""
    kind = type(step).__name__
    geometric = kind in ("Resize", "CenterCrop")
    if not _is_transform(step) or (geometric and (state["cropped"] or state["scaled"])):
        raise _Unreadable(f"step {number}, {kind}")
    if kind == "Resize" and recipe.resize == "none" and getattr(step, "max_size", None) is None:
        return _resized(step.size, step.interpolation, recipe)
    if kind == "CenterCrop" and recipe.resize != "none":
        state["cropped"] = True
        return _cropped(recipe, step.size)
    scaling = (
        kind in TO_TENSOR
        or (kind == "ConvertImageDtype" and _floating(step.dtype))
        or (kind == "ToDtype" and getattr(step, "scale", False) and _floating(step.dtype))
    )
    if scaling:
        first, state["scaled"] = not state["scaled"], True
        return replace(recipe, divide=255) if first else recipe
    if kind == "Normalize" and state["scaled"] and (recipe.mean, recipe.std) == ((0.0,), (1.0,)):
        return replace(recipe, mean=_three(step.mean), std=_three(step.std))
    if kind in ONLY_TYPE:
        return recipe
    raise _Unreadable(f"step {number}, {kind}")


def _resized(size: Any, interpolation: Any, recipe: Recipe) -> Recipe:
    """With `Resize(size)`: one number is the shorter side, two are the exact size."""
    sides = [int(side) for side in size] if isinstance(size, Sequence) else [int(size)] if size is not None else []
    name = getattr(interpolation, "value", interpolation)
    filter = FILTER_NUMBERS.get(name, "") if isinstance(name, int) else str(name).replace("-exact", "")
    if len(sides) not in (1, 2) or filter not in FILTER_NUMBERS.values():
        raise _Unreadable(f"Resize({size}, {interpolation})")
    if len(sides) == 2:
        return replace(recipe, resize="squash", size=(sides[0], sides[1]), interpolation=filter)
    return replace(recipe, resize="shorter", short=sides[0], interpolation=filter)


def _cropped(recipe: Recipe, size: Any) -> Recipe:
    sides = [int(side) for side in size] if isinstance(size, Sequence) else [int(size)]
    crop = (sides[0], sides[-1])
    if recipe.resize == "squash":
        if recipe.size != crop:
            raise _Unreadable(f"CenterCrop({crop}) after a resize to {recipe.size}")
        return recipe
    return replace(recipe, size=crop)


def _floating(dtype: Any) -> bool:
    return str(dtype) in ("torch.float32", "float32")


def _three(values: Any) -> tuple[float, ...]:
    flat = np.asarray(values, np.float64).reshape(-1)
    # from float32 tensors (timm): the shortest number that is the same float32, 0.485 and not 0.48500001430511475
    return tuple(float(str(np.float32(value))) for value in flat)


def _on_pil(transform: Callable[..., Any]) -> Callable[[np.ndarray], Any]:
    def function(pixels: np.ndarray) -> Any:
        return transform(Image.fromarray(pixels))

    function.__name__ = type(transform).__name__
    return function
