"""What an ONNX file's metadata says: preprocessing, class names, the size of the input."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from ...errors import ModelNotReadable

RECIPE = "layerscope.preprocess"


LABELS = "layerscope.labels"


LONGEST_TEXT = 1 << 20


def read(said: Mapping[str, str], key: str) -> Any:
    if key not in said:
        return None
    try:
        return json.loads(said[key])
    except ValueError as error:
        raise ModelNotReadable(f"the metadata {key!r} of the model is no JSON: {error}") from error


def labels(said: Mapping[str, str]) -> tuple[str, ...] | None:
    """The class names: layerscope's own entry, `names` of Ultralytics (a dict as text), `labels` or `classes` as JSON."""
    if LABELS in said:
        text = said[LABELS]
        names = read(said, LABELS) if text.lstrip().startswith("[") else text.splitlines()
        return tuple(str(each) for each in names)
    for key in ("names", "labels", "classes"):
        found = _literal(said.get(key, ""))
        if isinstance(found, dict) and set(found) == set(range(len(found))):
            found = [found[at] for at in range(len(found))]
        if isinstance(found, list) and found and all(isinstance(each, str) for each in found):
            return tuple(found)
    return None


def _literal(text: str) -> Any:
    """What a text of JSON or of Python's literals says, `None` where it is neither or too long. Nothing in it is run."""
    if not 0 < len(text) <= LONGEST_TEXT:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):  # someone else's entry under the same key
            continue
    return None


def stated_sizes(said: Mapping[str, str], axes: str, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The shape with height and width of `imgsz` (Ultralytics) where the model leaves both free."""
    found = _literal(said.get("imgsz", ""))
    sides = [found, found] if isinstance(found, int) else found
    whole = isinstance(sides, list) and len(sides) == 2 and all(type(each) is int and each > 0 for each in sides)
    if not whole or axes != "bchw" or shape[2:] != (None, None):
        return shape
    return (*shape[:2], *sides)
