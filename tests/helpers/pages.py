"""A server of the local page around a session without a model, and requests to it as bytes on a socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from layerscope.errors import BadOption, Cancelled
from layerscope.viewer.document import Document
from layerscope.viewer.frames import pack_frame, unpack_frame
from layerscope.viewer.lanes import Lanes
from layerscope.viewer.listener import Listener, bind
from layerscope.viewer.security import Gate
from layerscope.viewer.server import application

PAGE = Document("a <b> model", "document.title", "body { margin: 0 }")


class Reply(NamedTuple):
    result: dict[str, Any]
    buffers: tuple[bytes, ...] = ()


class Echo:
    """A session that answers with what it was asked; `map` of the layer "slow" works until it is cancelled."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.cancelled: set[str] = set()
        self.lock = threading.Lock()

    def answer(self, op: str, params: dict[str, Any], buffers: Sequence[bytes] = (), *, id: str = "") -> Reply:
        if op == "cancel":
            self.cancelled.add(params["of"])
            return Reply({})
        if op == "progress":
            return Reply({"part": len(self.begun), "whole": None, "text": "images"})
        if op == "fault":
            raise ZeroDivisionError("division by zero")
        if op not in ("map", "add", "manifest"):
            raise BadOption(f"no op {op!r}")
        self.begun.append(id)
        try:
            if params.get("layer") == "slow":
                self.work(id)
            return Reply({"op": op, **params}, tuple(buffers))
        finally:
            self.ended.append(id)

    def holds(self, op: str, params: dict[str, Any]) -> bool:
        return bool(params.get("layer") == "kept")

    def work(self, id: str) -> None:
        assert self.lock.acquire(blocking=False), "one job at a time"
        try:
            deadline = time.monotonic() + 20
            while id not in self.cancelled:
                assert time.monotonic() < deadline, "nobody cancelled it"
                time.sleep(0.005)
            raise Cancelled("the work was cancelled")
        finally:
            self.lock.release()


class Answer(NamedTuple):
    """What came back: `message` and `buffers` where it is a frame."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        return unpack_frame(self.body)[0]

    @property
    def buffers(self) -> list[bytes]:
        return unpack_frame(self.body)[1]


class Served:
    """A server that runs, and what a client sends it."""

    def __init__(self, session: Any, host: str = "127.0.0.1") -> None:
        listening = bind(host, 0)
        self.session = session
        self.gate = Gate(host, listening.getsockname()[1])
        self.port, self.token = self.gate.port, self.gate.token
        self.lanes = Lanes(session)
        self.listener = Listener(application(self.lanes, self.gate, PAGE), listening)

    def close(self) -> None:
        self.lanes.close()
        self.listener.close()

    def send(self, method: str, path: str, body: Any = None, **headers: str | None) -> Answer:
        """The answer to one request; a header of a browser's request to our own page each, unless it is `None`."""
        usual = {"host": f"127.0.0.1:{self.port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in usual.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def ask(self, op: str, params: Any = None, *, id: str = "a-1", **headers: str | None) -> Answer:
        """The answer to a request of our own page, with some headers otherwise."""
        body = json.dumps({"id": id, "op": op, "params": params or {}}).encode()
        usual = {
            "content-type": "application/json",
            "x-layerscope-token": self.token,
            "origin": f"http://127.0.0.1:{self.port}",
            "sec-fetch-site": "same-origin",
        }
        return self.send("POST", "/api", body, **{**usual, **{k.replace("_", "-"): v for k, v in headers.items()}})

    def upload(self, data: bytes, name: str = "cat.png", *, id: str = "a-1") -> Answer:
        body = pack_frame({"id": id, "op": "add", "params": {"name": name}}, [data])
        return self.send("POST", "/api", body, content_type="application/octet-stream", x_layerscope_token=self.token)

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which these bytes were sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(data)
        return connection


@contextlib.contextmanager
def served(session: Any = None, host: str = "127.0.0.1") -> Iterator[Served]:
    """A server around a session, by default an `Echo`, until the block ends."""
    server = Served(session or Echo(), host)
    try:
        yield server
    finally:
        server.close()


def until(condition: Any, seconds: float = 10.0) -> None:
    """Returns when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
