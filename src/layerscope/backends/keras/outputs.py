"""The tensors in what a layer returned, by name: `""` for the main one, `[1]` or `.logits` for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..common.outputs import main_place, places


class Part(NamedTuple):
    """One tensor of an output: what follows the path, its place in the structure, the tensor, whether it is numbers."""

    suffix: str
    where: str
    tensor: Any
    numeric: bool


def parts(output: Any, concrete: Callable[[Any], bool]) -> list[Part]:
    """The tensors of `output`, the main one first.

    Which is the main one, `main_place` says.
    """
    found = dict(places(output, concrete))
    main = main_place(found, _floating)
    ordered = sorted(found.items(), key=lambda each: each[0] != main)
    return [Part("" if where == main else where, where, tensor, numeric(tensor)) for where, tensor in ordered]


def tensors(structure: Any, concrete: Callable[[Any], bool]) -> list[Any]:
    """All tensors in the arguments of a call, in order."""
    return [tensor for _, tensor in places(structure, concrete)]


def numeric(tensor: Any) -> bool:
    """Whether a tensor's type has a number for each element."""
    return "string" not in str(tensor.dtype) and "variant" not in str(tensor.dtype)


def _floating(tensor: Any) -> bool:
    return "float" in str(tensor.dtype)
