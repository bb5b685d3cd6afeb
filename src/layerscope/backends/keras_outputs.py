"""The tensors in what a layer returned, by name: `""` for the main one, `[1]` or `.logits` for the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class Part(NamedTuple):
    """One tensor of an output: what follows the path, its place in the structure, the tensor, whether it is numbers."""

    suffix: str
    where: str
    tensor: Any
    numeric: bool


def parts(output: Any, concrete: Callable[[Any], bool]) -> list[Part]:
    """The tensors of `output`, the main one first.

    The main one is the first with numbers and an axis besides the batch, else the first of all.
    """
    found = [(where, tensor) for where, tensor in _walk(output, "") if concrete(tensor)]
    if not found:
        return []
    main = next((at for at, (_, tensor) in enumerate(found) if _is_main(tensor)), 0)
    ordered = [found[main], *found[:main], *found[main + 1 :]]
    return [
        Part("" if at == 0 else where, where, tensor, numeric(tensor)) for at, (where, tensor) in enumerate(ordered)
    ]


def tensors(structure: Any, concrete: Callable[[Any], bool]) -> list[Any]:
    """All tensors in the arguments of a call, in order."""
    return [tensor for _, tensor in _walk(structure, "") if concrete(tensor)]


def numeric(tensor: Any) -> bool:
    """Whether a tensor's type has a number for each element."""
    return "string" not in str(tensor.dtype) and "variant" not in str(tensor.dtype)


def _is_main(tensor: Any) -> bool:
    return numeric(tensor) and len(tensor.shape) > 1


def _walk(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _walk(each, f"{where}.{key}")
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for key in value._fields:
            yield from _walk(getattr(value, key), f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for at, each in enumerate(value):
            yield from _walk(each, f"{where}[{at}]")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type) and not hasattr(value, "shape"):
        for field in dataclasses.fields(value):
            yield from _walk(getattr(value, field.name), f"{where}.{field.name}")
    else:
        yield where, value
