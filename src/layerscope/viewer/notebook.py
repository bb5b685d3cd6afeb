"""`Widget`: the viewer in a notebook, an anywidget over a session."""

from __future__ import annotations

import base64
import os
import uuid
import zlib
from importlib import resources
from typing import Any

import anywidget
import traitlets

from ..errors import LayerscopeError
from .channel import Channel
from .session import Session
from .state import Names, State

HEAD = 33  # bytes of a PNG before which no chunk may stand
# Set in kernels of Visual Studio Code, whose pictures lie behind addresses that the page can't read.
HIDES_NOTHING = ("VSCODE_PID", "VSCODE_CWD", "VSCODE_IPC_HOOK")


def _static(name: str) -> str:
    return resources.files("layerscope.viewer").joinpath("static", name).read_text("utf-8")


class View(traitlets.TraitType):
    """A view state: what is set is checked, and what isn't named stays as it is."""

    def validate(self, widget: Any, value: Any) -> State:
        return widget._names.merge(widget._trait_values.get("view") or widget._names.start(), value)


class Widget(anywidget.AnyWidget):
    """The viewer as a widget: what `Scope.widget` returns.

    Attributes:
        view: What is seen, as a dictionary; the page follows it and it follows the page. Set the fields to change:
            `widget.view = {"layer": "conv2", "norm": "log"}`.
    """

    # A line of its own tells anywidget that this is a program, not the name of a file.
    _esm = _static("widget.js") + "\n"
    _style = traitlets.Unicode(_static("style.css")).tag(sync=True)
    _mark = traitlets.Unicode().tag(sync=True)
    view = View().tag(
        sync=True,
        to_json=lambda value, widget: widget._names.to_page(value),
        from_json=lambda value, widget: widget._names.of_page(value),
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names = Names(
            session.answer("manifest").result, lambda: {entry.id: entry.name for entry in session.inputs}
        )
        self._channel = Channel(session, self.send)
        super().__init__(view={}, _mark=uuid.uuid4().hex)
        self.on_msg(lambda _, message, buffers: self._channel.receive(message, buffers))

    def close(self) -> None:
        """End it: views disappear, what runs is cancelled, and what was captured is forgotten."""
        self._channel.close()
        super().close()

    def __repr__(self) -> str:
        return f"<layerscope widget: {self._names.manifest['title']}, {self.view['layer']}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and for where none runs the sheet as a picture."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:  # closed
            return None
        data, metadata = bundle
        try:
            data["image/png"] = base64.b64encode(self._picture()).decode()
        except LayerscopeError as error:
            data["text/plain"] += f"\nwithout a picture: {error}"
        return data, metadata

    def _ipython_display_(self) -> None:
        """The picture as an output of its own, which the page hides while the widget lives: JupyterLab has no second choice
        for an output whose widget is no more, as in a notebook opened anew."""
        from IPython.display import display

        data, metadata = self._repr_mimebundle_() or ({"text/plain": repr(self)}, {})
        if "image/png" in data and not any(name in os.environ for name in HIDES_NOTHING):
            display({"image/png": data.pop("image/png"), "text/plain": data["text/plain"]}, raw=True)
        display(data, metadata=metadata, raw=True)

    def _picture(self) -> bytes:
        """The sheet of the view as PNG, with the mark by which the page knows it."""
        png = self._session.answer("picture", {"view": self._names.to_page(self.view), "what": "sheet"}).buffers[0]
        text = b"tEXtlayerscope\0" + self._mark.encode()
        chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
        return png[:HEAD] + chunk + png[HEAD:]
