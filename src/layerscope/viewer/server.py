"""The answers of the local page's server: one document, one address for requests, and the gate in front of both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..errors import one_line
from .document import Document
from .frames import pack_frame, read_object, unpack_frame
from .security import HEADERS, MOST_JSON, MOST_UPLOAD, PARAMETER, TOKEN_HEADER, Gate, Refusal, body
from .session import LOG, failure

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .lanes import Lanes

LONGEST_ID = 64
LINGERING = 2.0  # seconds for which a refused client may go on sending, so that it gets to read why

# Without a token in the address: the window's own, after a reload, or a word on where to find one.
DOOR = """\
const key = "layerscope-token", token = sessionStorage.getItem(key);
sessionStorage.removeItem(key);
if (token && !new URLSearchParams(location.search).has("token"))
  location.replace("/?token=" + encodeURIComponent(token) + location.hash);
else
  document.getElementById("layerscope").textContent = "This address lacks the token of the layerscope that runs now."
    + " Use the whole address that it printed when it started.";
"""
DOOR_STYLE = "body { font: 16px/1.5 system-ui, sans-serif; margin: 15vh auto; max-width: 36em; padding: 0 1em }"


def application(lanes: Lanes, gate: Gate, page: Document) -> ASGIApp:
    """What answers the page of one session."""
    door = Document("layerscope", DOOR, DOOR_STYLE)

    async def show(request: Request) -> Response:
        token = request.query_params.get(PARAMETER)
        if token is None or not gate.admits(token):
            # A page that is loaded again comes without its token, which is no fault that a browser should report.
            return HTMLResponse(door.html(), 200 if token is None else 403, _policy(door.policy()))
        return HTMLResponse(page.html(), 200, _policy(page.policy("'self'")))

    async def api(request: Request) -> Response:
        if not gate.admits(request.headers.get(TOKEN_HEADER, "")):
            raise Refusal(403, "the token of this server is missing or wrong")
        return await _answer(lanes, request, *await _read(request))

    app = Starlette(
        routes=[Route("/", show, methods=["GET"]), Route("/api", api, methods=["POST"])],
        exception_handlers={Refusal: _refuse, ClientDisconnect: lambda *_: Response(status_code=400)},
    )
    app.router.redirect_slashes = False
    return _guard(app, gate)


def _policy(policy: str) -> dict[str, str]:
    return {"content-security-policy": f"{policy}; frame-ancestors 'none'"}


def _guard(app: ASGIApp, gate: Gate) -> ASGIApp:
    """`app` behind the gate, whatever the path; every response has the headers that keep it where it is."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            gate.check(Headers(scope=scope), navigation=scope["method"] == "GET" and scope["path"] == "/")
        except Refusal as refusal:
            await RefusalResponse(refusal)(scope, receive, send_sealed)
        else:
            await app(scope, receive, send_sealed)

    return answer


class RefusalResponse(PlainTextResponse):
    """The reason of a refusal; what the client still sends is thrown away for a while, or it would see a broken pipe only."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.reason}\n", refusal.status, {"connection": "close"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        try:
            await asyncio.wait_for(self._drain(receive), LINGERING)
        except asyncio.TimeoutError:
            LOG.debug("a refused client goes on sending")
        await send({"type": "http.response.body"})

    async def _drain(self, receive: Receive) -> None:
        while (await receive()).get("more_body"):
            pass


def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    if error.status in (400, 503):  # what was asked has been read
        return PlainTextResponse(f"{error.reason}\n", error.status)
    return RefusalResponse(error)


async def _read(request: Request) -> tuple[dict[str, Any], list[bytes]]:
    """The message of a request and its buffers, as JSON or as a frame."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "application/octet-stream"):
        raise Refusal(415, "a request is JSON or a frame of bytes")
    is_frame = kind == "application/octet-stream"
    length = request.headers.get("content-length")
    data = await body(request.stream(), length, MOST_UPLOAD if is_frame else MOST_JSON)
    try:
        message, buffers = unpack_frame(data) if is_frame else (read_object(data), [])
    except ValueError as error:
        raise Refusal(400, f"the request can't be read: {one_line(error)}") from error
    id, op, params = message.get("id"), message.get("op"), message.get("params", {})
    if not (isinstance(id, str) and 0 < len(id) <= LONGEST_ID and isinstance(op, str) and isinstance(params, dict)):
        raise Refusal(400, "a request has an id, an op and params")
    return {"id": id, "op": op, "params": params}, buffers


async def _answer(lanes: Lanes, request: Request, message: dict[str, Any], buffers: list[bytes]) -> Response:
    id, op = message["id"], message["op"]
    try:
        reply = await lanes.answer(id, op, message["params"], buffers=buffers, leave=lambda: _disconnect(request))
    except Refusal:
        raise
    except Exception as error:
        return _frame({"id": id, "ok": False, "error": failure(error, op)})
    return _frame({"id": id, "ok": True, "result": reply.result}, reply.buffers)


def _frame(message: dict[str, Any], buffers: Any = ()) -> Response:
    return Response(pack_frame(message, buffers), media_type="application/octet-stream")


async def _disconnect(request: Request) -> None:
    """Done when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
