"""The user's images as model input: batches, each with the ids, photos and placements of its images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ..backends.common.arguments import is_object, members_of
from ..backends.common.run import count_images as _count_in
from ..backends.common.run import map_batch, part_for_dry_run
from ..backends.protocol import Input
from ..core.conversion import count_masked, to_host
from ..core.placement import Placement
from ..errors import BadOption
from ..inputs import images as _images
from ..inputs import preprocess as _preprocess
from ..inputs.arrays import read_ready
from ..inputs.paths import paths_of
from ..inputs.photo import Photo
from ..inputs.preprocess import InputPlan
from ..inputs.recipe import READY, Recipe
from ..safe_text import counted
from ..surface import by_surface, option

DEFAULT_SIZE = 16
READY_LAYERS = "`layerscope layers MODEL BATCH.npy --preprocess none`"
BLANK = ("blank",)


@dataclass(frozen=True, eq=False)
class Batch:
    """Model input for some images: the array, or what else the model takes, and for each image its id, photo, placement.

    `filled` counts copies of the last image at its end, where the model takes a fixed number of images.
    """

    array: Any
    ids: tuple[str, ...]
    photos: tuple[Photo, ...] | None = None
    placement: tuple[Placement, ...] | None = None
    filled: int = 0


def read_batches(
    images: Any,
    size: int | None,
    recipe: Recipe,
    plan: InputPlan,
    *,
    skipped: list[tuple[str, str]],
    inputs: Sequence[Input] = (),
) -> Iterator[Batch]:
    """The images as model input, `size` at a time; (id, reason) of those that can't be read are added to `skipped`.

    `inputs` are what the model says of its inputs.
    """
    if recipe == READY:
        yield from _ready_batches(_from_files(images), size, inputs)
        return
    if plan.size is not None:
        _preprocess.check_input(plan.batch or 1, plan.size, plan)
    check = partial(_preprocess.check_photo, recipe=recipe, plan=plan)
    size = plan.batch or size or DEFAULT_SIZE
    for group in _images.stream(images, size, skipped=skipped, check=check, range=recipe.range):
        for photos in _preprocess.of_one_size(group, recipe, plan):
            yield _of_photos(photos, recipe, plan)


def _of_photos(photos: Sequence[Photo], recipe: Recipe, plan: InputPlan) -> Batch:
    """Photos as one batch; the last one fills it up where the model takes a fixed number."""
    array, placement = _preprocess.batch(photos, recipe, plan)
    missing = max(0, (plan.batch or 0) - len(photos))
    if missing:
        axis = plan.axes.index("b")
        array = np.concatenate([array, np.repeat(np.take(array, [-1], axis), missing, axis)], axis)
    return Batch(array, tuple(photo.id for photo in photos), tuple(photos), placement, missing)


def array_batches(array: np.ndarray, plan: InputPlan) -> Iterator[Batch]:
    """An array of model input, all at once, or as many images at a time as the model always takes."""
    axis = plan.axes.index("b")
    count = array.shape[axis]
    size = plan.batch or count
    for start in range(0, count, size):
        indices = np.arange(start, start + size)
        part = array if size == count else array.take(indices.clip(max=count - 1), axis)
        ids = tuple([f"image {index}" for index in indices if index < count])
        yield Batch(part, ids, filled=len(indices) - len(ids))


def blank_batch(recipe: Recipe, plan: InputPlan) -> Batch:
    """A grey image, for a dry run without one of the user's."""
    if recipe == READY:
        raise BadOption("with preprocess=None, layers() needs a batch to run the model on: layers(batch)")
    height, width = plan.size or (224, 224)
    _preprocess.check_input(plan.batch or 1, (height, width), plan)
    photo = Photo("blank", np.full((height, width, 3), 127, np.uint8))
    array, placement = _preprocess.batch([photo], recipe, plan)
    if plan.batch is not None:
        array = np.repeat(array, plan.batch, axis=plan.axes.index("b"))
    return Batch(array, BLANK, (photo,), placement)


def zeros_of(inputs: Sequence[Input]) -> Any:
    """One image of zeros as a ready batch, for a model that states its inputs; by name where there are several."""
    if not inputs or not all(entry.shape for entry in inputs):
        raise BadOption(
            "the model doesn't say what it takes: give a batch that is ready for it, "
            + by_surface("layers(batch), with preprocess=None", READY_LAYERS)
        )
    zeros = {entry.name: _zeros(entry) for entry in inputs}
    return zeros if len(zeros) > 1 else next(iter(zeros.values()))


