"""The names and options of operations: Keras 3 keeps options in attributes, tf_keras has them in the arguments of a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .tree import is_a, is_layer

# Operations of TensorFlow that Keras 3 calls otherwise.
KERAS_NAMES = {
    "Getitem": "GetItem",
    "Concat": "Concatenate",
    "Truediv": "TrueDivide",
    "Mul": "Multiply",
    "Sub": "Subtract",
}


def is_tensorflow(layer: Any) -> bool:
    """Whether a layer of tf_keras stands for a function of TensorFlow."""
    return is_a(layer, "TFOpLambda", "SlicingOpLambda")


def is_operation(layer: Any) -> bool:
    """Whether it is an operation of Keras 3, or a layer that stands for one of TensorFlow."""
    return not is_layer(layer) or is_tensorflow(layer)


def operation_name(layer: Any) -> str:
    """The class of an operation, `Transpose` for a `tf.transpose` as well."""
    if not is_tensorflow(layer):
        return type(layer).__name__
    words = str(layer.symbol).rpartition(".")[2].removeprefix("reduce_").split("_")
    name = "".join(word.capitalize() for word in words)
    return KERAS_NAMES.get(name, name)


def held_by(layer: Any) -> Iterator[Any]:
    """What the calls of an operation in a graph are given, and hold: the numbers that `preprocess_input` subtracts."""
    for node in layer._inbound_nodes:
        kept = getattr(node, "arguments", None)
        args, kwargs = (kept.args, kept.kwargs) if kept else (node.call_args, node.call_kwargs)
        for part in (*args, *kwargs.values()):
            yield from part if isinstance(part, list | tuple) else (part,)


def option(layer: Any, arguments: Any, *names: str, position: int = 1) -> Any:
    """An option by its names in the two libraries, `None` where it isn't set."""
    args, kwargs = arguments
    for name in names:
        if name in kwargs:
            return kwargs[name]
        if not is_tensorflow(layer) and hasattr(layer, name):
            return getattr(layer, name)
    return args[position] if is_tensorflow(layer) and len(args) > position else None


def moved_axes(layer: Any, rank: int) -> list[int]:
    """The order of the axes after a `Swapaxes` or a `Moveaxis`."""
    axes = np.empty(range(1, rank + 1))  # of sizes that are all different
    swaps = hasattr(layer, "axis1")
    moved = np.swapaxes(axes, layer.axis1, layer.axis2) if swaps else np.moveaxis(axes, layer.source, layer.destination)
    return [size - 1 for size in moved.shape]


def index(arguments: Any) -> list[Any]:
    """The parts of the index of a `GetItem`: slices, whole numbers, `None`, an ellipsis."""
    args, kwargs = arguments
    key = args[1] if len(args) > 1 else kwargs.get("key", kwargs.get("slice_spec"))
    parts = list(key) if isinstance(key, Sequence) else [key]
    return [
        slice(part.get("start"), part.get("stop"), part.get("step")) if isinstance(part, dict) else part
        for part in parts
    ]


def full_index(arguments: Any, rank: int) -> list[Any]:
    """The same, with a part for each of the `rank` axes."""
    parts = index(arguments)
    taken = sum(part is not None and part is not Ellipsis for part in parts)
    at = next((at for at, part in enumerate(parts) if part is Ellipsis), len(parts))
    return [*parts[:at], *[slice(None)] * (rank - taken), *parts[at + 1 :]]
