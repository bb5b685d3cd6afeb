"""Cutting an ONNX graph down to what some of its tensors need, without carrying its large weights about."""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from ...errors import ModelNotReadable
from .attention_ops import way_to_weights
from .files import SideFiles, is_outside, load_inside, load_sparse, load_tensors_inside, references_to, stored
from .graph import SMALL, Graph, needs

PROTOBUF_LIMIT = 2**31 - 1


LARGE = 1 << 20


NUMPY_TYPES = {
    *(onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE),
    *(onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32, onnx.TensorProto.INT64),
}


def empty_like(graph: Graph) -> onnx.ModelProto:
    """A model with the same versions and functions, and nothing in its graph but a name."""
    part = onnx.ModelProto(ir_version=graph.model.ir_version, producer_name=graph.model.producer_name)
    part.opset_import.extend(graph.inlined.opset_import)
    part.functions.extend(graph.inlined.functions)
    part.graph.name = graph.model.graph.name or "graph"
    return part


@dataclass(frozen=True)
class Replacement:
    """A tensor whose values come from outside: of which type (`TensorProto.DataType`), in how many axes, and of which type it
    is in the graph where numpy doesn't have that (`"bfloat16"`). Codes are given as what they stand for."""

    tensor: str
    type: int
    rank: int
    cast: str = ""

    @property
    def name(self) -> str:
        """What the input is called."""
        return f"{self.tensor}:given"

    @property
    def taken(self) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(self.name, self.type, [None] * self.rank)

    def entry_node(self, graph: Graph) -> onnx.NodeProto:
        """The node that makes the tensor of what is given."""
        if self.tensor in graph.codes:
            return graph.codes[self.tensor].encode_node(self.name, self.tensor)
        if self.cast:
            kind = onnx.TensorProto.DataType.Value(self.cast.upper())
            return onnx.helper.make_node("Cast", [self.name], [self.tensor], to=kind)
        return onnx.helper.make_node("Identity", [self.name], [self.tensor])


@dataclass(frozen=True)
class Cut:
    """A part of a model: its serialised graph, and its large weights, which are given to the runtime beside it.

    Large weights in external data files are left there: the runtime reads them itself, from the locations that the graph
    tells from the folder `root`.
    """

    content: bytes
    weights: Mapping[str, np.ndarray]
    root: Path | None = None

    @cached_property
    def digest(self) -> bytes:
        digest = hashlib.sha256(self.content)
        for values in self.weights.values():
            digest.update(np.ascontiguousarray(values).data)
        return digest.digest()


def cut(
    graph: Graph,
    tensors: Sequence[str],
    files: SideFiles | None,
    *,
    cast: Sequence[str] = (),
    replacements: Sequence[Replacement] = (),
) -> Cut:
    """The part of a model that gives `tensors`: only the nodes and weights that they need.

    `replacements` are tensors of the graph that become inputs: what makes nothing else is left out.
    Codes come out as the values they stand for, the tensors in `cast` as float32. `files` are the external data files
    with its weights. Weights of more than 1 MB aren't serialised, so protobuf's limit of 2 GB doesn't hold for them;
    raises `ModelNotReadable` where the rest is over it.
    """
    part = empty_like(graph)
    decoding = {
        name for tensor in (*tensors, *(entry.tensor for entry in replacements)) for name in _codes(graph, tensor)
    }
    nodes = _nodes(graph, (*tensors, *decoding), replacements)
    needed = {name for node in nodes for name in needs(node)} | set(tensors) | decoding
    part.graph.input.extend(graph.inputs)
    part.graph.input.extend(entry.taken for entry in replacements)
    part.graph.node.extend(load_tensors_inside(node, files) for node in nodes)
    weights, root = _add_initializers(part, graph, needed, files)
    for name in tensors:
        _add_output(part, graph, name, name in cast)
    _check_size(part, tensors)
    return Cut(bytes(part.SerializeToString()), weights, root)


def _codes(graph: Graph, tensor: str) -> list[str]:
    """The tensors that say what the codes of a tensor stand for."""
    return graph.codes[tensor].names if tensor in graph.codes else []


def _nodes(graph: Graph, tensors: Collection[str], replacements: Sequence[Replacement]) -> list[onnx.NodeProto]:
    """The nodes that must run, among them those that make tensors of their replacements."""
    names = {entry.tensor: entry for entry in replacements}
    returned = {graph.attention_maps[name] for name in tensors if name in graph.attention_maps}
    steps = graph.ancestors(tensors, names)
    nodes = [_rename_replaced(graph.nodes[step] if step in returned else graph.own[step], names) for step in steps]
    # Where the tensors were made: their scales are there by then, and what reads them comes after.
    indices = [bisect(steps, graph.made_by[name]) for name in names]
    for index, entry in sorted(zip(indices, replacements, strict=True), key=lambda pair: pair[0], reverse=True):
        nodes.insert(index, entry.entry_node(graph))
    return nodes


