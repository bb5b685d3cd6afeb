"""Who may talk to the local page: its token, the names it is reached by, the pages that may ask, and limits on what they send.

Everything that isn't named here is refused: there are no cookies, no CORS, no WebSockets, and no path that leads to a file.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..safe_text import sentence

if TYPE_CHECKING:
    from starlette.datastructures import Headers

TOKEN_BYTES = 24
TOKEN_HEADER = "x-layerscope-token"
MOST_UPLOAD = 32 << 20  # bytes of a request with an image
MOST_JSON = 1 << 20  # bytes of any other request
SLOWEST_BODY = 30.0  # seconds in which the whole of a request must arrive
PARAMETER = "token"

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",  # of what isn't a page
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not no-referrer, with which some browsers send `Origin: null` to us as well; other origins get none with either.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Refusal(Exception):
    """A request that isn't answered: `status` of HTTP, and one sentence why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = sentence(reason)


def new_token() -> str:
    """A secret that nobody guesses, in signs that need no escape in an address."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach a server there.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "192.168.0.7", "cat")]
    [True, True, True, False, False, False]
    """
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def in_address(host: str) -> str:
    """A host as it stands in an address.

    >>> in_address("127.0.0.1"), in_address("::1")
    ('127.0.0.1', '[::1]')
    """
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class Gate:
    """What a request must show to come in.

    >>> gate = Gate("127.0.0.1", 8000, token="secret")
    >>> gate.knows("127.0.0.1:8000"), gate.knows("localhost:8000"), gate.knows("evil.example:8000"), gate.knows("127.0.0.1")
    (True, True, False, False)

    Attributes:
        host: What the server is bound to.
        port: The port that it listens on.
        token: The secret of this server.
    """

    host: str
    port: int
    token: str = field(default_factory=new_token, repr=False)

    def knows(self, host: str) -> bool:
        """Whether a `Host` is one of ours: another name, which an attacker's DNS may lead here, is not.

        A server for every address is known by each of them and by the machine's own name.
        """
        name, port = _split(host)
        if port != self.port:
            return False
        if name in self._names():
            return True
        address = _address(self.host)
        return address is not None and address.is_unspecified and _address(name) is not None

    def check(self, headers: Headers, *, navigation: bool = False) -> None:
        """Raises `Refusal` for another `Host`, another page's request, and one that a browser calls foreign.

        `navigation`: a link to the page may come from anywhere, since what it opens needs the token and can't be read there.
        """
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.knows(hosts[0]):
            raise Refusal(421, "this server doesn't answer to that host")
        for origin in headers.getlist("origin"):
            scheme, _, host = origin.partition("://")
            if scheme != "http" or not self.knows(host):
                raise Refusal(403, "requests come from the page of this server alone")
        site = headers.get("sec-fetch-site", "same-origin")
        navigates = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if site != "same-origin" and not (navigation and (site == "none" or navigates)):
            raise Refusal(403, "requests come from the page of this server alone")

    def admits(self, token: str) -> bool:
        """Whether the token is ours, in a time that tells nothing of it."""
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self.token.encode())

    def _names(self) -> set[str]:
        if is_loopback(self.host):
            return {"127.0.0.1", "localhost", "[::1]", in_address(self.host)}
        address = _address(self.host)
        own = {"localhost", socket.gethostname().lower()} if address is not None and address.is_unspecified else set()
        return {in_address(self.host).lower(), *own}


async def body(stream: AsyncIterator[bytes], length: str | None, most: int) -> bytes:
    """The body of a request, refused before it is read where its length says so, else as soon as there is too much of it."""
    too_large = Refusal(413, f"a request has at most {most >> 20} MB")
    if length is not None and (not length.isdecimal() or len(length) > 15 or int(length) > most):
        raise too_large

    async def read() -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in stream:
            size += len(part)
            if size > most:
                raise too_large
            parts.append(part)
        return b"".join(parts)

    try:
        return await asyncio.wait_for(read(), SLOWEST_BODY)
    except asyncio.TimeoutError as error:
        raise Refusal(408, f"the request took more than {SLOWEST_BODY:g} s to arrive") from error


def _split(host: str) -> tuple[str, int]:
    """Name and port of a `Host`; port 80 is the one that browsers leave out."""
    name, separator, port = host.lower().rpartition(":")
    if not separator or name.startswith("[") != name.endswith("]"):
        return host.lower(), 80
    return name, int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
