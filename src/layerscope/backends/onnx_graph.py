"""Reading an ONNX graph, and cutting it down to what some of its tensors need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from ..errors import ModelNotReadable
from .graph_walk import ancestors
from .onnx_files import SideFiles, is_outside, loaded, location, pointed, stored, tensors_inside, with_inside_loaded
from .onnx_quantised import Codes, codes_of

PROTOBUF_LIMIT = 2**31 - 1
SHAPE_BOOKKEEPING = {"Shape", "Size"}
SMALL = 1024
LARGE = 1 << 20
DOMAINS = ("ai.onnx", "com.microsoft", "com.ms.internal")
NUMPY_TYPES = {
    *(onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE),
    *(onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32, onnx.TensorProto.INT64),
}


class Graph:
    """Who makes and who takes each tensor of a model. The `ModelProto` is only read, never changed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: Sequence[onnx.NodeProto] = list(model.graph.node)
        self.initializers = {each.name: each for each in model.graph.initializer}
        self.sparse = {each.values.name: each for each in model.graph.sparse_initializer}
        self.inputs = [each for each in model.graph.input if each.name not in self.initializers]
        self.outputs = [each.name for each in model.graph.output]
        self.made_by = {name: at for at, node in enumerate(self.nodes) for name in node.output if name}
        self.functions = {(each.domain, each.name) for each in model.functions}

    @cached_property
    def taken_by(self) -> dict[str, list[int]]:
        """The nodes that read each tensor, also from inside the body of an `If` or `Loop`."""
        taken: dict[str, list[int]] = {}
        for at, node in enumerate(self.nodes):
            for name in dict.fromkeys(needs(node)):
                taken.setdefault(name, []).append(at)
        return taken

    @cached_property
    def data(self) -> set[str]:
        """The tensors that depend on what is in the inputs, not only on their sizes."""
        found = {each.name for each in self.inputs}
        for node in self.nodes:
            if node.op_type not in SHAPE_BOOKKEEPING and any(name in found for name in needs(node)):
                found.update(name for name in node.output if name)
        return found

    @cached_property
    def codes(self) -> dict[str, Codes]:
        """The tensors with data that hold codes of a few bits, and what the codes stand for."""
        return codes_of(self.nodes, self.data)

    @property
    def quantised(self) -> bool:
        """Whether data goes through codes of a few bits on its way."""
        return bool(self.codes)

    def code_type(self, tensor: str) -> str:
        """The type of a tensor's codes, by that of their zero point: `uint8` where it has none."""
        zero = self.initializers.get(self.codes[tensor].zero)
        if zero is None:
            return "uint8"
        return str(onnx.TensorProto.DataType.Name(zero.data_type)).lower()

    @cached_property
    def foreign(self) -> dict[str, str]:
        """The tensors that lead through an operator that isn't ONNX's or ONNX Runtime's, and the first such operator."""
        found: dict[str, str] = {}
        for node in self.nodes:
            own = node.domain.startswith(DOMAINS) or not node.domain or self.is_function(node)
            said = next((found[name] for name in needs(node) if name in found), "")
            if said or not own:
                found.update({name: said or f"{node.domain}:{node.op_type}" for name in node.output if name})
        return found

    def is_function(self, node: onnx.NodeProto) -> bool:
        return (node.domain, node.op_type) in self.functions

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a small constant tensor, `None` where it isn't one or isn't stored in the model itself."""
        tensor = self.initializers.get(name)
        if tensor is None and (at := self.made_by.get(name)) is not None and self.nodes[at].op_type == "Constant":
            for each in self.nodes[at].attribute:
                if each.name == "value":
                    tensor = each.t
                elif each.name in ("value_int", "value_ints"):
                    return np.asarray(onnx.helper.get_attribute_value(each))
        if tensor is None or is_outside(tensor) or prod(tensor.dims) > SMALL:
            return None
        return numpy_helper.to_array(tensor)

    def weight_name(self, name: str) -> str:
        """The stored tensor behind a weight that is cast or dequantised in the graph."""
        while name not in self.initializers and name in self.made_by and name not in self.data:
            node = self.nodes[self.made_by[name]]
            if not node.input:
                break
            name = node.input[0]
        return name

    def ancestors(self, tensors: Iterable[str]) -> list[int]:
        """The nodes that must run to make `tensors`, in the graph's order."""
        return ancestors(tensors, self.made_by, lambda at: needs(self.nodes[at]))


def needs(node: onnx.NodeProto) -> Iterator[str]:
    """Every tensor that a node reads from its own graph, those that its bodies read from outside included."""
    yield from (name for name in node.input if name)
    for body in bodies(node):
        made = {each.name for each in (*body.input, *body.initializer)}
        for inner in body.node:
            yield from (name for name in needs(inner) if name not in made)
            made.update(inner.output)
        yield from (each.name for each in body.output if each.name not in made)


def bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs inside a node: the branches of an `If`, the body of a `Loop` or `Scan`."""
    found = []
    for each in node.attribute:
        if each.type == onnx.AttributeProto.GRAPH:
            found.append(each.g)
        elif each.type == onnx.AttributeProto.GRAPHS:
            found.extend(each.graphs)
    return found


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    """The attributes of a node by name."""
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute if not each.ref_attr_name}


def empty_like(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with the same versions and functions, and nothing in its graph but a name."""
    made = onnx.ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    made.opset_import.extend(model.opset_import)
    made.functions.extend(model.functions)
    made.graph.name = model.graph.name or "graph"
    return made


