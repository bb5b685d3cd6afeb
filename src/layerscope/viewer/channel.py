"""Requests of a notebook's page and their answers, as messages of JSON and bytes, large ones in pieces."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import BadOption
from ..safe_text import json_text
from .inputs import UPLOAD_BYTES
from .lanes import AT_ONCE, BESIDE, Lane
from .security import Refusal
from .session import LOG, Session, failure
from .turns import WAITING, Job

PIECE = 6_000_000  # bytes of a message; as base64 they are 8 MB
LONGEST_ID = 64
OFTEN = 0.25  # seconds from one word on progress to the next
GONE, HERE = "gone", "here"
PATIENCE = 3.0  # seconds in which a view says that it is still here; one whose window was closed says nothing

Send = Callable[[dict[str, Any], list[Any]], object]


@dataclass(frozen=True)
class Request:
    """What a page asks: `text` is whether bytes are to come as base64, because buffers got lost before."""

    id: str
    op: str
    params: dict[str, Any]
    buffers: Sequence[bytes]
    text: bool


class Channel:
    """The conversation of a session with the views of a notebook, which all listen to `send`.

    `receive` returns at once: the model runs in a thread, from which the answer is sent, so that a word to cancel gets
    through. When the last view has gone, threads end and what was captured is forgotten, until a view asks again.
    """

    def __init__(self, session: Session, send: Send) -> None:
        self._session, self._send = session, send
        self._lanes: dict[str, Lane] = {}
        self._views: set[str] = set()
        self._pieces: dict[str, list[str]] = {}

    def receive(self, message: Any, buffers: Sequence[Any] = ()) -> None:
        """Take a message: `{id, op, params}`, a piece of what is uploaded, or that a view has gone."""
        message = message if isinstance(message, dict) else {}
        id, op = message.get("id"), message.get("op")
        if not isinstance(id, str) or not 0 < len(id) <= LONGEST_ID:
            LOG.warning("a message without an id came from a page")
            return
        view = id.partition("-")[0]
        if op == GONE:
            self._leave(view)
            return
        self._views.add(view)
        if op == HERE:
            return
        try:
            if "piece" in message:
                self._collect(id, message["piece"])
                return
            request = self._request(id, message, buffers)
            if request.op in AT_ONCE:
                self._answer(request)
            else:
                self._lane("beside" if op in BESIDE else "model").put(lambda: self._answer(request))
        except (BadOption, Refusal) as error:
            self._send({"id": id, "ok": False, "error": failure(error, str(op))}, [])

    def close(self) -> None:
        """End what runs and the threads, and forget what was captured."""
        self._views.clear()
        self._pieces.clear()
        for lane in self._lanes.values():
            lane.close()
        self._lanes = {}
        self._session.close()

    def _leave(self, view: str) -> None:
        self._views.discard(view)
        if not self._views:
            self.close()
            return
        self._views.clear()
        self._send({"id": "who"}, [])
        timer = threading.Timer(PATIENCE, self._close_unseen)
        timer.daemon = True
        timer.start()

    def _close_unseen(self) -> None:
        if not self._views:
            self.close()

    def _lane(self, name: str) -> Lane:
        if name not in self._lanes:
            self._lanes[name] = Lane(f"widget-{name}")
        return self._lanes[name]

    def _collect(self, id: str, piece: Any) -> None:
        pieces = self._pieces.setdefault(id, [])
        pieces.append(piece if isinstance(piece, str) else "")
        if sum(map(len, pieces)) * 3 > (UPLOAD_BYTES + PIECE) * 4:
            del self._pieces[id]
            raise BadOption(f"an image may have {UPLOAD_BYTES:,} bytes")

    def _request(self, id: str, message: dict[str, Any], buffers: Sequence[Any]) -> Request:
        op, params = message.get("op"), message.get("params", {})
        parts = [bytes(each) for each in buffers]
        if id in self._pieces:
            try:
                parts = [b"".join(base64.b64decode(each, validate=True) for each in self._pieces.pop(id))]
            except binascii.Error as error:
                raise BadOption(f"what was uploaded can't be read: {error}") from error
        if not isinstance(op, str) or not isinstance(params, dict):
            raise BadOption("a request has a name and an object of parameters")
        return Request(id, op, params, parts, message.get("base64") is True)

    def _answer(self, request: Request) -> None:
        """Send what the session answers, or why it doesn't."""
        last = time.monotonic()

        def observe(job: Job) -> None:
            nonlocal last
            if job.text == WAITING or time.monotonic() - last >= OFTEN:
                last = time.monotonic()
                self._send({"id": request.id, "progress": job.progress()}, [])

        try:
            reply = self._session.answer(request.op, request.params, request.buffers, id=request.id, observer=observe)
            json_text(reply.result, allow_nan=False)
        except Exception as error:
            self._send({"id": request.id, "ok": False, "error": failure(error, request.op)}, [])
            return
        head = {"id": request.id, "ok": True, "result": reply.result, "sizes": [len(each) for each in reply.buffers]}
        pieces = [*_pieces(reply.buffers)]
        for number, piece in enumerate(pieces, 1):
            message = head if number == len(pieces) else {"id": request.id, "more": True}
            if request.text:
                self._send({**message, "base64": [base64.b64encode(piece).decode()]}, [])
            else:
                self._send(message, [piece])
        if not pieces:
            self._send(head, [])


def _pieces(buffers: Sequence[bytes]) -> Iterator[memoryview]:
    for buffer in buffers:
        for start in range(0, len(buffer), PIECE):
            yield memoryview(buffer)[start : start + PIECE]
