"""What the channels and the images of a map are called, and which rules give numbers of the layer's own kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..safe_text import counted
from .layer import ATTENTION_MAP

if TYPE_CHECKING:
    from .feature_map import FeatureMap

# Of these a bar says what the layer's own numbers are; of any other rule the title says it.
MEAN, MAXIMUM, NORM = OF_ITS_KIND = ("mean", "maximum", "norm")

# What images without a name of their own are called by: array-0, image-1.
NAMELESS = ("array", "image", "bytes", "file")


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
