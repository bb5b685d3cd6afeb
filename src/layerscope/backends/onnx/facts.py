"""What an ONNX file says about itself: inputs, preprocessing, class names, checksum."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import onnxruntime

from ...errors import ModelNotReadable
from ..protocol import Facts
from .evidence import own_scaling, resizes
from .model import OnnxModel

RECIPE = "layerscope.preprocess"


LABELS = "layerscope.labels"


LONGEST_TEXT = 1 << 20


def digest(model: OnnxModel) -> str:
    """The checksum of the file, or of the proto as it is now."""
    return model.digest


def facts(model: OnnxModel) -> Facts:
    """What the file says about itself, without running it."""
    with model.reading():
        return _facts(model)


def _facts(model: OnnxModel) -> Facts:
    graph, metadata = model.graph, {entry.key: entry.value for entry in model.proto.metadata_props}
    recipe, source = _json(metadata, RECIPE), "the model's metadata"
    if recipe is None:
        recipe, source = own_scaling(graph)
    first = next(iter(graph.takes.values()), None)
    if recipe is None and first is not None:
        recipe, source = first.recipe()
    return Facts(
        name=graph.model.graph.name or (model.path.stem if model.path else "model"),
        inputs=tuple(
            replace(fact, shape=_stated_sizes(metadata, fact.axes, fact.shape))
            for fact in (value.fact(model.input_axes.axes[value.name]) for value in graph.takes.values())
        ),
        digest=model.digest,
        framework=f"onnxruntime {onnxruntime.__version__}",
        recipe=recipe,
        source=source,
        labels=_labels(metadata),
        resizes=resizes(model),
    )


def _json(metadata: Mapping[str, str], key: str) -> Any:
    """An entry of the metadata that is JSON, `None` where there is none."""
    if key not in metadata:
        return None
    try:
        return json.loads(metadata[key])
    except (ValueError, RecursionError) as error:
        raise ModelNotReadable(f"the metadata {key!r} of the model is not valid JSON: {error}") from error


def _labels(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The class names: layerscope's own entry, `names` of Ultralytics (a dict as text), `labels` or `classes` as JSON."""
    if LABELS in metadata:
        text = metadata[LABELS]
        names = _json(metadata, LABELS) if text.lstrip().startswith("[") else text.splitlines()
        return tuple(str(name) for name in names)
    for key in ("names", "labels", "classes"):
        classes = _literal(metadata.get(key, ""))
        if isinstance(classes, dict) and set(classes) == set(range(len(classes))):
            classes = [classes[index] for index in range(len(classes))]
        if isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes):
            return tuple(classes)
    return None


def _literal(text: str) -> Any:
    """What a text of JSON or of Python's literals says, `None` where it is neither or too long. Nothing in it is run."""
    if not 0 < len(text) <= LONGEST_TEXT:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):  # someone else's entry under the same key
            continue
    return None


def _stated_sizes(metadata: Mapping[str, str], axes: str, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The shape with height and width of `imgsz` (Ultralytics) where the model leaves both free."""
    size = _literal(metadata.get("imgsz", ""))
    sides = [size, size] if isinstance(size, int) else size
    whole = isinstance(sides, list) and len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)
    if not whole or axes != "bchw" or shape[2:] != (None, None):
        return shape
    return (*shape[:2], *sides)
