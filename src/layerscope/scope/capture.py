"""What comes out of a capture: the forward passes, joined into one feature map for each layer."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from ..backends.protocol import Captured, Pick
from ..channels.query import numbers
from ..core.axes import channels_last, prefix_names, split_tokens
from ..core.conversion import as_float32
from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..core.layer_table import LayerTable
from ..core.note import Note
from ..core.placement import Placement
from ..errors import BadOption, CaptureTooLarge, LayerNotFound
from . import memory
from .batches import Fed, name_of

log = logging.getLogger("layerscope")


ANNOUNCE_BYTES = 2 << 30


UNASKED_BYTES = 64 << 20  # less fits anywhere, and asking how much is free takes as long as a small layer


class Maps(Mapping[str, FeatureMap]):
    """The feature maps of one capture, path -> `FeatureMap`, in execution order.

    A path may be shortened to its unique end, as everywhere. `skipped` lists (id, reason) of images that could not be
    read.
    """

    def __init__(self, maps: Mapping[str, FeatureMap], skipped: Sequence[tuple[str, str]] = ()) -> None:
        self._maps = dict(maps)
        self.skipped = tuple(skipped)

    def __getitem__(self, path: str) -> FeatureMap:
        if path in self._maps:
            return self._maps[path]
        table = LayerTable(each.layer for each in self._maps.values())
        chosen = table.choose(path)
        if len(chosen) == 1:
            return self._maps[chosen[0].path]
        raise LayerNotFound(f"{path!r} names {len(chosen)} of the maps captured: {', '.join(self._maps)}")

    def __contains__(self, path: object) -> bool:
        return path in self._maps

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __len__(self) -> int:
        return len(self._maps)

    def __repr__(self) -> str:
        return "\n".join(f"{path or 'output'}: {fm!r}" for path, fm in self.items()) or "<no maps>"


class Run:
    """One forward pass: what was fed, which layers were chosen, what came out."""

    def __init__(
        self,
        provenance: Mapping[str, Any],
        fed: Fed,
        chosen: Sequence[Layer],
        channels: Sequence[int] | slice | str | None,
        target: str,
    ) -> None:
        self.fed = fed
        self.chosen = {each.path: each for each in chosen}
        self.numbers = {each.path: _channel_numbers(each, channels) for each in chosen}
        self.captured: dict[str, Captured] = {}
        self.labels: dict[str, tuple[str, ...]] = {}
        self.provenance = {**provenance, **({"target": target} if target else {})}
        self._each = 8 if target else 4  # a value, and its gradient
        self.notes = (Note("target", f"captured with gradients of {target}"),) if target else ()

    def bytes(self) -> int:
        """What the maps of this batch take, by the shapes of the dry run."""
        one = 0
        for path, layer in self.chosen.items():
            share = len(self.numbers[path]) / (layer.channels or 1)
            one += int(math.prod(layer.shape or ()) * share)
        return self._each * one * max(1, len(self.fed.ids))

    def picks(self) -> dict[str, Pick]:
        """For each layer of which not every channel is wanted, which ones are."""
        return {
            path: Pick(layer.axes.index("c"), self.numbers[path])
            for path, layer in self.chosen.items()
            if "c" in layer.axes and self.numbers[path] != _all(layer.channels or 0)
        }

    def kept(self, path: str, captured: Captured, picked: bool = False) -> Captured:
        """Without the channels that weren't asked for (unless they are `picked` already), and without the images that only
        filled a fixed batch."""
        layer, numbers = self.chosen[path], None if picked else self.numbers[path]
        return Captured(
            self._cut(captured.values, layer, numbers),
            None if captured.gradient is None else self._cut(captured.gradient, layer, numbers),
            captured.dtype or name_of(captured.values.dtype),
        )

    def _cut(self, values: np.ndarray, layer: Layer, numbers: tuple[int, ...] | None) -> np.ndarray:
        if self.fed.filled and "b" in layer.axes:
            values = np.take(
                values, range(values.shape[layer.axes.index("b")] - self.fed.filled), layer.axes.index("b")
            )
        if numbers is not None and "c" in layer.axes and numbers != _all(layer.channels or 0):
            values = np.take(values, numbers, layer.axes.index("c"))
        return values


def announce(run: Run, count: int, kept: bool) -> None:
    """Say how much memory a large capture will take, or refuse one that can't fit, before its first forward pass.

    `count` images are kept at once; `kept` says whether they are all there are.
    """
    one = (run.bytes() + _kept_beside(run.fed, kept)) / len(run.fed.ids)
    most = memory.limit() if one * count > UNASKED_BYTES else None
    if most is not None and one * count > most:
        instead = "stream(), which keeps a batch at a time" if kept and count > 1 else "a smaller batch="
        raise CaptureTooLarge(
            f"this capture would keep {memory.amount(one * count)} in memory ({count} images of {memory.amount(one)}), and"
            f" {memory.amount(most)} can be had: ask for fewer layers, for some channels=, or use {instead}."
            f" {memory.LIMIT}={math.ceil(one * count / 1e9)}GB lets it try all the same"
        )
    if kept and one * count > ANNOUNCE_BYTES:
        log.warning(
            "this capture will keep about %.1f GB in memory (%d images of %.1f MB); stream() gives a batch at a time",
            one * count / 1e9,
            count,
            one / 1e6,
        )


def _kept_beside(fed: Fed, kept: bool) -> int:
    """Bytes of the photos, and of the input that a capture's maps keep to run the model again; a ready batch is the user's."""
    if fed.photos is None:
        return 0
    inputs = fed.array.nbytes if kept and isinstance(fed.array, np.ndarray) else 0
    return sum(each.pixels.nbytes for each in fed.photos) + inputs


def joined(parts: Sequence[Run]) -> dict[str, FeatureMap]:
    """The maps of all passes, in the execution order of the first."""
    if not parts:
        return {}
    found = {}
    for path in list(parts[0].captured):
        found[path] = _feature_map(path, parts)
        for each in parts:
            del each.captured[path]  # joined now: a second copy of everything would double the memory
    return found


def _feature_map(path: str, parts: Sequence[Run]) -> FeatureMap:
    layer = parts[0].chosen[path]
    raw = [each.captured[path] for each in parts]
    values, notes = _values([each.values for each in raw], layer, path)
    gradient = None
    if raw[0].gradient is not None:
        gradient = _values([each.gradient for each in raw if each.gradient is not None], layer, path)[0]
    tokens = None
    grid = layer.grid if "n" in layer.axes else None
    if grid is not None:
        values, tokens = split_tokens(values, grid)
        layer = replace(layer, prefix=prefix_names(tokens.shape[1], layer.prefix))
        if gradient is not None:
            gradient, _ = split_tokens(gradient, grid)
    ids = tuple(id for each in parts for id in each.fed.ids)
    of_rows = len(ids) != values.shape[0]
    if of_rows:
        # A layer whose rows are not images (detection boxes, windows): its rows are numbered, photos can't belong to them.
        ids, photos, placement = tuple(f"row {at}" for at in range(values.shape[0])), None, None
    else:
        photos, placement = _photos(parts)
    labels = parts[0].labels.get(path, ())
    return FeatureMap(
        values,
        layer,
        ids,
        parts[0].numbers[path],
        photos,
        placement,
        gradient,
        of=layer.channels or 1,
        tokens=tokens,
        dtype=raw[0].dtype,
        notes=(*notes, *parts[0].notes),
        provenance=parts[0].provenance,
        names=tuple(labels[at] for at in parts[0].numbers[path]) if labels else (),
        rows="row" if of_rows else "image",
    )


def _values(arrays: Sequence[np.ndarray], layer: Layer, path: str) -> tuple[np.ndarray, tuple[str, ...]]:
    # Joined in the framework's own order: joining channels-last views would transpose them all.
    if len(arrays) > 1 and "b" not in layer.axes:
        raise BadOption(
            f"{path!r} has no batch axis ({layer.axes}), so its images can't be joined: capture one at a time"
        )
    raw = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=layer.axes.index("b"))
    return as_float32(channels_last(raw, layer.axes))


def _photos(parts: Sequence[Run]) -> tuple[tuple[np.ndarray, ...] | None, tuple[Placement, ...] | None]:
    if any(each.fed.photos is None or each.fed.placement is None for each in parts):
        return None, None
    return (
        tuple(photo.pixels for each in parts for photo in each.fed.photos or ()),
        tuple(place for each in parts for place in each.fed.placement or ()),
    )


@cache
def _all(count: int) -> tuple[int, ...]:
    """The numbers of all channels: one tuple for all maps, and equal to itself at a glance."""
    return tuple(range(count))


def _channel_numbers(layer: Layer, channels: Sequence[int] | slice | str | None) -> tuple[int, ...]:
    count = layer.channels or 1
    return _all(count) if channels is None else numbers(channels, count, layer.path)
