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
from .attention import way
from .files import SideFiles, is_outside, loaded, pointed, stored, with_inside_loaded
from .graph import SMALL, Graph, needs

PROTOBUF_LIMIT = 2**31 - 1


LARGE = 1 << 20


NUMPY_TYPES = {
    *(onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE),
    *(onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32, onnx.TensorProto.INT64),
}


def empty_like(graph: Graph) -> onnx.ModelProto:
    """A model with the same versions and functions, and nothing in its graph but a name."""
    made = onnx.ModelProto(ir_version=graph.model.ir_version, producer_name=graph.model.producer_name)
    made.opset_import.extend(graph.inlined.opset_import)
    made.functions.extend(graph.inlined.functions)
    made.graph.name = graph.model.graph.name or "graph"
    return made


@dataclass(frozen=True)
class Given:
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

    def entering(self, graph: Graph) -> onnx.NodeProto:
        """The node that makes the tensor of what is given."""
        if self.tensor in graph.codes:
            return graph.codes[self.tensor].encoded(self.name, self.tensor)
        if self.cast:
            kind = onnx.TensorProto.DataType.Value(self.cast.upper())
            return onnx.helper.make_node("Cast", [self.name], [self.tensor], to=kind)
        return onnx.helper.make_node("Identity", [self.name], [self.tensor])


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


def cut(
    graph: Graph,
    tensors: Sequence[str],
    files: SideFiles | None,
    cast: Sequence[str] = (),
    given: Sequence[Given] = (),
) -> Cut:
    """The part of a model that gives `tensors`: only the nodes and weights that they need.

    `given` are tensors of the graph that become inputs: what makes nothing else is left out.
    Codes come out as the values they stand for, the tensors in `cast` as float32. `files` are the side files with its weights.
    Weights of more than 1 MB aren't serialised, so protobuf's limit of 2 GB doesn't hold for them; raises
    `ModelNotReadable` where the rest is over it.
    """
    made = empty_like(graph)
    named = {each.tensor: each for each in given}
    decoding = {name for each in (*tensors, *named) if each in graph.codes for name in graph.codes[each].names}
    returned = {graph.attention_maps[each] for each in tensors if each in graph.attention_maps}
    steps = graph.ancestors((*tensors, *decoding), named)
    nodes = [_but(graph.nodes[at] if at in returned else graph.own[at], named) for at in steps]
    # Where the tensors were made: their scales are there by then, and what reads them comes after.
    places = [bisect(steps, graph.made_by[each]) for each in named]
    for at, one in sorted(zip(places, given, strict=True), key=lambda each: each[0], reverse=True):
        nodes.insert(at, one.entering(graph))
    needed = {name for node in nodes for name in needs(node)} | set(tensors) | decoding
    made.graph.input.extend(graph.inputs)
    made.graph.input.extend(each.taken for each in given)
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
        elif name in graph.attention_maps:
            _add_weights(made, name, graph.nodes[graph.attention_maps[name]])
        elif name in graph.codes:
            made.graph.node.append(graph.codes[name].decoded(name, f"{name}:decoded"))
            made.graph.output.add(name=f"{name}:decoded")
        else:
            made.graph.output.add(name=name)
    _check_size(made, tensors)
    return Cut(bytes(made.SerializeToString()), weights, root)


def _but(node: onnx.NodeProto, given: Collection[str]) -> onnx.NodeProto:
    """The node with other names for those of its outputs that are given, where it runs for the rest."""
    if not any(name in given for name in node.output):
        return node
    made = onnx.NodeProto()
    made.CopyFrom(node)
    made.output[:] = [f"{name}:made" if name in given else name for name in node.output]
    return made


def _add_weights(made: onnx.ModelProto, name: str, node: onnx.NodeProto) -> None:
    """The attention weights `name` as an output: what the node returns, behind a softmax where that is scores."""
    found = way(node)
    if found is None or not found.scores:
        made.graph.output.add(name=name)
        return
    # The runtime can't infer the type of scores, which may be another than that of the tokens; on a CPU it is this one.
    made.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    made.graph.node.append(onnx.helper.make_node("Softmax", [name], [f"{name}:softmax"], axis=-1))
    made.graph.output.add(name=f"{name}:softmax")


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
    made = empty_like(graph)
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


def _check_size(made: onnx.ModelProto, tensors: Sequence[str]) -> None:
    size = sum(stored(each) for each in made.graph.initializer if not is_outside(each))
    if size > PROTOBUF_LIMIT:
        raise ModelNotReadable(
            f"the part of the model that leads to {', '.join(map(repr, tensors[:3]))} holds {size / 1e9:.1f} GB of"
            f" small or unusual weights, and protobuf can't carry more than {PROTOBUF_LIMIT / 1e9:.1f} GB at once:"
            " ask for earlier layers"
        )
