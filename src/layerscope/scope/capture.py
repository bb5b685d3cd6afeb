"""What comes out of a capture: the forward passes, joined into one feature map for each layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..core.axes import channels_last, prefix_names, split_tokens
from ..core.conversion import as_float32
from ..core.feature_map import FeatureMap
from ..core.layer import split_call
from ..core.layer_table import LayerTable
from ..core.note import Note, kind_of
from ..core.placement import Placement
from ..errors import BadOption, CaptureTooLarge, LayerNotFound, LayerscopeError
from ..memory import rarely_collected
from ..safe_text import counted, printable, writable
from .attempt import warn_of_skipped
from .batches import Batch
from .run import Run
from .target import about_target

if TYPE_CHECKING:
    from .rerun import Rerun

MOST_NOTED = 3  # photos of which a caption speaks


class Maps(Mapping[str, FeatureMap]):
    """The feature maps of one capture, path -> `FeatureMap`, in execution order.

    A path may be shortened to its unique end, as everywhere.

    >>> import layerscope as ls
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    >>> maps = scope.capture(np.zeros((2, 3, 8, 8), np.float32), ["conv1", "conv2"])
    >>> list(maps), maps["conv1"].shape, "conv3" in maps, maps.get("conv3")
    (['conv1', 'conv2'], (2, 8, 8, 4), False, None)

    Attributes:
        skipped: (id, reason) of images that could not be read.
        images: The ids of those that were captured.

    Args:
        maps: The maps by their paths.
        skipped: (id, reason) of images that could not be read.
        images: The ids of those that were captured.
    """

    def __init__(
        self,
        maps: Mapping[str, FeatureMap],
        skipped: Sequence[tuple[str, str]] = (),
        images: Sequence[str] = (),
    ) -> None:
        self._maps = dict(maps)
        self.skipped = tuple(skipped)
        self.images = tuple(images)

    def __getitem__(self, path: str) -> FeatureMap:
        if path in self._maps:
            return self._maps[path]
        chosen = LayerTable(replace(fm.layer, path=key) for key, fm in self._maps.items()).choose(path)
        if len(chosen) != 1:
            raise LayerNotFound(f"{path!r} selects {len(chosen)} of the captured maps: {', '.join(self._maps)}")
        return self._maps[chosen[0].path]

    def __contains__(self, path: object) -> bool:
        try:
            self[path]  # type: ignore[index] # whatever is no path is not found
        except LayerNotFound:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __len__(self) -> int:
        return len(self._maps)

    def __repr__(self) -> str:
        lines = [f"{printable(path) or 'output'}: {fm!r}" for path, fm in self.items()]
        return writable("\n".join(lines)) or "<no maps>"


def join(
    runs: Iterable[Run],
    count: int | None = None,
    origin: Callable[[Sequence[Batch]], Rerun | None] = lambda batches: None,
) -> tuple[dict[str, FeatureMap], list[Batch]]:
    """The maps of all passes, in the execution order of the first, and the batches; `origin` gives that of all of them.

    Give a generator: what a pass captured is released once it is joined, so that no second copy of everything is kept. `count`
    is how many images there are, or a few more; where it is known, there isn't even one of a layer.
    """
    values: dict[str, _Rows] = {}
    gradients: dict[str, _Rows] = {}
    batches: list[Batch] = []
    run = None
    for run in runs:
        batches.append(run.batch)
        with rarely_collected():
            values, gradients = _numbered(values, run), _numbered(gradients, run)
            _add(run, values, gradients, count)
    del run
    maps: dict[str, FeatureMap] = {}
    errors: dict[str, LayerscopeError] = {}
    everything = _Images.of(batches, origin(batches))
    with rarely_collected():
        for path in list(values):
            rows, gradient = values.pop(path), gradients.pop(path, None)
            try:
                maps[path] = _feature_map(path, rows, gradient, everything)
            except LayerscopeError as error:
                if rows.path not in rows.request.by_rule or isinstance(error, CaptureTooLarge):
                    raise
                errors[path] = error
    if errors and not maps:
        raise next(iter(errors.values()))
    if errors:
        warn_of_skipped(errors)
    return maps, batches


def _add(run: Run, values: dict[str, _Rows], gradients: dict[str, _Rows], count: int | None) -> None:
    """What a pass captured, behind what those before it did."""
    first = not values
    for path, captured in run.captured.items():
        # The only call of a layer is `:0` where other images took several.
        name = path if first or f"{path}:0" not in values or path in run.joined else f"{path}:0"
        if first or name not in values:
            values[name] = _Rows(path, run, captured.dtype, count)
        values[name].add(captured.values, run.batch)
        values[name].mixed |= path in run.mixed
        if captured.gradient is not None:
            if name not in gradients:
                gradients[name] = _Rows(path, run, "", count)
            gradients[name].add(captured.gradient, run.batch)


def _numbered(rows: dict[str, _Rows], run: Run) -> dict[str, _Rows]:
    """With the number of their call: layers that other images called once, where this run called them several times."""
    if not rows:
        return rows
    calls = dict(filter(lambda call: call[1] == 0, map(split_call, run.captured)))
    several = {base for base in calls if base in rows and base not in run.captured and not rows[base].of_several_calls}
    return {f"{name}:0" if name in several else name: own for name, own in rows.items()} if several else rows


class _Rows:
    """What one layer gave for the images so far: one array with room for `count` of them, else the parts to be joined."""

    def __init__(self, path: str, run: Run, dtype: str, count: int | None) -> None:
        self.path, self.dtype, self.count = path, dtype, count
        self.request, self.about = run.request, run.about
        self.layer = run.request.layers[path]
        self.of_several_calls = path in run.joined
        self.mixed = False
        self.parts: list[np.ndarray] = []
        self.batches: list[Batch] = []
        self.counts: list[int] = []
        self.room: np.ndarray | None = None
        self.filled = 0

    def add(self, part: np.ndarray, batch: Batch) -> None:
        self.batches.append(batch)
        images = len(batch.ids)
        # In the framework's own order: joining channels-last views would transpose them all.
        axis = self.layer.axes.find("b")
        if axis == 0 and images == 1 and part.ndim == len(self.layer.axes) - 1:
            part = part[None]  # a model that squeezes a single image
        if axis >= 0:
            self.counts.append(part.shape[axis])
        first = not self.parts and self.room is None
        if first and self.count is not None and self.count > images and axis >= 0 and part.shape[axis] == images:
            self.room = np.empty_like(part, shape=(*part.shape[:axis], self.count, *part.shape[axis + 1 :]))
        if self.room is None:
            self.parts.append(part)
            return
        end = self.filled + part.shape[axis]
        rows = (slice(None),) * axis
        place = self.room[(*rows, slice(self.filled, end))]
        if place.shape == part.shape and self.room.dtype == part.dtype:
            place[...] = part
            self.filled = end
        else:
            self.parts = [self.room[(*rows, slice(0, self.filled))], part]
            self.room = None

    def joined(self) -> tuple[np.ndarray, tuple[Note, ...]]:
        """All of it as float32, with the channels last."""
        axis = self.layer.axes.find("b")
        if self.room is not None:
            array = self.room[(slice(None),) * axis + (slice(0, self.filled),)]
        elif len(self.parts) == 1:
            array = self.parts[0]
        elif axis < 0:
            raise BadOption(
                f"{self.path!r} has no batch axis ({self.layer.axes}), so its images can't be joined: capture one at a time"
            )
        else:
            self._check_sizes(axis)
            array = np.concatenate(self.parts, axis=axis)
        return as_float32(channels_last(array, self.layer.axes))

    def _check_sizes(self, axis: int) -> None:
        shapes = list(dict.fromkeys((*part.shape[:axis], *part.shape[axis + 1 :]) for part in self.parts))
        if len(shapes) > 1:
            texts = " and ".join("×".join(map(str, shape)) or "one number" for shape in shapes[:3])
            raise BadOption(
                f"{self.path!r} gave images of different sizes ({texts}), and one map holds one size: capture them one at a"
                " time"
            )


@dataclass(frozen=True)
class _Images:
    """What the maps of the same images have in common."""

    batches: list[Batch]
    ids: tuple[str, ...]
    notes: tuple[Note, ...]
    photos: tuple[np.ndarray, ...] | None
    placement: tuple[Placement, ...] | None
    origin: Rerun | None

    @classmethod
    def of(cls, batches: list[Batch], origin: Rerun | None = None) -> _Images:
        ids = tuple(id for batch in batches for id in batch.ids)
        fits = origin is not None and origin.count == len(ids)
        return cls(batches, ids, tuple(_of_photos(batches)), *_photos(batches), origin if fits else None)


def _feature_map(path: str, rows: _Rows, gradient_rows: _Rows | None, everything: _Images) -> FeatureMap:
    layer, request = rows.layer if rows.layer.path == path else replace(rows.layer, path=path), rows.request
    channels, names = request.channels[rows.path], request.names.get(rows.path, ()) if request.names else ()
    images, total = everything, len(everything.ids)
    if len(rows.batches) != len(everything.batches):
        images = _Images.of(rows.batches)
    values, notes = rows.joined()
    gradient = None if gradient_rows is None else gradient_rows.joined()[0]
    tokens = None
    grid = layer.grid if "n" in layer.axes else None
    if grid is not None:
        values, tokens = split_tokens(values, grid, layer.order)
        prefix = prefix_names(tokens.shape[1], layer.prefix)
        layer = layer if prefix == layer.prefix else replace(layer, prefix=prefix)
        gradient = None if gradient is None else split_tokens(gradient, grid, layer.order)[0]
    if layer.part:
        notes = (*notes, Note("main-output", f"{layer.part} of its outputs"))
    if rows.path in request.notes:
        notes = (*notes, request.notes[rows.path])
    if layer.doubt:
        notes = (*notes, Note("axes", layer.doubt))
    if request.target_text:
        notes = (*notes, Note("target", f"captured with gradients of {request.target_text}"))
    notes = (*notes, *images.notes)
    if rows.mixed:
        most = max(len(batch.ids) for batch in rows.batches)
        notes = (*notes, Note("mixed", f"depends on the images that run together, {most} at a time here"))
    if len(images.ids) < total:
        notes = (*notes, Note("not-every-image", f"ran for {len(images.ids)} of {counted(total, 'image')}"))
    # A layer whose rows are not images (detection boxes, windows): its rows are numbered, photos can't belong to them.
    per_image = len(images.ids) == values.shape[0]
    return FeatureMap(
        values,
        layer,
        images.ids if per_image else _row_ids(rows, values.shape[0]),
        channels,
        images.photos if per_image else None,
        images.placement if per_image else None,
        gradient,
        of=layer.channels or 1,
        tokens=tokens,
        dtype=rows.dtype,
        notes=notes,
        provenance={**rows.about, **about_target([request.target], request.target_text)},
        origin=images.origin and images.origin.of_layer(path, channels) if per_image else None,
        names=tuple(names[number] for number in channels) if names else (),
        rows="image" if per_image else "row",
    )


def _row_ids(rows: _Rows, count: int) -> tuple[str, ...]:
    """Ids of rows that are no images: with the image, where each of several was captured alone."""
    if rows.counts and len(rows.batches) > 1 and all(len(batch.ids) == 1 for batch in rows.batches):
        return tuple(
            f"{batch.ids[0]} row {number}"
            for batch, own in zip(rows.batches, rows.counts, strict=True)
            for number in range(own)
        )
    return tuple(f"row {index}" for index in range(count))


def _of_photos(batches: Sequence[Batch]) -> Iterator[Note]:
    """What must be said of the photos: of a few of them, where there are many."""
    photos = [photo for batch in batches for photo in batch.photos or ()]
    noted = [photo for photo in photos if photo.notes]
    for photo in noted[:MOST_NOTED]:
        yield from (Note(kind_of(note), f"{photo.id}: {note}" if len(photos) > 1 else note) for note in photo.notes)
    if len(noted) > MOST_NOTED:
        yield Note("photos", f"remarks on {counted(len(noted) - MOST_NOTED, 'more photo')}")


def _photos(batches: Sequence[Batch]) -> tuple[tuple[np.ndarray, ...] | None, tuple[Placement, ...] | None]:
    if any(batch.photos is None or batch.placement is None for batch in batches):
        return None, None
    return (
        tuple(photo.pixels for batch in batches for photo in batch.photos or ()),
        tuple(placement for batch in batches for placement in batch.placement or ()),
    )
