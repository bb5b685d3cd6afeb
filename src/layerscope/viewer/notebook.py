"""`Widget`: the viewer in a notebook, an anywidget over a session."""

from __future__ import annotations

import base64
from importlib import resources
from typing import Any

import anywidget
import traitlets

from ..errors import LayerscopeError
from .channel import Channel
from .session import Session
from .state import Names, State


def _static(name: str) -> str:
    return resources.files("layerscope.viewer").joinpath("static", name).read_text("utf-8")


class View(traitlets.TraitType):
    """A view state: what is set is checked, and what isn't named stays as it is."""

    def validate(self, widget: Any, value: Any) -> State:
        return widget._names.merged(widget._trait_values.get("view") or widget._names.start(), value)


class Widget(anywidget.AnyWidget):
    """The viewer as a widget: what `Scope.widget` returns.

    Attributes:
        view: What is seen, as a dictionary; the page follows it and it follows the page. Set the fields to change:
            `widget.view = {"layer": "conv2", "norm": "log"}`.
    """

    # A line of its own tells anywidget that this is a program, not the name of a file.
    _esm = _static("widget.js") + "\n"
    _style = traitlets.Unicode(_static("style.css")).tag(sync=True)
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
        super().__init__(view={})
        self.on_msg(lambda _, message, buffers: self._channel.receive(message, buffers))

    def close(self) -> None:
        """End it: views disappear, what runs is cancelled, and what was captured is forgotten."""
        self._channel.close()
        super().close()

    def __repr__(self) -> str:
        return f"<layerscope widget: {self._names.manifest['title']}, {self.view['layer']}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and for where none runs, as in a notebook opened anew, the sheet as a picture."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        try:
            asked = {"view": self._names.to_page(self.view), "what": "sheet"}
            png = self._session.answer("picture", asked).buffers[0]
        except LayerscopeError as error:
            data["text/plain"] += f"\nwithout a picture: {error}"
        else:
            data["image/png"] = base64.b64encode(png).decode()
        return data, metadata