def _add_initializers(
    part: onnx.ModelProto, graph: Graph, needed: Collection[str], files: SideFiles | None
) -> tuple[dict[str, np.ndarray], Path | None]:
    """Adds the stored tensors; gives the large ones beside the graph, and the folder of those in external data files."""
    weights, outside = {}, []
    for name, tensor in graph.initializers.items():
        if name not in needed:
            continue
        if files is not None and is_outside(tensor) and stored(tensor) > LARGE:
            outside.append(tensor)
        elif goes_beside(tensor):
            weights[name] = numpy_helper.to_array(load_inside(tensor, files))
            part.graph.initializer.append(placeholder(tensor))
        else:
            part.graph.initializer.append(load_inside(tensor, files))
    references, root = references_to(outside, files) if files is not None else ([], None)
    part.graph.initializer.extend(references)
    part.graph.sparse_initializer.extend(
        load_sparse(sparse, files) for name, sparse in graph.sparse.items() if name in needed
    )
    return weights, root


def _add_output(part: onnx.ModelProto, graph: Graph, name: str, cast: bool) -> None:
    """Makes a tensor an output: as float32, attention weights, what its codes stand for, or as it is."""
    if cast:
        wide = f"{name}:float32"
        part.graph.node.append(onnx.helper.make_node("Cast", [name], [wide], to=onnx.TensorProto.FLOAT))
        part.graph.output.add(name=wide)
    elif name in graph.attention_maps:
        _add_weights(part, name, graph.nodes[graph.attention_maps[name]])
    elif name in graph.codes:
        part.graph.node.append(graph.codes[name].decode_node(name, f"{name}:decoded"))
        part.graph.output.add(name=f"{name}:decoded")
    else:
        part.graph.output.add(name=name)


def _rename_replaced(node: onnx.NodeProto, replacements: Collection[str]) -> onnx.NodeProto:
    """The node with other names for those of its outputs that are given, where it runs for the rest."""
    if not any(name in replacements for name in node.output):
        return node
    part = onnx.NodeProto()
    part.CopyFrom(node)
    part.output[:] = [f"{name}:made" if name in replacements else name for name in node.output]
    return part


def _add_weights(part: onnx.ModelProto, name: str, node: onnx.NodeProto) -> None:
    """The attention weights `name` as an output: what the node returns, behind a softmax where that is scores."""
    option = way_to_weights(node)
    if option is None or not option.scores:
        part.graph.output.add(name=name)
        return
    # The runtime can't infer the type of scores, which may be another than that of the tokens; on a CPU it is this one.
    part.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    part.graph.node.append(onnx.helper.make_node("Softmax", [name], [f"{name}:softmax"], axis=-1))
    part.graph.output.add(name=f"{name}:softmax")


def goes_beside(tensor: onnx.TensorProto) -> bool:
    """Whether a weight is large enough, and of a type that numpy has, to be given beside the graph."""
    return tensor.data_type in NUMPY_TYPES and stored(tensor) > LARGE


def placeholder(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """A weight without its numbers, marked as lying elsewhere."""
    part = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    part.data_location = onnx.TensorProto.EXTERNAL
    part.external_data.add(key="location", value="given")
    return part


def skeleton(graph: Graph) -> onnx.ModelProto:
    """The model without its large weights, which become inputs of the same shape: enough to infer shapes from."""
    part = empty_like(graph)
    part.graph.input.extend(graph.inputs)
    for tensor in graph.initializers.values():
        if prod(tensor.dims) > SMALL or is_outside(tensor):
            part.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
        else:
            part.graph.initializer.append(tensor)
    for sparse in graph.sparse.values():
        part.graph.input.append(
            onnx.helper.make_tensor_value_info(sparse.values.name, sparse.values.data_type, list(sparse.dims))
        )
    for node in graph.nodes:
        large = next((a.t for a in node.attribute if a.name == "value" and prod(a.t.dims) > SMALL), None)
        if node.op_type == "Constant" and large is not None:
            part.graph.input.append(
                onnx.helper.make_tensor_value_info(node.output[0], large.data_type, list(large.dims))
            )
        else:
            part.graph.node.append(node)
    return part


def _check_size(part: onnx.ModelProto, tensors: Sequence[str]) -> None:
    size = sum(stored(tensor) for tensor in part.graph.initializer if not is_outside(tensor))
    if size > PROTOBUF_LIMIT:
        raise ModelNotReadable(
            f"the part of the model that leads to {', '.join(map(repr, tensors[:3]))} holds {size / 1e9:.1f} GB of"
            f" small or unusual weights, and protobuf can't carry more than {PROTOBUF_LIMIT / 1e9:.1f} GB at once:"
            " ask for earlier layers"
        )
