"""How similar every position is to one position, by their channel vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays.reductions import finite_positions, lengths, weighted_sum
from ..checks import keywords, one_of
from ..core.feature_map import FeatureMap, as_map
from ..core.linear import Linear
from ..core.note import Note
from ..core.words import all_channels, image_name
from ..errors import BadLayout, BadOption
from ..safe_text import counted
from ..surface import by_surface
from .basis import no_direction

METRICS = ("cosine", "dot", "euclidean")


@keywords
def similarity(
    fm: Any,
    at: int | Sequence[int] | None = None,
    *,
    photo: tuple[float, float] | None = None,
    image: int = 0,
    metric: str = "cosine",
    to: Any = None,
) -> FeatureMap:
    """How similar the channel vector at every position is to that at one position.

    >>> import numpy as np
    >>> similarity(np.array([[[[1.0, 0.0]], [[2.0, 2.0]], [[-3.0, 0.0]]]]), (0, 0)).values.ravel().round(3)
    array([ 1.   ,  0.707, -1.   ], dtype=float32)

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.
        at: The position of the query on the map, (row, column), or one number for a sequence. Either this or `photo`.
        photo: The same in pixels of the photo, (row, column), found through crop, padding and EXIF orientation.
        image: The number of the image that the query is from.
        metric: `"cosine"` (−1 to 1), `"dot"`, or `"euclidean"` (the distance with a minus sign, 0 for equal vectors).
        to: Another map with the same channels, whose images are compared; `None` for those of `fm`.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`. A vector of length 0 has no direction: its cosine is
        NaN. `linear` has the query's vector where `metric` is `"dot"`.

    Raises:
        BadOption: The position isn't on the map or was cropped away, or an option is invalid.
        BadLayout: The maps have other channels, or no positions.
    """
    fm = as_map(fm)
    one_of("metric", metric, METRICS)
    one = fm.image(image)
    position = _position(one, at, photo)
    query = one.values[0][position].astype(np.float64)
    if not np.isfinite(query).all():
        raise BadOption(f"the vector at {_text(position)} of {one.ids[0]} holds NaN or inf: choose another position")
    target = fm if to is None else as_map(to)
    _check_channels(fm, target)
    values, silent = _compared(target.values, query, metric)
    on_photo = f"; {_place(photo)} of the photo lies in it" if photo is not None else ""
    marked = " (outlined)" if len(one.spatial) == 2 and to is None else ""
    notes = [
        Note(
            "query",
            f"query{marked}: the position at {_place(position)} of the map of {image_name(one.ids[0])}, counted from 0"
            + on_photo,
        )
    ]
    if silent and not query.any():
        notes.append(Note("no-direction", "the query's vector has length 0, so it has no direction to compare with"))
    elif silent:
        notes.append(no_direction(silent))
    if to is not None and _source(fm) != _source(target):
        notes.append(Note("query", f"query from {_source(fm)}, compared in {_source(target)}"))
    linear = Linear.of(query, target.channels) if metric == "dot" else None
    combined = target.combined(values[..., None], f"{metric} similarity over {all_channels(fm)}", notes, linear=linear)
    query_of = {"image": one.ids[0], "at": list(position), "map": list(fm.spatial)}
    return replace(combined, provenance={**combined.provenance, "query": query_of})


def _compared(values: np.ndarray, query: np.ndarray, metric: str) -> tuple[np.ndarray, int]:
    """(the similarity at each position, NaN where the vector isn't finite; how many positions have no direction)."""
    if metric == "dot":
        likeness = weighted_sum(values, query)
        likeness[~finite_positions(values)] = np.nan
        return likeness, 0
    if metric == "euclidean":
        likeness = lengths(values, query.astype(np.float32))
        likeness[~np.isfinite(likeness)] = np.nan
        return np.negative(likeness, out=likeness), 0
    size = float(np.abs(query).max())
    if not size:
        return np.full(values.shape[:-1], np.nan, np.float32), values[..., 0].size
    unit = query / size
    likeness, long = weighted_sum(values, unit / np.linalg.norm(unit)), lengths(values)
    silent = int(long.size - np.count_nonzero(long))
    with np.errstate(invalid="ignore", divide="ignore"):
        np.divide(likeness, long, out=likeness)
    if silent or not np.isfinite(long).all():
        likeness[~((long > 0) & np.isfinite(long))] = np.nan
    return np.clip(likeness, -1, 1, out=likeness), silent


def _position(one: FeatureMap, at: Any, photo: Any) -> tuple[int, ...]:
    """The position on the map that the caller means."""
    sizes = one.spatial
    if (at is None) == (photo is None):
        raise BadOption(
            "similarity needs one position: at=(row, column) on the map, or photo=(row, column) in the photo's pixels"
        )
    if not sizes:
        raise BadLayout(f"{one.layer.path!r} is a dense layer: it has no positions to compare")
    if photo is not None:
        return _on_photo(one, photo)
    position = (at,) if isinstance(at, int | np.integer) else tuple(at)
    place = ",".join(map(str, position))
    asked = by_surface(f"at={at!r}", f"--combine similarity:{place}", f"the unit {place}")
    numbers = all(isinstance(number, int | np.integer) and not isinstance(number, bool) for number in position)
    if len(position) != len(sizes) or not numbers:
        raise BadOption(f"{asked}: give {len(sizes)} whole numbers, a position on the map of {_text(sizes, ' × ')}")
    if not all(0 <= number < size for number, size in zip(position, sizes, strict=True)):
        raise BadOption(f"{asked} is outside the map of {_text(sizes, ' × ')}: positions count from 0")
    return tuple(int(number) for number in position)


def _on_photo(one: FeatureMap, photo: Any) -> tuple[int, ...]:
    if one.placement is None or len(one.spatial) != 2 or one.layer.attention:
        raise BadOption("photo= needs a map captured from a photo, which this one isn't: give at=(row, column)")
    place = one.unit_grid()
    height, width = one.placement[0].photo
    try:
        y, x = (int(np.floor(number)) for number in photo)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadOption(f"photo={photo!r}: give (row, column) in pixels of the photo") from error
    if not (0 <= y < height and 0 <= x < width):
        raise BadOption(f"photo={photo!r} is outside the photo, {height} pixels high and {width} wide")
    unit = place.unit_at(y, x)
    if unit is None:
        saw = one.placement[0].rows(1), one.placement[0].cols(1)
        cropped = saw[0][y] < 0 or saw[1][x] < 0
        kept = [np.flatnonzero(axis >= 0) for axis in (saw if cropped else (place.rows, place.columns))]
        spans = " and the columns ".join(f"{axis[0]} to {axis[-1]}" if len(axis) else "none" for axis in kept)
        where = (
            "was cropped away before the model: it saw the rows" if cropped else "lies on no unit: they lie on the rows"
        )
        raise BadOption(f"photo={photo!r} {where} {spans}")
    return unit


def _check_channels(fm: FeatureMap, target: FeatureMap) -> None:
    if fm.channels == target.channels:
        return
    if fm.shape[-1] != target.shape[-1]:
        differ = f"the query has {counted(fm.shape[-1], 'channel')}, to= has {target.shape[-1]}"
    else:
        differ = "the two hold different channel numbers"
    raise BadLayout(f"{differ}: vectors can be compared only over the same channels of the same layer")


def _source(fm: FeatureMap) -> str:
    return " of ".join(filter(None, (fm.layer.path, fm.provenance.get("model"))))


def _text(position: Sequence[Any], between: str = ", ") -> str:
    text = between.join(f"{number:g}" if isinstance(number, float) else str(number) for number in position)
    return text if between != ", " else f"({text})"


def _place(position: Sequence[Any]) -> str:
    """A position in words: `row 5, column 4`."""
    if len(position) != 2:
        return _text(position)
    return ", ".join(f"{axis} {number:g}" for axis, number in zip(("row", "column"), position, strict=True))


def query_position(one: FeatureMap) -> tuple[int, int] | None:
    """The (row, column) that the map of this image was compared with, `None` where it was another image's or none."""
    query = one.provenance.get("query")
    if not query or query["image"] != one.ids[0] or tuple(query["map"]) != one.spatial or len(one.spatial) != 2:
        return None
    return query["at"][0], query["at"][1]
