"""Which framework Keras runs on where nobody has said it: the one that is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import BackendChosen, BackendMissing, caller_level

SETTING = "KERAS_BACKEND"
FRAMEWORKS = ("tensorflow", "jax", "torch")


@contextmanager
def on_installed_framework() -> Iterator[None]:
    """Around an import of Keras: where the framework that it would run on isn't there and one other is, it runs on that.

    With a `BackendChosen` warning; the environment is as before afterwards. Raises `BackendMissing` where there is none, or
    a choice.
    """
    wanted = _configured()
    if "keras" in sys.modules or os.environ.get(SETTING) or wanted not in FRAMEWORKS or _is_installed(wanted):
        yield
        return
    installed = [name for name in FRAMEWORKS if _is_installed(name)]
    if len(installed) != 1:
        there = f"{' and '.join(installed)} are: set {SETTING} to one of them" if installed else "nor is torch or jax"
        install = "" if installed else f": pip install {wanted}"
        raise BackendMissing(f"Keras would run on {wanted}, which isn't installed; {there}{install}")
    warnings.warn(
        f"Keras runs on {installed[0]}, the one framework that is installed ({SETTING} isn't set)",
        BackendChosen,
        stacklevel=caller_level(),
    )
    os.environ[SETTING] = installed[0]
    try:
        yield
    finally:
        os.environ.pop(SETTING, None)


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _configured() -> str:
    """The framework that Keras's own file of settings names; TensorFlow where there is none, as in Keras."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        settings = json.loads(Path(home, "keras.json").read_text("utf-8"))
        return str(settings.get("backend", FRAMEWORKS[0]))
    except (OSError, ValueError, AttributeError):  # none, or one that Keras doesn't read either
        return FRAMEWORKS[0]
