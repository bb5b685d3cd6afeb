"""Colours of 16 bits. Pillow has no room for them and keeps the high byte of each value: a second decoding gives the low bytes.

A decoder is told the byte order of the values, and so which byte is the high one; told the other order, it keeps the low ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageFile

ORDERS = {"B": "L", "L": "B"}
NATIVE = sys.byteorder[0].upper()
BANDS = {"RGB": 3, "RGBX": 3, "RGBA": 4, "RGBa": 4, "CMYK": 4, "LA": 2}
DECODERS = ("zip", "raw", "libtiff")  # those that tell the order of bytes by the name of the raw mode
SEPARATE = 2  # the planar configuration of a TIFF that holds one band after another
WHITE = 65535


class Deep(NamedTuple):
    """What such a file says of its values: their raw mode without the order of bytes, that order, and what white is."""

    bands: str
    order: str
    white: int = WHITE


class Colours(NamedTuple):
    """Colours uint16 `[h, w, 1 or 3]`, alpha `[h, w, 1]` or `None`, and the value that is white and opaque."""

    values: np.ndarray
    alpha: np.ndarray | None
    white: int


def deep_of(image: Image.Image) -> Deep | None:
    """What a file with colours of 16 bits says of them; `None` for all others, and for those that Pillow alone can decode."""
    tiles = getattr(image, "tile", ())
    if not tiles:
        return None
    decoder, args = tiles[0][0], tiles[0][3]
    raw, *rest = args if isinstance(args, tuple) else (args,)
    if image.format == "PPM" and decoder == "ppm" and raw == "RGB" and rest[0] > 255:
        return Deep("RGB", "B", rest[0])
    tags: Any = getattr(image, "tag_v2", {})
    if is_garbled(image):
        return Deep(image.mode, "B" if tags.prefix == b"MM" else "L")
    bands, _, order = str(raw).partition(";16")
    known = (
        image.format in ("PNG", "TIFF") and decoder in DECODERS and bands in BANDS and order and not _is_separate(image)
    )
    return Deep(bands, NATIVE if order == "N" else order) if known else None


def colours_of(
    deep: Deep, image: Image.Image, again: Callable[[], Image.Image], upright: Callable[[Image.Image], Image.Image]
) -> Colours:
    """The colours of a file, decoded by `upright` from the image and from the same one opened `again`."""
    if image.format == "PPM":
        values = _of_ppm(image)
    elif deep.bands == "LA":  # the four bytes of a pixel, as if they were colours
        parts = np.asarray(upright(_with_tiles(image, deep, ""))).astype(np.uint16)
        values = parts[..., 0::2] << 8 | parts[..., 1::2]
    else:
        values = np.asarray(upright(_with_tiles(image, deep, deep.order))).astype(np.uint16) << 8
        values |= np.asarray(upright(_with_tiles(again(), deep, ORDERS[deep.order])))
    return _with_alpha(values, deep, image.info.get("transparency"))


def _with_tiles(image: Image.Image, deep: Deep, order: str) -> Image.Image:
    """The image, not yet decoded, whose decoder takes the bytes in another order; "" for each byte by itself."""
    mode = "RGB" if BANDS[deep.bands] == 3 else "RGBA"
    bands = deep.bands if deep.bands == "RGBX" else mode  # `RGBa` would be divided by alpha
    image._mode = mode  # Pillow has no setter
    one_by_one = _is_separate(image)

    def told(tile: Any) -> Any:
        args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        names = mode[deep.bands.index(args[0][0])] if one_by_one and tile[0] == "raw" else bands
        raw = f"{names};16{order}" if order else mode
        return ImageFile._Tile(tile[0], tile[1], tile[2], (raw, *args[1:]) if isinstance(tile[3], tuple) else raw)

    if one_by_one:  # further bands have no letter
        image.tile = [tile for tile in image.tile if tile[3][0] in deep.bands]  # type: ignore[attr-defined]
    image.tile = [told(tile) for tile in image.tile]  # type: ignore[attr-defined] # files have them
    return image


def _is_separate(image: Image.Image) -> bool:
    """Whether a TIFF holds one band after another; of those that are compressed, Pillow always keeps the high bytes."""
    return bool(getattr(image, "tag_v2", {}).get(284) == SEPARATE)


def is_garbled(image: Image.Image) -> bool:
    """Whether a TIFF has one band after another, not compressed, which Pillow decodes as if its 16 bits were 8."""
    if not _is_separate(image) or not getattr(image, "tile", ()) or image.mode not in BANDS:
        return False
    tags: Any = image.tag_v2  # type: ignore[attr-defined] # a TIFF has them
    return bool(image.tile[0][0] == "raw" and set(tags.get(258, ())) == {16})  # type: ignore[attr-defined]


def _of_ppm(image: Any) -> np.ndarray:
    stream: BinaryIO = image.fp
    stream.seek(image.tile[0][2])
    width, height = image.size
    data = stream.read(width * height * 6)
    return np.frombuffer(data, ">u2").astype(np.uint16).reshape(height, width, 3)


def _with_alpha(values: np.ndarray, deep: Deep, transparent: Any) -> Colours:
    """Colours apart from alpha: its own band, or the one colour that a PNG says is transparent."""
    if deep.bands == "CMYK":
        lit = WHITE - values.astype(np.float32)
        return Colours(np.rint(lit[..., :3] * (lit[..., 3:] / WHITE)).astype(np.uint16), None, WHITE)
    if values.shape[2] in (2, 4):
        colours, alpha = values[..., :-1], values[..., -1:]
        if deep.bands == "RGBa":
            apart = colours.astype(np.float32) * (WHITE / np.maximum(alpha, 1))
            colours = np.rint(np.minimum(apart, WHITE)).astype(np.uint16)
        return Colours(colours, alpha, deep.white)
    if isinstance(transparent, tuple) and len(transparent) == 3:
        opaque = (values != np.array(transparent)).any(axis=2, keepdims=True)
        return Colours(values, opaque.astype(np.uint16) * np.uint16(deep.white), deep.white)
    return Colours(values, None, deep.white)
