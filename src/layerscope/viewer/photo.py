"""The photo as a page shows it: no larger than a screen needs, as JPEG, or as PNG where it is small."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ..inputs.photo import Photo
from .payload import pack

LONGEST = 1024
SHARP = 128  # up to which a photo is shown enlarged, every pixel of it
QUALITY = 88


def photo_payload(photo: Photo) -> bytes:
    """The bytes of an image file no side of which is longer than 1,024 pixels, in a container; `photo` is its true size.

    >>> from .payload import unpack
    >>> meta, _ = unpack(photo_payload(Photo("grey", np.full((2048, 1024, 3), 128, np.uint8))))
    >>> meta
    {'media': 'image/jpeg', 'width': 512, 'height': 1024, 'photo': [2048, 1024]}
    """
    height, width = photo.size
    image = Image.fromarray(photo.pixels)
    shrink = max(height, width) / LONGEST
    if shrink > 1:
        size = max(1, round(width / shrink)), max(1, round(height / shrink))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    file, small = io.BytesIO(), max(height, width) <= SHARP
    if small:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=QUALITY, optimize=True)
    meta = {
        "media": "image/png" if small else "image/jpeg",
        "width": image.width,
        "height": image.height,
        "photo": [height, width],
    }
    return pack(meta, {"image": np.frombuffer(file.getvalue(), np.uint8)})
