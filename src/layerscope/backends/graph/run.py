"""Running a graph file: a batch by the graph's inputs, one image at a time where it takes only one, and the sessions kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ...errors import ModelNotReadable
from .axes import KnownAxes
from .walk import Name

MOST_SESSIONS = 3


Session = TypeVar("Session")


class Sessions(Generic[Session]):
    """The last few sessions, by what they were made from. Several threads may ask."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Session] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Any, make: Callable[[], Session]) -> Session:
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= MOST_SESSIONS:  # before the new one is made, so that only so many are alive
                    self._kept.popitem(last=False)
                self._kept[key] = make()
            self._kept.move_to_end(key)
            return self._kept[key]


def match_inputs(
    batch: Any, inputs: Sequence[Name], names: Mapping[str, Name], wanted: Callable[[Name], str]
) -> dict[Name, Any]:
    """The arrays of a batch by input: a mapping by name, a tuple in order, or the only input's array.

    `wanted(input)` says for people what an input takes. Raises `ModelNotReadable` where arrays are missing or too many.
    """
    arrays: dict[Name, Any] = {}
    if isinstance(batch, Mapping):
        arrays = {names[str(name)]: value for name, value in batch.items() if str(name) in names}
        arrays = arrays if len(arrays) == len(batch) else {}
    elif isinstance(batch, tuple | list):
        arrays = dict(zip(inputs, batch, strict=True)) if len(batch) == len(inputs) else {}
    elif len(inputs) == 1:
        arrays = {inputs[0]: batch}
    if set(arrays) != set(inputs):
        raise ModelNotReadable(
            f"the model has {len(inputs)} inputs: {', '.join(map(wanted, inputs))}. Give an array for each, as a tuple"
            " or a dict by name"
        )
    return arrays


def singles(fixed: Mapping[Name, int], feeds: Mapping[Name, Any], way: str) -> list[dict[Name, Any]] | None:
    """The batch one image at a time where the model takes only one, `None` where it takes the batch as it is.

    `fixed` are the first sizes that the model fixes, `way` how one gets a model that doesn't.

    >>> [{name: len(value) for name, value in each.items()} for each in singles({"x": 1}, {"x": np.zeros((2, 3))}, "")]
    [{'x': 1}, {'x': 1}]
    """
    wrong = [name for name, size in fixed.items() if len(feeds[name]) != size]
    if not wrong:
        return None
    images = len(feeds[wrong[0]])
    apart = {name for name, value in feeds.items() if name in wrong or (name not in fixed and value.ndim)}
    if any(fixed[name] != 1 for name in wrong) or any(len(feeds[name]) != images for name in apart):
        raise ModelNotReadable(
            f"the model takes exactly {fixed[wrong[0]]} images at a time, the batch has {images}:"
            f" give that many, or {way}"
        )
    return [
        {name: value[image : image + 1] if name in apart else value for name, value in feeds.items()}
        for image in range(images)
    ]


def first_image(fixed: Mapping[Name, int], feeds: Mapping[Name, Any]) -> dict[Name, Any]:
    """One image of a batch; inputs for which the model fixes more stay as they are."""
    return {name: value[:1] if fixed.get(name, 1) < 2 and value.ndim else value for name, value in feeds.items()}


def join(
    runs: Sequence[Sequence[np.ndarray]], tensors: Sequence[Name], flow: KnownAxes[Name], called: Callable[[Name], str]
) -> list[np.ndarray]:
    """What `tensors` are in several runs of one image each, along their batch axis."""
    for tensor in tensors:
        if "b" not in flow.axes[tensor] or not flow.certain(tensor):
            raise ModelNotReadable(
                f"the model takes one image at a time, and {called(tensor)!r} has no known batch axis to join "
                f"{len(runs)} images along: give one image"
            )
    return [
        np.concatenate(parts, axis=flow.axes[tensor].index("b"))
        for tensor, parts in zip(tensors, zip(*runs, strict=True), strict=True)
    ]
