"""What an ONNX file must not hold: texts and types that don't exist, more nodes or numbers than memory takes.

protobuf says nothing of these; each would end in an error of its own at some later place, or in no memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ...errors import ModelNotReadable
from ...memory import amount, available_text, limit

MOST_DEPTH = 100  # of functions in functions
MOST_NODES = 200_000  # once all functions stand where they are called
KINDS = set(AttributeProto.AttributeType.values())
TYPES = set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}

# Operators whose result has the size that a constant says, and the input that says it.
SIZED = {"ConstantOfShape": 0, "Expand": 1}

Key = tuple[str, str, str]


def check(model: ModelProto) -> None:
    """Raise `ModelNotReadable` where a model can't be one that runs here."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in (inner for outer in nodes for inner in nodes_of(outer)):
            _check_node(node)
    for tensor in tensors_of(model):
        _check_texts((tensor.name, *(text for entry in tensor.external_data for text in (entry.key, entry.value))))
        if tensor.data_type not in TYPES or any(size < 0 for size in tensor.dims):
            raise ModelNotReadable(
                f"the tensor {tensor.name!r} of type {tensor.data_type} and sizes {list(tensor.dims)} is none: the file is"
                " damaged, or newer than the installed onnx (pip install -U onnx)"
            )
    for value in (*model.graph.input, *model.graph.output):
        _check_texts((value.name,))
        if value.type.tensor_type.elem_type not in {*TYPES, TensorProto.UNDEFINED}:
            raise ModelNotReadable(f"{value.name!r} is of a type that onnx {onnx.__version__} doesn't know")
    _check_texts(text for entry in model.metadata_props for text in (entry.key, entry.value))
    _check_sizes(model)


def _check_texts(texts: Iterable[Any]) -> None:
    """protobuf gives a text that isn't UTF-8 as bytes."""
    for text in texts:
        if not isinstance(text, str):
            raise ModelNotReadable(f"{bytes(text)[:60]!r} is no text in UTF-8: the file is damaged")


def _check_node(node: NodeProto) -> None:
    _check_texts((node.name, node.op_type, node.domain, node.overload, *node.input, *node.output))
    for attribute in node.attribute:
        _check_texts((attribute.name, attribute.ref_attr_name))
        if attribute.type not in KINDS:
            raise ModelNotReadable(f"the node {node.name!r} has an attribute of an unknown type: the file is damaged")


def nodes_of(node: NodeProto) -> Iterator[NodeProto]:
    """A node and those in its bodies."""
    yield node
    for graph in graphs_of(node):
        for inner in graph.node:
            yield from nodes_of(inner)


def graphs_of(node: NodeProto) -> Iterator[GraphProto]:
    """The bodies of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def tensors_in(node: NodeProto) -> Iterator[TensorProto]:
    """The tensors that a node holds: its constants, sparse ones included, and the weights of its bodies."""
    for attribute in node.attribute:
        yield from _of_attribute(attribute)


def _of_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for sparse in (
        *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
        *attribute.sparse_tensors,
    ):
        yield from (sparse.values, sparse.indices)
    for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
        yield from _of_graph(graph)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from tensors_in(node)


def tensors_of(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model, wherever it stands: each may name a file that holds its numbers."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from tensors_in(node)
        for attribute in function.attribute_proto:
            yield from _of_attribute(attribute)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)


def check_calls(model: ModelProto) -> None:
    """Count what a model would hold once each call of a function is what that holds, before anything is copied."""
    functions = {(function.domain, function.name, function.overload): function for function in model.functions}
    known: dict[Key, tuple[int, int]] = {}

    def measure(nodes: Sequence[NodeProto], within: tuple[Key, ...]) -> tuple[int, int]:
        """(nodes, bytes) with functions where they are called."""
        count, size = 0, sum(node.ByteSize() for node in nodes)
        for node in (inner for outer in nodes for inner in nodes_of(outer)):
            key = (node.domain, node.op_type, node.overload)
            if key in within or len(within) > MOST_DEPTH:
                raise ModelNotReadable(
                    f"the function {node.op_type!r} calls itself, or lies in over {MOST_DEPTH} others"
                )
            if key in functions and key not in known:
                known[key] = measure(functions[key].node, (*within, key))
            inside = known.get(key, (0, 0))
            count, size = count + 1 + inside[0], size + inside[1]
        return count, size

    count, size = measure(model.graph.node, ())
    most = limit()
    if count > MOST_NODES or (most is not None and size > most):
        raise ModelNotReadable(
            f"with its functions where they are called, the model has {count:,} nodes of {amount(size)}; at most"
            f" {MOST_NODES:,} nodes are read" + (f", in {amount(most)} of memory" if most is not None else "")
        )


def _check_sizes(model: ModelProto) -> None:
    """Nodes that make as many numbers as a constant says, which the runtime makes when it opens the model."""
    most = limit()
    for value in model.graph.input:
        tensor = value.type.tensor_type
        sizes = [dim.dim_value for dim in tensor.shape.dim if dim.dim_value > 0]
        width = helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize if tensor.elem_type in TYPES else 1
        if most is not None and prod(sizes) * width > most:
            raise ModelNotReadable(f"the input {value.name!r} takes {sizes}, and {available_text(most)}")
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for entry in node.attribute:
            if node.op_type == "Constant" and entry.name == "value" and node.output:
                stored[node.output[0]] = entry.t
        index = SIZED.get(node.op_type)
        shape = stored.get(node.input[index]) if index is not None and len(node.input) > index else None
        if shape is None or most is None or prod(shape.dims) > 16 or shape.data_location == TensorProto.EXTERNAL:
            continue
        sizes = numpy_helper.to_array(shape).ravel().tolist()
        if prod(sizes) * 4 > most:
            raise ModelNotReadable(f"{node.output[0]!r} would have the sizes {sizes}, and {available_text(most)}")