def _zeros(entry: Input) -> np.ndarray:
    """One image of zeros for an input; sizes that it leaves free are those of a photo, of a short sequence or volume."""
    volume = "d" in entry.axes
    free = {"b": 1, "c": 3} | (dict.fromkeys("dhw", 32) if volume else dict.fromkeys("hw", 224))
    axes = entry.axes if len(entry.axes) == len(entry.shape) else "b".ljust(len(entry.shape), "n")
    shape = [free.get(axis, 64) if size is None else size for axis, size in zip(axes, entry.shape, strict=True)]
    try:
        return np.zeros(shape, "float32" if entry.dtype == "bfloat16" else entry.dtype)
    except TypeError as error:
        raise BadOption(
            f"the model's input {entry.name!r} is {entry.dtype}, of which there are no zeros: give a batch,"
            f" {by_surface('layers(batch)', READY_LAYERS)}"
        ) from error


def count_images(images: Any, recipe: Recipe, inputs: Sequence[Input] = ()) -> int | None:
    """How many images there are; `None` for a generator, which can't tell."""
    if recipe == READY:
        images = _from_files(images)
        return _count_rows(images, _stated_axes(images, inputs))
    return None if _images.is_stream(images) else len(_images.collect(images))


def _stated_axes(ready: Any, inputs: Sequence[Input]) -> dict[int, int]:
    """By the `id` of arrays the axis that their images lie along, -1 for none, where the model states it isn't the first."""
    members: Any = [(ready, taken) for taken in inputs[:1]]
    if isinstance(ready, Mapping):
        members = [(ready.get(taken.name), taken) for taken in inputs]
    elif isinstance(ready, tuple | list):
        members = zip(ready, inputs, strict=False)
    fitting = [
        (part, taken.axes) for part, taken in members if taken.axes and getattr(part, "ndim", 0) == len(taken.axes)
    ]
    return {id(part): axes.find("b") for part, axes in fitting if axes.find("b")}


def _ready_batches(ready: Any, size: int | None, inputs: Sequence[Input]) -> Iterator[Batch]:
    """A batch that is ready for the model, as it is or cut into smaller ones; numbers in the machine's own order of bytes."""
    ready = map_batch(ready, _native) if any(map(_is_foreign, _parts(ready))) else ready
    axes = _stated_axes(ready, inputs)
    count = _count_rows(ready, axes)
    step = count if _holds_object(ready) else size or count
    for start in range(0, count, step):
        part = ready if step >= count else _cut(ready, slice(start, start + step), count, axes)
        yield Batch(part, tuple([f"image {index}" for index in range(start, min(count, start + step))]))


def _from_files(ready: Any) -> Any:
    """A ready batch; of a file of arrays, a folder or a pattern of them, or a list of files, what they hold."""
    names = ready if isinstance(ready, list) else [ready]
    if not names or not all(isinstance(name, str | os.PathLike) for name in names):
        return ready
    return read_ready([str(path) for name in names for path in paths_of(os.fspath(name), arrays=True)])


def _is_foreign(part: Any) -> bool:
    """Whether an array has another order of bytes than the machine, as files of others may: frameworks read none."""
    return isinstance(part, np.ndarray) and part.dtype.kind in "iufc" and not part.dtype.isnative


def _native(part: Any) -> Any:
    return part.astype(part.dtype.newbyteorder("=")) if _is_foreign(part) else part


def _count_rows(ready: Any, axes: Mapping[int, int]) -> int:
    """How many images a ready batch holds. Raises `BadOption` for one that no model takes as it is."""
    if type(ready) is np.ndarray and ready.dtype.kind in "biuf" and ready.ndim and not axes and ready.shape[0]:
        return len(ready)  # as nearly all
    parts = list(_parts(ready))
    if not parts:
        raise BadOption("the batch is empty")
    for part in parts:
        dtype = getattr(part, "dtype", None)
        if getattr(part, "is_nested", False) is True:
            raise BadOption(
                "a nested tensor holds images of different sizes, which no map does: give"
                " torch.nested.to_padded_tensor(batch, 0.0) where the model takes that, or one image at a time"
            )
        if masked := count_masked(part):
            raise BadOption(
                f"this batch holds {counted(masked, 'masked value')}, which no model takes: give batch.filled(...)"
            )
        if isinstance(dtype, np.dtype) and (dtype.kind in "Mm" or dtype.type is np.void):
            raise BadOption(f"the batch has dtype {dtype}, and models take numbers")
    first = next((part for part in parts if getattr(part, "shape", ())), None)
    if first is None:
        what = "a single number" if hasattr(parts[0], "shape") else f"a {type(parts[0]).__name__}"
        raise BadOption(
            f"{option('preprocess', None)} takes an array (or a tuple, dict or object that holds arrays) ready for the model,"
            f" its images along the first axis, not {what}"
        )
    shape = tuple(first.shape)
    if not shape[0]:
        raise BadOption(f"the batch is empty: shape {shape}")
    axis = axes.get(id(first), 0)
    return _count_in(ready) if not axis else int(shape[axis]) if axis > 0 else 1


