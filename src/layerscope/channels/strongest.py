"""`strongest`: which channels react most, in the whole picture or in a box of the photo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays.moments import moments
from ..checks import keywords, one_of, whole
from ..core.feature_map import FeatureMap, as_map
from ..core.progress import work
from ..errors import BadOption

RULES = ("mean", "max", "contrast")


@keywords
def strongest(
    fm: Any,
    region: Sequence[float] | None = None,
    *,
    image: int | str | None = None,
    by: str = "mean",
    top: int | None = 10,
    layout: str | None = None,
) -> list[int]:
    """The true numbers of the channels that react most, the strongest first: over the whole map, or in a box of the photo.

    >>> import numpy as np
    >>> strongest(np.array([[[0.0, 1.0, 5.0]]]), top=2)
    [2, 1]
    >>> import layerscope as ls
    >>> fm = ls.open("demo").capture(ls.demo_photo(), "_blocks.4")["_blocks.4"]
    >>> eye = strongest(fm, region=(85, 135, 60, 80), top=4)
    >>> [cell.channel for cell in ls.sheet(fm, channels=eye).cells] == eye
    True

    A unit covers the part of the photo that `FeatureMap.unit_grid` says; in the region it counts by the share of its part that
    lies there. NaN and ±inf are left out; a channel of nothing else comes last.

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5.
        region: (top, left, height, width) in pixels of the photo. `None`: the whole map.
        image: The number of the image, or its id. `None`: all images together; with a region, the only one.
        by: `"mean"`; `"max"`; or, with a region, `"contrast"`: the mean in it less the mean of all other units, which finds
            the channels that tell it from the rest.
        top: How many channels; `None` for all.
        layout: The axes of a bare array, one letter each (`"bchw"`); `None` for its library's convention.

    Raises:
        BadOption: The region isn't on the photo or holds no unit, there is no photo, or an option is invalid.
        BadLayout: A region of a map that isn't two-dimensional.
    """
    whole_map = as_map(fm, layout)
    one_of("by", by, RULES)
    if top is not None:
        whole("top", top)
    one = whole_map if image is None else whole_map.image(image)
    if region is None:
        if by == "contrast":
            raise BadOption("by='contrast' compares a region with the rest", "give region=(top, left, height, width)")
        with work(len(one.ids), "images") as step:
            figures = moments(one.values, step)
        reaction = figures.mean if by == "mean" else figures.high
    else:
        reaction = _reaction(one.values, _shares(one, region)[None], by)
    order = np.argsort(-np.where(np.isnan(reaction), -np.inf, reaction), kind="stable")
    return [one.channels[index] for index in order[:top]]


def _reaction(values: np.ndarray, weights: np.ndarray, by: str) -> np.ndarray:
    """float64 `[channel]`; `weights`, `[image, *spatial]`, are those of the positions."""
    vectors, shares = values.reshape(-1, values.shape[-1]), weights.ravel()
    if by == "max":
        inside = vectors[shares > 0]
        highest = np.where(np.isfinite(inside), inside, -np.inf).max(0)
        return np.where(np.isneginf(highest), np.nan, highest)
    mean = _mean(vectors, shares)
    return mean - _mean(vectors, 1 - shares) if by == "contrast" else mean


def _mean(vectors: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The weighted mean of the finite values of each channel; NaN where there is none."""
    finite = np.isfinite(vectors)
    total = shares @ (vectors if finite.all() else np.where(finite, vectors, 0)).astype(np.float64)
    weight = shares @ finite
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)


def _count(region: Any) -> str:
    return f"; top={region} gives that many channels" if isinstance(region, int) and region > 0 else ""


def _shares(one: FeatureMap, region: Sequence[float]) -> np.ndarray:
    """`[row, column]`: the share of each unit's part of the photo that lies in the region."""
    if len(one.ids) > 1:
        raise BadOption(f"region= is in pixels of one photo, and this map has {len(one.ids)}: give image=")
    grid = one.unit_grid()
    height, width = grid.placement.photo
    try:
        top, left, rows, columns = (float(number) for number in region)
        first, last = (math.floor(top), math.floor(left)), (math.ceil(top + rows), math.ceil(left + columns))
    except (TypeError, ValueError, OverflowError) as error:
        raise BadOption(
            f"region={region!r}: give (top, left, height, width) in pixels of the photo{_count(region)}"
        ) from error
    if not (0 <= first[0] < last[0] <= height and 0 <= first[1] < last[1] <= width):
        raise BadOption(
            f"region={tuple(region)}, as (top, left, height, width), isn't a box on the photo, {height} pixels high and"
            f" {width} wide"
        )
    along = [
        _share(cells, slice(*span), size)
        for cells, span, size in zip((grid.rows, grid.columns), zip(first, last, strict=True), grid.size, strict=True)
    ]
    if not (along[0].any() and along[1].any()):
        spans = [np.flatnonzero(cells >= 0) for cells in (grid.rows, grid.columns)]
        seen = " and the columns ".join(f"{at[0]} to {at[-1]}" if len(at) else "none" for at in spans)
        raise BadOption(f"region={tuple(region)} holds no unit of the map: they lie on the rows {seen}")
    return np.multiply.outer(*along)


def _share(cells: np.ndarray, span: slice, size: int) -> np.ndarray:
    """The share of each unit's pixels along one axis that lie in a span; `cells` says whose each pixel is, -1 for none's."""
    inside, all_of_it = (np.bincount(part[part >= 0], minlength=size) for part in (cells[span], cells))
    return inside / np.maximum(all_of_it, 1)
