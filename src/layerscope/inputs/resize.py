"""Photos resized, cropped and padded as a recipe says: where the input lies, and the pixels there."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..core.placement import Size
from ..errors import PreprocessUnknown
from .photo import Photo
from .recipe import FILTERS, Recipe, larger

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow's mode "L"


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
        raise PreprocessUnknown(f"preprocessing {recipe.name!r} resizes, but to no size: give size=(height, width)")
    if recipe.resize == "squash":
        return size, (0, 0), size
    if recipe.resize == "letterbox":
        scale = min(size[0] / height, size[1] / width)
        fitted = (max(1, round(height * scale)), max(1, round(width * scale)))
        return fitted, _centred(fitted, size), size
    least = (recipe.short, recipe.short) if recipe.short else (larger(size[0]), larger(size[1]))
    covered = _covering(photo.size, least)
    return covered, _centred(covered, size, floor=recipe.centre == "floor"), size


def resampled(photo: Photo, size: Size, interpolation: str, channels: int) -> np.ndarray:
    """The photo's pixels `[h, w, channels]` at that size: uint8, or float32 where the photo has more than 8 bits."""
    filter = FILTERS[interpolation]
    if photo.values is not None:
        planes = _float_planes(photo.values, channels)
        if size != photo.size:
            shape = (size[1], size[0])
            planes = [np.asarray(Image.fromarray(plane).resize(shape, filter)) for plane in planes]
        return np.asarray(np.clip(np.stack(planes, axis=2), 0, 255))
    picture = Image.fromarray(photo.pixels)
    if channels == 1:
        picture = picture.convert("L")
    if size != photo.size:
        picture = picture.resize((size[1], size[0]), filter)
    pixels = np.asarray(picture)
    return pixels[..., None] if channels == 1 else pixels


def window(picture: np.ndarray, offset: Size, size: Size, fill: tuple[int, int, int]) -> np.ndarray:
    """The part of the picture at `offset` with that size, `fill` where it reaches beyond."""
    (top, left), (height, width) = offset, size
    rows = slice(max(top, 0), min(top + height, picture.shape[0]))
    cols = slice(max(left, 0), min(left + width, picture.shape[1]))
    part = picture[rows, cols]
    if part.shape[:2] == size:
        return part
    colour = Image.new("RGB", (1, 1), fill)
    if picture.shape[2] == 1:
        colour = colour.convert("L")
    canvas = np.empty((*size, picture.shape[2]), picture.dtype)
    canvas[:] = np.asarray(colour).reshape(-1)
    canvas[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left] = part
    return canvas


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
