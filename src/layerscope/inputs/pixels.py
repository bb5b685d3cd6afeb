"""The colours of a PIL image or an array as planes `[h, w, 1 or 3]`: uint8, or float32 from 0 to 255 for more than 8 bits.

16-bit grey is 0–65535, that is /257. Mode "I" (what older Pillow makes of 16-bit PNG) is read the same way, mode "F" like
a float array: 0–1.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..errors import ImageNotReadable

STRIPE = 1 << 20  # pixels
ARRAYS = "uint8, uint16, bool or float in 0–1, of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"


def planes_of_image(image: Image.Image, name: str) -> np.ndarray:
    """The pixels `[h, w, 1 or 3]` as uint8, or float32 from 0 to 255 where the source has more than 8 bits."""
    if image.mode.startswith("I"):
        return _from_16_bits(np.asarray(image), name)[..., None]
    if image.mode == "F":
        return _from_float(np.asarray(image), name)[..., None]
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    layered = image.has_transparency_data
    width, height = image.size
    planes = np.empty((height, width, len(mode)), np.uint8)
    step = max(1, STRIPE // width)  # a stripe at a time, so that no second copy of a large image is made on the way
    for top in range(0, height, step):
        stripe = image.crop((0, top, width, min(top + step, height)))
        pixels = np.asarray(stripe.convert(f"{mode}A" if layered else mode))
        rows = planes[top : top + step]
        rows[...] = _on_white(pixels) if layered else pixels.reshape(rows.shape)
    return planes


def planes_of_array(array: np.ndarray, name: str) -> tuple[np.ndarray, str]:
    """The array as planes, transparency composited on white, and the mode that it would have as a Pillow image.

    >>> planes, mode = planes_of_array(np.array([[0.0, 0.5]]), "two")
    >>> planes.tolist(), mode
    ([[[0.0], [127.5]]], 'F')
    """
    _check_shape(array.shape, name)
    if array.dtype == np.uint8:
        planes, modes = array.copy(), ("L", "RGB", "RGBA")
    elif array.dtype == np.bool_:
        planes, modes = array.astype(np.uint8) * np.uint8(255), ("1", "RGB;1", "RGBA;1")
    elif array.dtype.kind == "u" and array.dtype.itemsize == 2:
        planes, modes = _from_16_bits(array, name), ("I;16", "RGB;16", "RGBA;16")
    elif array.dtype.kind == "f":
        planes, modes = _from_float(array, name), ("F", "RGB;F", "RGBA;F")
    else:
        raise ImageNotReadable(
            f"{name}: an array of {array.dtype}, whose value range isn't known; convert it, for example with "
            ".astype(np.uint8) if it holds 0–255, or pass a ready batch with preprocess=None"
        )
    planes = planes[..., None] if planes.ndim == 2 else planes
    mode = modes[(1, 3, 4).index(planes.shape[2])]
    return (_on_white(planes) if planes.shape[2] == 4 else planes), mode


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) == 3 and shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        raise ImageNotReadable(
            f"{name}: an array of shape {shape} has its channels first, an image has them last: use array.transpose(1, "
            "2, 0), or tensor.permute(1, 2, 0)"
        )
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)) or 0 in shape:
        raise ImageNotReadable(
            f"{name}: an array of shape {shape} is not an image; give {ARRAYS}, or a ready batch with preprocess=None"
        )


def _on_white(layered: np.ndarray) -> np.ndarray:
    if layered.dtype != np.uint8:
        colours, alpha = layered[..., :-1], layered[..., -1:]
        return np.asarray(255 + (colours - 255) * (alpha / 255), np.float32)
    wide = layered.astype(np.uint16)  # 255 × 255 + 127 still fits
    return np.asarray((wide[..., :-1] * wide[..., -1:] + 255 * (255 - wide[..., -1:]) + 127) // 255, np.uint8)


def _from_16_bits(values: np.ndarray, name: str) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageNotReadable(
            f"{name}: integers from {low} to {high}, but a 16-bit image has 0–65535; scale it to 0–255 and convert it "
            "to uint8"
        )
    return np.asarray(np.divide(values, 257, dtype=np.float32))


def _from_float(values: np.ndarray, name: str) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also true for NaN
        extent = "NaN" if np.isnan(low) else f"{low:g} to {high:g}"
        raise ImageNotReadable(
            f"{name}: a float image must lie in 0–1, and this one holds {extent}; convert it to uint8 (0–255), or pass "
            "a ready batch with preprocess=None"
        )
    return np.asarray(np.multiply(values, 255, dtype=np.float32))
