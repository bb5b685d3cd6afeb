"""Addresses of the tensors of a TFLite graph: the layers that they came from, where their names still say so.

The converter names a tensor after the TensorFlow operations that run in it, the last one first:
`model/block1_conv1/Relu;model/block1_conv1/BiasAdd;model/block1_conv1/Conv2D`. What stands before an operation is the
layer that it is in. Keras 3 exports a second trace of the model, so that every layer's name gets the ending `_1`, as
does the call that gives the output, `StatefulPartitionedCall_1:0`; that ending is taken off again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..graph.model import Address
from ..graph.walk import free_path
from .graph import Graph, Tensor

CALL = re.compile(r"(?:Stateful)?PartitionedCall(_\d+)?(?::\d+)?(?:_\d+)?")


NAMELESS = re.compile(
    r"(?:(?:Stateful)?PartitionedCall|Identity)(?:_\d+)?(?::\d+)?|arith\.constant\d*|pseudo_qconst\d*|"
)


NORMS = re.compile(r"/(?:batchnorm/|FusedBatchNorm)")


PRODUCT = re.compile(r"(.+)/(?:MatMul|convolution|Conv2D|depthwise|DepthwiseConv2D|Tensordot)\d*(?:_dequantize)?")


WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "FULLY_CONNECTED"}


TRACED = re.compile(r"(?<=[^/])_1(?=/|$)")


@dataclass(frozen=True)
class Origin:
    """`scope`: the layer that an operation is in; `inner`: the operation's name in it; `fused`: layers that run in it too."""

    scope: str
    inner: str
    fused: tuple[str, ...] = ()
    normed: bool = False


def addresses(graph: Graph, indices: Sequence[int]) -> dict[int, Address]:
    """A distinct address for each of the tensors `indices`, which are in execution order."""
    named = graph.signature.outputs
    own = [graph.tensors[tensor] for tensor in indices]
    traced = _is_second_trace(graph, own)
    origins = {tensor.index: origin for tensor in own if (origin := _origin(graph, tensor, traced)) is not None}
    exits = _exits(graph, indices, origins)
    taken: set[str] = set()
    by_tensor: dict[int, Address] = {}
    for index in (*exits.values(), *indices):  # those that are a layer's result first, so that they get its name
        if index not in by_tensor:
            result = [scope for scope, last in exits.items() if last == index]
            path = _path(graph, index, origins.get(index), results=result, named=named)
            by_tensor[index] = Address(free_path(path, taken), note=_note(graph, index, origins.get(index)))
    return _with_aliases(graph, {index: by_tensor[index] for index in indices}, origins, exits=exits, named=named)


def _is_second_trace(graph: Graph, tensors: Sequence[Tensor]) -> bool:
    """Whether every name shows that the model is the second trace that Keras 3 exports."""
    calls = [CALL.fullmatch(graph.tensors[index].name) for index in graph.outputs]
    tops = [tensor.name.split("/")[0] for tensor in tensors if "/" in tensor.name]
    return any(call and call[1] == "_1" for call in calls) and bool(tops) and all(top.endswith("_1") for top in tops)


def _telling_name(graph: Graph, tensor: Tensor) -> str:
    """The tensor's name, or where it has the model's output's, what its bias or its weights are named after.

    A bias that a BatchNorm is folded into has the names of all that runs in the operator. A dense layer on a picture
    ends in a reshape, which then stands for it.
    """
    operator = graph.operators[graph.made_by[tensor.index]]
    if not NAMELESS.fullmatch(tensor.name):
        return tensor.name
    if operator.name == "RESHAPE" and operator.inputs[0] in graph.made_by:
        return _telling_name(graph, graph.tensors[operator.inputs[0]])
    parts = _parameter_name(graph, tensor, 1).split(";")
    bias = _parameter_name(graph, tensor, 2)
    if (products := _products(bias.split(";"))) and products <= _products(parts):
        return bias
    return next((part for part in parts if PRODUCT.fullmatch(part)), tensor.name)


def _parameter_name(graph: Graph, tensor: Tensor, index: int) -> str:
    """The name of the weights (`index` 1) or the bias (2) of the operator that gives a tensor; `""` where it has none."""
    operator = graph.operators[graph.made_by[tensor.index]]
    weighted = operator.name in WEIGHTED and len(operator.inputs) > index and operator.inputs[index] >= 0
    return graph.tensors[operator.inputs[index]].name if weighted else ""


