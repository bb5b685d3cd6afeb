"""What comes out of a capture: the forward passes, joined into one feature map for each layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..backends.protocol import Captured
from ..core.axes import channels_last, prefix_names, split_tokens
from ..core.conversion import as_float32
from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..core.layer_table import LayerTable
from ..core.note import Note
from ..core.placement import Placement
from ..errors import BadOption, LayerNotFound
from ..safe_text import printable
from .batches import Batch
from .run import Request, Run


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

    Args:
        maps: The maps by their paths.
        skipped: (id, reason) of images that could not be read.
    """

    def __init__(self, maps: Mapping[str, FeatureMap], skipped: Sequence[tuple[str, str]] = ()) -> None:
        self._maps = dict(maps)
        self.skipped = tuple(skipped)

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
        return "\n".join(f"{printable(path) or 'output'}: {fm!r}" for path, fm in self.items()) or "<no maps>"


def join(runs: Iterable[Run]) -> tuple[dict[str, FeatureMap], list[Batch]]:
    """The maps of all passes, in the execution order of the first, and the batches.

    Give a generator: what a pass captured is released once it is joined, so that no second copy of everything is kept.
    """
    pieces: dict[str, list[Captured]] = {}
    batches: list[Batch] = []
    request = run = None
    for run in runs:
        request = request or run.request
        batches.append(run.batch)
        for path, captured in run.captured.items():
            pieces.setdefault(path, []).append(captured)
    del run
    if request is None:
        return {}, []
    return {path: _feature_map(path, pieces.pop(path), request, batches) for path in list(pieces)}, batches


def _feature_map(path: str, pieces: list[Captured], request: Request, batches: Sequence[Batch]) -> FeatureMap:
    layer, channels, names = request.layers[path], request.channels[path], request.names.get(path, ())
    dtype = pieces[0].dtype
    gradients = [piece.gradient for piece in pieces if piece.gradient is not None]
    values, notes = _concatenated([piece.values for piece in pieces], layer, path)
    gradient = _concatenated(gradients, layer, path)[0] if gradients else None
    tokens = None
    grid = layer.grid if "n" in layer.axes else None
    if grid is not None:
        values, tokens = split_tokens(values, grid)
        layer = replace(layer, prefix=prefix_names(tokens.shape[1], layer.prefix))
        gradient = None if gradient is None else split_tokens(gradient, grid)[0]
    if request.target_text:
        notes = (*notes, Note("target", f"captured with gradients of {request.target_text}"))
    ids = tuple(id for batch in batches for id in batch.ids)
    photos, placement = _photos(batches)
    # A layer whose rows are not images (detection boxes, windows): its rows are numbered, photos can't belong to them.
    per_image = len(ids) == values.shape[0]
    return FeatureMap(
        values,
        layer,
        ids if per_image else tuple(f"row {index}" for index in range(values.shape[0])),
        channels,
        photos if per_image else None,
        placement if per_image else None,
        gradient,
        of=layer.channels or 1,
        tokens=tokens,
        dtype=dtype,
        notes=notes,
        provenance=request.provenance,
        names=tuple(names[number] for number in channels) if names else (),
        rows="image" if per_image else "row",
    )


def _concatenated(arrays: Sequence[np.ndarray], layer: Layer, path: str) -> tuple[np.ndarray, tuple[Note, ...]]:
    # In the framework's own order: joining channels-last views would transpose them all.
    if len(arrays) > 1 and "b" not in layer.axes:
        raise BadOption(
            f"{path!r} has no batch axis ({layer.axes}), so its images can't be joined: capture one at a time"
        )
    array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=layer.axes.index("b"))
    return as_float32(channels_last(array, layer.axes))


def _photos(batches: Sequence[Batch]) -> tuple[tuple[np.ndarray, ...] | None, tuple[Placement, ...] | None]:
    if any(batch.photos is None or batch.placement is None for batch in batches):
        return None, None
    return (
        tuple(photo.pixels for batch in batches for photo in batch.photos or ()),
        tuple(placement for batch in batches for placement in batch.placement or ()),
    )
