"""How a ready batch is handed to a model: as one argument, as several, or as several by name; the model's signature tells.

A tuple or list are arguments in order and a mapping arguments by name, unless the model takes no such arguments and the whole
as one. A named tuple is one, unless the model takes its fields as arguments. Any other object is one.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def arguments_of(batch: Any, function: Callable[..., Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments for a call of `function`, and those by name.

    >>> arguments_of((1, 2), lambda image, scale: ...)
    ((1, 2), {})
    >>> arguments_of([1, 2], lambda images: ...)
    (([1, 2],), {})
    >>> arguments_of({"image": 1}, lambda batch: ...)
    (({'image': 1},), {})
    """
    spread: tuple[tuple[Any, ...], dict[str, Any]]
    if isinstance(batch, Mapping):
        spread = (), dict(batch)
    elif isinstance(batch, tuple | list):
        spread = tuple(batch), {}
    else:
        return (batch,), {}
    whole: tuple[tuple[Any, ...], dict[str, Any]] = (batch,), {}
    first, second = (whole, spread) if hasattr(batch, "_fields") else (spread, whole)
    return second if not _takes(function, first) and _takes(function, second) else first


def _takes(function: Callable[..., Any], arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> bool:
    """Whether a function can be called so, by its signature; true where that isn't known."""
    args, kwargs = arguments
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*args, **kwargs)
    except TypeError:  # also for names that are no text
        return False
    return True


def is_object(value: Any) -> bool:
    """Whether a value is neither an array nor a container, and holds others under names, as a dataclass does."""
    # the shape of a nested tensor raises, its dtype does not
    array = hasattr(value, "dtype") or hasattr(value, "shape")
    return not array and not isinstance(value, Mapping | tuple | list) and bool(_fields(value))


def members_of(value: Any) -> list[Any]:
    """What a container or an object holds."""
    if isinstance(value, tuple | list):
        return list(value)
    return list((value if isinstance(value, Mapping) else _fields(value)).values())


def _fields(value: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    own = getattr(value, "__dict__", None)
    return own if isinstance(own, dict) and not isinstance(value, type) and not callable(value) else {}
