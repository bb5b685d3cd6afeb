"""What every watched run of a model shares: its batch, its end, and what is noted of its tensors."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Stop(BaseException):
    """Ends a run that has given all that was asked for. Not an `Exception`, which models and frameworks catch."""

    def __init__(self, owner: object = None) -> None:
        self.owner = owner


@contextlib.contextmanager
def until_stopped(owner: object) -> Iterator[None]:
    """Around a run that `owner` may end early."""
    try:
        yield
    except Stop as stop:
        if stop.owner is not owner:
            raise


class TensorMap(Generic[Value]):
    """What is noted of the tensors of one run, by identity.

    Entries go when their tensor goes: holding a map keeps no tensor alive.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[Any, Value]] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def set(self, tensor: Any, value: Value) -> None:
        key = id(tensor)
        self._held[key] = (weakref.ref(tensor, lambda _: self._held.pop(key, None)), value)

    def get(self, tensor: Any) -> Value | None:
        entry = self._held.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None


def map_batch(batch: Any, change: Callable[[Any], Any]) -> Any:
    """A batch of the same structure with `change(array)` in the place of each array.

    >>> map_batch({"images": [1, 2]}, lambda array: array + 1)
    {'images': [2, 3]}
    """
    if isinstance(batch, Mapping):
        return {name: map_batch(array, change) for name, array in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(map_batch(array, change) for array in batch)
    return change(batch)


def first_image(batch: Any) -> Any:
    """The batch cut to its first image."""
    return map_batch(batch, lambda array: array[:1] if getattr(array, "ndim", 0) else array)


def first_input(batch: Any) -> Any:
    """The first array of a batch, whose rows are the images."""
    while isinstance(batch, Mapping | tuple | list):
        batch = next(iter(batch.values())) if isinstance(batch, Mapping) else batch[0]
    return batch
