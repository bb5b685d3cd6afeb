"""Photos resized, cropped and padded as a recipe says: where the input lies, and the pixels there."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ..core.placement import Size
from ..errors import PreprocessUnknown
from ..surface import by_surface
from .photo import Photo
from .recipe import FILTERS, Recipe, larger

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow's mode "L"
WHOLE = 1 << 24  # so many pixels are always made
SUPPORT = dict(zip(FILTERS.values(), (0.5, 1, 2, 3), strict=True))  # how far Pillow's filters reach, in pixels


def geometry(recipe: Recipe, photo: Photo, size: Size | None) -> tuple[Size, Size, Size]:
    """(size of the resized photo, (top, left) of the input in it, size of the input)."""
    height, width = photo.size
    if recipe.resize == "none":
        own = (height // recipe.multiple * recipe.multiple, width // recipe.multiple * recipe.multiple)
        if 0 in own or (size is not None and size != own):
            raise PreprocessUnknown(
                f"{photo.id}: {height} × {width} pixels, and preprocessing {recipe.name!r} doesn't resize; the input "
                f"needs {f'{size[0]} × {size[1]}' if size else f'at least {recipe.multiple} per side'}"
            )
        return photo.size, _centred(photo.size, own), own
    if size is None:
        raise PreprocessUnknown(
            f"preprocessing {recipe.name!r} resizes, but to no size: give "
            + by_surface("size=(height, width)", "--size HEIGHTxWIDTH", "a size where the model is opened")
        )
    if recipe.resize == "squash":
        return size, (0, 0), size
    if recipe.resize == "letterbox":
        scale = min(size[0] / height, size[1] / width)
        fitted = (max(1, round(height * scale)), max(1, round(width * scale)))
        return fitted, _centred(fitted, size), size
    least = (recipe.short, recipe.short) if recipe.short else (larger(size[0]), larger(size[1]))
    covered = _covering(photo.size, least)
    return covered, _centred(covered, size, floor=recipe.centre == "floor"), size


def part_of_resized(
    photo: Photo, resized: Size, offset: Size, size: Size, *, recipe: Recipe, channels: int
) -> np.ndarray:
    """What lies at `offset`, with that size, in the photo resized to `resized`; the recipe's `fill` where nothing does.

    Pixels are `[h, w, channels]`: uint8, or float32 where the photo has more than 8 bits.
    """
    rows, columns = (
        slice(max(start, 0), min(start + length, whole))
        for start, length, whole in zip(offset, size, resized, strict=True)
    )
    part = _resampled(photo, resized, (rows, columns), filter=FILTERS[recipe.interpolation], channels=channels)
    if part.shape[:2] == size:
        return part
    colour = Image.new("RGB", (1, 1), recipe.fill)
    if channels == 1:
        colour = colour.convert("L")
    canvas = np.empty((*size, channels), part.dtype)
    canvas[:] = np.asarray(colour).reshape(-1)
    top, left = offset
    canvas[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
    return canvas


def bytes_to_resize(photo: Photo, resized: Size, size: Size, interpolation: str) -> int:
    """What `part_of_resized` takes on the way: Pillow's copy of the photo, what it makes, and its table of weights."""
    planes = 4 if photo.values is None else 12
    weights = 16 * SUPPORT[FILTERS[interpolation]] * sum(photo.size)
    return int(planes * math.prod(photo.size) + 2 * planes * _pixels_resized(resized, size) + weights)


def _pixels_resized(resized: Size, size: Size) -> int:
    """How many pixels are made for a part of that size of the resized photo; see `_resampled`."""
    whole, part = math.prod(resized), math.prod(size)
    return whole if whole <= max(WHOLE, 8 * part) else part


def _resampled(
    photo: Photo, resized: Size, part: tuple[slice, slice], *, filter: Image.Resampling, channels: int
) -> np.ndarray:
    """Rows and columns of the resized photo.

    The photo is resized whole, then cropped, as users' own pipelines do. Where that would make much more than is needed, as of
    a photo of 20,000 × 1 pixels, only the part is made: from the pixels that it depends on, and not to the last bit equal,
    as Pillow takes the position of a part in single precision and may resize a part's columns before its rows.
    """
    rows, columns = part
    size = (rows.stop - rows.start, columns.stop - columns.start)
    if _pixels_resized(resized, size) < math.prod(resized):
        (above, top, bottom), (beside, left, right) = (
            _source(length, whole, slice_, SUPPORT[filter])
            for length, whole, slice_ in zip(photo.size, resized, part, strict=True)
        )
        images = _pictures(photo, (above, beside), channels)
        images = [image.resize((size[1], size[0]), filter, (left, top, right, bottom)) for image in images]
    else:
        images = _pictures(photo, (slice(None), slice(None)), channels)
        if resized != photo.size:
            images = [image.resize((resized[1], resized[0]), filter) for image in images]
        if size != resized:
            images = [image.crop((columns.start, rows.start, columns.stop, rows.stop)) for image in images]
    if photo.values is not None:
        return np.asarray(np.clip(np.stack([np.asarray(image) for image in images], axis=2), 0, 255))
    return np.asarray(images[0]).reshape(*size, channels)


def _source(length: int, resized: int, part: slice, support: float) -> tuple[slice, float, float]:
    """Along one axis: the pixels of the photo on which a part of the resized photo depends, and where it lies on them."""
    scale = length / resized
    first, last = part.start * scale, part.stop * scale
    margin = math.ceil(support * max(scale, 1)) + 1
    source = slice(max(0, math.floor(first) - margin), min(length, math.ceil(last) + margin))
    return source, first - source.start, min(last, source.stop) - source.start


def _pictures(photo: Photo, part: tuple[slice, slice], channels: int) -> list[Image.Image]:
    """A part of the photo for Pillow: one picture of 8 bits, or one of floats for each channel."""
    if photo.values is not None:
        return [Image.fromarray(plane) for plane in _float_planes(photo.values[part], channels)]
    picture = Image.fromarray(photo.pixels[part])
    return [picture.convert("L") if channels == 1 else picture]


def _covering(photo: Size, least: Size) -> Size:
    """The smallest size in the photo's proportions with no side below `least`.

    For a square this is the shorter side of torchvision's Resize, its rounding included: the longer side is cut off
    (`torchvision.transforms.functional._compute_resized_output_size`).
    """
    height, width = photo
    if height * least[1] <= width * least[0]:
        return least[0], least[0] * width // height
    return least[1] * height // width, least[1]


def _centred(outer: Size, inner: Size, floor: bool = False) -> Size:
    """(top, left) of `inner` in the middle of `outer`, as torchvision's `center_crop` has it; below 0 for padding."""
    top, left = (
        ((big - small) // 2 if floor else round((big - small) / 2)) if big >= small else -((small - big) // 2)
        for big, small in zip(outer, inner, strict=True)
    )
    return top, left


def _float_planes(values: np.ndarray, channels: int) -> list[np.ndarray]:
    if channels == 1 and values.shape[2] == 3:
        values = np.asarray(values @ GREY)[..., None]
    planes = [np.ascontiguousarray(values[..., index]) for index in range(values.shape[2])]
    return planes * channels if len(planes) == 1 else planes
