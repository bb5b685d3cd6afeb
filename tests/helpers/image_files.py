"""Small pictures, whole, damaged and too large, for the tests that read images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

RAMP = np.arange(12 * 16 * 3, dtype=np.uint32).reshape(12, 16, 3).astype(np.uint8)
GREY = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)


def encoded(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def truncated(size: int = 64) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    whole = encoded(Image.fromarray(noise), "JPEG")
    return whole[: len(whole) // 2]


def bomb(width: int, height: int) -> bytes:
    """A PNG of that size in one bit a pixel: small as a file."""
    return encoded(Image.new("1", (width, height)))
