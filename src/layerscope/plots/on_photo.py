"""A map and the photo that it lies on: one that was captured has its own, one of the user's own is given one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..core.placement import Placement
from ..errors import BadLayout, BadOption
from ..inputs.photo import read
from ..safe_text import counted
from ..surface import by_surface
from .groups import is_grouped
from .rgb import is_rgb


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
    # How large the input was that a layer's receptive fields are on isn't known.
    layer = replace(fm.layer, receptive=None, lines=None)
    own = replace(fm, layer=layer, photos=(source.pixels,) * count, placement=(place,) * count, notes=(*fm.notes, note))
    return replace(own, ids=(source.id,)) if count == 1 else own


def check_on_photo(one: FeatureMap) -> None:
    """Raises where a map can't lie on a photo."""
    if one.photos is None or one.placement is None:
        raise BadOption(
            f"this map has no photo: {by_surface('overlay()', '--overlay', 'an overlay')} needs a map captured from an image"
            + by_surface(", or photo=", "", "")
        )
    if one.layer.attention:
        raise BadLayout(
            f"{one.layer.path!r} holds attention weights, whose rows are query tokens and whose columns are key "
            "tokens, so it can't be laid on the photo: "
            + by_surface(
                "ls.attention(fm) gives the map of one query token",
                "leave --overlay out",
                "Combine gives maps that can",
            )
        )
    if len(one.spatial) < 2:
        raise BadLayout(
            f"an overlay needs a map with positions on the photo, and {one.layer.path!r} has {counted(one.of, 'number')}"
            f" without any: {by_surface('bars() and strip() draw them', 'leave --overlay out', 'choose the sheet')}"
        )
    if len(one.spatial) != 2 or (one.shape[-1] != 1 and not is_rgb(one) and not is_grouped(one)):
        raise BadLayout(
            f"an overlay needs a single two-dimensional map, and this has shape {one.shape}: combine the channels "
            "first (mean, …)"
        )
