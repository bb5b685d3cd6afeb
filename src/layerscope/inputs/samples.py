"""The images among what a data set gives: samples with labels, masks or weights, by place or by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from PIL import Image

from ..core.conversion import is_array
from .paths import is_image
from .photo import Photo, as_array, as_image

NAMES = ("image", "pixel_values", "img")  # of images in a data set whose items are mappings


def without_labels(item: Any) -> Any:
    """The images of what a stream for a training gives: (images, labels), with weights of the samples as well, or by name."""
    if isinstance(item, Mapping):
        named = [item[name] for name in NAMES if name in item]
        images = named or [member for member in item.values() if not isinstance(member, str) and _rank(member) >= 2]
        return images[0] if named or len(images) == 1 else item
    pair = isinstance(item, tuple | list) and len(item) in (2, 3)
    if pair and isinstance(item[0], Mapping):
        return without_labels(item[0])
    if not pair or _rank(item[0]) < 2:
        return item
    return [member for member in item if _rank(member) >= 2] if _is_alike(item[0], item[1]) else item[0]


def is_sample(item: Any) -> bool:
    """Whether a member of a list may be one of a data set: by name, or an image with its label or mask."""
    return isinstance(item, Mapping) or (isinstance(item, tuple) and len(item) in (2, 3))


def _rank(item: Any) -> int:
    """The number of axes of an array; that of a colour image for other images, -1 for what is none."""
    if isinstance(item, Image.Image | Photo | bytes | bytearray | os.PathLike | str):
        return 3
    return len(getattr(item, "shape", (None,))) if is_array(item) else -1


def _is_alike(item: Any, other: Any) -> bool:
    """Whether both are single images, not one with its label or mask, nor batches of them."""
    if isinstance(other, os.PathLike):
        return True
    if isinstance(other, str) and not (isinstance(item, str | os.PathLike) and is_image(other)):
        return False
    return _rank(item) == _rank(other) < 4 and _bands(item) == _bands(other) and not _is_mask(other, item)


def _is_mask(other: Any, item: Any) -> bool:
    """Whether what comes with an image of as many channels is no image: of another type, or of two values at most."""
    if not all(is_array(part) for part in (item, other)):
        return False
    values = as_array(other)
    if values.dtype != as_array(item).dtype or not values.size:
        return True
    return bool(((values == values.min()) | (values == values.max())).all())


def _bands(item: Any) -> int:
    """The channels of an image that is open or an array, 0 for others."""
    if isinstance(item, Image.Image):
        return len(item.getbands())
    return int(as_image(item).shape[2]) if len(getattr(item, "shape", ())) == 3 else 0