def _parts(ready: Any) -> Iterator[Any]:
    """The arrays of a ready batch, those in objects of the model's own as well, and what else is in it."""
    if isinstance(ready, Mapping | tuple | list):
        for part in members_of(ready):
            yield from _parts(part)
    elif is_object(ready) and any(hasattr(part, "shape") for part in _parts_in(ready)):
        yield from _parts_in(ready)
    else:
        yield ready


def _holds_object(ready: Any) -> bool:
    """Whether objects are part of a batch, which then stays whole: nobody says what of one belongs to which image."""
    if isinstance(ready, Mapping | tuple | list):
        return any(map(_holds_object, members_of(ready)))
    return is_object(ready)


def _parts_in(ready: Any) -> Iterator[Any]:
    """The arrays in an object, which may lie one level deep."""
    for member in members_of(ready):
        yield from _parts(member) if isinstance(member, Mapping | tuple | list) else (member,)


def _cut(ready: Any, rows: slice, count: int, axes: Mapping[int, int], *, depth: int = 0) -> Any:
    """Some images of a ready batch of `count`: what doesn't hold so many (class embeddings, a grid) belongs to all of them."""
    if isinstance(ready, list) and depth:
        return ready[rows] if len(ready) == count else ready  # one argument with an image in each place
    if isinstance(ready, Mapping):
        return {name: _cut(member, rows, count, axes, depth=depth + 1) for name, member in ready.items()}
    if isinstance(ready, tuple | list):
        members = [_cut(member, rows, count, axes, depth=depth + 1) for member in ready]
        return type(ready)(*members) if hasattr(ready, "_fields") else type(ready)(members)
    shape, axis = tuple(getattr(ready, "shape", ())), axes.get(id(ready), 0)
    fits = 0 <= axis < len(shape) and shape[axis] == count
    return ready[(slice(None),) * axis + (rows,)] if fits else ready


def signature(array: Any) -> Any:
    """What tells two batches apart for the table of layers: types and sizes, of an array that is alone without its images."""
    if isinstance(array, Mapping | tuple | list):
        return _structure(array)
    return _size_and_type(array, 1)


def _structure(part: Any) -> Any:
    if isinstance(part, Mapping):
        return tuple((name, _structure(member)) for name, member in sorted(part.items()))
    if isinstance(part, tuple | list):
        return tuple(map(_structure, part))
    return _size_and_type(part, 0)


def _size_and_type(array: Any, first: int) -> tuple[tuple[int, ...], str]:
    if isinstance(array, np.ndarray):
        return array.shape[first:], dtype_name(array.dtype)
    return tuple(getattr(array, "shape", ()))[first:], str(getattr(array, "dtype", type(array).__name__))


def checksum(batch: Batch) -> str:
    """What tells the first image of a batch from others; `""` for the blank one."""
    if batch.ids == BLANK:
        return ""
    total = hashlib.blake2b(digest_size=16)
    for part in _parts(part_for_dry_run(batch.array)[0]):
        array = to_host(part) if hasattr(part, "__array__") else np.asarray(repr(part))
        total.update(array.tobytes() if array.dtype != object else repr(array).encode())
    return total.hexdigest()


@lru_cache(maxsize=64)
def dtype_name(dtype: np.dtype[Any]) -> str:
    """A type's name; numpy puts it together anew each time, which takes as long as a tenth of a small capture."""
    return str(dtype)


def describe(array: Any) -> str:
    """The sizes and types of a batch as text.

    >>> describe({"image": np.zeros((1, 3, 8, 8), np.float32)})
    'image 1×3×8×8 float32'
    """
    if isinstance(array, Mapping):
        return ", ".join(f"{name} {describe(part)}" for name, part in array.items())
    if isinstance(array, tuple | list):
        return ", ".join(describe(part) for part in array)
    shape = getattr(array, "shape", None)
    if shape is None:
        return type(array).__name__
    return f"{'×'.join(map(str, shape))} {getattr(array, 'dtype', '')}".strip()
