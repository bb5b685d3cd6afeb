"""A PNG writer for what a sheet is: one byte per pixel with a palette, large, flat or noisy, written often.

Pillow spends three quarters of a sheet's time in zlib's match search, which finds little in feature maps. Here the rows
get the Up filter and are packed by ISA-L where it is installed (those of zoomed pictures as they are), else by zlib's
run-length strategy. The bytes are an ordinary PNG; tests read them back with Pillow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGB, PALETTE, RGBA = 2, 3, 6
UP = 2


def encode(
    pixels: np.ndarray,
    palette: np.ndarray | None,
    text: Mapping[str, str] | None = None,
    dpi: float | None = None,
    *,
    zoomed: bool = False,
) -> bytes:
    """The PNG file of uint8 pixels: `[height, width]` codes with a palette, or RGB `[height, width, 3]`, or RGBA.

    The palette is `[256, 3]`, or `[256, 4]` with the opacity of each code.

    `zoomed` says that rows are repeated: a row that is there already is found faster, and packed smaller, as it is.

    `text` becomes iTXt chunks (UTF-8), which survive what copies a PNG without re-encoding it; `dpi` a pHYs chunk, which
    programs that print look at.
    """
    height, width = pixels.shape[:2]
    kind = PALETTE if pixels.ndim == 2 else RGB if pixels.shape[2] == 3 else RGBA
    parts = [SIGNATURE, _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    if kind == PALETTE:
        assert palette is not None
        parts.append(_chunk(b"PLTE", palette[:, :3].astype(np.uint8).tobytes()))
        if palette.shape[1] == 4:
            parts.append(_chunk(b"tRNS", palette[:, 3].astype(np.uint8).tobytes()))
    if dpi is not None:
        metre = round(dpi / 0.0254)
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", metre, metre, 1)))
    for keyword, value in (text or {}).items():
        # A file name that isn't UTF-8 becomes an escape, which JSON reads back.
        line = value.encode("utf-8", "backslashreplace")
        parts.append(_chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + line))
    parts.append(_chunk(b"IDAT", _packed(_filtered(pixels, 0 if zoomed and kind == PALETTE and _isal() else UP))))
    parts.append(_chunk(b"IEND", b""))
    return b"".join(parts)


def text_of(path: str | PathLike[str]) -> dict[str, str] | None:
    """The iTXt texts of a PNG file as `encode` writes them; `None` for a file that isn't a whole PNG, by its checksums."""
    with open(path, "rb") as file:
        data = memoryview(file.read())
    if data[:8] != SIGNATURE:
        return None
    text: dict[str, str] = {}
    position = len(SIGNATURE)
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            return None
        if name == b"IEND":
            return text
        if name == b"iTXt":
            keyword, _, rest = bytes(data[position + 8 : end]).partition(b"\0")
            text[keyword.decode("latin-1")] = rest[4:].decode("utf-8", "replace")
        position = end + 4
    return None


def _filtered(pixels: np.ndarray, filter: int) -> np.ndarray:
    """The rows with PNG's Up filter (each byte less the one above) or as they are (0), the filter's number in front of each."""
    rows = pixels.reshape(pixels.shape[0], -1)
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = filter
    if filter != UP:
        filtered[:, 1:] = rows
        return filtered
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _isal() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        # Built for most platforms, not for all; zlib gives the same picture, three to five times slower.
        return None
    return isal_zlib


def _packed(rows: np.ndarray) -> bytes:
    isal = _isal()
    if isal is not None:
        return isal.compress(rows, 1)
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packer.compress(rows.data) + packer.flush()


def _chunk(name: bytes, body: bytes) -> bytes:
    isal = _isal()
    crc = (isal or zlib).crc32(body, zlib.crc32(name))
    return b"".join((struct.pack(">I", len(body)), name, body, struct.pack(">I", crc)))
