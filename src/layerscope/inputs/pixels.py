"""The colours of a PIL image or an array as planes `[h, w, 1 or 3]`: uint8, or float32 from 0 to 255 for more bits."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..core.note import Note
from ..errors import ImageNotReadable
from ..surface import option
from .deep import Colours
from .levels import (
    Extent,
    Levels,
    Range,
    as_stored,
    doubt,
    is_signed,
    levels_of_image,
    opacity,
    planes_in_range,
    planes_of_floats,
    planes_of_integers,
    planes_of_untold,
)

BANDS = (1, 3, 4)  # grey, colours, colours with transparency
STRIPE = 1 << 20  # pixels
ARRAYS = (
    "uint8, uint16, bool, float in 0–1, or whole numbers from 0 to 255 of any type, of shape (H, W), (H, W, 1), (H, W, 3) or"
    " (H, W, 4)"
)


class Planes(NamedTuple):
    """Planes, and what must be said of them."""

    values: np.ndarray
    notes: tuple[Note, ...] = ()


def planes_of_image(image: Image.Image, name: str, range: Range | None = None, bits: int = 8) -> Planes:
    """The pixels `[h, w, 1 or 3]` as uint8, or float32 from 0 to 255 where the source has more than 8 bits.

    `range` is what is black and white in more than 8 bits; `bits` are those of a colour's source, of which Pillow keeps 8.
    """
    if image.mode.startswith("I") or image.mode == "F" or is_signed(image):
        levels = levels_of_image(image)
        own = planes_of_floats if image.mode == "F" else planes_of_integers
        grey = _grey(as_stored(image), levels, own, name=name, range=range)
        key = image.info.get("transparency")  # of a PNG, a value that isn't shown
        if isinstance(key, int) and image.mode.startswith("I"):
            grey.values[np.asarray(image) == key] = 255
        return grey
    if range is not None and bits > 8:
        raise ImageNotReadable(
            f"{name}: colours of {bits} bits, of which 8 are read, so no range can apply: read the file with tifffile or"
            " OpenCV, and give an array of floats in 0–1"
        )
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    layered = image.has_transparency_data
    wanted = f"{mode}A" if layered else mode
    width, height = image.size
    planes = np.empty((height, width, len(mode)), np.uint8)
    step = max(1, STRIPE // width)  # a stripe at a time, so that no second copy of a large image is made on the way
    for top in builtins.range(0, height, step):
        # Pillow copies what it crops and converts, also where nothing is to be done.
        stripe = image if step >= height else image.crop((0, top, width, min(top + step, height)))
        pixels = np.asarray(stripe if stripe.mode == wanted else stripe.convert(wanted))
        rows = planes[top : top + step]
        rows[...] = _on_white(pixels) if layered else pixels.reshape(rows.shape)
    return Planes(planes, doubt((int(planes.max()) << 8) + 255, 65535, exact=False) if bits > 8 else ())


def planes_of_colours(colours: Colours, name: str, range: Range | None = None) -> Planes:
    """Colours of 16 bits as float32 from 0 to 255, on white where they are transparent."""
    levels = Levels(high=colours.white)
    if range is None:
        planes, notes = planes_of_integers(colours.values, levels, name)
    else:
        planes, notes = planes_in_range(colours.values, range, levels, name)
    if colours.alpha is not None:
        planes = _on_white(
            np.concatenate([planes, np.float32(255 / colours.white) * colours.alpha], 2, dtype=np.float32)
        )
    return Planes(planes, notes)


def _grey(
    values: np.ndarray,
    levels: Levels,
    own: Callable[..., tuple[np.ndarray, tuple[Note, ...]]],
    *,
    name: str,
    range: Range | None,
) -> Planes:
    planes, notes = own(values, levels, name) if range is None else planes_in_range(values, range, levels, name)
    return Planes(planes[..., None], notes)


def planes_of_array(
    array: np.ndarray, name: str, range: Range | None = None, extent: Extent | None = None
) -> tuple[Planes, str]:
    """The array as planes, transparency composited on white, and the mode that it would have as a Pillow image.

    `extent` is that of the arrays with which it shares its scale.

    >>> (planes, _), mode = planes_of_array(np.array([[0.0, 0.5]]), "two")
    >>> planes.tolist(), mode
    ([[[0.0], [127.5]]], 'F')
    """
    _check_shape(array.shape, name)
    _check_type(array.dtype, name)
    wide = array.dtype != np.uint8 and array.dtype.kind in "iuf"
    if wide and array.ndim == 3 and array.shape[2] == 4:
        (colours, notes), mode = planes_of_array(array[..., :3], name, range, extent)
        layered = np.concatenate([colours, opacity(array[..., 3:], range, name)], 2, dtype=np.float32)
        return Planes(_on_white(layered), notes), mode.replace("RGB", "RGBA")
    planes, notes = _of_numbers(array, name, range, extent) if wide else (_of_bytes(array), ())
    planes = planes[..., None] if planes.ndim == 2 else planes
    mode = _modes(array.dtype)[BANDS.index(planes.shape[2])]
    return Planes(_on_white(planes) if planes.shape[2] == 4 else planes, notes), mode


def _of_bytes(array: np.ndarray) -> np.ndarray:
    return array.astype(np.uint8) * np.uint8(255) if array.dtype == np.bool_ else array.copy()


def _of_numbers(
    array: np.ndarray, name: str, range: Range | None, extent: Extent | None
) -> tuple[np.ndarray, tuple[Note, ...]]:
    if range is not None:
        return planes_in_range(array, range, Levels(), name)
    if array.dtype.kind == "f":
        return planes_of_floats(array, Levels(), name, extent)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return planes_of_integers(array, Levels(high=65535), name, extent)
    return planes_of_untold(array, name, extent or Extent.of(array))


def _modes(dtype: np.dtype[Any]) -> tuple[str, str, str]:
    if dtype == np.uint8:
        return "L", "RGB", "RGBA"
    if dtype.kind == "u" and dtype.itemsize == 2:
        return "I;16", "RGB;16", "RGBA;16"
    kind = {"b": "1", "f": "F"}.get(dtype.kind, "I")
    return kind, f"RGB;{kind}", f"RGBA;{kind}"


def _check_type(dtype: np.dtype[Any], name: str) -> None:
    if dtype.kind in "biuf":
        return
    if dtype.kind == "c":
        advice = "give its real part, its magnitude or another picture of it"
    elif dtype.kind == "O":
        advice = "convert it to numbers, for example with .astype(np.uint8) if it holds 0–255"
    else:
        advice = f"give {ARRAYS}"
    raise ImageNotReadable(f"{name}: an array of {dtype} holds no real numbers, and so no colours: {advice}")


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) == 3 and shape[2] not in BANDS and shape[0] in BANDS:
        raise ImageNotReadable(
            f"{name}: an array of shape {shape} has its channels first, an image has them last: use array.transpose(1, "
            "2, 0)"
        )
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in BANDS) or 0 in shape:
        raise ImageNotReadable(
            f"{name}: an array of shape {shape} is not an image; give {ARRAYS}, or a ready batch with"
            f" {option('preprocess', None)}"
        )


def _on_white(layered: np.ndarray) -> np.ndarray:
    if layered.dtype != np.uint8:
        colours, alpha = layered[..., :-1], layered[..., -1:]
        return np.asarray(255 + (colours - 255) * (alpha / 255), np.float32)
    wide = layered.astype(np.uint16)  # 255 × 255 + 127 still fits
    return np.asarray((wide[..., :-1] * wide[..., -1:] + 255 * (255 - wide[..., -1:]) + 127) // 255, np.uint8)
