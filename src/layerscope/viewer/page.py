"""`view`: the local page, in which a model's layers are looked at in the browser."""

from __future__ import annotations

import html
import os
import sys
import warnings
import webbrowser
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from ..checks import flag, keywords, whole
from ..errors import BadOption, LayerscopeWarning, LibraryMissing, caller_level
from ..plots.show import open_options
from ..surface import by_surface
from .security import PARAMETER, Gate, in_address, is_loopback, new_token
from .session import Session, session_for

LOOPBACK = "127.0.0.1"
TICK = 0.5  # seconds after which Ctrl-C is noticed everywhere


class Viewer:
    """A local page that is being served: its address, and how it ends.

    It lives as long as the process, or until `close()` or the end of a `with` block. A notebook goes on beside it; a script
    that has nothing else to do calls `wait()`.

    >>> import layerscope as ls
    >>> with ls.view("demo", ls.demo_photo(), browser=False) as viewer:
    ...     viewer.url.partition("?")[0].startswith("http://127.0.0.1:")
    True

    Attributes:
        url: The address of the page, with the token without which nobody gets in.
        port: The port that it is served at.
    """

    def __init__(self, session: Session, *, host: str = LOOPBACK, port: int = 0, title: str = "layerscope") -> None:
        check_libraries()
        from .document import Document
        from .lanes import Lanes
        from .listener import Listener, bind
        from .server import application

        page = Document.of(title, "page")
        port_socket = bind(host, port)
        self.port: int = port_socket.getsockname()[1]
        gate = Gate(host, self.port, new_token())
        self.url = f"http://{in_address(_name_here(host))}:{self.port}/?{PARAMETER}={gate.token}"
        self._lanes = Lanes(session)
        self._open = True
        try:
            self._listener = Listener(application(self._lanes, gate, page), port_socket)
        except BaseException:
            port_socket.close()
            self._lanes.close()
            raise

    def wait(self) -> None:
        """Return when the page is closed; Ctrl-C closes it, and is raised as `KeyboardInterrupt`.

        >>> import layerscope as ls
        >>> viewer = ls.view("demo", ls.demo_photo(), browser=False)
        >>> viewer.close()
        >>> viewer.wait()
        """
        try:
            while not self._listener.wait(TICK):
                pass
        finally:
            self.close()

    def close(self) -> None:
        """End the page: requests that run are cancelled, and the port is free again.

        >>> import layerscope as ls
        >>> ls.view("demo", ls.demo_photo(), browser=False).close()
        """
        if not self._open:
            return
        self._open = False
        self._lanes.close()
        self._listener.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Viewer {self.url if self._open else 'closed'}>"

    def _repr_html_(self) -> str:
        if not self._open:
            return "layerscope: this page is closed"
        address = html.escape(self.url)
        return f'<a href="{address}" target="_blank" rel="noreferrer">layerscope: {address.partition("?")[0]}</a>'


@keywords
def view(
    model: Any,
    images: Any = None,
    layers: Any = None,
    *,
    browser: bool = True,
    port: int = 0,
    host: str = LOOPBACK,
    weights: str | os.PathLike[str] | None = None,
    preprocess: Any = "auto",
    size: int | str | Sequence[int] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    backend: Any = None,
    device: Any = None,
    trust: bool = False,
) -> Viewer:
    """The layers of a model for some images as a page in the browser, served from this machine to this machine.

    It returns at once, and the page stays until the `Viewer` is closed or the process ends.

    >>> import layerscope as ls
    >>> with ls.view("demo", ls.demo_photo(), browser=False) as viewer:
    ...     print(viewer.url.partition(str(viewer.port))[0])
    http://127.0.0.1:

    Args:
        model: What `open` takes (a model object, a file, a reference), or a `Scope`. Or a `Store` that holds maps, or its
            folder: then neither model nor images are needed.
        images: What `Scope.capture` takes; more can be dropped on the page.
        layers: The layers that the page lists, as for `Scope.capture`. `None`: all of them.
        browser: Whether the browser is opened; `url` has the address.
        port: The port; 0 is a free one.
        host: Where the page is served. Anything but `"127.0.0.1"` opens it to other machines, unencrypted, and warns.
        weights: As for `open`, like all that follow; where `model` is a `Scope`, it has them.
        preprocess: How the image becomes the model's input.
        size: The model's input size, `(height, width)`, one number or `"224x224"`, where the model doesn't fix it.
        labels: Class names, a file with one per line, or `"imagenet"`.
        backend: The backend that reads the model.
        device: Where the model runs.
        trust: Whether the model's file may run code while it is loaded.

    Raises:
        LibraryMissing: starlette or uvicorn isn't installed.
        LayerNotFound: A layer that doesn't exist.
        ModelNotReadable: A model that can't be opened; with its children `BackendMissing` and `TrustRequired`.
        BadOption: A port that is taken, or an invalid option.
    """
    port, browser = whole("port", port, 0, 65535), flag("browser", browser)
    if not host:
        raise BadOption("host='' is no address", "127.0.0.1 is this machine alone, 0.0.0.0 everybody who reaches it")
    check_libraries()
    from .stored import session_of_store

    opening = open_options(locals())
    session = session_of_store(model, images, layers, **opening) or session_for(model, images, layers, **opening)
    return serve(session, host=host, port=port, browser=browser)


def serve(session: Session, *, host: str, port: int, browser: bool) -> Viewer:
    """The page of a session, whose first answer is made before, so that what is wrong with layers and images is said here."""
    session.check()
    manifest = session.answer("manifest").result
    if not is_loopback(host):
        warnings.warn(
            LayerscopeWarning(
                f"the page is served at {host}: whoever reaches this machine and learns the address sees the images and runs"
                " the model, and nothing is encrypted on the way"
            ),
            stacklevel=caller_level(),
        )
    viewer = Viewer(session, host=host, port=port, title=manifest["title"])
    if browser:
        _browse(viewer.url)
    return viewer


def _browse(address: str) -> None:
    """Opens the browser, if there is one that doesn't take the terminal."""
    graphical = any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))
    if graphical or not sys.platform.startswith("linux"):
        webbrowser.open(address)


def check_libraries() -> None:
    """Raises `LibraryMissing` before anything is loaded."""
    for name in ("starlette", "uvicorn"):
        try:
            __import__(name)
        except ImportError as error:
            instead = by_surface("ls.report writes", "`layerscope report` writes")
            raise LibraryMissing(
                f"the local page needs {name} ({error})",
                f'pip install "layerscope[view]"; {instead} a page that needs no server',
            ) from error


def _name_here(host: str) -> str:
    """What the browser of this machine calls a server that is bound to every address."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
