"""An ONNX model as layerscope holds it: its graph, the tensors that are layers, and the names that find them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import onnx

from ..graph import model as graph_model
from ..graph.inputs import GraphInput
from ..graph.model import Address, GraphModel, Sessions
from . import files as onnx_files
from .attention_ops import NAME
from .axes import Axes
from .cut import Replacement, cut
from .graph import Graph, side_files
from .names import addresses
from .providers import ON_CPU, Execution
from .run import Session

Output = graph_model.Output[str, onnx.NodeProto]


@dataclass
class Kept:
    """What is kept between calls: the last sessions, and the axes of one model with the tensors that they were found for."""

    sessions: Sessions[Session] = field(default_factory=Sessions)
    axes: dict[str, tuple[frozenset[str], Axes]] = field(default_factory=dict)


class OnnxModel(GraphModel[str, onnx.NodeProto]):
    """A model file: its graph and, once used, its sessions. The weights in external data files stay on the disk
    until needed."""

    unfix = "export the model with a dynamic batch axis"
    format = "an ONNX model"

    def __init__(
        self,
        proto: onnx.ModelProto,
        path: Path | None = None,
        *,
        execution: Execution = ON_CPU,
        kept: Kept | None = None,
    ) -> None:
        self.proto = proto
        self.path = path
        self.execution = execution
        self.graph = Graph(proto)
        self.kept = kept or Kept()

    @property
    def sessions(self) -> Sessions[Session]:
        return self.kept.sessions

    def __repr__(self) -> str:
        return f"OnnxModel({str(self.path)!r})" if self.path else f"OnnxModel({self.proto.graph.name!r})"

    @cached_property
    def input_axes(self) -> Axes:
        """The axes of the inputs, as what reads them needs them."""
        return Axes.of_inputs(self.graph)

    @cached_property
    def takes(self) -> dict[str, GraphInput]:
        axes = self.input_axes
        return {name: replace(value, axis=axes.axis_of_images(name)) for name, value in self.graph.takes.items()}

    @property
    def files(self) -> onnx_files.SideFiles | None:
        return onnx_files.SideFiles(self.path) if self.path else None

    @cached_property
    def digest(self) -> str:
        if self.path:
            return onnx_files.digest(self.path, side_files(self.proto))
        return f"sha256:{hashlib.sha256(self.proto.SerializeToString(deterministic=True)).hexdigest()}"

    @cached_property
    def outputs(self) -> list[Output]:
        graph = self.graph
        steps = [step for step, node in enumerate(graph.nodes) if any(name in graph.data for name in node.output)]
        layers = []
        for step, address in addresses(graph, steps).items():
            node = graph.nodes[step]
            named = [name for name in node.output if name and name not in graph.attention_maps]
            for part, tensor in enumerate(named):
                layers.append(Output(tensor, node, _part(address, part, tensor)))
            if graph.attention_maps.get(node.output[-1]) == step:
                inside = replace(address, path=f"{address.path}/{NAME}", aliases=(node.output[-1],), note="")
                layers.append(Output(node.output[-1], node, inside))
        return merge_quantised(graph, layers) if graph.codes else layers

    def hidden_names(self) -> set[str]:
        graph = self.graph
        return {*graph.initializers, *graph.made_by, *(node.name for node in graph.nodes)}

    def session(self, tensors: tuple[str, ...], replacements: tuple[Replacement, ...] = ()) -> Session:
        """A session that ends at `tensors`, with other values for those in `replacements`."""
        if self.path:
            key = (tensors, replacements, self.execution.threads)
            return self.sessions.get(
                key,
                lambda: Session(self.graph, tensors, self.files, self.execution, replacements=replacements),
            )
        # A ModelProto can be changed by whoever holds it, so its sessions are found by content.
        part = cut(self.graph, tensors, None, replacements=replacements)
        make = lambda: Session(  # noqa: E731
            self.graph, tensors, None, self.execution, replacements=replacements, part=part
        )
        return self.sessions.get((part.digest, tensors, self.execution.threads), make)


def _part(address: Address, part: int, tensor: str) -> Address:
    """The address of a node's first output is the node's own, of a further one `path[1]`."""
    if not part:
        return address
    return replace(address, path=f"{address.path}[{part}]", aliases=(tensor,))


def merge_quantised(graph: Graph, outputs: Sequence[Output]) -> list[Output]:
    """The layers of a quantised graph: an operator, the QuantizeLinear that alone reads it, and the DequantizeLinear after
    that are one, shown as the values that go on from it. Their names all find it."""
    by_tensor = {output.tensor: output for output in outputs}
    layers, gone = [], set()
    for output in outputs:
        if output.tensor in gone:
            continue
        tensor, others = output.tensor, []
        quantised = _only_quantised(graph, tensor)
        if quantised in by_tensor:
            tensor = quantised
            others.append(by_tensor[quantised])
        for step in graph.taken_by.get(tensor, ()) if tensor in graph.codes else ():
            node = graph.nodes[step]
            if node.op_type == "DequantizeLinear" and node.input[0] == tensor and node.output[0] in by_tensor:
                others.append(by_tensor[node.output[0]])
        gone |= {other.tensor for other in others}
        names = [
            name for other in reversed(others) for name in (other.tensor, other.address.full, *other.address.aliases)
        ]
        own = [name for name in output.address.aliases if tensor == output.tensor or name != output.tensor]
        address = replace(output.address, aliases=tuple(dict.fromkeys([*names, *own])))
        also = tuple(dict.fromkeys(other.tensor for other in others if other.tensor != tensor))
        layers.append(replace(output, tensor=tensor, address=address, also=also))
    return layers


def _only_quantised(graph: Graph, tensor: str) -> str:
    """The codes of a tensor that nothing but one QuantizeLinear reads, else `""`."""
    readers = graph.taken_by.get(tensor, ())
    if tensor in graph.codes or tensor in graph.outputs or len(readers) != 1:
        return ""
    node = graph.nodes[readers[0]]
    return node.output[0] if node.op_type == "QuantizeLinear" and node.output[0] in graph.codes else ""
