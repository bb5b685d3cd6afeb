"""How often a run calls a layer: the table, made from one image, knows it of one run; every call of this run comes back.

A run may stop after the last call that the table knows where it has more calls of no layer that was asked for. Of models
that read values, no one knows beforehand; of others, the first batch of several images tells, as a loop over the images calls
a layer more often.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..backends.protocol import Captured, Change, Pick
from ..core.layer import Layer, split_call
from ..core.layer_table import LayerTable
from .batches import Batch, signature
from .run import Kept, Request, Run, capture_paths, trimmed, with_type

if TYPE_CHECKING:
    from .scope import Scope

EACH = "a row for each image"


@dataclass(frozen=True)
class Asked:
    """The calls of one layer that were asked for, not by number, among all that the table knows."""

    base: str
    known: tuple[Layer, ...]
    paths: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether all calls are meant."""
        return len(self.paths) == len(self.known)

    def indices(self, count: int) -> list[int]:
        """Which of `count` calls are meant: of a part of them, such as the last, those as far from the end."""
        if self.whole:
            return list(range(count))
        places = [index for index, layer in enumerate(self.known) if layer.path in self.paths]
        return [count - len(self.known) + place for place in places if count - len(self.known) + place >= 0]

    def layer(self, index: int, count: int) -> Layer:
        """The layer of one of `count` calls, by that of the table which is nearest to it."""
        place = index if self.whole else index - count + len(self.known)
        return self.known[min(place, len(self.known) - 1)]


def run_model(scope: Scope, kept: Kept, batch: Batch, request: Request) -> Run:
    """The forward pass: channels that weren't asked for and images that only filled the batch are left out.

    What gave one image's rows in each of as many calls as there are images is joined to the rows of one map.
    """
    asked = _plan(kept.table, request).asked
    images, counted, key = len(batch.ids), scope._cache.counted, signature(batch.array)
    ends = set() if kept.steady else set(asked)
    check = kept.steady and not kept.for_any_number and images > 1 and not batch.filled
    if check:
        ends = {base for base in asked if (key, base) not in counted}
    run, calls = _run_once(scope, kept, batch, request, to_the_end=[asked[base] for base in ends])
    if check:
        late = {base for base in asked.keys() - ends if _kind(asked[base], run, images) not in counted[key, base]}
        if late:
            run, calls = _run_once(scope, kept, batch, request, to_the_end=[asked[base] for base in ends | late])
        for base in calls:
            if calls[base] == len(asked[base].known):
                counted.setdefault((key, base), set()).add(_kind(asked[base], run, images))
    scope._cache.by_image.update(run.joined)
    return run


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


class Plan(NamedTuple):
    """What follows from a request and a table alone, for every run of them.

    `singles`: the path of each address that stands for one call.
    """

    table: LayerTable
    asked: Mapping[str, Asked]
    singles: Mapping[str, str]


def _plan(table: LayerTable, request: Request) -> Plan:
    plan: Plan | None = request.plans[0] if request.plans else None
    if plan is None or plan.table is not table:
        singles: dict[str, str] = {}
        for path in request.layers:
            singles.setdefault(table.single(path), path)
        plan = Plan(table, _asked(table, request), singles)
        request.plans[:] = [plan]
    return plan


def _asked(table: LayerTable, request: Request) -> dict[str, Asked]:
    """The layers whose calls were asked for otherwise than by number."""
    paths: dict[str, list[str]] = {}
    for path in filter(None, request.layers):
        paths.setdefault(split_call(path)[0] if path in table.several else path, []).append(path)
    paths = {base: own for base, own in paths.items() if request.by_number.isdisjoint(own)}
    rows = {layer.path: layer for layer in table} if paths else {}
    return {base: Asked(base, rows[base].per_call or (rows[base],), tuple(own)) for base, own in paths.items()}


def _kind(asked: Asked, run: Run, images: int) -> Any:
    """What the first call of a layer gave: a row for each image, or of so many images something of this shape."""
    path = next((path for path in asked.paths if path in run.captured), None)
    if path is None:
        return None
    layer, shape = run.request.layers[path], run.captured[path].values.shape
    axis = layer.axes.find("b")
    each = axis >= 0 and layer.shape and len(shape) == len(layer.axes) and shape[axis] == layer.shape[axis] * images
    return EACH if each else (images, shape)


