"""A TFLite model as layerscope holds it: its graph, the tensors that are layers, and the names that find them."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...errors import ModelNotReadable
from ..graph.run import Sessions
from .facts import Said, said
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

    def __init__(self, content: Bytes, path: Path | None = None) -> None:
        self.path = path
        self.sessions: Sessions[Session] = Sessions()
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
    def from_file(cls, path: Path) -> TfliteModel:
        try:
            with path.open("rb") as opened:
                content = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
        except FileNotFoundError as error:
            raise ModelNotReadable(f"there is no file {path}") from error
        except (OSError, ValueError) as error:  # a ValueError is an empty file
            raise ModelNotReadable(f"{path.name} is no TFLite model: {error}") from error
        return cls(content, path.resolve())

    def __repr__(self) -> str:
        return f"TfliteModel({str(self.path)!r})" if self.path else f"TfliteModel({len(self.graph.content)} bytes)"

    @cached_property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.graph.content).hexdigest()}"

    @cached_property
    def said(self) -> Said:
        return said(self.graph)

    @cached_property
    def layers(self) -> list[Output]:
        """Every tensor that is a layer, in the order in which they are made."""
        graph = self.graph
        made = [index for each in graph.operators for index in each.outputs if index in graph.data]
        found = addresses(graph, made, self.outputs)
        return [Output(graph.tensors[at], graph.operators[graph.made_by[at]], each) for at, each in found.items()]

    @cached_property
    def final(self) -> Output | None:
        """The tensor that the model gives first, where a layer makes it."""
        by_index = {each.tensor.index: each for each in self.layers}
        return next((by_index[index] for index in self.graph.outputs if index in by_index), None)

    @cached_property
    def names(self) -> dict[str, Output]:
        """What each name stands for; paths win over other names, and those over `path:0` for the only call."""
        found = {each.address.path: each for each in self.layers}
        for each in self.layers:
            for alias in each.address.aliases:
                found.setdefault(alias, each)
        for name in list(found):
            found.setdefault(f"{name}:0", found[name])
        if self.final:
            found[""] = self.final
        return found
