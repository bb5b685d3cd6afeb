"""The user's images on their way into the model: batches of a size, each with its ids, photos and placements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..core.placement import Placement
from ..errors import BadOption
from ..inputs import images as _images
from ..inputs import preprocess as _preprocess
from ..inputs.photo import Photo
from ..inputs.preprocess import InputPlan
from ..inputs.recipe import READY, Recipe

TOGETHER = 16


@dataclass(frozen=True)
class Fed:
    """One batch on its way: the array for the model, and for each image its id, photo and placement.

    `filled` counts copies of the last image at its end, where the model takes a fixed number of images.
    """

    array: Any
    ids: tuple[str, ...]
    photos: tuple[Photo, ...] | None = None
    placement: tuple[Placement, ...] | None = None
    filled: int = 0


def batches(
    images: Any, together: int | None, skipped: list[tuple[str, str]], recipe: Recipe, plan: InputPlan
) -> Iterator[Fed]:
    """The images, `together` at a time, as the model takes them; those that can't be read are added to `skipped`."""
    if recipe == READY:
        yield from _ready(images, together)
        return
    for photos in _images.stream(images, plan.batch or together or TOGETHER, skipped=skipped):
        array, placement = _preprocess.batch(photos, recipe, plan)
        fill = max(0, (plan.batch or 0) - len(photos))
        if fill:
            axis = plan.axes.index("b")
            last = np.take(array, [-1], axis)
            array = np.concatenate([array, np.repeat(last, fill, axis)], axis)
        yield Fed(array, tuple(each.id for each in photos), tuple(photos), placement, fill)


def whole_batches(array: np.ndarray, plan: InputPlan) -> Iterator[Fed]:
    """An array as the model takes it, all at once, or as many images at a time as the model always takes."""
    axis = plan.axes.index("b")
    rows = array.shape[axis]
    step = plan.batch or rows
    for start in range(0, rows, step):
        numbers = np.arange(start, start + step)
        part = array if step == rows else array.take(numbers.clip(max=rows - 1), axis)
        yield Fed(part, tuple([f"image {at}" for at in numbers if at < rows]), filled=int((numbers >= rows).sum()))


def blank(recipe: Recipe, plan: InputPlan) -> Fed:
    """A grey image, for a dry run without one of the user's."""
    if recipe == READY:
        raise BadOption("layers() needs a batch of yours to run the model, since preprocess=None: layers(batch)")
    height, width = plan.size or (224, 224)
    photo = Photo("blank", np.full((height, width, 3), 127, np.uint8))
    array, placement = _preprocess.batch([photo], recipe, plan)
    if plan.batch is not None:
        array = np.repeat(array, plan.batch, axis=plan.axes.index("b"))
    return Fed(array, ("blank",), (photo,), placement)


def count(images: Any, recipe: Recipe) -> int:
    """How many images there are; 1 for a generator, which can't tell."""
    if recipe == READY:
        return _rows(images)
    return 1 if isinstance(images, Iterator) else len(_images.collect(images))


def _ready(batch: Any, together: int | None) -> Iterator[Fed]:
    """A batch that is ready for the model, as it is or cut into smaller ones."""
    rows = _rows(batch)
    step = together or rows
    for start in range(0, rows, step):
        part = batch if step >= rows else _cut(batch, start, start + step)
        yield Fed(part, tuple([f"image {at}" for at in range(start, min(rows, start + step))]))


def _rows(batch: Any) -> int:
    """How many images a ready batch holds."""
    first = batch
    while isinstance(first, dict | tuple | list | Mapping):
        if not first:
            raise BadOption("the batch is empty")
        first = next(iter(first.values())) if isinstance(first, Mapping) else first[0]
    if not hasattr(first, "shape") or not len(first.shape):
        raise BadOption(
            f"preprocess=None takes an array (or a tuple or dict of arrays) ready for the model, not a {type(first).__name__}"
        )
    if not first.shape[0]:
        raise BadOption(f"the batch is empty: shape {tuple(first.shape)}")
    return int(first.shape[0])


def _cut(batch: Any, start: int, stop: int) -> Any:
    if isinstance(batch, Mapping):
        return {name: _cut(each, start, stop) for name, each in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple(_cut(each, start, stop) for each in batch)
    return batch[start:stop]


def signature(array: Any) -> Any:
    """What tells two batches apart for the table of layers: sizes without the number of images, and types."""
    if isinstance(array, np.ndarray):
        return array.shape[1:], name_of(array.dtype)
    if isinstance(array, Mapping):
        return tuple((name, signature(each)) for name, each in sorted(array.items()))
    if isinstance(array, tuple | list):
        return tuple(signature(each) for each in array)
    return tuple(getattr(array, "shape", ()))[1:], str(getattr(array, "dtype", type(array).__name__))


@cache
def name_of(dtype: np.dtype[Any]) -> str:
    """A type's name; numpy puts it together anew each time, which takes as long as a tenth of a small capture."""
    return str(dtype)


def described(array: Any) -> str:
    """The sizes and types of a batch in words."""
    if isinstance(array, Mapping):
        return ", ".join(f"{name} {described(each)}" for name, each in array.items())
    if isinstance(array, tuple | list):
        return ", ".join(described(each) for each in array)
    return f"{'×'.join(map(str, getattr(array, 'shape', ())))} {getattr(array, 'dtype', '')}".strip()
