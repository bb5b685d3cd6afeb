"""`Session`: a model, its images and what a page asks of them, without any transport; every answer is JSON and bytes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..checks import one_of
from ..core.numbers import shortened
from ..core.progress import progress
from ..errors import BadOption
from ..plots.show import scope_for
from ..scope.scope import Scope
from .cache import Cache
from .captures import Captures, Wanted
from .combine import combination, combination_payload
from .inputs import Entry, Inputs
from .manifest import about_input, about_prediction, manifest
from .maps import ENCODINGS, map_payload
from .photo import photo_payload
from .pictures import picture
from .turns import AtWork, Job, turns_of

KEPT = 1 << 28  # bytes of maps and photos
FOUND = 30
NOWHERE = 3


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
    was captured is kept up to `kept` bytes. `view` is the view state to begin with, and `source` the text by which `ls.open`
    opens the model, for the line of Python that a page shows.

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
        source: str | None = None,
        kept: int = KEPT,
    ) -> None:
        self.scope, self._view, self._source = scope, view, source
        self._cache = Cache(kept)
        self._at_work = AtWork(turns_of(scope.model))
        self.inputs = Inputs(scope, images, self._cache)
        self._captures = Captures(scope, self.inputs, layers, cache=self._cache, turns=self._at_work.turns)
        self._answers: dict[str, Callable[[Asked], Reply]] = {
            "manifest": self._manifest,
            "map": self._map,
            "photo": self._photo,
            "combine": self._combine,
            "probe": self._probe,
            "classes": self._classes,
            "predictions": self._predict,
            "add": self._add,
            "picture": self._picture,
        }

    def answer(
        self,
        op: str,
        params: Mapping[str, Any] | None = None,
        buffers: Sequence[bytes] = (),
        *,
        id: str = "",
        told: Callable[[Job], object] | None = None,
    ) -> Reply:
        """The answer to one request.

        Args:
            op: What is asked: `"manifest"`, `"map"`, `"photo"` … as docs/protocol.md lists them.
            params: What the request says besides, as JSON has it.
            buffers: Bytes that came with it.
            id: Its id, by which `progress` and `cancel` name it.
            told: Called from its thread with how far it is, as often as that changes.

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
            return Reply(self._at_work.progress(of) if op == "progress" else {"cancelled": self._at_work.cancel(of)})
        answer = self._answers[one_of("op", op, self._answers)]
        with self._at_work.job(id, told) as job, progress(job.see):
            return answer(Asked(params, buffers, job))

    def holds(self, op: str, params: Mapping[str, Any]) -> bool:
        """Whether the bytes of an answer are kept, so that it needs neither the model nor its turn."""
        of = params.get("input"), params.get("layer"), params.get("encoding") or "auto"
        key = {"map": ("payload", *of), "photo": ("photo", of[0])}.get(op, ())
        return bool(key) and all(isinstance(part, str) for part in key) and self._cache.get(key) is not None

    def close(self) -> None:
        """Cancel all that is at work, and forget what was captured."""
        self._at_work.cancel_all()
        self._cache.clear()

    def _manifest(self, asked: Asked) -> Reply:
        layers, entries = self._captures.layers(asked.job), list(self.inputs)
        for entry in entries if asked.params.get("predictions") == "all" else entries[:1]:
            self._captures.predicted(entry, asked.job)
        number = self._captures.first
        return Reply(
            manifest(
                self.scope,
                entries,
                layers,
                source=self._source,
                predictions=self._captures.predictions,
                first={"input": entries[0].id if entries else "", "layer": "" if number is None else f"l{number}"},
                view=None if self._view is None else dict(self._view),
                notes=list(self.inputs.notes),
                caps={"request": True, "upload": not self.inputs.ready, "exact": True},
            )
        )

    def _map(self, asked: Asked) -> Reply:
        id, wanted = self._wanted(asked)
        encoding = one_of("encoding", asked.params.get("encoding") or "auto", ENCODINGS)

        def made() -> bytes:
            one = self._captures.map_of(wanted)
            return map_payload(one, input=wanted.entry.id, layer=id, encoding=encoding)

        return self._once(("payload", wanted.entry.id, id, encoding), made)

    def _photo(self, asked: Asked) -> Reply:
        entry = self._entry(asked)

        def made() -> bytes:
            photo = self.inputs.photo(entry)
            if photo is None:
                raise BadOption(f"{entry.name} has no photo: it came as input that is ready for the model")
            return photo_payload(photo)

        return self._once(("photo", entry.id), made)

    def _combine(self, asked: Asked) -> Reply:
        id, wanted = self._wanted(asked)
        name, target = asked.params.get("name"), asked.params.get("target")

        def made() -> bytes:
            return combination_payload(*combination(self._captures, wanted, name, target), str(name))

        return self._once(("combination", wanted.entry.id, id, str(name), repr(target)), made)

    def _picture(self, asked: Asked) -> Reply:
        view = asked.params.get("view")
        if not isinstance(view, Mapping):
            raise BadOption("view: the view state that is to be drawn")
        _, wanted = self._wanted(Asked(view, (), asked.job))
        drawn, data = picture(self._captures, wanted, asked.params)
        height, width = drawn.pixels.shape[:2]
        return Reply({"width": width, "height": height, "pages": drawn.pages, "bytes": len(data)}, (data,))

    def _probe(self, asked: Asked) -> Reply:
        _, wanted = self._wanted(asked)
        one, path = self._captures.map_of(wanted), wanted.layer.path
        channel, position = asked.params.get("channel"), asked.params.get("position", [])
        if not _is_whole(channel) or channel not in one.channels:
            raise BadOption(f"{path!r} has no channel {channel!r:.40}")
        fits = isinstance(position, list) and len(position) == len(one.spatial) and all(map(_is_whole, position))
        if not fits or not all(0 <= place < size for place, size in zip(position, one.spatial, strict=True)):
            raise BadOption(f"position={position!r:.80} isn't one of {path!r}, whose size is {one.spatial}")
        value = one.values[(0, *position, one.channels.index(channel))]
        exact = float(value)
        return Reply({"value": exact if math.isfinite(exact) else None, "text": number_text(value)})

    def _classes(self, asked: Asked) -> Reply:
        labels, text = self.scope.labels or (), asked.params.get("text", "")
        if not isinstance(text, str):
            raise BadOption("text: what a label holds, or the number of a class")
        sought = text.strip().casefold()
        number = int(sought) if sought.isascii() and sought.isdecimal() and len(sought) < 9 else len(labels)
        exact = [number] if number < len(labels) else []
        ranks = sorted((_rank(label.casefold(), sought), index) for index, label in enumerate(labels))
        found = [index for rank, index in ranks if rank < NOWHERE and index not in exact]
        return Reply({"classes": [{"index": at, "label": labels[at]} for at in (*exact, *found)[:FOUND]]})

    def _predict(self, asked: Asked) -> Reply:
        found = self._captures.predicted(self._entry(asked), asked.job)
        return Reply({"predictions": None if found is None else [about_prediction(each) for each in found]})

    def _add(self, asked: Asked) -> Reply:
        if len(asked.buffers) != 1:
            raise BadOption("an image is added from the bytes of its file, one at a time")
        entry = self.inputs.upload(bytes(asked.buffers[0]), asked.params.get("name"))
        return Reply(about_input(entry, self._captures.predicted(entry, asked.job)))

    def _once(self, key: Any, made: Callable[[], bytes]) -> Reply:
        """Bytes that are kept, or are made now."""
        data: bytes | None = self._cache.get(key)
        if data is None:
            data = made()
            self._cache.put(key, data, len(data))
        return Reply({"bytes": len(data)}, (data,))

    def _entry(self, asked: Asked) -> Entry:
        return self.inputs[asked.params.get("input")]

    def _wanted(self, asked: Asked) -> tuple[str, Wanted]:
        """The id of the layer that a request names, and that layer of the image that it names."""
        entry, id = self._entry(asked), asked.params.get("layer")
        layers = self._captures.layers(asked.job)
        for number, layer in enumerate(layers):
            if id == f"l{number}":
                return id, Wanted(entry, layer, asked.job)
        raise BadOption(f"there is no layer {id!r:.40} here")


def session_for(model: Any, images: Any, layers: Any, **options: Any) -> Session:
    """The session of a model that is opened with these options, or of a scope.

    >>> import layerscope as ls
    >>> session_for("demo", ls.demo_photo(), "_conv_stem").answer("manifest").result["model"]["source"]
    'demo'
    """
    source = os.fspath(model) if isinstance(model, str | os.PathLike) else None
    return Session(scope_for(model, images, **options), images, layers, source=source)


def number_text(value: Any) -> str:
    """A float32 as text: as short as it is told from all others.

    >>> number_text(np.float32(0.1)), number_text(np.float32("nan")), number_text(np.float32("-inf"))
    ('0.1', 'NaN', '−inf')
    """
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "+inf" if value > 0 else "−inf"
    return f"{shortened(np.array([value], np.float32))[0]:.9g}".replace("-", "−")


def _rank(label: str, text: str) -> int:
    """Where a text is found: at the start, at the start of a word, anywhere, nowhere."""
    if label.startswith(text):
        return 0
    return 1 if f" {text}" in label else 2 if text in label else NOWHERE


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
