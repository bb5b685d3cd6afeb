"""Layers that a model calls once for each image or time step: the table, made from one image, knows of one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends.protocol import Captured, Change
from ..core.layer import Layer, split_call
from ..core.layer_table import LayerTable
from .batches import Batch, signature
from .run import Run, capture_paths, trimmed

if TYPE_CHECKING:
    from .scope import Scope


def with_all_calls(scope: Scope, table: LayerTable, batch: Batch, run: Run) -> Run:
    """The run with every call of the layers that gave fewer rows than there are images.

    What gave one image's rows in each of as many calls as there are images is joined to the rows of one map.
    """
    images, key = len(batch.ids), signature(batch.array)
    if images == 1 or batch.filled:
        return run
    asked = _asked(table, run, images)
    bases = [base for base in asked if (key, base) not in scope._cache.once]
    if not bases:
        return run
    known = run.request.picks if scope._reader.picks else {}
    picks = {base: known[asked[base][0]] for base in bases if asked[base][0] in known}
    captured = capture_paths(scope, batch, bases, run.request.target, picks=picks)
    calls = {
        base: [trimmed(call, run.request, asked[base][0], picked=base in picks) for call in _calls(base, captured)]
        for base in bases
    }
    scope._cache.once.update((key, base) for base in bases if len(calls[base]) == len(asked[base]))
    extended = _extended(run, images, {base: found for base, found in calls.items() if len(found) > len(asked[base])})
    scope._cache.by_image.update(base for base in bases if base in extended.captured and len(calls[base]) > 1)
    return extended


def call_by_call(change: Change, axis: int, images: int) -> Change:
    """A change of the rows of all images for a layer that is called with some of them at a time, in their order."""
    start = 0

    def changed(raw: np.ndarray) -> np.ndarray:
        nonlocal start
        rows = np.moveaxis(np.zeros_like(raw, shape=(*raw.shape[:axis], images, *raw.shape[axis + 1 :])), axis, 0)
        part = slice(start, start + raw.shape[axis])
        start = part.stop % images
        rows[part] = np.moveaxis(raw, axis, 0)
        after = np.moveaxis(np.asarray(change(np.moveaxis(rows, 0, axis))), axis, 0)
        return np.moveaxis(after[part], 0, axis)

    return changed


def _asked(table: LayerTable, run: Run, images: int) -> dict[str, list[str]]:
    """The layers of which all calls that the table knows were asked for and gave other rows than all images have."""
    asked: dict[str, list[str]] = {}
    for path, captured in run.captured.items():
        layer = run.request.layers[path]
        axis = layer.axes.find("b")
        stated = layer.shape[axis] * images if axis >= 0 and layer.shape else None
        if captured.values.ndim == len(layer.axes) and (axis < 0 or captured.values.shape[axis] != stated):
            asked.setdefault(split_call(path)[0] if path in table.several else path, []).append(path)
    known = {layer.path: max(layer.calls, 1) for layer in table} if asked else {}
    return {base: paths for base, paths in asked.items() if len(paths) == known.get(base)}


def _calls(base: str, captured: Mapping[str, Captured]) -> list[Captured]:
    """What each call of a layer gave, in their order."""
    if base in captured:
        return [captured[base]]
    numbers = [
        number for path in captured if (number := split_call(path)[1]) is not None and split_call(path)[0] == base
    ]
    return [captured[f"{base}:{number}"] for number in sorted(numbers)]


def _extended(run: Run, images: int, calls: Mapping[str, Sequence[Captured]]) -> Run:
    """The run with the calls of some layers in the place of those that the table knew."""
    layers, channels = dict(run.request.layers), dict(run.request.channels)
    names, done = dict(run.request.names), set[str]()
    captured: dict[str, Captured] = {}
    for path, output in run.captured.items():
        base = path if path in calls else split_call(path)[0]
        if base not in calls:
            captured[path] = output
            continue
        if base in done:
            continue
        done.add(base)
        for other, (layer, values) in _rows(base, layers[path], calls[base], images, whole=base == path).items():
            layers[other], channels[other], captured[other] = layer, channels[path], values
            if path in names:
                names[other] = names[path]
    return replace(run, request=replace(run.request, layers=layers, channels=channels, names=names), captured=captured)


def _rows(
    base: str, layer: Layer, calls: Sequence[Captured], images: int, *, whole: bool
) -> dict[str, tuple[Layer, Captured]]:
    """A map's layer and values for each call, or for all of them where one image took one call and each gave its row."""
    axis = layer.axes.find("b")
    alike = len({call.values.shape for call in calls}) == 1
    if whole and len(calls) == images and alike and (axis < 0 or calls[0].values.shape[axis] == 1):
        joined = layer
        if axis < 0:
            joined = replace(layer, axes="b" + layer.axes, shape=(1, *(layer.shape or ())))
        return {base: (joined, _joined(calls, axis))}
    single = replace(layer, per_call=())
    return {f"{base}:{number}": (replace(single, path=f"{base}:{number}"), call) for number, call in enumerate(calls)}


def _joined(calls: Sequence[Captured], axis: int) -> Captured:
    def join(arrays: Sequence[Any]) -> np.ndarray:
        return np.stack(arrays) if axis < 0 else np.concatenate(arrays, axis)

    gradients = [call.gradient for call in calls if call.gradient is not None]
    return Captured(
        join([call.values for call in calls]), join(gradients) if len(gradients) == len(calls) else None, calls[0].dtype
    )
