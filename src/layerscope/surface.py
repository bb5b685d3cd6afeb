"""What a message calls an option where it is read: `size=` in Python, `--size` on the command line, "Colours" on a page.

A message is put together where something is wrong, far from whoever reads it; the surface that started the work knows who
that is.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Literal

# The options of the command line that are keywords in Python, of the same name.
OPTIONS = (
    *(
        "address",
        "alpha",
        "bar",
        "batch",
        "by",
        "caption",
        "channel",
        "channels",
        "clip",
        "colors",
        "column",
        "columns",
        "combine",
        "contours",
    ),
    *(
        "device",
        "dpi",
        "dtype",
        "engine",
        "even",
        "figure",
        "fps",
        "frames",
        "gpus_per_worker",
        "host",
        "interpolation",
        "keep",
        "labels",
        "labels_from",
        "norm",
        "on",
    ),
    *("output", "overlay", "per_page", "port"),
    *("preprocess", "repair", "resume", "scale", "size", "smooth", "sort", "statistics", "store", "target", "text"),
    *("theme", "tiles", "title", "top", "trust", "unit", "values", "view", "weights", "width_mm", "workers", "yes"),
    "zoom",
)
# What stands between the numbers of a value there.
SEPARATORS = {"channels": ",", "contours": ",", "size": "x"}
# What the viewer calls what an option says; any other is named in plain words.
CONTROLS = {
    "alpha": "Opacity",
    "clip": "Range",
    "colors": "Colours",
    "combine": "Combine",
    "norm": "Scale",
    "preprocess": "preprocessing",
    "scale": "Range",
    "sort": "Sort",
    "target": "Class",
}
Surface = Literal["python", "shell", "page"]
_SURFACE: ContextVar[Surface] = ContextVar("layerscope_surface", default="python")
_NO_VALUE: Any = object()


def command_line() -> AbstractContextManager[None]:
    """Inside the block, messages name the options of the command line.

    >>> with command_line():
    ...     option("per_page"), option("preprocess", None), option("clip", (1, 99)), option("trust", True)
    ('--per-page', '--preprocess none', '--clip 1:99', '--trust')
    """
    return _speech_of("shell")


def page() -> AbstractContextManager[None]:
    """Inside the block, messages name what the viewer shows, whoever started it.

    >>> with command_line(), page():
    ...     option("combine", "cam"), option("per_page"), option("preprocess", None), option("clip", (1, 99))
    ("Combine 'cam'", 'per page', 'preprocessing none', 'Range (1, 99)')
    """
    return _speech_of("page")


@contextmanager
def _speech_of(surface: Surface) -> Iterator[None]:
    token = _SURFACE.set(surface)
    try:
        yield
    finally:
        _SURFACE.reset(token)


def option(name: str, value: Any = _NO_VALUE) -> str:
    """An option by its name, with a value or without; what the command line doesn't have is a keyword there too.

    >>> option("size"), option("size", 224), option("labels", "names.txt")
    ('size=', 'size=224', "labels='names.txt'")
    """
    if _SURFACE.get() == "page":
        name = CONTROLS.get(name, name.replace("_", " "))
        return name if value is _NO_VALUE or value is True else f"{name} {'none' if value is None else repr(value)}"
    if _SURFACE.get() == "python" or name not in OPTIONS:
        return f"{name}=" if value is _NO_VALUE else f"{name}={value!r}"
    flag = f"--{name.replace('_', '-')}"
    if value is _NO_VALUE or value is True:
        return flag
    if isinstance(value, tuple | list):
        return f"{flag} {SEPARATORS.get(name, ':').join(str(part).removesuffix('.0') for part in value)}"
    return f"{flag} {'none' if value is None else shlex.quote(str(value))}"


def by_surface(python: str, shell: str, page: str | None = None) -> str:
    """Words of which Python's readers see the first, those of the command line the second, and those of a page the third.

    Without a third, what is said can't reach a page.
    """
    return {"python": python, "shell": shell, "page": python if page is None else page}[_SURFACE.get()]


def levels_option(low: float, high: float) -> str:
    """What says which values of an image are black and white.

    >>> levels_option(0, 4095)
    "preprocess={'name': 'auto', 'range': (0, 4095)}"
    """
    return by_surface(
        f"preprocess={{'name': 'auto', 'range': ({low:.6g}, {high:.6g})}}",
        f"--range {low:.6g}:{high:.6g}",
        f"a range of {low:.6g} to {high:.6g}, given where the model is opened,",
    )
