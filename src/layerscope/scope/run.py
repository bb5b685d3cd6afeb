"""One forward pass of a scope's model: what is asked of it, the pass itself with everything put back, what came out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends.common.fault import own_fault
from ..backends.common.run import keep_random_state
from ..backends.protocol import Captured, Pick, SteadyLayers, Target
from ..channels.query import numbers
from ..core.layer import Layer
from ..core.layer_table import LayerTable
from ..core.note import Note
from ..errors import CaptureTooLarge, InternalError, LayerscopeError, ModelNotReadable, first_line
from ..inputs.recipe import READY
from ..memory import short_of_memory
from ..surface import option
from .batches import Batch, checksum, describe, dtype_name, signature
from .target import aim_at, check_labels, output_of

if TYPE_CHECKING:
    from .scope import Scope


TABLES = 32  # are kept, so that a folder of photos, each of another size, doesn't fill the memory with them
_LOCK = Lock()  # of all caches: one in each would keep a scope from being pickled


@dataclass(frozen=True)
class Kept:
    """A table of layers with the image that it was made from.

    `image` is a checksum, `""` for the blank one. Runs of `unlike` images and more differ from it whatever it is made from.
    `steady`: each layer is called as often whatever values the input holds; `for_any_number`: and however many images.
    `settings` are those of the model at that time: with others, the table is made anew.
    `requests` are questions in its terms: the same is asked for every batch, and for every capture of a series.
    """

    table: LayerTable
    image: str = ""
    unlike: float = math.inf
    steady: bool = False
    for_any_number: bool = False
    settings: Any = None
    requests: dict[Any, Request] = field(default_factory=dict, init=False, compare=False)


@dataclass
class Cache:
    """What a scope has found out so far: the tables of layers for the latest sizes and types, whether input was checked."""

    tables: dict[Any, Kept] = field(default_factory=dict)  # the one that was used last at the end
    input_checked: bool = False
    counted: dict[Any, set[Any]] = field(default_factory=dict)  # what batches gave of layers called as the table says
    mixed: dict[Any, Any] = field(default_factory=dict)  # the layers that mix images, see cutting.py
    several: bool | None = None  # whether the model takes several images at a time, once that was tried
    by_image: set[str] = field(default_factory=set)  # layers that are called for each image, whose calls are joined
    dark_photo_said: bool = False
    labels_said: bool = False

    def find(self, key: Any) -> Kept | None:
        """The table that is kept for an input of that size and type. Threads may ask at the same time."""
        with _LOCK:
            if key in self.tables:
                self.tables[key] = kept = self.tables.pop(key)
                return kept
        return None

    def latest(self) -> LayerTable | None:
        """The table that was used last, if there is one."""
        with _LOCK:
            return next(reversed(self.tables.values())).table if self.tables else None

    def keep(self, key: Any, kept: Kept) -> None:
        """Keep a table, in place of the one that was used longest ago where there are too many."""
        with _LOCK:
            self.tables.pop(key, None)
            self.tables[key] = kept
            while len(self.tables) > TABLES:
                del self.tables[next(iter(self.tables))]


@dataclass(frozen=True)
class Question:
    """What a user asks of a capture: layers, channels and the target, as the user gave them."""

    layers: Any
    channels: Sequence[int] | slice | str | None = None
    target: Any = None


@dataclass(frozen=True)
class Request:
    """What is asked of a forward pass: for the path of each layer (or call) the layer, its channels, their names.

    `target_text` goes onto the maps. `by_rule` are layers that were not named: others come without them. `by_number` are
    calls that were named by their number. `notes` are those of layers by their paths.
    """

    layers: Mapping[str, Layer]
    channels: Mapping[str, tuple[int, ...]]
    names: Mapping[str, tuple[str, ...]]
    target: Target | None
    target_text: str
    by_rule: frozenset[str] = frozenset()
    by_number: frozenset[str] = frozenset()
    notes: Mapping[str, Note] = field(default_factory=dict)
    plans: list[Any] = field(
        default_factory=list, init=False, repr=False, compare=False
    )  # what follows from it, see calls.py

    def only(self, paths: Iterable[str]) -> Request:
        """The request for some of its layers."""
        return replace(self, layers={path: self.layers[path] for path in paths})

    @cached_property
    def bytes_per_image(self) -> int:
        """What the maps of one image take, by the shapes of the dry run."""
        values = 0
        for path, layer in self.layers.items():
            share = len(self.channels[path]) / (layer.channels or 1)
            values += int(math.prod(layer.shape or ()) * share)
        return values * (4 if self.target is None else 8)  # a value, and its gradient

    @cached_property
    def picks(self) -> dict[str, Pick]:
        """For each layer of which not every channel is wanted, which ones are."""
        return {
            path: Pick(layer.axes.index("c"), self.channels[path])
            for path, layer in self.layers.items()
            if "c" in layer.axes and self.channels[path] != all_channels(layer.channels or 0)
        }


@dataclass(frozen=True, eq=False)
class Run:
    """One forward pass: what was asked, the model input, what came out of each layer; `about` is what the maps record.

    `as_counted`: each layer was called as often as its table says. `joined` are layers whose calls became one map. `mixed` are
    those whose values for an image depend on the others of its batch, as far as that is known.
    """

    request: Request
    batch: Batch
    captured: Mapping[str, Captured]
    about: Mapping[str, Any] = field(default_factory=dict)
    as_counted: bool = True
    joined: frozenset[str] = frozenset()
    mixed: frozenset[str] = frozenset()

    @cached_property
    def as_stated(self) -> bool:
        """Whether each layer gave the very shape that its table states, as nearly all do."""
        stated = self.request.layers
        return all(captured.values.shape == stated[path].shape for path, captured in self.captured.items())


@contextmanager
def forward_pass(scope: Scope, array: Any) -> Iterator[None]:
    """Around a forward pass: random state is put back, the model's own errors come with what it was given, ours as ours."""
    try:
        with keep_random_state() if scope._reader.random else nullcontext():
            yield
    except LayerscopeError:
        raise
    except Exception as error:
        # Whatever a framework or the user's model raises; the cause is chained.
        reason = f"{type(error).__name__}: {first_line(error)}"
        if short_of_memory(error):
            raise CaptureTooLarge(
                f"{scope.name}: memory ran out in the forward pass on {describe(array)}: {reason}. Use a smaller "
                f"{option('batch')}, fewer layers or fewer {option('channels')}"
            ) from error
        if place := own_fault(error):
            raise InternalError(
                f"{scope.name}: layerscope's own code failed in {place[0]}, line {place[1]}: {reason}",
                "that is a fault in layerscope, not in the model: please report it with the whole traceback",
            ) from error
        raise ModelNotReadable(
            f"{scope.name}: the forward pass failed on an input of {describe(array)}: {reason}. {_advice(scope, error)}"
        ) from error


