"""A TFLite model as layerscope holds it: its graph, the tensors that are layers, and the names that find them."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ...errors import ModelNotReadable
from ...files import open_regular, parsing
from ..graph import model as graph_model
from ..graph.inputs import GraphInput
from ..graph.model import GraphModel, Sessions
from .axes import Axes
from .flatbuffer import Bytes, Damaged
from .graph import IDENTIFIER, Graph, Operator
from .names import addresses
from .run import Session

Output = graph_model.Output[int, Operator]


class TfliteModel(GraphModel[int, Operator]):
    """A model file, mapped into memory, or its bytes; and, once used, its interpreters."""

    unfix = "convert the model with a dynamic batch axis"
    format = "a TFLite model"

    def __init__(self, content: Bytes, path: Path | None = None, *, threads: int | None = None) -> None:
        self.path = path
        self.threads = threads
        self.sessions: Sessions[Session] = Sessions()
        self.axes: Axes | None = None  # once they were needed
        called = path.name if path else "these bytes"
        if bytes(content[4:8]) != IDENTIFIER:
            raise ModelNotReadable(f"{called} is not a TFLite model: the identifier TFL3 is missing")
        try:
            with parsing(called, self.format, ModelNotReadable):
                self.graph = Graph(content)
                self.signature = self.graph.signature
        except Damaged as error:
            raise ModelNotReadable(f"{called}: {error}") from error
        if not self.graph.operators or not self.graph.outputs:
            raise ModelNotReadable(
                f"{called} is not a TFLite model, or is damaged: its graph has no operators or no outputs"
            )

    @classmethod
    def from_file(cls, path: Path, *, threads: int | None = None) -> TfliteModel:
        try:
            with open_regular(path, what="model", error=ModelNotReadable) as file:
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            reason = "the file is empty" if isinstance(error, ValueError) else error
            raise ModelNotReadable(f"{path.name} is not a TFLite model: {reason}") from error
        return cls(content, path.resolve(), threads=threads)

    def __repr__(self) -> str:
        return f"TfliteModel({str(self.path)!r})" if self.path else f"TfliteModel({len(self.graph.content)} bytes)"

    @cached_property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.graph.content).hexdigest()}"

    @cached_property
    def takes(self) -> dict[int, GraphInput]:
        names = {index: name for name, index in self.signature.inputs.items()}
        tensors = {index: self.graph.tensors[index] for index in self.graph.inputs}
        axes = self.input_axes
        return {
            index: GraphInput(
                names.get(index, tensor.name), tensor.shape, tensor.type, tensor.codes, axes.axis_of_images(index)
            )
            for index, tensor in tensors.items()
        }

    @cached_property
    def input_axes(self) -> Axes:
        """The axes of the inputs, as what reads them needs them."""
        return Axes(self.graph, self.graph.file_shapes, operators=())

    @property
    def input_names(self) -> dict[str, int]:
        return {self.graph.tensors[index].name: index for index in self.graph.inputs} | self.signature.inputs

    @cached_property
    def outputs(self) -> list[Output]:
        graph = self.graph
        indices = [index for operator in graph.operators for index in operator.outputs if index in graph.data]
        return [
            Output(index, graph.operators[graph.made_by[index]], address)
            for index, address in addresses(graph, indices).items()
        ]

    def hidden_names(self) -> set[str]:
        return {tensor.name for tensor in self.graph.tensors}

    def session(self, tensors: Sequence[int], replaced: Sequence[int] = ()) -> Session:
        """An interpreter that ends at `tensors`, with other values for those in `replaced`."""
        key = (tuple(tensors), tuple(replaced), self.threads)
        return self.sessions.get(key, lambda: Session(self.graph, tensors, self.threads, replaced))
