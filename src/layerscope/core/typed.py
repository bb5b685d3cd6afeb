"""Whether values that came from a file have the types that their fields are annotated with."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

Record = TypeVar("Record")
hints = functools.cache(typing.get_type_hints)


def checked(record: Record) -> Record:
    """The dataclass itself. Raises `TypeError` where a field is of another type than its annotation says.

    >>> from layerscope.core.layer import Layer
    >>> checked(Layer("conv", 7))
    Traceback (most recent call last):
    TypeError: Layer.kind is 7, where str is needed
    """
    kind: Any = type(record)
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        check(hints(kind)[field.name], getattr(record, field.name), f"{kind.__name__}.{field.name}")
    return record


def check(hint: Any, value: Any, name: str) -> None:
    """Raise `TypeError` where the value isn't of the type."""
    if not fits(hint, value):
        raise TypeError(f"{name} is {value!r:.60}, where {getattr(hint, '__name__', hint)} is needed")


def fits(hint: Any, value: Any) -> bool:
    """Whether a value is of a type, as JSON and dataclasses have it: a `bool` is no number, an `int` will do as a `float`.

    >>> fits(tuple[int, ...], (1, 2)), fits(tuple[int, int] | None, None), fits(float, True)
    (True, True, False)
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(part, value) for part in parts)
    if origin is typing.Literal:
        return value in parts
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        inner = (parts[0],) * len(value) if parts[-1] is Ellipsis else parts
        return len(inner) == len(value) and all(map(fits, inner, value))
    if origin is not None:
        return isinstance(value, Mapping if origin is Mapping or issubclass(origin, Mapping) else origin)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, type(None) if hint is None else hint)