def _advice(scope: Scope, error: Exception) -> str:
    """What could help where the model's forward pass fails."""
    if scope.preprocess == READY:
        return "A ready batch goes into the model as it is: check that its axes, size and dtype are those that the model takes"
    if isinstance(error, TypeError) and "required positional argument" in str(error):
        return (
            "A model with several inputs takes a tuple or a dict: give batches that are ready for the model, with "
            f"{option('preprocess', None)}"
        )
    return f"If the size or type is wrong, {option('size')} and {option('preprocess')} change it"


def kept_table(scope: Scope, batch: Batch) -> Kept | None:
    """The table that was made for input of that size and type, if the model still has the settings that it had then."""
    kept = scope._cache.find(signature(batch.array))
    if kept is None or kept.settings == scope._reader.settings(scope.model):
        return kept
    scope._cache.counted, scope._cache.mixed = {}, {}
    return None


def layer_table(scope: Scope, batch: Batch) -> LayerTable:
    """The table of layers for a batch, made once for each size and type of input."""
    kept = kept_table(scope, batch)
    return make_table(scope, batch).table if kept is None else kept.table


def table_of_image(scope: Scope, batch: Batch) -> LayerTable:
    """The table of layers for the first image of a batch: what runs may depend on it."""
    kept = kept_table(scope, batch)
    same = kept is not None and kept.image == checksum(batch)
    return kept.table if kept is not None and same else make_table(scope, batch).table


def make_table(scope: Scope, batch: Batch) -> Kept:
    """The table of layers for a batch, made by a dry run, and kept."""
    settings = scope._reader.settings(scope.model)
    with forward_pass(scope, batch.array):
        layers = scope._reader.layers(scope.model, batch.array)
    table = LayerTable(layers, f"{scope.name} · {scope.facts.framework or scope._reader.name}")
    kept = Kept(
        table,
        checksum(batch),
        steady=isinstance(layers, SteadyLayers),
        for_any_number=isinstance(layers, SteadyLayers) and layers.for_any_number,
        settings=settings,
    )
    scope._cache.keep(signature(batch.array), kept)
    return kept


