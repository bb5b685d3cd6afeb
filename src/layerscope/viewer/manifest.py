"""The manifest: what a page must know of the model, its layers, its images and what can be done with them."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from .._version import __version__
from ..channels.query import FIGURES
from ..channels.sort import SORTS
from ..core.layer import Layer, kind_in_words
from ..picture.norms import NORMS
from ..picture.palette import palette
from ..scope.prediction import Prediction
from ..scope.scope import Scope
from .combine import absences, rules_for
from .inputs import Entry
from .maps import PROTOCOL, kind_of

COLOURS = {
    **dict.fromkeys(("viridis", "cividis", "magma", "inferno", "plasma", "batlow", "gray"), "sequential"),
    **dict.fromkeys(("vik", "berlin", "matplotlib:coolwarm"), "diverging"),
    "turbo": "other",
}


def manifest(scope: Scope, inputs: Sequence[Entry], layers: Sequence[Layer], **more: Any) -> dict[str, Any]:
    """The manifest as JSON has it; `more` is what the session knows: `first`, `predictions`, `notes`, `view`, `caps` …"""
    predictions, opening = more.pop("predictions", {}), more.pop("opening")
    command = opening.command()
    one = next((each for each in predictions.values() if each is not None), None)
    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "title": " · ".join(filter(None, (scope.name, inputs[0].name if len(inputs) == 1 else ""))),
        "model": {
            "name": scope.name,
            "opening": opening.python(),
            **({} if command is None else {"command": command}),
            "framework": scope.facts.framework or scope.backend.name,
            "text": scope.preprocess.describe(),
            "classes": len(scope.labels or ()) or (_outputs(layers) if one is not None else 0),
            "gradients": bool(scope.backend.gradients),
        },
        "inputs": [about_input(entry, predictions.get(entry.id)) for entry in inputs],
        "layers": [about_layer(layer, f"l{number}") for number, layer in enumerate(layers)],
        "combinations": rules_for(scope, layers),
        "absent": absences(scope),
        **colours(),
        "choices": {"scales": ["channel", "layer"], "norms": [*NORMS], "sorts": [*SORTS], "figures": [*FIGURES]},
        **more,
    }


def about_input(entry: Entry, predictions: Sequence[Prediction] | None) -> dict[str, Any]:
    """An image as the manifest has it."""
    height, width = entry.size
    return {
        "id": entry.id,
        "name": entry.name,
        **({} if entry.source is None else {"source": entry.source}),
        "width": width,
        "height": height,
        "predictions": None if predictions is None else [about_prediction(each) for each in predictions],
    }


def about_prediction(prediction: Prediction) -> dict[str, Any]:
    """A class that the model sees; `note` is what its number is where that is no probability of the model's own."""
    number = prediction.probability
    return {
        "index": prediction.index,
        "label": prediction.label,
        "probability": number if math.isfinite(number) else None,
        "note": str(prediction.note),
    }


def about_layer(layer: Layer, id: str) -> dict[str, Any]:
    """A layer as the manifest has it."""
    spatial, channels = layer.spatial, layer.channels or 0
    usual = kind_in_words(layer)
    return {
        "id": id,
        "path": layer.path,
        "kind": usual or layer.kind,
        "own": layer.kind if usual and usual != layer.kind else None,
        "shape": list(layer.shape or ()),
        "axes": layer.axes,
        "kind_of": kind_of(layer),
        "mark": layer.mark,
        "channels": channels,
        "spatial": list(spatial),
        "index": layer.index,
        "calls": layer.calls,
        "parameters": layer.parameters,
        "note": str(layer.note),
        "bytes": 2 * channels * math.prod(spatial) if layer.showable else 0,
    }


def _outputs(layers: Sequence[Layer]) -> int:
    """How many numbers the last layer that a list of classes may come from has."""
    return next((layer.channels or 0 for layer in layers[::-1] if kind_of(layer) in ("vector", "scalar")), 0)


@cache
def colours() -> dict[str, Any]:
    """The colour maps that a page offers, as tables of a colour for each code; `dark` those on dark paper."""
    return {
        "colours": [{"name": name, "kind": kind, "table": _table(name, "light")} for name, kind in COLOURS.items()],
        "dark": {name: _table(name, "dark") for name in COLOURS},
    }


def _table(name: str, theme: str) -> str:
    return base64.b64encode(palette(name, theme).tobytes()).decode()
