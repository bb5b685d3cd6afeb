"""What a TFLite file says about itself: inputs, checksum, the metadata table, and the label files zipped to its end.

Fields are those of tensorflow_lite_support/metadata/metadata_schema.fbs. What can't be read is left out: a model is
usable without it.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..protocol import Facts
from .flatbuffer import Damaged, Table
from .graph import Graph
from .model import TfliteModel
from .resizing import resizes
from .run import runtime

BUFFER = "TFLITE_METADATA"


NORMALIZATION = 1


LABEL_TYPES = (2, 3)  # TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS


MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class Metadata:
    """`recipe` as `Facts` takes it, with its `source`, the class names, and the model's name."""

    recipe: Any = None
    source: str = ""
    labels: tuple[str, ...] | None = None
    name: str = ""


def digest(model: TfliteModel) -> str:
    """The checksum of the file."""
    return model.digest


def facts(model: TfliteModel) -> Facts:
    """What the file says about itself, without running it."""
    with model.reading():
        return _facts(model)


def _facts(model: TfliteModel) -> Facts:
    metadata, axes = _metadata(model), model.input_axes
    return Facts(
        name=metadata.name or (model.path.stem if model.path else "model"),
        inputs=tuple(value.fact(axes.axes[index]) for index, value in model.takes.items()),
        digest=model.digest,
        framework=runtime()[0],
        recipe=metadata.recipe,
        source=metadata.source,
        labels=metadata.labels,
        resizes=resizes(model),
    )


def _metadata(model: TfliteModel) -> Metadata:
    """What the file says, and what the range of a quantised input shows."""
    metadata, first = _read(model.graph), next(iter(model.takes.values()), None)
    if first is None or first.codes is None:
        return metadata
    if first.dtype == "uint8":  # takes pixels as they are: its scale and zero point are the normalization
        return replace(metadata, recipe=None, source="")
    if metadata.recipe is None and (stated := first.recipe())[0]:
        return replace(metadata, recipe=stated[0], source=stated[1])
    return metadata


def _read(graph: Graph) -> Metadata:
    try:
        root = _root(graph)
        if root is None:
            return Metadata()
        subgraph = next(root.tables(3), None)
        if subgraph is None:
            return Metadata(name=root.text(0))
        inputs, outputs = list(subgraph.tables(2)), list(subgraph.tables(3))
        recipe = _normalization(inputs[0]) if inputs else None
        files = [name for output in outputs if (name := _label_file(output))]
        labels = _unzip(graph, files[0]) if files else None
    except Damaged:
        return Metadata()
    return Metadata(recipe, "the TFLite metadata" if recipe else "", labels, root.text(0))


def _root(graph: Graph) -> Table | None:
    for entry in graph.model.tables(6):
        number = entry.number(1, "I")
        if entry.text(0) == BUFFER and number < len(graph.buffers):
            raw = Table(graph.content, graph.buffers[number]).numbers(0, np.uint8)
            return None if raw is None else Table.root(raw.tobytes())
    return None


def _normalization(tensor: Table) -> dict[str, Any] | None:
    """The `(x - mean) / std` of an input, as fields of a recipe."""
    for unit in tensor.tables(4):
        options = unit.table(1)
        if unit.number(0, "B") != NORMALIZATION or options is None:
            continue
        mean, std = (options.numbers(field, np.float32) for field in (0, 1))
        if mean is None or std is None or mean.size not in (1, 3) or std.size not in (1, 3):
            return None
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and std.all()):
            return None
        return {"name": "tflite", "mean": mean.tolist(), "std": std.tolist()}
    return None


def _label_file(tensor: Table) -> str:
    """The name of an output's first file of labels, one without a language first."""
    files = [file for file in tensor.tables(6) if file.number(2, "b") in LABEL_TYPES]
    files.sort(key=lambda file: bool(file.text(3)))
    return files[0].text(0) if files else ""


def _unzip(graph: Graph, name: str) -> tuple[str, ...] | None:
    """The lines of a file in the zip archive that is appended to the model."""
    try:
        with zipfile.ZipFile(io.BytesIO(graph.content)) as archive:
            if archive.getinfo(name).file_size > MOST_BYTES:
                return None
            text = archive.read(name).decode("utf-8")
    except Exception:  # no archive, not that file in it, or damaged, of which zipfile has no end of errors
        return None
    return tuple(text.splitlines()) or None
