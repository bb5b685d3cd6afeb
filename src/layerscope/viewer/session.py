"""`Session`: a model, its images and what a page asks of them, without any transport; every answer is JSON and bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from ..checks import one_of as checked
from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..core.numbers import shortened
from ..core.progress import progress
from ..errors import BadOption, LayerscopeError
from ..scope.prediction import Prediction
from ..scope.scope import Scope
from .cache import Cache
from .inputs import Entry, Inputs
from .manifest import about_input, about_prediction, first_layer, layers_of, manifest
from .maps import ENCODINGS, map_payload, one_of
from .photo import photo_payload
from .turns import AtWork, Job, turns_of

KEPT = 1 << 28  # bytes of maps and photos
TOP, FOUND = 5, 30


class Reply(NamedTuple):
    """An answer: what JSON has, and bytes beside it."""

    result: dict[str, Any]
    buffers: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What a request says: its parameters, its bytes, and the job that it is."""

    params: Mapping[str, Any]
    buffers: Sequence[bytes]
    job: Job


class Session:
    """Answers the requests of docs/protocol.md for one model and its images.

    Threads may ask at the same time: the model runs for one of them at a time, whatever session it is asked through, and what
    was captured is kept up to `kept` bytes.

    >>> import layerscope as ls
    >>> session = Session(ls.open(ls.demo_model()), ls.demo_photo(), "_conv_stem")
    >>> session.answer("manifest").result["layers"][0]["path"]
    '_conv_stem'
    >>> reply = session.answer("map", {"input": "i0", "layer": "l0"})
    >>> reply.result["bytes"] == len(reply.buffers[0])
    True
    """

    def __init__(
        self,
        scope: Scope,
        images: Any = None,
        layers: Any = None,
        *,
        view: Mapping[str, Any] | None = None,
        kept: int = KEPT,
    ) -> None:
        self.scope, self._chosen, self._view = scope, layers, view
        self._cache = Cache(kept)
        self._at_work = AtWork(turns_of(scope.model))
        self._turns, self._lock = self._at_work.turns, Lock()
        self.inputs = Inputs(scope, images, self._cache)
        self._predictions: dict[str, list[Prediction] | None] = {}
        self._layers: list[Layer] = []
        self._first: int | None = None
        self._answers: dict[str, Callable[[Asked], Reply]] = {
            "manifest": self._manifest,
            "map": self._map,
            "photo": self._photo,
            "probe": self._probe,
            "classes": self._classes,
            "predictions": self._predict,
            "add": self._add,
        }

    def answer(
        self, op: str, params: Mapping[str, Any] | None = None, buffers: Sequence[bytes] = (), *, id: str = ""
    ) -> Reply:
        """The answer to one request.

        Args:
            op: What is asked: `manifest`, `map`, `photo`, `probe`, `classes`, `predictions`, `add`, `progress`, `cancel`.
            params: What the request says besides, as JSON has it.
            buffers: Bytes that came with it.
            id: Its id, by which `progress` and `cancel` name it.

        Raises:
            Cancelled: The request was cancelled.
            LayerscopeError: Whatever else is wrong with it, as a sentence for whoever asked.
        """
        params = {} if params is None else params
        if not isinstance(params, Mapping) or not isinstance(op, str):
            raise BadOption("a request has a name and an object of parameters")
        if op in ("progress", "cancel"):
            of = params.get("of")
            of = of if isinstance(of, str) else ""
            return Reply(self._at_work.progress(of) if op == "progress" else {"cancelled": self.cancel(of)})
        answer = self._answers[checked("op", op, self._answers)]
        with self._at_work.job(id) as job, progress(job.see):
            return answer(Asked(params, buffers, job))

    def cancel(self, id: str) -> bool:
        """Cancel the request of an id, also one that is still to come; whether it was at work."""
        return self._at_work.cancel(id)

    def close(self) -> None:
        """Cancel all that is at work, and forget what was captured."""
        self._at_work.cancel_all()
        self._cache.clear()

    # ---- what is asked -----------------------------------------------------------------------------------------------

    def _manifest(self, asked: Asked) -> Reply:
        layers, entries = self._table(asked.job), list(self.inputs)
        for entry in entries if asked.params.get("predictions") == "all" else entries[:1]:
            self._prediction(entry, asked.job)
        first = {"input": entries[0].id if entries else "", "layer": "" if self._first is None else f"l{self._first}"}
        return Reply(
            manifest(
                self.scope,
                entries,
                layers,
                predictions=self._predictions,
                first=first,
                view=None if self._view is None else dict(self._view),
                notes=list(self.inputs.notes),
                caps={"request": True, "upload": not self.inputs.ready, "exact": True},
            )
        )

    def _map(self, asked: Asked) -> Reply:
        entry, (id, layer) = self._entry(asked), self._layer(asked)
        encoding = checked("encoding", asked.params.get("encoding") or "auto", ENCODINGS)
        key = ("payload", entry.id, id, encoding)
        data: bytes | None = self._cache.get(key)
        if data is None:
            one = self.map_of(entry, layer, asked.job)
            data = map_payload(one, input=entry.id, layer=id, encoding=encoding)
            self._cache.put(key, data, len(data))
        return Reply({"bytes": len(data)}, (data,))

    def _photo(self, asked: Asked) -> Reply:
        entry = self._entry(asked)
        data: bytes | None = self._cache.get(("photo", entry.id))
        if data is None:
            photo = self.inputs.photo(entry)
            if photo is None:
                raise BadOption(f"{entry.name} has no photo: it came as input that is ready for the model")
            data = photo_payload(photo)
            self._cache.put(("photo", entry.id), data, len(data))
        return Reply({"bytes": len(data)}, (data,))

    def _probe(self, asked: Asked) -> Reply:
        entry, (_, layer) = self._entry(asked), self._layer(asked)
        one = self.map_of(entry, layer, asked.job)
        channel, position = asked.params.get("channel"), asked.params.get("position", [])
        if channel not in one.channels or isinstance(channel, bool):
            raise BadOption(f"{layer.path!r} has no channel {channel!r:.40}")
        if not isinstance(position, list) or len(position) != len(one.spatial):
            raise BadOption(
                f"position={position!r:.80}: {layer.path!r} has {len(one.spatial)} axes besides its channels"
            )
        for place, size in zip(position, one.spatial, strict=True):
            if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < size:
                raise BadOption(f"position={position!r:.80}: {layer.path!r} has the size {one.spatial}")
        value = one.values[(0, *position, one.channels.index(channel))]
        exact = float(value)
        return Reply({"value": exact if math.isfinite(exact) else None, "text": number_text(value)})

    def _classes(self, asked: Asked) -> Reply:
        labels, text = self.scope.labels or (), asked.params.get("text", "")
        if not isinstance(text, str):
            raise BadOption("text: what a label holds, or the number of a class")
        sought = text.strip().casefold()
        exact = [int(sought)] if sought.isdecimal() and len(sought) < 9 and int(sought) < len(labels) else []
        ranks = ((_rank(label.casefold(), sought), index) for index, label in enumerate(labels))
        found = [index for rank, index in sorted(pair for pair in ranks if pair[0] < NOWHERE) if index not in exact]
        return Reply({"classes": [{"index": i, "label": labels[i]} for i in (*exact, *found)[:FOUND]]})

    def _predict(self, asked: Asked) -> Reply:
        predictions = self._prediction(self._entry(asked), asked.job)
        return Reply({"predictions": None if predictions is None else [about_prediction(each) for each in predictions]})

    def _add(self, asked: Asked) -> Reply:
        if len(asked.buffers) != 1:
            raise BadOption("an image is added from the bytes of its file, one at a time")
        entry = self.inputs.upload(bytes(asked.buffers[0]), asked.params.get("name"))
        return Reply(about_input(entry, self._prediction(entry, asked.job)))

    # ---- what is known -----------------------------------------------------------------------------------------------

    def map_of(self, entry: Entry, layer: Layer, job: Job, target: Any = None) -> FeatureMap:
        """The map of a layer for one image, without its photo; with a target, and then with its gradient, it isn't kept."""
        key = ("map", entry.key, layer.path)
        fm: FeatureMap | None = None if target is not None else self._cache.get(key)
        if fm is None:
            with self._turns.take(job):
                fm = None if target is not None else self._cache.get(key)  # whoever waited for the same finds it now
                if fm is None:
                    fm = self._captured(entry, layer, target)
                    if target is None:
                        self._cache.put(key, fm, _size(fm))
        return one_of(fm, entry.row)

    def _captured(self, entry: Entry, layer: Layer, target: Any) -> FeatureMap:
        maps = self.scope.capture(self._given(entry), layer, target=target)
        # Another image may have called the layer more often than the first one did.
        fm = dict(maps).get(layer.path) or next(iter(maps.values()))
        return replace(fm, photos=None)

    def _given(self, entry: Entry) -> Any:
        """What `Scope.capture` takes for an image: the decoded photo, which is kept, or the batch."""
        return entry.given if entry.batch else self.inputs.photo(entry)

    def _table(self, job: Job) -> list[Layer]:
        if not self._layers:
            entry = next(iter(self.inputs), None)
            with self._turns.take(job):
                if not self._layers:
                    table = self.scope.layers(None if entry is None else self._given(entry))
                    layers = layers_of(table, self._chosen)
                    self._first = first_layer(table, layers, self._chosen)
                    self._layers = layers
        return self._layers

    def _prediction(self, entry: Entry, job: Job) -> list[Prediction] | None:
        """The classes that the model sees in an image; `None` where its output means none."""
        if entry.id not in self._predictions:
            with self._turns.take(job):
                try:
                    predicted = self.scope.predict(self._given(entry), TOP)[entry.row]
                except BadOption:  # the output is no list of classes
                    predicted = None
            self._predictions[entry.id] = predicted
        return self._predictions[entry.id]

    def _entry(self, asked: Asked) -> Entry:
        return self.inputs[asked.params.get("input")]

    def _layer(self, asked: Asked) -> tuple[str, Layer]:
        id = asked.params.get("layer")
        layers = self._table(asked.job)
        if isinstance(id, str) and id[:1] == "l" and id[1:].isdecimal() and len(id) < 9 and int(id[1:]) < len(layers):
            return f"l{int(id[1:])}", layers[int(id[1:])]
        raise BadOption(f"there is no layer {id!r:.40} here")


NOWHERE = 3


def _rank(label: str, text: str) -> int:
    """Where a text is found: at the start, at the start of a word, anywhere, nowhere."""
    if label.startswith(text):
        return 0
    return 1 if f" {text}" in label else 2 if text in label else NOWHERE


def number_text(value: Any) -> str:
    """A float32 as text: as short as it is told from all others.

    >>> number_text(np.float32(0.1)), number_text(np.float32("nan")), number_text(np.float32("-inf"))
    ('0.1', 'NaN', '−inf')
    """
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "+inf" if value > 0 else "−inf"
    return f"{shortened(np.array([value], np.float32))[0]:.9g}".replace("-", "−")


def _size(fm: FeatureMap) -> int:
    """The bytes that a kept map takes, with the model input that it keeps."""
    held = [fm.values, *(() if fm.tokens is None else (fm.tokens,)), *getattr(fm.origin, "batches", ())]
    return sum(int(getattr(array, "nbytes", 0)) for array in held)


def error_of(error: LayerscopeError) -> dict[str, str]:
    """An error as replies have it: the name of its class, and its text."""
    return {"kind": type(error).__name__, "message": str(error)}
