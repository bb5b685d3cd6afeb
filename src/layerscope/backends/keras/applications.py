"""The models of `keras.applications` by name, read from its file: importing Keras takes seconds, and TensorFlow's log lines."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ...errors import ModelNotReadable, near

PLACES = ("applications/__init__.py", "api/applications/__init__.py")


def require_name(name: str, known: Sequence[str] | None = None) -> None:
    """Raises `ModelNotReadable` with near names for a model that Keras doesn't have, by default as its file says.

    >>> require_name("VGG17", ["NASNet", "VGG16"])
    Traceback (most recent call last):
    layerscope.errors.ModelNotReadable: keras.applications has no 'VGG17'. Did you mean 'VGG16'? There are NASNet, VGG16
    """
    names = _in_its_file() if known is None else known
    if names and name.lower() not in map(str.lower, names):
        raise ModelNotReadable(
            f"keras.applications has no {name!r}{near(name, names) or '.'} There are {', '.join(names)}"
        )


def _in_its_file() -> list[str]:
    """The names of the functions that build models; none where they can't be found so."""
    spec = importlib.util.find_spec("keras")
    folders = spec.submodule_search_locations if spec is not None else None
    files = [Path(folder) / place for folder in folders or () for place in PLACES]
    text = next((file.read_text("utf-8") for file in files if file.is_file()), "")
    imported = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom))
    return sorted(alias.name for node in imported for alias in node.names if alias.name[0].isupper())
