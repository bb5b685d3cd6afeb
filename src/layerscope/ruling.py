"""The scale that a caller means by a rule's name, by limits or by a `Scale`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .encoding import extent_of
from .errors import BadScale
from .featuremap import FeatureMap
from .scale import DIVERGING, RULES, SEQUENTIAL, Scale


def make_scale(whole: FeatureMap, one: FeatureMap, scale: Any, colors: str | None, extent: np.ndarray) -> Scale:
    """The scale asked for: a rule's name, limits, or a `Scale`. `extent` is that of all channels of the one image."""
    if isinstance(scale, Scale):
        if not scale.single:
            raise BadScale("a Scale with a range for each tile fits only the map it was made for: give one range")
        return scale if colors is None else Scale(scale.limits, colors, scale.center, scale.per, scale.clip)
    if isinstance(scale, str):
        if scale not in RULES:
            raise BadScale(f"scale={scale!r}: use 'channel', 'layer', 'images', (low, high) or a Scale")
        if scale == "images" and len(whole.ids) > 1:
            extent = extent_of(whole.values)
        return Scale.fit(one.values, scale, colors=colors, extent=extent)
    try:
        low, high = (float(each) for each in scale)
    except (TypeError, ValueError) as error:
        raise BadScale(f"scale={scale!r}: use 'channel', 'layer', 'images', (low, high) or a Scale") from error
    if not low < high:
        raise BadScale(f"scale=({low:g}, {high:g}): the lower limit comes first and the two differ")
    signed = low < 0 < high
    return Scale((low, high), colors or (DIVERGING if signed else SEQUENTIAL), 0.0 if signed else None)
