"""Reading an ONNX graph: who makes and who takes each tensor."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from heapq import heapify, heappop, heappush
from math import prod

import numpy as np
import onnx
from onnx import numpy_helper

from ...errors import ModelNotReadable
from ..graph.inputs import GraphInput
from ..graph.walk import ancestors
from .attention_ops import WEIGHTS_OUTPUT, is_attention, return_weights
from .checks import tensors_in, tensors_of
from .codes import Codes, codes_of, read_by
from .files import is_outside, location
from .functions import inline_functions

SHAPE_BOOKKEEPING = {"Shape", "Size"}


SMALL = 1024


DOMAINS = ("ai.onnx", "com.microsoft", "com.ms.internal")


class Graph:
    """Who makes and who takes each tensor of a model. The `ModelProto` is only read, never changed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.inlined = inline_functions(model)
        self._refuse_external_in_functions()
        self.text: set[str] = set()  # tensors that were found to hold text, by inference or in a run
        self.own: Sequence[onnx.NodeProto] = in_order(self.inlined.graph.node)
        self.nodes: Sequence[onnx.NodeProto] = [self._returning(node) for node in self.own]
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.sparse = {sparse.values.name: sparse for sparse in model.graph.sparse_initializer}
        self.inputs = [value for value in model.graph.input if value.name not in self.initializers]
        self.outputs = [value.name for value in model.graph.output]
        self.made_by = {name: step for step, node in enumerate(self.nodes) for name in node.output if name}
        self.functions = {(function.domain, function.name) for function in self.inlined.functions}

    def _refuse_external_in_functions(self) -> None:
        """Functions that stay go to the runtime as they are, which would look for files from the current folder on."""
        for function in self.inlined.functions:
            for tensor in (tensor for node in function.node for tensor in tensors_in(node)):
                if is_outside(tensor):
                    raise ModelNotReadable(
                        f"the function {function.name!r} keeps weights in the external data file {location(tensor)!r}, which"
                        " isn't read: export the model with these weights as initializers"
                    )

    def _returning(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """The node, an attention as it is when asked for its weights as well; `own` has it as it is in the file."""
        return (is_attention(node) and return_weights(node)) or node

    @cached_property
    def attention_maps(self) -> dict[str, int]:
        """The weights that attentions are made to return, and the node that each comes from."""
        changed = [step for step, node in enumerate(self.nodes) if node is not self.own[step]]
        return {self.nodes[step].output[WEIGHTS_OUTPUT]: step for step in changed}

    @cached_property
    def takes(self) -> dict[str, GraphInput]:
        """The inputs by name."""
        odd = [value.name for value in self.inputs if not value.type.tensor_type.elem_type]
        if odd:
            raise ModelNotReadable(f"the model's input {odd[0]!r} is not a tensor but a sequence or an optional")
        inputs = {}
        for value in self.inputs:
            type_ = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            dtype = "string" if type_.kind == "O" else str(type_)
            codes = self._codes_in(value.name) if dtype in ("int8", "uint8") else None
            inputs[value.name] = GraphInput(value.name, sizes(value), dtype, codes)
        return inputs

    def _codes_in(self, name: str) -> tuple[float, int] | None:
        """Scale and zero point of an input, where all that read it say the same ones."""
        codes = set()
        for step in self.taken_by.get(name, ()):
            stated = read_by(self.nodes[step], name)
            values = [self.constant(value) if value else np.zeros(1) for value in stated]
            if not values or any(value is None or value.size != 1 for value in values):
                return None
            scale, zero = (float(np.ravel(value)[0]) for value in values if value is not None)
            codes.add((scale, int(zero)))
        return codes.pop() if len(codes) == 1 else None

    @cached_property
    def taken_by(self) -> dict[str, list[int]]:
        """The nodes that read each tensor, also from inside the body of an `If` or `Loop`."""
        taken: dict[str, list[int]] = {}
        for step, node in enumerate(self.nodes):
            for name in dict.fromkeys(needs(node)):
                taken.setdefault(name, []).append(step)
        return taken

    @cached_property
    def data(self) -> set[str]:
        """The tensors that depend on what is in the inputs, not only on their sizes."""
        tensors = {value.name for value in self.inputs}
        for node in self.nodes:
            if node.op_type not in SHAPE_BOOKKEEPING and any(name in tensors for name in needs(node)):
                tensors.update(name for name in node.output if name)
        return tensors

    @cached_property
    def codes(self) -> dict[str, Codes]:
        """The tensors with data that hold codes of a few bits, and what the codes stand for."""
        return codes_of(self.nodes, self.data)

    @property
    def quantised(self) -> bool:
        """Whether data goes through codes of a few bits on its way."""
        return bool(self.codes)

    def code_type(self, tensor: str) -> str:
        """The type of a tensor's codes, by that of their zero point or as an option says: `uint8` where neither does."""
        codes = self.codes[tensor]
        stored, constant = self.initializers.get(codes.zero), self.constant(codes.zero)
        kind = dict(codes.options).get("output_dtype", 0) or onnx.TensorProto.UINT8
        if stored is not None:
            kind = stored.data_type
        elif constant is not None:
            return str(constant.dtype)
        return str(onnx.TensorProto.DataType.Name(kind)).lower()

    @cached_property
    def foreign(self) -> dict[str, str]:
        """The tensors that lead through an operator that isn't ONNX's or ONNX Runtime's, and the first such operator."""
        operators: dict[str, str] = {}
        for node in self.nodes:
            own = node.domain.startswith(DOMAINS) or not node.domain or self.is_function(node)
            operator = next((operators[name] for name in needs(node) if name in operators), "")
            if operator or not own:
                operators.update({name: operator or f"{node.domain}:{node.op_type}" for name in node.output if name})
        return operators

    def is_function(self, node: onnx.NodeProto) -> bool:
        return (node.domain, node.op_type) in self.functions

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a small constant tensor, `None` where it isn't one or isn't stored in the model itself."""
        tensor = self.initializers.get(name)
        if tensor is None and (step := self.made_by.get(name)) is not None and self.nodes[step].op_type == "Constant":
            for attribute in self.nodes[step].attribute:
                if attribute.name == "value":
                    tensor = attribute.t
                elif attribute.name in ("value_int", "value_ints"):
                    return np.asarray(onnx.helper.get_attribute_value(attribute))
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

    def ancestors(self, tensors: Iterable[str], replacements: Collection[str] = ()) -> list[int]:
        """The nodes that must run to make `tensors`, in the graph's order; those that make only `replacements` needn't."""
        made_by = (
            {name: step for name, step in self.made_by.items() if name not in replacements}
            if replacements
            else self.made_by
        )
        return ancestors(tensors, made_by, lambda step: needs(self.nodes[step]))


def in_order(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, each after those that make what it reads: the standard asks for that order, ONNX Runtime doesn't need it.

    Nodes that already are in order stay as they are. Those of a circle, which no runtime takes, come last.
    """
    waiting, ordered = list(nodes), list[int]()
    made_by = {name: step for step, node in enumerate(waiting) for name in node.output if name}
    missing = [{made_by[name] for name in needs(node) if name in made_by} for node in waiting]
    readers: dict[int, list[int]] = {}
    for step, before in enumerate(missing):
        for maker in before:
            readers.setdefault(maker, []).append(step)
    ready = [step for step, before in enumerate(missing) if not before]
    heapify(ready)
    while ready:
        step = heappop(ready)
        ordered.append(step)
        for reader in readers.get(step, ()):
            missing[reader].discard(step)
            if not missing[reader]:
                heappush(ready, reader)
    circle = [step for step, before in enumerate(missing) if before]
    return [waiting[step] for step in (*ordered, *circle)]


def needs(node: onnx.NodeProto) -> Iterator[str]:
    """Every tensor that a node reads from its own graph, those that its bodies read from outside included."""
    yield from (name for name in node.input if name)
    for body in bodies(node):
        inside = {value.name for value in (*body.input, *body.initializer)}
        inside.update(name for inner in body.node for name in inner.output)
        for inner in body.node:
            yield from (name for name in needs(inner) if name not in inside)
        yield from (value.name for value in body.output if value.name not in inside)


def bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs inside a node: the branches of an `If`, the body of a `Loop` or `Scan`."""
    graphs = []
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            graphs.append(attribute.g)
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            graphs.extend(attribute.graphs)
    return graphs


def sizes(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """The sizes of a tensor, `None` for free ones; `None` where even the rank is free."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    """The attributes of a node by name."""
    own = (attribute for attribute in node.attribute if not attribute.ref_attr_name)
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in own}


def side_files(model: onnx.ModelProto) -> list[str]:
    """The names of the files that hold weights outside the model file, as the model writes them."""
    return sorted({location(tensor) for tensor in tensors_of(model) if is_outside(tensor)})
