"""The tensors in what a layer returned, by name: `""` for the main one, `[1]` or `.logits` for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..common.outputs import main_place, places


class Part(NamedTuple):
    """One tensor of an output: what follows the layer's path, its place in the structure, whether it holds numbers."""

    suffix: str
    place: str
    tensor: Any
    numeric: bool


def parts_of(output: Any, has_values: Callable[[Any], bool]) -> list[Part]:
    """The tensors of `output`, the main one (as `main_place` chooses) first."""
    tensors = dict(places(output, has_values))
    main = main_place(tensors, lambda tensor: "float" in str(tensor.dtype))
    ordered = sorted(tensors, key=lambda place: place != main)
    return [
        Part("" if place == main else place, place, tensors[place], is_numeric(tensors[place])) for place in ordered
    ]


def tensors_in(arguments: Any, has_values: Callable[[Any], bool]) -> list[Any]:
    """All tensors in the arguments of a call, in order."""
    return [tensor for _, tensor in places(arguments, has_values)]


def is_numeric(tensor: Any) -> bool:
    """Whether a tensor's type has a number for each element."""
    return "string" not in str(tensor.dtype) and "variant" not in str(tensor.dtype)
