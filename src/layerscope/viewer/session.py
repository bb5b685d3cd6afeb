"""`Session`: a model, its images and what a page asks of them, without any transport; every answer is JSON and bytes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..checks import one_of
from ..core.numbers import shortened
from ..core.progress import progress
from ..errors import BadOption, LayerscopeError, like, one_line
from ..plots.show import scope_for
from ..safe_text import sentence
from ..scope.scope import Scope
from ..surface import option, page
from .captures import Cache, Captures, Subject
from .combine import combination, combination_payload
from .inputs import Entry, Inputs, photo_payload
from .manifest import about_input, about_prediction, manifest
from .maps import ENCODINGS, map_payload
from .opening import Opening
from .pictures import picture
from .security import Refusal
from .turns import AtWork, Job, turns_of

LOG = logging.getLogger("layerscope.viewer")
ROOM = 1 << 28  # bytes of maps and photos
MOST_CLASSES = 30
NOWHERE = 3


class Reply(NamedTuple):
    """An answer: what JSON has, and bytes beside it."""

    result: dict[str, Any]
    buffers: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Question:
    """What a request says: its parameters, its bytes, and the job that it is."""

    params: Mapping[str, Any]
    buffers: Sequence[bytes]
    job: Job


class Session:
    """Answers the requests of docs/protocol.md for one model and its images.

    Threads may ask at the same time: the model runs for one of them at a time, whatever session it is asked through, and what
    was captured is kept up to `room` bytes. `view` is the view state to begin with, and `opening` what `ls.open` was given,
    for the lines of Python that a page shows.

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
        opening: Opening | None = None,
        room: int = ROOM,
    ) -> None:
        self.scope, self._view, self.opening = scope, view, opening or Opening(scope)
        self._cache = Cache(room)
        self._at_work = AtWork(turns_of(scope.model))
        self.inputs = Inputs(scope, images)
        self._captures = Captures(scope, self.inputs, layers, cache=self._cache, turns=self._at_work.turns)
        self._answers: dict[str, Callable[[Question], Reply]] = {
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

    def check(self) -> None:
        """Find out what is wrong with the images and the layers, in the words of whoever starts the page."""
        self._captures.layers(Job(""))

    def answer(
        self,
        op: str,
        params: Mapping[str, Any] | None = None,
        buffers: Sequence[bytes] = (),
        *,
        id: str = "",
        observer: Callable[[Job], object] | None = None,
    ) -> Reply:
        """The answer to one request; what it says is for readers of the page.

        Args:
            op: What is asked: `"manifest"`, `"map"`, `"photo"` … as docs/protocol.md lists them.
            params: What the request says besides, as JSON has it.
            buffers: Bytes that came with it.
            id: Its id, by which `progress` and `cancel` name it.
            observer: Called from its thread with how far it is, as often as that changes.

        Raises:
            Cancelled: The request was cancelled.
            LayerscopeError: Whatever else is wrong with it, as a sentence for whoever asks.
        """
        params = {} if params is None else params
        if not isinstance(params, Mapping) or not isinstance(op, str):
            raise BadOption("a request has a name and an object of parameters")
        if op in ("progress", "cancel"):
            of = params.get("of")
            of = of if isinstance(of, str) else ""
            return Reply(self._at_work.progress(of) if op == "progress" else {"cancelled": self._at_work.cancel(of)})
        with page(), self._at_work.job(id, observer) as job, progress(job.see):
            answer = self._answers[one_of("op", op, self._answers)]
            return answer(Question(params, buffers, job))

    def holds(self, op: str, params: Mapping[str, Any]) -> bool:
        """Whether the bytes of an answer are kept, so that it needs neither the model nor its turn."""
        of = params.get("input"), params.get("layer"), params.get("encoding") or "auto"
        key = {"map": ("payload", *of), "photo": ("photo", of[0])}.get(op, ())
        return bool(key) and all(isinstance(part, str) for part in key) and self._cache.get(key) is not None

    def close(self) -> None:
        """Cancel all that is at work, and forget what was captured."""
        self._at_work.cancel_all()
        self._cache.clear()

    def _manifest(self, question: Question) -> Reply:
        layers, entries = self._captures.layers(question.job), list(self.inputs)
        for entry in entries if question.params.get("predictions") == "all" else entries[:1]:
            self._captures.predictions_of(entry, question.job)
        number = self._captures.first
        return Reply(
            manifest(
                self.scope,
                entries,
                layers,
                opening=self.opening,
                predictions=self._captures.predictions,
                first={"input": entries[0].id if entries else "", "layer": "" if number is None else f"l{number}"},
                view=None if self._view is None else dict(self._view),
                notes=list(self.inputs.notes),
                caps={"request": True, "upload": not self.inputs.ready, "exact": True},
            )
        )

    def _map(self, question: Question) -> Reply:
        id, subject = self._subject(question)
        encoding = one_of("encoding", question.params.get("encoding") or "auto", ENCODINGS)

        def make() -> bytes:
            one = self._captures.map_of(subject)
            return map_payload(one, input=subject.entry.id, layer=id, encoding=encoding)

        return self._once(("payload", subject.entry.id, id, encoding), make)

    def _photo(self, question: Question) -> Reply:
        entry = self._entry(question)

        def make() -> bytes:
            photo = self._captures.photo(entry)
            if photo is None:
                raise BadOption(f"{entry.name} has no photo: it came as input that is ready for the model")
            return photo_payload(photo)

        return self._once(("photo", entry.id), make)

    def _combine(self, question: Question) -> Reply:
        id, subject = self._subject(question)
        name, target = question.params.get("name"), question.params.get("target")
        encoding = one_of("encoding", question.params.get("encoding") or "f32", ("f32", "auto"))

        def make() -> bytes:
            return combination_payload(
                *combination(self._captures, subject, name, target), str(name), encoding=encoding
            )

        return self._once(("combination", subject.entry.id, id, str(name), repr(target), encoding), make)

    def _picture(self, question: Question) -> Reply:
        view = question.params.get("view")
        if not isinstance(view, Mapping):
            raise BadOption("view: the view state that is to be drawn")
        states = [view, {**view, **beside}] if isinstance(beside := view.get("beside"), Mapping) else [view]
        subjects = [self._subject(Question(state, (), question.job))[1] for state in states]
        if len({(subject.entry.id, subject.layer.path) for subject in subjects}) == 1:
            del subjects[1:]
        image, data = picture(self._captures, subjects, question.params)
        height, width = image.pixels.shape[:2]
        return Reply({"width": width, "height": height, "pages": image.pages, "bytes": len(data)}, (data,))

    def _probe(self, question: Question) -> Reply:
        _, subject = self._subject(question)
        one, path = self._captures.map_of(subject), subject.layer.path
        channel, position = question.params.get("channel"), question.params.get("position", [])
        if not _is_whole(channel) or channel not in one.channels:
            raise BadOption(f"{path!r} has no channel {channel!r:.40}")
        fits = isinstance(position, list) and len(position) == len(one.spatial) and all(map(_is_whole, position))
        if not fits or not all(0 <= place < size for place, size in zip(position, one.spatial, strict=True)):
            raise BadOption(f"{option('position', position)} isn't one of {path!r}, whose size is {one.spatial}")
        value = one.values[(0, *position, one.channels.index(channel))]
        exact = float(value)
        return Reply({"value": exact if math.isfinite(exact) else None, "text": number_text(value)})

    def _classes(self, question: Question) -> Reply:
        labels, text = self.scope.labels or (), question.params.get("text", "")
        if not isinstance(text, str):
            raise BadOption("text: what a label holds, or the number of a class")
        query = text.strip().casefold()
        if question.params.get("one"):
            at = _only_class(labels, text.strip())
            return Reply({"classes": [{"index": at, "label": labels[at]}]})
        number = int(query) if query.isascii() and query.isdecimal() and len(query) < 9 else len(labels)
        exact = [number] if number < len(labels) else []
        ranks = sorted((_rank(label.casefold(), query), index) for index, label in enumerate(labels))
        others = [index for rank, index in ranks if rank < NOWHERE and index not in exact]
        return Reply({"classes": [{"index": at, "label": labels[at]} for at in (*exact, *others)[:MOST_CLASSES]]})

    def _predict(self, question: Question) -> Reply:
        predictions = self._captures.predictions_of(self._entry(question), question.job)
        return Reply({"predictions": None if predictions is None else [about_prediction(each) for each in predictions]})

    def _add(self, question: Question) -> Reply:
        if len(question.buffers) != 1:
            raise BadOption("an image is added from the bytes of its file, one at a time")
        entry, photo = self.inputs.upload(bytes(question.buffers[0]), question.params.get("name"))
        self._captures.keep_photo(entry, photo)
        return Reply(about_input(entry, self._captures.predictions_of(entry, question.job)))

    def _once(self, key: Any, make: Callable[[], bytes]) -> Reply:
        """Bytes that are kept, or are made now."""
        data: bytes | None = self._cache.get(key)
        if data is None:
            data = make()
            self._cache.put(key, data, len(data))
        return Reply({"bytes": len(data)}, (data,))

    def _entry(self, question: Question) -> Entry:
        return self.inputs[question.params.get("input")]

    def _subject(self, question: Question) -> tuple[str, Subject]:
        """The id of the layer that a request names, and that layer of the image that it names."""
        entry, id = self._entry(question), question.params.get("layer")
        layers = self._captures.layers(question.job)
        for number, layer in enumerate(layers):
            if id == f"l{number}":
                return id, Subject(entry, layer, question.job)
        raise BadOption(f"there is no layer {id!r:.40} here")


def session_for(model: Any, images: Any, layers: Any, **options: Any) -> Session:
    """The session of a model that is opened with these options, or of a scope.

    >>> import layerscope as ls
    >>> print(session_for("demo", ls.demo_photo(), "_conv_stem").answer("manifest").result["model"]["opening"])
    import layerscope as ls
    <BLANKLINE>
    scope = ls.open("demo")
    """
    return Session(scope_for(model, images, **options), images, layers, opening=Opening(model, options))


def failure(error: Exception, op: str) -> dict[str, str]:
    """The kind of an error, and its message as a sentence; what is nobody's mistake but ours goes into the log as well.

    >>> failure(BadOption("there is no layer 'l9' here"), "map")
    {'kind': 'BadOption', 'message': "There is no layer 'l9' here."}
    """
    if isinstance(error, LayerscopeError | Refusal):
        return {"kind": type(error).__name__, "message": sentence(str(error))}
    LOG.error("the request %r failed", op, exc_info=error)
    return {"kind": "InternalError", "message": f"{type(error).__name__}: {one_line(error)}"}


def number_text(value: Any) -> str:
    """A float32 as text: as short as it is told from all others.

    >>> number_text(np.float32(0.1)), number_text(np.float32("nan")), number_text(np.float32("-inf"))
    ('0.1', 'NaN', '−inf')
    """
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "+inf" if value > 0 else "−inf"
    return f"{shortened(np.array([value], np.float32))[0]:.9g}".replace("-", "−")


def _only_class(labels: Sequence[str], text: str) -> int:
    """The class of this name, in any case, or the one whose name has it as a part. Raises `BadOption` for none and several."""
    names, query = [label.casefold() for label in labels], text.casefold()
    found = [at for at, name in enumerate(names) if name == query] or [
        at for at, name in enumerate(names) if query in name
    ]
    if not found:
        raise BadOption(f"no class {text!r:.60}{like(text, labels)}")
    if len(found) > 1:
        several = ", ".join(f"{labels[at]} ({at})" for at in found[:4]) + (", …" if len(found) > 4 else "")
        raise BadOption(f"{text!r:.60} is part of {len(found)} classes: {several}")
    return found[0]


def _rank(label: str, text: str) -> int:
    """Where a text is found: at the start, at the start of a word, anywhere, nowhere."""
    if label.startswith(text):
        return 0
    return 1 if f" {text}" in label else 2 if text in label else NOWHERE


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
