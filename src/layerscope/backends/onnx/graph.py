"""Reading an ONNX graph: who makes and who takes each tensor."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ...errors import ModelNotReadable
from ..graph.walk import ancestors
from .attention import PLACE, is_attention, returning
from .codes import Codes, codes_of, read_by
from .files import is_outside, location, tensors_inside
from .functions import inlined

SHAPE_BOOKKEEPING = {"Shape", "Size"}


SMALL = 1024


DOMAINS = ("ai.onnx", "com.microsoft", "com.ms.internal")


@dataclass(frozen=True)
class Taken:
    """An input of a graph: its sizes (`None` for free ones, or altogether where even the rank is free) and its type.

    `codes` are scale and zero point of a quantised input, by which floats become its codes.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: np.dtype[Any]
    codes: tuple[float, int] | None = None

    @property
    def own(self) -> str:
        """The type by name: text is of numpy's type for any object."""
        return "string" if self.dtype.kind == "O" else str(self.dtype)

    @property
    def type(self) -> str:
        """The type in words."""
        return f"{self.own} or float32 to be quantised" if self.codes else self.own

    def __str__(self) -> str:
        if self.shape is None:
            return self.type
        return f"{self.type}[{', '.join('any' if each is None else str(each) for each in self.shape)}]"

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether an array of that shape can go in, whatever its number of images."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            a in (b, None) for a, b in zip(self.shape[1:], shape[1:], strict=True)
        )


class Graph:
    """Who makes and who takes each tensor of a model. The `ModelProto` is only read, never changed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.inlined = inlined(model)
        self.text: set[str] = set()  # tensors that were found to hold text, by inference or in a run
        self.own: Sequence[onnx.NodeProto] = list(self.inlined.graph.node)
        self.nodes: Sequence[onnx.NodeProto] = [self._returning(each) for each in self.own]
        self.initializers = {each.name: each for each in model.graph.initializer}
        self.sparse = {each.values.name: each for each in model.graph.sparse_initializer}
        self.inputs = [each for each in model.graph.input if each.name not in self.initializers]
        self.outputs = [each.name for each in model.graph.output]
        self.made_by = {name: at for at, node in enumerate(self.nodes) for name in node.output if name}
        self.functions = {(each.domain, each.name) for each in self.inlined.functions}

    def _returning(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """The node, an attention as it is when asked for its weights as well; `own` has it as it is in the file."""
        return (is_attention(node) and returning(node)) or node

    @cached_property
    def attention_maps(self) -> dict[str, int]:
        """The weights that attentions are made to return, and the node that each comes from."""
        changed = [at for at, node in enumerate(self.nodes) if node is not self.own[at]]
        return {self.nodes[at].output[PLACE]: at for at in changed}

    @cached_property
    def takes(self) -> dict[str, Taken]:
        """The inputs by name."""
        odd = [each.name for each in self.inputs if not each.type.tensor_type.elem_type]
        if odd:
            raise ModelNotReadable(f"the model's input {odd[0]!r} is no tensor but a sequence or an optional")
        found = {}
        for each in self.inputs:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type)
            codes = self._codes_in(each.name) if str(dtype) in ("int8", "uint8") else None
            found[each.name] = Taken(each.name, sizes(each), dtype, codes)
        return found

    def _codes_in(self, name: str) -> tuple[float, int] | None:
        """Scale and zero point of an input, where all that read it say the same ones."""
        said = set()
        for at in self.taken_by.get(name, ()):
            stated = read_by(self.nodes[at], name)
            values = [self.constant(each) if each else np.zeros(1) for each in stated]
            if not values or any(each is None or each.size != 1 for each in values):
                return None
            scale, zero = (float(np.ravel(each)[0]) for each in values if each is not None)
            said.add((scale, int(zero)))
        return said.pop() if len(said) == 1 else None

    @cached_property
    def names(self) -> dict[str, str]:
        """What each name in a batch stands for: the inputs have no other names than their own."""
        return {name: name for name in self.takes}

    @cached_property
    def fixed(self) -> dict[str, int]:
        """The first sizes of the inputs for which the model fixes them."""
        return {name: each.shape[0] for name, each in self.takes.items() if each.shape and each.shape[0] is not None}

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

    def ancestors(self, tensors: Iterable[str], given: Collection[str] = ()) -> list[int]:
        """The nodes that must run to make `tensors`, in the graph's order; those that make only `given` ones needn't."""
        made_by = {name: at for name, at in self.made_by.items() if name not in given} if given else self.made_by
        return ancestors(tensors, made_by, lambda at: needs(self.nodes[at]))


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


def sizes(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """The sizes of a tensor, `None` for free ones; `None` where even the rank is free."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(each.dim_value if each.HasField("dim_value") and each.dim_value > 0 else None for each in dims)


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    """The attributes of a node by name."""
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute if not each.ref_attr_name}


def side_files(model: onnx.ModelProto) -> list[str]:
    """The names of the files that hold weights outside the model file, as the model writes them."""
    inside = (tensor for node in model.graph.node for tensor in tensors_inside(node))
    return sorted({location(each) for each in (*model.graph.initializer, *inside) if is_outside(each)})
