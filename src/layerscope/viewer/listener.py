"""The local page's port: bound before anything is promised, served by uvicorn in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import BadOption, InternalError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

MOST_CONNECTIONS = 256
MOST_HEADERS = 16 << 10  # bytes
SLOWEST_HEADERS = 10.0  # seconds
SLOWEST_START, SLOWEST_END = 10.0, 3.0


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is a free one. Raises `BadOption`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise BadOption(f"port {port} is taken by another program", "leave it out for a free one") from error
        raise BadOption(f"the page can't be served at {host}, port {port}: {reason}") from error


class Listener:
    """uvicorn around an application, until `close`."""

    def __init__(self, app: ASGIApp, port_socket: socket.socket) -> None:
        # Loggers of the process are left as they are, and neither signals nor the loop of the main thread are touched.
        config = uvicorn.Config(
            app,
            http=_Prompt,
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            h11_max_incomplete_event_size=MOST_HEADERS,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._socket = port_socket
        # A thread whose `join` is interrupted by Ctrl-C counts as ended, though it isn't, in Pythons before 3.13.
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="layerscope-page", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + SLOWEST_START
        while not self._server.started:
            if self._ended.is_set() or time.monotonic() > deadline:
                self.close()
                raise InternalError("the server of the page didn't start")
            time.sleep(0.002)

    def close(self) -> None:
        """No connection is taken any more, and those that are open are closed."""
        self._server.should_exit = True
        if self._thread is not threading.current_thread():
            self._ended.wait(SLOWEST_END)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within so many seconds."""
        return self._ended.wait(seconds)

    def _serve(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        finally:
            self._socket.close()
            self._ended.set()


class _Prompt(H11Protocol):
    """Closes connections that don't ask for anything in time: uvicorn bounds only how long they rest between requests."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.access_log = False  # the address of the page holds the token
        self._silent = self.loop.call_later(SLOWEST_HEADERS, self._end_silence)

    def connection_lost(self, exc: Exception | None) -> None:
        self._silent.cancel()
        super().connection_lost(exc)

    def _end_silence(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()
