"""The last dense layer of a TFLite file."""

from __future__ import annotations

from . import Head
from .tflite_model import TfliteModel
from .tflite_stored import stored


def head(held: TfliteModel) -> Head | None:
    """The last FULLY_CONNECTED whose weights are in the file, dequantised where they are codes."""
    for output in reversed(held.layers):
        operator = output.operator
        if operator.name != "FULLY_CONNECTED":
            continue
        weights = stored(held.graph, operator.inputs[1])
        if weights is None or weights.ndim != 2:
            continue
        bias = stored(held.graph, operator.inputs[2]) if len(operator.inputs) > 2 else None
        return Head(output.address.path, weights, bias, operator.activation.lower())
    return None
