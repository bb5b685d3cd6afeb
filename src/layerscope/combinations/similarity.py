"""How like one place every other place is, by their channel vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays.reductions import distances, finite_places, lengths, weighted_sum
from ..core.feature_map import FeatureMap, as_map
from ..core.linear import Linear
from ..errors import BadLayout, BadOption, near

METRICS = ("cosine", "dot", "euclidean")


def similarity(
    fm: Any,
    at: int | Sequence[int] | None = None,
    *,
    photo: tuple[float, float] | None = None,
    image: int = 0,
    metric: str = "cosine",
    to: Any = None,
) -> FeatureMap:
    """How like the channel vector of one place those of all places are, float32 `[image, *spatial, 1]`.

    >>> import numpy as np
    >>> similarity(np.array([[[[1.0, 0.0]], [[2.0, 2.0]], [[-3.0, 0.0]]]]), (0, 0)).values.ravel().round(3)
    array([ 1.   ,  0.707, -1.   ], dtype=float32)

    The place is `at`, (row, column) on the map of the image number `image`; or `photo`, (row, column) in pixels of its photo,
    found through crop, padding and EXIF turn. Every image of `fm` gets a map, or every image of `to`, another map with the same
    channels. `metric`: `"cosine"` (−1 to 1; `heatmap(..., scale=(-1, 1))` makes pictures comparable), `"dot"`, or `"euclidean"`
    (the distance with a minus sign, 0 for equal vectors). A vector of length 0 has no direction: its cosine is NaN.

    Raises `BadOption` for a place that isn't on the map or that was cropped away, `BadLayout` for maps of other channels.
    """
    fm = as_map(fm)
    if metric not in METRICS:
        raise BadOption(f"metric={metric!r}: use {', '.join(map(repr, METRICS))}.{near(str(metric), METRICS)}")
    one = fm.image(image)
    place = _place(one, at, photo)
    query = one.values[0][place].astype(np.float64)
    if not np.isfinite(query).all():
        raise BadOption(f"the vector at {_said(place)} of {one.ids[0]} has NaN or inf in it: choose another place")
    target = fm if to is None else as_map(to)
    _check_channels(fm, target)
    values, silent = _compared(target.values, query, metric)
    notes = [
        f"query: {_said(place)} of {one.ids[0]}" + (f", at {_said(photo)} of the photo" if photo is not None else "")
    ]
    if silent and not query.any():
        notes.append("the query's vector has the length 0, and no direction: nothing is like it")
    elif silent:
        notes.append(f"{silent:,} places with a vector of length 0 have no direction")
    if to is not None and _source(fm) != _source(target):
        notes.append(f"query from {_source(fm)}, compared in {_source(target)}")
    linear = Linear.of(query, target.channels) if metric == "dot" else None
    made = target.combined(values[..., None], f"{metric} similarity over {fm.shape[-1]} channels", notes, linear=linear)
    return replace(
        made, provenance={**made.provenance, "query": {"image": one.ids[0], "at": list(place), "map": list(fm.spatial)}}
    )


def _compared(values: np.ndarray, query: np.ndarray, metric: str) -> tuple[np.ndarray, int]:
    """(the similarity at each place, NaN where the vector isn't finite; how many places have no direction)."""
    if metric == "dot":
        found = weighted_sum(values, query)
        found[~finite_places(values)] = np.nan
        return found, 0
    if metric == "euclidean":
        found = distances(values, query)
        found[~np.isfinite(found)] = np.nan
        return np.negative(found, out=found), 0
    size = float(np.abs(query).max())
    if not size:
        return np.full(values.shape[:-1], np.nan, np.float32), values[..., 0].size
    unit = query / size
    found, long = weighted_sum(values, unit / np.linalg.norm(unit)), lengths(values)
    silent = int(long.size - np.count_nonzero(long))
    with np.errstate(invalid="ignore", divide="ignore"):
        np.divide(found, long, out=found)
    if silent or not np.isfinite(long).all():
        found[~((long > 0) & np.isfinite(long))] = np.nan
    return np.clip(found, -1, 1, out=found), silent


def _place(one: FeatureMap, at: Any, photo: Any) -> tuple[int, ...]:
    """The place on the map that the caller means."""
    sizes = one.spatial
    if (at is None) == (photo is None):
        raise BadOption(
            "similarity needs one place: at=(row, column) on the map, or photo=(row, column) in the photo's pixels"
        )
    if not sizes:
        raise BadLayout(f"{one.layer.path!r} is a dense layer: it has no places to compare")
    if photo is not None:
        return _on_photo(one, photo)
    place = (at,) if isinstance(at, int | np.integer) else tuple(at)
    whole = all(isinstance(each, int | np.integer) and not isinstance(each, bool) for each in place)
    if len(place) != len(sizes) or not whole:
        raise BadOption(f"at={at!r}: give {len(sizes)} whole numbers, a place of the map of {_said(sizes, ' × ')}")
    if not all(0 <= each < size for each, size in zip(place, sizes, strict=True)):
        raise BadOption(f"at={at!r} is outside the map of {_said(sizes, ' × ')}: places start at 0")
    return tuple(int(each) for each in place)


def _on_photo(one: FeatureMap, photo: Any) -> tuple[int, ...]:
    if one.placement is None or len(one.spatial) != 2 or one.layer.attention:
        raise BadOption(
            "photo= needs a map that lies on a photo, from capture() of an image; this one doesn't: give at=(row, column)"
        )
    place = one.placement[0]
    height, width = place.photo
    try:
        y, x = (int(np.floor(each)) for each in photo)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadOption(f"photo={photo!r}: give (row, column) in pixels of the photo") from error
    if not (0 <= y < height and 0 <= x < width):
        raise BadOption(f"photo={photo!r} is outside the photo of {height} × {width} pixels")
    rows, columns = place.rows(one.spatial[0]), place.cols(one.spatial[1])
    if rows[y] < 0 or columns[x] < 0:
        seen = [f"{np.flatnonzero(each >= 0)[0]} to {np.flatnonzero(each >= 0)[-1]}" for each in (rows, columns)]
        raise BadOption(
            f"photo={photo!r} was cropped away before the model: it saw the rows {seen[0]} and the columns {seen[1]}"
        )
    return int(rows[y]), int(columns[x])


def _check_channels(fm: FeatureMap, target: FeatureMap) -> None:
    if fm.channels == target.channels:
        return
    if fm.shape[-1] != target.shape[-1]:
        differ = f"the query has {fm.shape[-1]} channels, to= has {target.shape[-1]}"
    else:
        differ = "the two hold different channel numbers"
    raise BadLayout(f"{differ}: vectors can be compared where they are of the same channels of the same layer")


def _source(fm: FeatureMap) -> str:
    return " of ".join(filter(None, (fm.layer.path, fm.provenance.get("model"))))


def _said(place: Sequence[Any], between: str = ", ") -> str:
    text = between.join(f"{each:g}" if isinstance(each, float) else str(each) for each in place)
    return text if between != ", " else f"({text})"


def query_place(one: FeatureMap) -> tuple[int, int] | None:
    """The (row, column) that the map of this image was compared with, `None` where it was another image's or none."""
    query = one.provenance.get("query")
    if not query or query["image"] != one.ids[0] or tuple(query["map"]) != one.spatial or len(one.spatial) != 2:
        return None
    return query["at"][0], query["at"][1]
