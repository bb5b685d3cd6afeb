"""An ONNX model as layerscope holds it: its graph, the tensors that are layers, and the names that find them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import onnx

from ...core.layer import split_call
from ...errors import LayerNotCalled, LayerNotFound, near
from ..graph.run import Sessions
from . import files as onnx_files
from .attention import NAME
from .axes import Axes
from .cut import Replacement, cut
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


@dataclass
class Kept:
    """What is kept between calls: the last sessions, and the axes of one model with the tensors that they were found for."""

    sessions: Sessions[Session] = field(default_factory=Sessions)
    axes: dict[str, tuple[frozenset[str], Axes]] = field(default_factory=dict)


class OnnxModel:
    """A model file: its graph and, once used, its sessions. The weights in side files stay on the disk until needed."""

    def __init__(
        self, proto: onnx.ModelProto, path: Path | None = None, *, threads: int | None = None, kept: Kept | None = None
    ) -> None:
        self.proto = proto
        self.path = path
        self.threads = threads
        self.graph = Graph(proto)
        self.kept = kept or Kept()

    @property
    def sessions(self) -> Sessions[Session]:
        return self.kept.sessions

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

    @cached_property
    def final(self) -> Output | None:
        """The tensor that the model gives first, where a layer makes it."""
        by_tensor = {tensor: output for output in self.outputs for tensor in (output.tensor, *output.also)}
        return next((by_tensor[name] for name in self.graph.outputs if name in by_tensor), None)

    @cached_property
    def names(self) -> dict[str, list[Output]]:
        """What each name stands for; exact paths win over other names, and those over `path:0` for a single call."""
        by_name: dict[str, list[Output]] = {}
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

    def find(self, paths: Iterable[str]) -> dict[str, Output]:
        """The outputs that the paths name, each under the name it is given back by, in execution order."""
        outputs = {
            path if len(calls) == 1 else output.address.full: output
            for path in paths
            for calls in (self._calls(path),)
            for output in calls
        }
        if len(outputs) == 1:
            return outputs
        order = {output.tensor: index for index, output in enumerate(self.outputs)}
        return dict(sorted(outputs.items(), key=lambda item: (order[item[1].tensor], item[0] == "")))

    def _calls(self, path: str) -> list[Output]:
        """The outputs that a path names: every call of a layer, or one."""
        outputs = self.names.get(path)
        base, call = split_call(path)
        if outputs is None and call is not None and base in self.names:
            outputs = self.names[base]
            if call or len(outputs) > 1:
                raise LayerNotFound(
                    f"layer {base!r} ran {len(outputs)} times, so it has calls :0 to :{len(outputs) - 1}, not :{call}"
                )
        return self._refuse(path) if outputs is None else outputs

    def _refuse(self, path: str) -> NoReturn:
        graph = self.graph
        if path in graph.initializers or path in graph.made_by or any(node.name == path for node in graph.nodes):
            raise LayerNotCalled(f"{path!r} has no output to show: it is a weight, a constant or arithmetic on sizes")
        if any(value.name == path for value in graph.inputs):
            raise LayerNotCalled(f"{path!r} is the model's input, not a layer: the batch itself is its value")
        raise LayerNotFound(f"no layer {path!r}.{near(path, self.names)} `layers()` lists them all")

    def session(self, tensors: tuple[str, ...], replacements: tuple[Replacement, ...] = ()) -> Session:
        """A session that ends at `tensors`, with other values for those in `replacements`."""
        if self.path:
            key = (tensors, replacements, self.threads)
            return self.sessions.get(
                key, lambda: Session(self.graph, tensors, self.files, self.threads, replacements=replacements)
            )
        # A ModelProto can be changed by whoever holds it, so its sessions are found by content.
        part = cut(self.graph, tensors, None, replacements=replacements)
        make = lambda: Session(self.graph, tensors, None, self.threads, replacements=replacements, part=part)  # noqa: E731
        return self.sessions.get((part.digest, tensors, self.threads), make)


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
