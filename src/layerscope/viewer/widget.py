"""`widget`: the viewer in a notebook, without a server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..checks import keywords
from ..errors import LibraryMissing
from ..plots.show import open_options
from .session import session_for

if TYPE_CHECKING:
    from .notebook import Widget


@keywords
def widget(
    model: Any,
    images: Any,
    layers: Any = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocess: Any = "auto",
    size: int | str | Sequence[int] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    backend: Any = None,
    device: Any = None,
    trust: bool = False,
) -> Widget:
    """The layers of a model for some images as a widget of the notebook: what `view` shows, with no port and no server.

    It talks with the page over the notebook's own channel, as a hub needs; it is tested in JupyterLab and marimo.
    `widget.view` is what is seen; set fields of it and the page follows. The saved notebook holds the sheet as a picture.

    >>> import layerscope as ls
    >>> widget = ls.widget("demo", ls.demo_photo(), "_conv_stem")
    >>> widget.view = {"norm": "symlog", "active": 3}
    >>> widget.view["layer"], widget.view["norm"]
    ('_conv_stem', 'symlog')
    >>> widget.close()

    Args:
        model: What `open` takes (a model object, a file, a reference), or a `Scope`.
        images: What `Scope.capture` takes; more can be dropped on the widget.
        layers: The layers that it lists, as for `Scope.capture`. `None`: all of them.
        weights: As for `open`, like all that follow; where `model` is a `Scope`, it has them.
        preprocess: How the image becomes the model's input.
        size: The model's input size, `(height, width)`, one number or `"224x224"`, where the model doesn't fix it.
        labels: Class names, a file with one per line, or `"imagenet"`.
        backend: The backend that reads the model.
        device: Where the model runs.
        trust: Whether the model's file may run code while it is loaded.

    Raises:
        LibraryMissing: anywidget isn't installed.
        LayerNotFound: A layer that doesn't exist.
        ModelNotReadable: A model that can't be opened; with its children `BackendMissing` and `TrustRequired`.
        BadOption: An invalid option.
    """
    try:
        __import__("anywidget")
    except ImportError as error:
        raise LibraryMissing(
            f"the widget needs anywidget ({error})",
            'pip install "layerscope[notebook]"; ls.view opens a page of this machine in the browser',
        ) from error
    from .notebook import Widget

    session = session_for(model, images, layers, **open_options(locals()))
    session.check()
    return Widget(session)