def _origin(graph: Graph, tensor: Tensor, traced: bool) -> Origin | None:
    """What a tensor's name says, as far as it is about this tensor.

    Where layers share a constant, such as a bias of zeros, the converter puts the names of all of them into each one's:
    a product by other weights than the operator's own shows it, and then only the first name counts.
    """
    parts = [part for part in _telling_name(graph, tensor).split(";") if "/" in part]
    if not parts:
        return None
    products, weights = _products(parts), _products(_parameter_name(graph, tensor, 1).split(";"))
    if len(products) > 1 and products - weights:
        parts = [parts[0], *(part for part in parts[1:] if _products([part]) & weights)]
    scopes = [_scope(part, traced) for part in parts]
    own, inner = scopes[0]
    fused = dict.fromkeys(scope for scope, _ in scopes[1:] if not f"{scope}/".startswith(f"{own}/"))
    return Origin(own, inner, tuple(fused), any(NORMS.search(part) for part in parts))


def _products(parts: Iterable[str]) -> set[str]:
    """The layers whose products these parts of a name are about."""
    return {match[1] for part in parts if (match := PRODUCT.fullmatch(part))}


def _scope(name: str, traced: bool) -> tuple[str, str]:
    """(layer, operation in it) of a name such as `model/conv/Relu`."""
    *parts, operation = name.split("/")
    inner = [operation]
    if traced:
        while len(parts) > 2 and not parts[-1].endswith("_1"):
            inner.insert(0, parts.pop())
    scope = "/".join(parts)
    return TRACED.sub("", scope) if traced else scope, "/".join(inner)


def _exits(graph: Graph, tensors: Sequence[int], origins: dict[int, Origin]) -> dict[str, int]:
    """The tensor that leaves each layer last: what the layer returned. The model around all layers has none."""
    within: dict[str, list[int]] = {}
    for index in tensors:
        if index in origins:
            for scope in _around(origins[index].scope):
                within.setdefault(scope, []).append(index)
    exits = {}
    for scope, members in within.items():
        if len(members) == len(origins) and "/" not in scope and len(within) > 1:
            continue
        inside = {graph.made_by[index] for index in members}
        leaving = [
            index
            for index in members
            if index in graph.outputs or any(reader not in inside for reader in graph.taken_by.get(index, ()))
        ]
        exits[scope] = (leaving or members)[-1]
    return exits


def _around(scope: str) -> Iterator[str]:
    """`a/b/c`, `a/b`, `a`."""
    while scope:
        yield scope
        scope = scope.rpartition("/")[0]


def _path(graph: Graph, index: int, origin: Origin | None, *, results: Sequence[str], named: dict[str, int]) -> str:
    if origin is not None:
        return origin.scope if origin.scope in results else f"{origin.scope}/{origin.inner}"
    name = graph.tensors[index].name.partition(";")[0]
    if NAMELESS.fullmatch(name):
        output = next((output_name for output_name, output_index in named.items() if output_index == index), "")
        name = output or graph.operators[graph.made_by[index]].kind.partition("+")[0]
    numbered = re.fullmatch(r"(.+):(\d+)", name)
    if numbered:  # `:1` is how a call of a layer is asked for
        name = numbered[1] if numbered[2] == "0" else f"{numbered[1]}[{numbered[2]}]"
    return name


def _note(graph: Graph, index: int, origin: Origin | None) -> str:
    if origin is None or graph.operators[graph.made_by[index]].name not in WEIGHTED:
        return ""
    last = origin.scope.rpartition("/")[2]
    if origin.normed:
        return f"BatchNorm is folded in: the values are the output of {last!r}"
    names = ", ".join(repr(scope.rpartition("/")[2]) for scope in origin.fused)
    are = "are" if len(origin.fused) > 1 else "is"
    return f"{names} {are} fused in: the values are the output of {last!r}" if names else ""


def _with_aliases(
    graph: Graph,
    by_tensor: dict[int, Address],
    origins: dict[int, Origin],
    *,
    exits: dict[str, int],
    named: dict[str, int],
) -> dict[int, Address]:
    """The addresses with the other names of each tensor, none of which means two of them."""
    names: dict[int, list[str]] = {index: [graph.tensors[index].name] for index in by_tensor}
    for scope, index in exits.items():
        names[index].append(scope)
    for index, origin in origins.items():
        names[index] += origin.fused
    for name, index in named.items():
        if index in names:
            names[index].append(name)
    fused = [name for origin in origins.values() for name in origin.fused]
    for index, origin in origins.items():
        names[index] += _short(origin.fused)
    paths = {address.path for address in by_tensor.values()}
    often = Counter(name for listed in names.values() for name in dict.fromkeys(listed))
    ends = {address.path.rpartition("/")[2] for address in by_tensor.values()} - set(fused)
    return {
        index: replace(
            address,
            aliases=tuple(
                name
                for name in dict.fromkeys(names[index])
                if name and often[name] == 1 and name not in paths and name not in ends
            ),
        )
        for index, address in by_tensor.items()
    }


def _short(scopes: Iterable[str]) -> list[str]:
    return [scope.rpartition("/")[2] for scope in scopes if "/" in scope]
