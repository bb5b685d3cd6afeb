"""What a message calls an option where it is read: `size=` in Python, `--size` on the command line.

A message is put together where something is wrong, far from whoever reads it; the surface that started the work knows who
that is.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

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
_SHELL: ContextVar[bool] = ContextVar("layerscope_shell", default=False)
_NO_VALUE: Any = object()


@contextmanager
def command_line() -> Iterator[None]:
    """Inside the block, messages name the options of the command line.

    >>> with command_line():
    ...     option("per_page"), option("preprocess", None), option("clip", (1, 99)), option("trust", True)
    ('--per-page', '--preprocess none', '--clip 1:99', '--trust')
    """
    token = _SHELL.set(True)
    try:
        yield
    finally:
        _SHELL.reset(token)


def option(name: str, value: Any = _NO_VALUE) -> str:
    """An option by its name, with a value or without; what the command line doesn't have is a keyword there too.

    >>> option("size"), option("size", 224), option("labels", "names.txt")
    ('size=', 'size=224', "labels='names.txt'")
    """
    if not _SHELL.get() or name not in OPTIONS:
        return f"{name}=" if value is _NO_VALUE else f"{name}={value!r}"
    flag = f"--{name.replace('_', '-')}"
    if value is _NO_VALUE or value is True:
        return flag
    if isinstance(value, tuple | list):
        return f"{flag} {SEPARATORS.get(name, ':').join(str(part).removesuffix('.0') for part in value)}"
    return f"{flag} {'none' if value is None else shlex.quote(str(value))}"


def by_surface(python: str, shell: str) -> str:
    """Words of which Python's readers see the first, and those of the command line the second."""
    return shell if _SHELL.get() else python


def levels_option(low: float, high: float) -> str:
    """What says which values of an image are black and white.

    >>> levels_option(0, 4095)
    "preprocess={'name': 'auto', 'range': (0, 4095)}"
    """
    return by_surface(
        f"preprocess={{'name': 'auto', 'range': ({low:.6g}, {high:.6g})}}", f"--range {low:.6g}:{high:.6g}"
    )
