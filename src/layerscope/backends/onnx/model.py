"""An ONNX model as layerscope holds it: its graph, the tensors that are layers, and the names that find them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import onnx

from ..graph.run import Sessions
from . import files as onnx_files
from .attention import NAME
from .graph import Graph, side_files
from .names import Address, addresses
from .run import Session


@dataclass(frozen=True)
class Output:
    """One tensor of the graph as a layer: where it is made, its address, and the tensors that it is shown for as well."""

    tensor: str
    node: onnx.NodeProto
    address: Address
    also: tuple[str, ...] = ()


class OnnxModel:
    """A model file: its graph and, once used, its sessions. The weights in side files stay on the disk until needed."""

    def __init__(self, proto: onnx.ModelProto, path: Path | None = None) -> None:
        self.proto = proto
        self.path = path
        self.graph = Graph(proto)
        self.sessions: Sessions[Session] = Sessions()

    def __repr__(self) -> str:
        return f"OnnxModel({str(self.path)!r})" if self.path else f"OnnxModel({self.proto.graph.name!r})"

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
        """Every tensor that is a layer, in the order in which they are made."""
        graph = self.graph
        steps = [at for at, node in enumerate(graph.nodes) if any(name in graph.data for name in node.output)]
        found = []
        for at, address in addresses(graph, steps).items():
            node = graph.nodes[at]
            named = [name for name in node.output if name and name not in graph.attention_maps]
            for part, tensor in enumerate(named):
                found.append(Output(tensor, node, _part(address, part, tensor)))
            if graph.attention_maps.get(node.output[-1]) == at:
                inside = replace(address, path=f"{address.path}/{NAME}", aliases=(node.output[-1],), note="")
                found.append(Output(node.output[-1], node, inside))
        return merged(graph, found) if graph.codes else found

    @cached_property
    def final(self) -> Output | None:
        """The tensor that the model gives first, where a layer makes it."""
        by_tensor = {tensor: each for each in self.outputs for tensor in (each.tensor, *each.also)}
        return next((by_tensor[name] for name in self.graph.outputs if name in by_tensor), None)

    @cached_property
    def names(self) -> dict[str, list[Output]]:
        """What each name stands for; exact paths win over other names, and those over `path:0` for a single call."""
        found: dict[str, list[Output]] = {}
        for each in self.outputs:
            found.setdefault(each.address.path, []).append(each)
        for each in self.outputs:
            if each.address.call is not None:
                found.setdefault(each.address.full, [each])
        for each in self.outputs:
            for alias in each.address.aliases:
                found.setdefault(alias, [each])
        if self.final:
            found[""] = [self.final]
        return found


def _part(address: Address, part: int, tensor: str) -> Address:
    """The address of a node's first output is the node's own, of a further one `path[1]`."""
    if not part:
        return address
    return replace(address, path=f"{address.path}[{part}]", aliases=(tensor,))


def merged(graph: Graph, outputs: Sequence[Output]) -> list[Output]:
    """The layers of a quantised graph: an operator, the QuantizeLinear that alone reads it, and the DequantizeLinear after
    that are one, shown as the values that go on from it. Their names all find it."""
    by_tensor = {each.tensor: each for each in outputs}
    found, gone = [], set()
    for each in outputs:
        if each.tensor in gone:
            continue
        tensor, others = each.tensor, []
        quantised = _only_quantised(graph, tensor)
        if quantised in by_tensor:
            tensor = quantised
            others.append(by_tensor[quantised])
        for at in graph.taken_by.get(tensor, ()) if tensor in graph.codes else ():
            node = graph.nodes[at]
            if node.op_type == "DequantizeLinear" and node.input[0] == tensor and node.output[0] in by_tensor:
                others.append(by_tensor[node.output[0]])
        gone |= {other.tensor for other in others}
        names = [
            name for other in reversed(others) for name in (other.tensor, other.address.full, *other.address.aliases)
        ]
        own = [name for name in each.address.aliases if tensor == each.tensor or name != each.tensor]
        address = replace(each.address, aliases=tuple(dict.fromkeys([*names, *own])))
        also = tuple(dict.fromkeys(other.tensor for other in others if other.tensor != tensor))
        found.append(replace(each, tensor=tensor, address=address, also=also))
    return found


def _only_quantised(graph: Graph, tensor: str) -> str:
    """The codes of a tensor that nothing but one QuantizeLinear reads, else `""`."""
    readers = graph.taken_by.get(tensor, ())
    if tensor in graph.codes or tensor in graph.outputs or len(readers) != 1:
        return ""
    node = graph.nodes[readers[0]]
    return node.output[0] if node.op_type == "QuantizeLinear" and node.output[0] in graph.codes else ""
