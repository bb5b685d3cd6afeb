"""A TFLite model as layerscope holds it: its graph, the tensors that are layers, and the names that find them."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from ...core.layer import split_call
from ...errors import LayerNotCalled, LayerNotFound, ModelNotReadable, near
from ..graph.run import Sessions
from .axes import Axes
from .flatbuffer import Bytes, Damaged
from .graph import IDENTIFIER, Graph, Operator, Tensor, signature
from .names import Address, addresses
from .run import Session


@dataclass(frozen=True)
class Output:
    """One tensor of the graph as a layer: what makes it, and its address."""

    tensor: Tensor
    operator: Operator
    address: Address


class TfliteModel:
    """A model file, mapped into memory, or its bytes; and, once used, its interpreters."""

    def __init__(self, content: Bytes, path: Path | None = None, *, threads: int | None = None) -> None:
        self.path = path
        self.threads = threads
        self.sessions: Sessions[Session] = Sessions()
        self.axes: Axes | None = None  # once they were needed
        called = path.name if path else "these bytes"
        if bytes(content[4:8]) != IDENTIFIER:
            raise ModelNotReadable(f"{called} is no TFLite model: the identifier TFL3 is missing")
        try:
            self.graph = Graph(content)
            self.key, self.inputs, self.outputs, self.others = signature(self.graph)
        except Damaged as error:
            raise ModelNotReadable(f"{called}: {error}") from error
        if not self.graph.operators or not self.graph.outputs:
            raise ModelNotReadable(
                f"{called} is no TFLite model, or a damaged one: its graph has no operators or no outputs"
            )

    @classmethod
    def from_file(cls, path: Path, *, threads: int | None = None) -> TfliteModel:
        try:
            with path.open("rb") as file:
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except FileNotFoundError as error:
            raise ModelNotReadable(f"there is no file {path}") from error
        except (OSError, ValueError) as error:  # a ValueError is an empty file
            raise ModelNotReadable(f"{path.name} is no TFLite model: {error}") from error
        return cls(content, path.resolve(), threads=threads)

    def __repr__(self) -> str:
        return f"TfliteModel({str(self.path)!r})" if self.path else f"TfliteModel({len(self.graph.content)} bytes)"

    @cached_property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.graph.content).hexdigest()}"

    @cached_property
    def layers(self) -> list[Output]:
        """Every tensor that is a layer, in the order in which they are made."""
        graph = self.graph
        indices = [index for operator in graph.operators for index in operator.outputs if index in graph.data]
        return [
            Output(graph.tensors[index], graph.operators[graph.made_by[index]], address)
            for index, address in addresses(graph, indices, self.outputs).items()
        ]

    @cached_property
    def final(self) -> Output | None:
        """The tensor that the model gives first, where a layer makes it."""
        by_index = {output.tensor.index: output for output in self.layers}
        return next((by_index[index] for index in self.graph.outputs if index in by_index), None)

    @cached_property
    def names(self) -> dict[str, Output]:
        """What each name stands for; paths win over other names, and those over `path:0` for the only call."""
        outputs = {output.address.path: output for output in self.layers}
        for output in self.layers:
            for alias in output.address.aliases:
                outputs.setdefault(alias, output)
        for name in list(outputs):
            outputs.setdefault(f"{name}:0", outputs[name])
        if self.final:
            outputs[""] = self.final
        return outputs

    def find(self, paths: Iterable[str]) -> dict[str, Output]:
        """The outputs that the paths name, each under the name it is given back by, in execution order."""
        outputs = {path: self.names[path] if path in self.names else self._refuse(path) for path in paths}
        order = {output.tensor.index: place for place, output in enumerate(self.layers)}
        return dict(sorted(outputs.items(), key=lambda item: (order[item[1].tensor.index], item[0] == "")))

    def _refuse(self, path: str) -> NoReturn:
        base, call = split_call(path)
        if call is not None and base in self.names:
            raise LayerNotFound(f"layer {base!r} ran once, so it has the call :0, not :{call}")
        names = {tensor.name: tensor.index for tensor in self.graph.tensors} | self.inputs
        if names.get(path) in self.graph.inputs:
            raise LayerNotCalled(f"{path!r} is the model's input, not a layer: the batch itself is its value")
        if path in names:
            raise LayerNotCalled(f"{path!r} has no output to show: it is a weight, a constant or arithmetic on sizes")
        raise LayerNotFound(f"no layer {path!r}.{near(path, self.names)} `layers()` lists them all")

    def session(self, tensors: Sequence[int], replaced: Sequence[int] = ()) -> Session:
        """An interpreter that ends at `tensors`, with other values for those in `replaced`."""
        key = (tuple(tensors), tuple(replaced), self.threads)
        return self.sessions.get(key, lambda: Session(self.graph, tensors, self.threads, replaced))
