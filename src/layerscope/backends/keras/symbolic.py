"""The operations in a layer's `call`, which Keras tells without computing, for layers that are somebody's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from .watch import silent

Known = TypeVar("Known")
Shape = tuple[int, ...]


class Inside(NamedTuple):
    """An operation in a layer's `call`, the shape of what it gives and its arguments."""

    operation: Any
    shape: Shape
    arguments: Any


def told(layer: Any) -> bool:
    """Whether Keras can tell what is in a layer: only Keras 3, of a layer that is built."""
    keras = sys.modules.get("keras")
    known = keras is not None and hasattr(keras, "KerasTensor") and isinstance(layer, keras.Layer)
    return bool(known and layer.built)


@contextmanager
def symbols_of(layer: Any, shapes: Sequence[Shape]) -> Iterator[tuple[list[Any], Any]]:
    """(symbols of these shapes, what the layer gives for them); whatever its code raises with tensors that hold no numbers."""
    keras: Any = sys.modules["keras"]
    nodes = [
        (kept, len(kept)) for part in layer._flatten_layers() for kept in (part._inbound_nodes, part._outbound_nodes)
    ]
    try:
        symbols = [keras.KerasTensor(shape, dtype=layer.compute_dtype) for shape in shapes]
        with silent(layer):
            output = layer.call(*symbols)
        if not isinstance(output, keras.KerasTensor):
            raise TypeError("it gives no single tensor")
        yield symbols, output
    finally:
        for kept, count in nodes:
            del kept[count:]


def follow_back(
    tensor: Any,
    known: dict[int, Known],
    of: Callable[[Inside, list[Known]], Known],
    fixed: Callable[[Shape], Known],
) -> Known:
    """What is known of a symbolic tensor, by the operation that made it and what is known of its inputs.

    `known` has it for symbols, by their `id`; `fixed` gives it for tensors that hold numbers.
    """
    if id(tensor) not in known:
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        given = node.arguments.args, node.arguments.kwargs
        inputs = []
        for part in sys.modules["keras"].tree.flatten(given):
            if hasattr(part, "_keras_history"):
                inputs.append(follow_back(part, known, of, fixed))
            elif hasattr(part, "shape"):
                inputs.append(fixed(tuple(int(size) for size in part.shape)))
        shape = tuple(int(size) for size in tensor.shape)
        known[id(tensor)] = of(Inside(history.operation, shape, given), inputs)
    return known[id(tensor)]
