"""The place of a query, outlined on the map of its own image."""

from __future__ import annotations

from typing import Any

import numpy as np

from .featuremap import FeatureMap

SMALLEST = 8


def query_place(one: FeatureMap) -> tuple[int, int] | None:
    """The (row, column) that the map of this image was compared with, `None` where it was another image's or none."""
    query = one.provenance.get("query")
    if not query or query["image"] != one.ids[0] or tuple(query["map"]) != one.spatial or len(one.spatial) != 2:
        return None
    return query["at"][0], query["at"][1]


def outline(body: np.ndarray, top: int, left: int, height: int, width: int, dark: Any, light: Any) -> None:
    """Two lines inside a box of `body` (the part of it that is there), away from its edge; nothing where there is no room."""
    bottom, right = min(top + height, body.shape[0]), min(left + width, body.shape[1])
    top, left = max(top, 0), max(left, 0)
    if min(bottom - top, right - left) < SMALLEST:
        return
    for inset, color in ((1, dark), (2, light)):
        box = body[top + inset : bottom - inset, left + inset : right - inset]
        box[[0, -1]] = color
        box[:, [0, -1]] = color
