"""How a photo becomes a model's input, as a value: `Recipe`, the table of those that are known, and how one is named.

A recipe does, in this order: resize and crop (Pillow's antialiased filters on 8-bit RGB, as users' own pipelines do);
the order of the channels; `/ divide`; `- mean`; `/ std`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from PIL import Image

from ..core.placement import Size
from ..errors import PreprocessUnknown, near
from ..safe_text import printable
from ..surface import by_surface

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

RESIZES = ("squash", "shorter", "letterbox", "none")


def _are_numbers(values: Any, counts: Sequence[int]) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) in counts
        and all(isinstance(value, Real) and math.isfinite(float(value)) for value in values)
    )


def _is_range(values: Any) -> bool:
    return values is None or (_are_numbers(values, (2,)) and values[0] < values[1])


def _are_whole(values: Any, count: int, least: int) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) == count
        and all(isinstance(value, Integral) and int(value) >= least for value in values)
    )


@dataclass(frozen=True)
class Recipe:
    """How a photo (RGB, 0–255) becomes the input of a model: resize and crop, order, `/ divide`, `- mean`, `/ std`.

    >>> Recipe("mine", divide=255, mean=(0.5,), size=(96, 128)).describe()
    'mine: RGB, squashed to 96 × 128 (bilinear), /255, mean 0.5'

    Attributes:
        name: For captions.
        order: The order of the channels in the input, "rgb" or "bgr".
        divide: What the pixels are divided by first; not 0.
        mean: What is then subtracted, one number or three in `order`.
        std: What is divided by last, one number or three in `order`; not 0.
        resize: "squash" (exactly to `size`), "shorter" (shorter side to `short`, then centre crop to `size`),
            "letterbox" (fits inside `size`, padded with `fill`) or "none" (the photo's own size, centre-cropped to
            whole multiples of `multiple`).
        short: Pixels of the shorter side before the crop; `None` is size × 256/224.
        size: (height, width) of the input in pixels; `None` for the model's own.
        interpolation: "nearest", "bilinear", "bicubic" or "lanczos", as Pillow's filters.
        centre: How a centre crop with an odd margin is rounded: "round" as in torchvision, "floor" as in transformers.
        fill: An RGB colour, each 0–255.
        multiple: See `resize`; at least 1.
        range: (black, white) of photos of more than 8 bits, such as (0, 4095) for 12 bits in 16; `None`: what their type and
            their file say.
        function: Replaces all of this: it takes the uint8 RGB pixels and returns the model input for one image.

    Raises:
        PreprocessUnknown: A field has another value than these.
    """

    name: str = "custom"
    order: str = "rgb"
    divide: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: str = "squash"
    short: int | None = None
    size: Size | None = None
    interpolation: str = "bilinear"
    centre: str = "round"
    fill: tuple[int, int, int] = (0, 0, 0)
    multiple: int = 1
    range: tuple[float, float] | None = None
    function: Callable[[np.ndarray], Any] | None = None

    def __post_init__(self) -> None:
        def refuse(field: str, allowed: str) -> None:
            raise PreprocessUnknown(f"preprocessing {self.name!r}: {field}={getattr(self, field)!r}; give {allowed}")

        for field, words in (
            ("order", ("rgb", "bgr")),
            ("resize", RESIZES),
            ("interpolation", tuple(FILTERS)),
            ("centre", ("round", "floor")),
        ):
            if getattr(self, field) not in words:
                refuse(field, " or ".join(map(repr, words)))
        for field in ("mean", "std"):
            if not _are_numbers(getattr(self, field), (1, 3)):
                refuse(field, "one number or three")
        if not _are_numbers((self.divide,), (1,)) or self.divide == 0 or 0 in self.std:
            refuse("std" if self.divide else "divide", "numbers that are not 0")
        for right, field, allowed in (
            (self.size is None or _are_whole(self.size, 2, least=1), "size", "(height, width) in pixels"),
            (self.short is None or _are_whole((self.short,), 1, least=1), "short", "a whole number of pixels"),
            (
                _are_whole(self.fill, 3, least=0) and max(self.fill) <= 255,
                "fill",
                "a colour (red, green, blue) of whole numbers 0–255",
            ),
            (_is_range(self.range), "range", "(black, white), two numbers of which the first is the smaller"),
            (_are_whole((self.multiple,), 1, least=1), "multiple", "a whole number above 0"),
        ):
            if not right:
                refuse(field, allowed)

    def describe(self) -> str:
        """The recipe in one line, for people.

        >>> Recipe("grey", divide=255, resize="none", multiple=32).describe()
        'grey: RGB, own size, cropped to multiples of 32, /255'
        """
        if self.function is not None:
            return printable(f"{self.name}: {callable_name(self.function)}(RGB pixels, uint8)")
        if self == READY:
            return "ready batch: passed to the model as it is"
        steps = [self.order.upper(), *self._resize_steps()]
        if self.divide != 1:
            steps.append(f"/{self.divide:g}")
        if any(self.mean):
            steps.append(f"mean {numbers_text(self.mean)}")
        if set(self.std) != {1}:
            steps.append(f"std {numbers_text(self.std)}")
        if self.divide == 1 and not any(self.mean) and set(self.std) == {1}:
            steps.append("values 0–255")
        if self.range is not None:
            steps.append(f"{self.range[0]:g} to {self.range[1]:g} from black to white")
        return printable(f"{self.name}: {', '.join(steps)}")

    def _resize_steps(self) -> list[str]:
        size = f" {self.size[0]} × {self.size[1]}" if self.size else ""
        to = f" to{size}" if size else ""
        if self.resize == "squash":
            return [f"squashed{to} ({self.interpolation})"]
        if self.resize == "letterbox":
            return [f"fitted into{size or ' the size'} ({self.interpolation}), padded with {numbers_text(self.fill)}"]
        if self.resize == "none":
            crop = f", cropped to multiples of {self.multiple}" if self.multiple > 1 else ""
            return [f"own size{crop}"]
        square = self.size is not None and self.size[0] == self.size[1]
        short = self.short or (larger(self.size[0]) if square and self.size else None)
        side = f"shorter side to {short}" if short else "shorter side × 256/224"
        return [f"{side} ({self.interpolation})", f"centre crop{size}"]


# A ready batch: `preprocess=None`. Not in the table, since no photo is turned into an input by it.
READY = Recipe("ready", resize="none")

_IMAGENET = Recipe(
    "imagenet",
    divide=255,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    resize="shorter",
    interpolation="bilinear",
)

# Those of Keras are squashed with "nearest" because `keras.utils.load_img(path, target_size=…)`, which every example of
# keras.applications uses, does so; the maps are then those of the user's own script.
RECIPES: dict[str, Recipe] = {
    # models with a Rescaling layer of their own expect "raw", so "unit" is the usual guess for the others
    "unit": Recipe("unit", divide=255),
    # the model scales by itself: keras.applications EfficientNet, EfficientNetV2, ConvNeXt, MobileNetV3
    "raw": Recipe("raw"),
    # the model takes pixels as OpenCV reads them
    "bgr": Recipe("bgr", order="bgr"),
    # keras.applications.imagenet_utils.preprocess_input(mode="tf"): MobileNet, Xception, Inception, ResNetV2, NASNet
    "tf": Recipe("tf", divide=127.5, mean=(1.0,), interpolation="nearest"),
    # torchvision.transforms: Resize(256), CenterCrop(224), ToTensor, Normalize, with Resize's default filter
    "imagenet": _IMAGENET,
    "torch": _IMAGENET,
    # keras.applications mode="caffe": VGG, ResNet (v1); the mean of ImageNet in BGR, no scaling
    "caffe": Recipe("caffe", order="bgr", mean=(103.939, 116.779, 123.68), interpolation="nearest"),
    # tensorflow/tpu efficientnet/lite: MEAN_RGB = 127, STDDEV_RGB = 128, centre crop with padding 32, bicubic
    "efficientnet-lite": Recipe(
        "efficientnet-lite", mean=(127.0,), std=(128.0,), resize="shorter", interpolation="bicubic"
    ),
}


def named(name: str) -> Recipe:
    """The recipe of that name.

    >>> named("caffe").order
    'bgr'
    """
    if name.lower() not in RECIPES:
        raise PreprocessUnknown(
            f"no preprocessing {name!r}{near(name, RECIPES) or '.'} Use {', '.join(RECIPES)},"
            f" {by_surface('a layerscope Recipe, a function of the RGB pixels, or None', 'or none')}"
            " for batches that are ready"
        )
    return RECIPES[name.lower()]


def from_fields(settings: Mapping[str, Any], base: Recipe | None = None) -> Recipe:
    """A recipe from a mapping of its fields, such as a model's metadata; lists count as tuples.

    A `name` that is in the table takes that recipe (else `base`), and the other fields change it.

    >>> from_fields({"name": "torch", "resize": "squash", "size": [192, 256]}).describe()
    'imagenet: RGB, squashed to 192 × 256 (bilinear), /255, mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)'
    """
    allowed = [field.name for field in fields(Recipe) if field.name != "function"]
    for key in settings:
        if key not in allowed:
            raise PreprocessUnknown(
                f"preprocessing has no field {key!r}{near(str(key), allowed) or '.'} There are {', '.join(allowed)}"
            )
    base = base or RECIPES.get(str(settings.get("name", "")).lower())
    changes: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    for key in ("mean", "std"):
        if isinstance(changes.get(key), Real):
            changes[key] = (changes[key],)
    if base is None:
        return Recipe(**changes)
    return replace(base, **{**changes, "name": base.name})


def as_recipe(preprocess: Any) -> Recipe:
    """The recipe that a user means by its name, a `Recipe`, a mapping of its fields, or a function of the RGB pixels."""
    if isinstance(preprocess, Recipe):
        return preprocess
    if isinstance(preprocess, str):
        return named(preprocess)
    if isinstance(preprocess, Mapping):
        return from_fields(preprocess)
    if callable(preprocess):
        return Recipe(function=preprocess)
    raise PreprocessUnknown(
        f"preprocess={preprocess!r}: give 'auto', one of {', '.join(RECIPES)}, a layerscope Recipe, a mapping of its"
        " fields, a function of the RGB pixels, or None for batches that are ready"
    )


def callable_name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def numbers_text(values: Sequence[float]) -> str:
    """Numbers of a recipe, for people: `(0.5, 1, 2)`, and one number without the brackets."""
    return f"({', '.join(f'{value:g}' for value in values)})" if len(values) > 1 else f"{values[0]:g}"


def larger(side: int) -> int:
    """The side that is cropped to `side`: 256 for 224, and in that proportion."""
    return round(side * 256 / 224)
