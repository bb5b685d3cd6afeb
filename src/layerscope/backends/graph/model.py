"""A model file as layerscope holds it: its inputs, the tensors that are layers, the names that find them, its sessions."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np

from ...core.layer import no_call, split_call
from ...errors import LayerNotCalled, ModelNotReadable, unknown_layer
from ...files import parsing
from .inputs import GraphInput, first_image, read_batch, split_images
from .walk import Name

MOST_SESSIONS = 3

Operator = TypeVar("Operator")
Session = TypeVar("Session")


@dataclass(frozen=True)
class Address:
    """Where a tensor is found: `path`, or `path:call` where its module runs more than once; and what its name says of it."""

    path: str
    call: int | None = None
    aliases: tuple[str, ...] = ()
    note: str = ""

    @property
    def full(self) -> str:
        return self.path if self.call is None else f"{self.path}:{self.call}"


@dataclass(frozen=True)
class Output(Generic[Name, Operator]):
    """One tensor of the graph as a layer: where it is made, its address, and the tensors that it is shown for as well."""

    tensor: Name
    operator: Operator
    address: Address
    also: tuple[Name, ...] = ()


class GraphModel(ABC, Generic[Name, Operator]):
    """What the models of all graph files have; `unfix` is how one gets a model that takes any number of images."""

    graph: Any
    unfix: str
    path: Path | None
    format: str

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around what is read from the file: whatever is wrong with it is an error that names it."""
        called = self.path.name if self.path else "this model"
        try:
            with parsing(called, self.format, ModelNotReadable):
                yield
        except ModelNotReadable as error:
            if self.path is None or called in str(error):
                raise
            raise ModelNotReadable(f"{called}: {error}") from error

    @property
    @abstractmethod
    def takes(self) -> Mapping[Name, GraphInput]:
        """The inputs by what the graph calls them."""

    @property
    def input_names(self) -> dict[str, Name]:
        """What each name of an input stands for."""
        return {taken.name: name for name, taken in self.takes.items()}

    def feeds(self, batch: Any) -> dict[Name, np.ndarray]:
        """The arrays of a batch by input, in the model's own types."""
        return read_batch(batch, self.takes, self.input_names)

    def images(
        self, feeds: Mapping[Name, Any], gives_one: Callable[[dict[Name, Any]], bool] = lambda feed: False
    ) -> list[dict[Name, Any]] | None:
        """The feeds one image at a time where the model takes only one, else `None`; see `split_images`."""
        return split_images(self.takes, feeds, self.unfix, gives_one)

    def first_image(self, feeds: Mapping[Name, Any]) -> dict[Name, Any]:
        """One image of the feeds; inputs for which the model fixes more stay as they are."""
        return first_image(self.takes, feeds)

    def twice(self, feeds: Mapping[Name, Any]) -> dict[Name, Any]:
        """The feeds with each image twice, of the inputs whose number of images is free."""
        free = {name: taken.axis for name, taken in self.takes.items() if taken.axis is not None and not taken.images}
        return {name: value.repeat(2, free[name]) if name in free else value for name, value in feeds.items()}

    def count(self, feeds: Mapping[Name, Any]) -> int:
        """How many images feeds hold whose number the model leaves open, by its first input; 1 where it fixes them."""
        rows = next(((self.takes[name], value.shape) for name, value in feeds.items() if value.ndim), None)
        return 1 if rows is None or rows[0].images is not None else int(rows[1][rows[0].axis or 0])

    @property
    @abstractmethod
    def outputs(self) -> list[Output[Name, Operator]]:
        """Every tensor that is a layer, in the order in which they are made."""

    @abstractmethod
    def hidden_names(self) -> Collection[str]:
        """The names of what is in the graph and no layer."""

    @cached_property
    def final(self) -> Output[Name, Operator] | None:
        """The tensor that the model gives first, where a layer makes it."""
        by_tensor = {tensor: output for output in self.outputs for tensor in (output.tensor, *output.also)}
        return next((by_tensor[name] for name in self.graph.outputs if name in by_tensor), None)

    @cached_property
    def order(self) -> dict[Name, int]:
        """The index of each layer among the outputs."""
        return {output.tensor: index for index, output in enumerate(self.outputs)}

    @cached_property
    def names(self) -> dict[str, list[Output[Name, Operator]]]:
        """What each name stands for; exact paths win over other names, and those over `path:0` for a single call."""
        by_name: dict[str, list[Output[Name, Operator]]] = {}
        for output in self.outputs:
            by_name.setdefault(output.address.path, []).append(output)
        for output in self.outputs:
            if output.address.call is not None:
                by_name.setdefault(output.address.full, [output])
        for output in self.outputs:
            for alias in output.address.aliases:
                by_name.setdefault(alias, [output])
        if self.final:
            by_name[""] = [self.final]
        return by_name

    def find(self, paths: Iterable[str]) -> dict[str, Output[Name, Operator]]:
        """The outputs that the paths name, each under the name it is given back by, in execution order."""
        outputs = {
            path if len(calls) == 1 else output.address.full: output
            for path in paths
            for calls in (self._calls(path),)
            for output in calls
        }
        if len(outputs) == 1:
            return outputs
        return dict(sorted(outputs.items(), key=lambda item: (self.order[item[1].tensor], item[0] == "")))

    def _calls(self, path: str) -> list[Output[Name, Operator]]:
        """The outputs that a path names: every call of a layer, or one."""
        outputs = self.names.get(path)
        base, call = split_call(path)
        if outputs is None and call is not None and base in self.names:
            outputs = self.names[base]
            if call or len(outputs) > 1:
                raise no_call(base, len(outputs), call)
        return self._refuse(path) if outputs is None else outputs

    def _refuse(self, path: str) -> NoReturn:
        if path in self.input_names:
            raise LayerNotCalled(f"{path!r} is the model's input, not a layer: the batch itself is its value")
        if path in self.hidden_names():
            raise LayerNotCalled(f"{path!r} has no output to show: it is a weight, a constant or shape arithmetic")
        raise unknown_layer(path, self.names)


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
