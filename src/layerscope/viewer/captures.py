"""What a session knows of its model: the layers, the maps and the classes of its images, captured when they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..core.layer_table import LayerTable
from ..core.selection import in_order
from ..errors import BadLayout, BadOption, LayerNotCalled, LayerNotFound
from ..inputs.photo import Photo
from ..scope.objects import by_path
from ..scope.prediction import Prediction
from ..scope.scope import Scope
from ..scope.target import top_classes
from .inputs import Entry, Inputs
from .maps import one_of
from .turns import Job, Turns

TOP = 5
ARRAYS = ("values", "gradient", "tokens")  # of a map
COLORS = 3  # channels that a photo has


@dataclass(frozen=True)
class Subject:
    """A layer for an image, and the job that asks for it."""

    entry: Entry
    layer: Layer
    job: Job


class Captures:
    """The model runs for one job at a time, and what came out is kept as long as there is room."""

    def __init__(self, scope: Scope, inputs: Inputs, selection: Any, *, cache: Cache, turns: Turns) -> None:
        self.scope, self.inputs = scope, inputs
        self.predictions: dict[str, list[Prediction] | None] = {}
        self._selection, self._cache, self._turns = by_path(scope, selection), cache, turns
        self._layers: list[Layer] = []
        self.first: int | None = None

    @contextmanager
    def turn(self, job: Job) -> Iterator[None]:
        """Around whatever runs the model. It is not this job's turn already."""
        with self._turns.take(job):
            yield

    def layers(self, job: Job) -> list[Layer]:
        """The layers that a page lists, from a dry run on the first image; `first` is the number of the one shown first."""
        if not self._layers:
            entry = next(iter(self.inputs), None)
            with self.turn(job):
                if not self._layers:
                    table = self.scope.layers(None if entry is None else self._input(entry))
                    layers = layers_of(table, self._selection)
                    self.first = first_layer(table, layers, self._selection)
                    self._layers = layers
        return self._layers

    def map_of(self, subject: Subject) -> FeatureMap:
        """The map of one image, without its photo."""
        return self._map(subject)

    def map_with_gradient(self, subject: Subject, target: Any) -> FeatureMap:
        """The map of one image with its gradient for a target, or for `None` for the model's first class."""
        return self._map(subject, self._top_class(subject) if target is None else target)

    def attention(self, subject: Subject) -> dict[str, FeatureMap]:
        """The attention weights of all layers."""
        with self.turn(subject.job):
            maps = self.scope.capture(self._input(subject.entry), "kind:AttentionMap")
        return {path: replace(fm.image(subject.entry.row), photos=None) for path, fm in maps.items()}

    def predictions_of(self, entry: Entry, job: Job) -> list[Prediction] | None:
        """The classes that the model sees in an image; `None` where its output means none."""
        if entry.id not in self.predictions:
            with self.turn(job):
                try:
                    predictions = self.scope.predict(self._input(entry), TOP)[entry.row]
                except (
                    BadOption,
                    BadLayout,
                    LayerNotCalled,
                    LayerNotFound,
                ):  # there is no output that is a list of classes
                    predictions = None
            self.predictions[entry.id] = predictions
        return self.predictions[entry.id]

    def with_photo(self, fm: FeatureMap, entry: Entry) -> FeatureMap:
        """A map of one image with the photo that it was captured from, where there is one."""
        photo = self.photo(entry)
        return fm if photo is None or fm.placement is None else replace(fm, photos=(photo.pixels,))

    def photo(self, entry: Entry) -> Photo | None:
        """The decoded photo of an image, `None` for a row of a ready batch."""
        if entry.batch:
            return None
        photo: Photo | None = self._cache.get(("pixels", entry.id))
        if photo is None:
            photo = entry.item.read()
            self.keep_photo(entry, photo)
        return photo

    def keep_photo(self, entry: Entry, photo: Photo) -> None:
        """Keep what was decoded already, as long as there is room."""
        self._cache.put(("pixels", entry.id), photo, photo.nbytes)

    def _map(self, subject: Subject, target: Any = None) -> FeatureMap:
        entry, layer = subject.entry, subject.layer
        key = ("map", entry.key, layer.path, target)
        fm: FeatureMap | None = self._cache.get(key)
        if fm is None:
            with self.turn(subject.job):
                fm = self._cache.get(key)  # whoever waited for the same finds it now
                if fm is None:
                    fm = self._capture(entry, layer, target)
                    self._cache.put(key, fm, _size(fm))
        return one_of(fm, entry.row)

    def _top_class(self, subject: Subject) -> int:
        with self.turn(subject.job):
            (output, *_) = self.scope.capture(self._input(subject.entry), "output").values()
        return top_classes(output)[subject.entry.row]

    def _capture(self, entry: Entry, layer: Layer, target: Any = None) -> FeatureMap:
        maps = self.scope.capture(self._input(entry), layer, target=target)
        # Another image may have called the layer more often than the first one did.
        fm = dict(maps).get(layer.path) or next(iter(maps.values()))
        # What a framework gave may hold its whole arena, of which the values are a small part.
        parts = {name: array.copy("K") for name in ARRAYS if (array := getattr(fm, name)) is not None}
        return replace(fm, **parts, photos=None)

    def _input(self, entry: Entry) -> Any:
        """What `Scope.capture` takes for an image: the decoded photo, which is kept, or the whole batch."""
        return entry.item if entry.batch else self.photo(entry)


def _size(fm: FeatureMap) -> int:
    """The bytes that a kept map takes, with the model input that it keeps."""
    arrays = [*(getattr(fm, name) for name in ARRAYS), *getattr(fm.origin, "batches", ())]
    return sum(int(getattr(array, "nbytes", 0)) for array in arrays)


def layers_of(table: LayerTable, selection: Any) -> list[Layer]:
    """Those that a page lists: every call in execution order, those that gave nothing as well; or those that were chosen."""
    return in_order(table) if selection is None else table.choose(selection)


def first_layer(table: LayerTable, layers: Sequence[Layer], selection: Any) -> int | None:
    """The number of the layer that is shown first: of those chosen the first; without a choice the first stage of a model.

    A stage of few channels is arithmetic in front of a network rather than a layer to look at.
    """
    visible = [number for number, layer in enumerate(layers) if layer.showable]
    if selection is None or (isinstance(selection, str) and selection == "stages"):
        try:
            stages = table.choose("stages")
        except (LayerNotFound, LayerNotCalled):
            stages = []
        worth = [stage for stage in stages if (stage.channels or 0) > COLORS] or stages
        paths = [layer.path for layer in layers]
        return next((paths.index(stage.path) for stage in worth), visible[0] if visible else None)
    return visible[0] if visible else None


class Cache:
    """Values by key, up to `limit` bytes; those asked for longest ago leave first. Threads may use it together.

    >>> cache = Cache(10)
    >>> for name in "abc":
    ...     cache.put(name, name.upper(), 5)
    >>> cache.get("a"), cache.get("c"), cache.nbytes
    (None, 'C', 10)
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.nbytes = limit, 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> Any:
        """The value, or `None`."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value of so many bytes; one that is larger than all there may be is not kept."""
        with self._lock:
            self.nbytes -= self._values.pop(key, (None, 0))[1]
            if size > self.limit:
                return
            self._values[key] = value, size
            self.nbytes += size
            while self.nbytes > self.limit:
                self.nbytes -= self._values.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self.nbytes = 0