def request_of(scope: Scope, kept: Kept, question: Question) -> Request:
    """As `resolve_request`, once for each table where the question is nothing but words."""
    words = tuple(question.layers) if isinstance(question.layers, list | tuple) else (question.layers,)
    channels = question.channels
    plain = question.target is None and (channels is None or isinstance(channels, str))
    if not plain or not all(isinstance(word, str) for word in words):
        return resolve_request(scope, kept.table, question)
    key = (words, channels)
    if key not in kept.requests:
        kept.requests[key] = resolve_request(scope, kept.table, question)
    return kept.requests[key]


def resolve_request(scope: Scope, table: LayerTable, question: Question) -> Request:
    """The question in the terms of one table of layers. Raises `LayerNotFound`, `LayerNotCalled`, `BadChannels`."""
    layers = table.choose(question.layers)
    by_rule = table.by_rule(question.layers) if len(layers) > 1 else frozenset()
    target, text = aim_at(scope, question.target, table)
    return Request(
        {layer.path: layer for layer in layers},
        {layer.path: _channel_numbers(layer, question.channels) for layer in layers},
        _class_names(scope, table, layers),
        target,
        text,
        by_rule,
        table.by_number(question.layers),
        _notes_of_labels(scope, table, layers),
    )


def capture_paths(
    scope: Scope, batch: Batch, paths: Iterable[str], target: Target | None, *, picks: Mapping[str, Pick]
) -> dict[str, Captured]:
    """What the backend captures of a batch."""
    options: dict[str, Any] = {"picks": picks} if picks else {}
    with forward_pass(scope, batch.array):
        return scope._reader.capture(scope.model, batch.array, list(paths), target, **options)


def provenance(scope: Scope) -> dict[str, Any]:
    """What a picture records of model and preprocessing."""
    # Taken anew at each capture: weights may have been trained since the last one.
    digest = scope._reader.digest(scope.model) if scope._reader.offers("digest") else scope.facts.digest
    return {
        "model": scope.name,
        "model_digest": digest,
        "framework": scope.facts.framework or scope._reader.name,
        "preprocess": scope.preprocess.describe(),
        "preprocess_source": scope.plan.note,
        **({} if scope.plan.known else {"preprocess_assumed": True}),
    }


@lru_cache(maxsize=256)
def all_channels(count: int) -> tuple[int, ...]:
    """The numbers of all channels: one tuple for all maps, and equal to itself at a glance."""
    return tuple(range(count))


def _channel_numbers(layer: Layer, channels: Sequence[int] | slice | str | None) -> tuple[int, ...]:
    count = 1 if layer.channels is None else layer.channels
    return all_channels(count) if channels is None else numbers(channels, count, layer.path)


def _class_names(scope: Scope, table: LayerTable, layers: Sequence[Layer]) -> dict[str, tuple[str, ...]]:
    """The names of the channels of the model's output, where there is a label for each of them."""
    labels = scope.labels
    if not labels:
        return {}
    fitting = [layer for layer in layers if layer.channels == len(labels) and max(layer.spatial, default=1) == 1]
    outputs = {layer.path for layer in table.choose("output")} if fitting else set()
    return {layer.path: labels for layer in fitting if layer.path in outputs}


def _notes_of_labels(scope: Scope, table: LayerTable, layers: Sequence[Layer]) -> dict[str, Note]:
    """What is to be said of the model's output where labels don't fit it."""
    if scope.labels is None or scope.labels == scope.facts.labels:
        return {}
    path = output_of(table).path
    noted = {layer.path: check_labels(scope, layer) for layer in layers if layer.path == path}
    return {path: note for path, note in noted.items() if note}


def with_type(output: Captured) -> Captured:
    """What came out of a layer with the name of its type, which backends leave out where it is numpy's."""
    return output if output.dtype else Captured(output.values, output.gradient, dtype_name(output.values.dtype))


def trimmed(output: Captured, request: Request, path: str, *, picked: bool, filled: int = 0) -> Captured:
    """What came out of a layer without channels that weren't asked for, and without images that only filled the batch."""
    cut_channels = not picked and path in request.picks
    if not cut_channels and not filled:
        return with_type(output)
    layer, numbers = request.layers[path], request.channels[path]

    def trim(values: np.ndarray) -> np.ndarray:
        if filled and "b" in layer.axes:
            axis = layer.axes.index("b")
            values = np.take(values, range(values.shape[axis] - filled), axis)
        return np.take(values, numbers, layer.axes.index("c")) if cut_channels else values

    gradient = None if output.gradient is None else trim(output.gradient)
    return Captured(trim(output.values), gradient, output.dtype or dtype_name(output.values.dtype))
