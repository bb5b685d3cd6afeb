"""What a session knows of its model: the layers, the maps and the classes of its images, captured when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..core.layer_table import LayerTable
from ..core.selection import in_order
from ..errors import BadLayout, BadOption, LayerNotCalled, LayerNotFound
from ..scope.objects import by_path
from ..scope.prediction import Prediction
from ..scope.scope import Scope
from ..scope.target import top_classes
from .cache import Cache
from .inputs import Entry, Inputs
from .maps import one_of
from .turns import Job, Turns

TOP = 5
COLORS = 3  # channels that a photo has


@dataclass(frozen=True)
class Wanted:
    """A layer for an image, and the job that asks for it."""

    entry: Entry
    layer: Layer
    job: Job


class Captures:
    """The model runs for one job at a time, and what came out is kept as long as there is room."""

    def __init__(self, scope: Scope, inputs: Inputs, chosen: Any, *, cache: Cache, turns: Turns) -> None:
        self.scope, self.inputs = scope, inputs
        self.predictions: dict[str, list[Prediction] | None] = {}
        self._chosen, self._cache, self._turns = by_path(scope, chosen), cache, turns
        self._layers: list[Layer] = []
        self.first: int | None = None

    @contextmanager
    def running(self, job: Job) -> Iterator[None]:
        """Around whatever runs the model. It is not this job's turn already."""
        with self._turns.take(job):
            yield

    def layers(self, job: Job) -> list[Layer]:
        """The layers that a page lists, from a dry run on the first image; `first` is the number of the one shown first."""
        if not self._layers:
            entry = next(iter(self.inputs), None)
            with self.running(job):
                if not self._layers:
                    table = self.scope.layers(None if entry is None else self._given(entry))
                    layers = layers_of(table, self._chosen)
                    self.first = first_layer(table, layers, self._chosen)
                    self._layers = layers
        return self._layers

    def map_of(self, wanted: Wanted) -> FeatureMap:
        """The map of one image, without its photo."""
        entry, layer = wanted.entry, wanted.layer
        key = ("map", entry.key, layer.path)
        fm: FeatureMap | None = self._cache.get(key)
        if fm is None:
            with self.running(wanted.job):
                fm = self._cache.get(key)  # whoever waited for the same finds it now
                if fm is None:
                    fm = self._captured(entry, layer)
                    self._cache.put(key, fm, _size(fm))
        return one_of(fm, entry.row)

    def aimed(self, wanted: Wanted, target: Any) -> FeatureMap:
        """The map of one image with its gradient for a target, or for `None` for the model's first class. It isn't kept."""
        if target is None:
            target = self._top_class(wanted)
        with self.running(wanted.job):
            return one_of(self._captured(wanted.entry, wanted.layer, target), wanted.entry.row)

    def attention(self, wanted: Wanted) -> dict[str, FeatureMap]:
        """The attention weights of all layers."""
        with self.running(wanted.job):
            maps = self.scope.capture(self._given(wanted.entry), "kind:AttentionMap")
        return {path: replace(fm.image(wanted.entry.row), photos=None) for path, fm in maps.items()}

    def predicted(self, entry: Entry, job: Job) -> list[Prediction] | None:
        """The classes that the model sees in an image; `None` where its output means none."""
        if entry.id not in self.predictions:
            with self.running(job):
                try:
                    found = self.scope.predict(self._given(entry), TOP)[entry.row]
                except (
                    BadOption,
                    BadLayout,
                    LayerNotCalled,
                    LayerNotFound,
                ):  # there is no output that is a list of classes
                    found = None
            self.predictions[entry.id] = found
        return self.predictions[entry.id]

    def with_photo(self, fm: FeatureMap, entry: Entry) -> FeatureMap:
        """A map of one image with the photo that it was captured from, where there is one."""
        photo = self.inputs.photo(entry)
        return fm if photo is None or fm.placement is None else replace(fm, photos=(photo.pixels,))

    def _top_class(self, wanted: Wanted) -> int:
        with self.running(wanted.job):
            (output, *_) = self.scope.capture(self._given(wanted.entry), "output").values()
        return top_classes(output)[wanted.entry.row]

    def _captured(self, entry: Entry, layer: Layer, target: Any = None) -> FeatureMap:
        maps = self.scope.capture(self._given(entry), layer, target=target)
        # Another image may have called the layer more often than the first one did.
        fm = dict(maps).get(layer.path) or next(iter(maps.values()))
        # What a framework gave may hold its whole arena, of which the values are a small part.
        tokens = None if fm.tokens is None else fm.tokens.copy("K")
        return replace(fm, values=fm.values.copy("K"), tokens=tokens, photos=None)

    def _given(self, entry: Entry) -> Any:
        """What `Scope.capture` takes for an image: the decoded photo, which is kept, or the whole batch."""
        return entry.given if entry.batch else self.inputs.photo(entry)


def _size(fm: FeatureMap) -> int:
    """The bytes that a kept map takes, with the model input that it keeps."""
    held = [fm.values, *(() if fm.tokens is None else (fm.tokens,)), *getattr(fm.origin, "batches", ())]
    return sum(int(getattr(array, "nbytes", 0)) for array in held)


def layers_of(table: LayerTable, chosen: Any) -> list[Layer]:
    """Those that a page lists: every call in execution order, those that gave nothing as well; or those that were chosen."""
    return in_order(table) if chosen is None else table.choose(chosen)


def first_layer(table: LayerTable, layers: Sequence[Layer], chosen: Any) -> int | None:
    """The number of the layer that is shown first: of those chosen the first; without a choice the first stage of a model.

    A stage of few channels is arithmetic in front of a network rather than a layer to look at.
    """
    shown = [number for number, layer in enumerate(layers) if layer.showable]
    if chosen is None or (isinstance(chosen, str) and chosen == "stages"):
        try:
            stages = table.choose("stages")
        except (LayerNotFound, LayerNotCalled):
            stages = []
        worth = [stage for stage in stages if (stage.channels or 0) > COLORS] or stages
        paths = [layer.path for layer in layers]
        return next((paths.index(stage.path) for stage in worth), shown[0] if shown else None)
    return shown[0] if shown else None
