"""A map of the user's own on a photo of their own, where no capture says how they belong together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..core.placement import Placement
from ..errors import BadOption
from ..inputs.photo import read


def on_photo(fm: FeatureMap, photo: Any) -> FeatureMap:
    """The map on the whole of `photo`; as it is where that is `None`. Raises `BadOption` where the map has a photo.

    >>> import numpy as np
    >>> on_photo(FeatureMap.of_array(np.eye(4)), np.zeros((20, 30, 3), np.uint8)).placement[0].box
    (0.0, 0.0, 20.0, 30.0)
    """
    if photo is None:
        return fm
    if fm.photos is not None:
        raise BadOption("photo= is for a map of your own: this one was captured from an image, on which it lies")
    source = read(photo)
    height, width = source.pixels.shape[:2]
    place, count = Placement.whole((height, width), (height, width)), len(fm.ids)
    note = Note("placement", "laid over the whole photo that was given with the map, an equal part for each position")
    own = replace(fm, photos=(source.pixels,) * count, placement=(place,) * count, notes=(*fm.notes, note))
    return replace(own, ids=(source.id,)) if count == 1 else own
