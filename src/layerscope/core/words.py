"""What the channels and the images of a map are called, and which rules give numbers of the layer's own kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadOption, near
from ..safe_text import counted
from .layer import ATTENTION_MAP

if TYPE_CHECKING:
    from .feature_map import FeatureMap

MEAN, MAXIMUM, NORM = "mean", "maximum", "norm"
# Of these a bar says what the layer's own numbers are; of any other rule its name.
OF_ITS_KIND = (MEAN, MAXIMUM)

# What images without a name of their own are called by: array-0, image-1.
NAMELESS = ("array", "image", "bytes", "file")


MOST_NAMED = 8  # images in a message
MOST_COMPARED = 10_000  # names that one of no image is compared with


def channel_word(fm: FeatureMap) -> str:
    """What a channel is called: that of attention weights is a head, that of a convolution's weights a filter."""
    return "head" if of_heads(fm) and not fm.rule else "filter" if fm.role == "weights" else "channel"


def of_heads(fm: FeatureMap) -> bool:
    """Whether a map holds attention weights, all of them or those of one query token."""
    return fm.layer.attention or fm.layer.kind == ATTENTION_MAP


def all_channels(fm: FeatureMap) -> str:
    """How many channels a rule was applied to: `64 channels`, `12 heads`."""
    return counted(fm.values.shape[-1], channel_word(fm))


def image_name(id: str) -> str:
    """An image's name on a picture: that of one without a name in words.

    >>> image_name("array-0"), image_name("cat.jpg")
    ('array 0', 'cat.jpg')
    """
    word, _, number = id.partition("-")
    return f"{word} {number}" if word in NAMELESS and number.isdecimal() else id


def image_index(ids: Sequence[str], image: int | str, *, of: str = "this map") -> int:
    """The index of an image, given as one (negative ones count from the end) or by its id or a part of no other id.

    `of` says in messages what has these images.

    >>> image_index(("cat.jpg", "dog.jpg"), "dog"), image_index(("cat.jpg", "dog.jpg"), -1)
    (1, 1)
    """
    count = len(ids)
    if isinstance(image, str):
        named = [index for index, id in enumerate(ids) if id == image]
        named = named or [index for index, id in enumerate(ids) if image and image in id]
        if len(named) == 1:
            return named[0]
    elif isinstance(image, int | np.integer) and -count <= image < count:
        return int(image) % count
    held = f"{count} images, 0 to {count - 1}" if count > 1 else "only image 0" if count else "no images"
    if not isinstance(image, str) or not count:
        raise BadOption(f"image={image!r}: {of} has {held}")
    some = named or list(range(count))
    names = ", ".join(repr(ids[index]) for index in some[:MOST_NAMED]) + (", …" if len(some) > MOST_NAMED else "")
    if not named and count > MOST_NAMED:
        raise BadOption(f"image={image!r}: {of} has {held}, none of this name{near(image, ids[:MOST_COMPARED])}")
    if named:
        raise BadOption(f"image={image!r} is a part of {len(named)} names: give one of them ({names})")
    raise BadOption(f"image={image!r}: {of} has {held} ({names}){near(image, ids[:MOST_COMPARED])}")