@dataclass(frozen=True)
class Cut:
    """A part of a model: its serialised graph, and its large weights, which are given to the runtime beside it.

    Large weights in side files are left there: the runtime reads them itself, from the places that the graph tells from
    the folder `root`.
    """

    content: bytes
    weights: Mapping[str, np.ndarray]
    root: Path | None = None

    @cached_property
    def digest(self) -> bytes:
        digest = hashlib.sha256(self.content)
        for each in self.weights.values():
            digest.update(np.ascontiguousarray(each).data)
        return digest.digest()


def cut(graph: Graph, tensors: Sequence[str], files: SideFiles | None, cast: Sequence[str] = ()) -> Cut:
    """The part of a model that gives `tensors`: only the nodes and weights that they need.

    Codes come out as the values they stand for, the tensors in `cast` as float32. `files` are the side files with its weights.
    Weights of more than 1 MB aren't serialised, so protobuf's limit of 2 GB doesn't hold for them; raises
    `ModelNotReadable` where the rest is over it.
    """
    made = empty_like(graph.model)
    decoding = {name for each in tensors if each in graph.codes for name in graph.codes[each].names}
    nodes = [graph.nodes[at] for at in graph.ancestors((*tensors, *decoding))]
    needed = {name for node in nodes for name in needs(node)} | set(tensors) | decoding
    made.graph.input.extend(graph.inputs)
    made.graph.node.extend(with_inside_loaded(each, files) for each in nodes)
    weights, outside = {}, []
    for name in graph.initializers:
        if name in needed:
            tensor = graph.initializers[name]
            if files is not None and is_outside(tensor) and stored(tensor) > LARGE:
                outside.append(tensor)
            elif beside(tensor):
                weights[name] = numpy_helper.to_array(loaded(tensor, files))
                made.graph.initializer.append(placeholder(tensor))
            else:
                made.graph.initializer.append(loaded(tensor, files))
    left, root = pointed(outside, files) if files is not None else ([], None)
    made.graph.initializer.extend(left)
    made.graph.sparse_initializer.extend(graph.sparse[name] for name in graph.sparse if name in needed)
    for name in tensors:
        if name in cast:
            wide = f"{name}:float32"
            made.graph.node.append(onnx.helper.make_node("Cast", [name], [wide], to=onnx.TensorProto.FLOAT))
            made.graph.output.add(name=wide)
        elif name in graph.codes:
            made.graph.node.append(graph.codes[name].decoded(name, f"{name}:decoded"))
            made.graph.output.add(name=f"{name}:decoded")
        else:
            made.graph.output.add(name=name)
    _check_size(made, tensors)
    return Cut(bytes(made.SerializeToString()), weights, root)


def beside(tensor: onnx.TensorProto) -> bool:
    """Whether a weight is large enough, and of a type that numpy has, to be given beside the graph."""
    return tensor.data_type in NUMPY_TYPES and stored(tensor) > LARGE


def placeholder(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """A weight without its numbers, marked as lying elsewhere."""
    made = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    made.data_location = onnx.TensorProto.EXTERNAL
    made.external_data.add(key="location", value="given")
    return made


def skeleton(graph: Graph) -> onnx.ModelProto:
    """The model without its large weights, which become inputs of the same shape: enough to infer shapes from."""
    made = empty_like(graph.model)
    made.graph.input.extend(graph.inputs)
    for each in graph.initializers.values():
        if prod(each.dims) > SMALL or is_outside(each):
            made.graph.input.append(onnx.helper.make_tensor_value_info(each.name, each.data_type, list(each.dims)))
        else:
            made.graph.initializer.append(each)
    for each in graph.sparse.values():
        made.graph.input.append(
            onnx.helper.make_tensor_value_info(each.values.name, each.values.data_type, list(each.dims))
        )
    for node in graph.nodes:
        large = next((a.t for a in node.attribute if a.name == "value" and prod(a.t.dims) > SMALL), None)
        if node.op_type == "Constant" and large is not None:
            made.graph.input.append(
                onnx.helper.make_tensor_value_info(node.output[0], large.data_type, list(large.dims))
            )
        else:
            made.graph.node.append(node)
    return made


def side_files(model: onnx.ModelProto) -> list[str]:
    """The names of the files that hold weights outside the model file, as the model writes them."""
    inside = (tensor for node in model.graph.node for tensor in tensors_inside(node))
    return sorted({location(each) for each in (*model.graph.initializer, *inside) if is_outside(each)})


def _check_size(made: onnx.ModelProto, tensors: Sequence[str]) -> None:
    size = sum(stored(each) for each in made.graph.initializer if not is_outside(each))
    if size > PROTOBUF_LIMIT:
        raise ModelNotReadable(
            f"the part of the model that leads to {', '.join(map(repr, tensors[:3]))} holds {size / 1e9:.1f} GB of"
            f" small or unusual weights, and protobuf can't carry more than {PROTOBUF_LIMIT / 1e9:.1f} GB at once:"
            " ask for earlier layers"
        )