def _run_once(
    scope: Scope, kept: Kept, batch: Batch, request: Request, *, to_the_end: Collection[Asked]
) -> tuple[Run, dict[str, int]]:
    """A run, and how often it called those layers for whose last call it waited."""
    ends = {asked.base: asked for asked in to_the_end}
    base_of = {path: asked.base for asked in to_the_end for path in asked.paths}
    paths = _plan(kept.table, request).singles
    if ends:
        paths = {}
        for path in request.layers:
            paths.setdefault(base_of[path] if path in base_of else kept.table.single(path), path)
    picks = _picks(request, paths, ends) if scope._reader.picks else {}
    captured = capture_paths(scope, batch, paths, request.target, picks=picks)
    if not ends and not batch.filled and not request.picks and paths.keys() >= captured.keys():
        return Run(request, batch, {paths[name]: with_type(output) for name, output in captured.items()}), {}
    found: dict[str, list[Captured]] = {base: [] for base in ends}
    rows: list[tuple[str, Captured, str, int]] = []  # the address in the request, and the number of the call
    for name, output in captured.items():
        address = name if name in paths else split_call(name)[0]
        calls = found.get(address, [])
        rows.append((address, output, paths[address], len(calls)))
        calls.append(output)
    places = {base: _places(asked, found[base], len(batch.ids), kept) for base, asked in ends.items()}
    out = _Outcome(request)
    for address, output, path, index in rows:
        place = places[address][index] if address in places else Place(path, request.layers[path], path)
        if place is not None:
            values = trimmed(output, request, place.like, filled=batch.filled, picked=address in picks)
            out.add(place, values)
    counts = {base: len(calls) for base, calls in found.items()}
    differ = [base for base, count in counts.items() if count != len(ends[base].known) and base not in out.joined]
    as_counted = not differ or (kept.steady and len(batch.ids) > 1)
    return Run(out.request(), batch, out.captured(), as_counted=as_counted, joined=frozenset(out.joined)), counts


def _picks(request: Request, paths: Mapping[str, str], ends: Mapping[str, Asked]) -> dict[str, Pick]:
    """The channels to be copied of each address, where they are those of all calls that it stands for."""
    known = request.picks
    return {
        address: known[path]
        for address, path in paths.items()
        if path in known and all(known.get(other) == known[path] for other in _calls(ends, address))
    }


def _calls(ends: Mapping[str, Asked], address: str) -> tuple[str, ...]:
    return ends[address].paths if address in ends else ()


class Place(NamedTuple):
    """Where a call's values go: its path and layer; `like` is the path in the request whose channels it has.

    `axis` is that along which all calls of a layer are joined to one map, `None` where each has its own.
    """

    path: str
    layer: Layer
    like: str
    axis: int | None = None


def _places(asked: Asked, calls: Sequence[Captured], images: int, kept: Kept) -> list[Place | None]:
    """The place of each call of a layer; `None` for those that weren't asked for."""
    count, known, first = len(calls), len(asked.known), asked.known[0]
    if count == known:
        return [Place(one.path, one, one.path) if one.path in asked.paths else None for one in asked.known]
    axis = first.axes.find("b")
    alike = len({call.values.shape for call in calls}) == 1
    if known == 1 and count == images and alike and (axis < 0 or calls[0].values.shape[axis] == 1):
        if axis < 0:
            first = replace(first, axes="b" + first.axes, shape=(1, *(first.shape or ())))
        return [Place(asked.base, first, asked.paths[0], axis)] * count
    places: list[Place | None] = [None] * count
    for index in asked.indices(count):
        like = asked.layer(index, count)
        path = f"{asked.base}:{index}" if count > 1 else asked.base
        places[index] = Place(path, _further(like, path, calls[index], images=images, kept=kept), like.path)
    return places


def _further(like: Layer, path: str, call: Captured, *, images: int, kept: Kept) -> Layer:
    """The layer of a call that the table doesn't know, like that of one which it knows."""
    layer, shape = replace(like, path=path, per_call=()), call.values.shape
    axis = like.axes.find("b")
    if not like.shape or len(shape) != len(like.axes):
        return layer
    of_all = axis < 0 or shape[axis] == like.shape[axis] * images
    sizes = [own if place == axis else size for place, (own, size) in enumerate(zip(like.shape, shape, strict=True))]
    # One step more of a loop sees more of the image; the same step for another image doesn't.
    further = of_all and not kept.steady
    layer = replace(layer, shape=tuple(sizes))
    return replace(layer, receptive=None, lines=None) if further else layer


class _Outcome:
    """What a run gave, by the paths of the maps."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._places: dict[str, Place] = {}
        self._outputs: dict[str, list[Captured]] = {}

    def add(self, place: Place, output: Captured) -> None:
        """The values of one call."""
        self._places[place.path] = place
        self._outputs.setdefault(place.path, []).append(output)

    @property
    def joined(self) -> set[str]:
        """The layers whose calls are one map."""
        return {path for path, place in self._places.items() if place.axis is not None}

    def captured(self) -> dict[str, Captured]:
        """The values of each map."""
        axes = {path: place.axis for path, place in self._places.items()}
        return {
            path: outputs[0] if axes[path] is None else _joined(outputs, axes[path] or 0)
            for path, outputs in self._outputs.items()
        }

    def request(self) -> Request:
        """What was asked for, in the calls of this run."""
        request, places = self._request, self._places
        if all(request.layers.get(path) is place.layer for path, place in places.items()):
            return request
        layers, channels, names = dict(request.layers), dict(request.channels), dict(request.names)
        for path, place in places.items():
            layers[path], channels[path] = place.layer, request.channels[place.like]
            if place.like in request.names:
                names[path] = request.names[place.like]
        return replace(request, layers=layers, channels=channels, names=names)


def _joined(calls: Sequence[Captured], axis: int) -> Captured:
    def join(arrays: Sequence[Any]) -> np.ndarray:
        return np.stack(arrays) if axis < 0 else np.concatenate(arrays, axis)

    gradients = [call.gradient for call in calls if call.gradient is not None]
    return Captured(
        join([call.values for call in calls]), join(gradients) if len(gradients) == len(calls) else None, calls[0].dtype
    )
