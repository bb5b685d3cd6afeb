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

from ..graph.walk import free
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
class Address:
    """Where a tensor is found: its `path`, other names of it, and what its name says about what runs in it."""

    path: str
    aliases: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Origin:
    """`scope`: the layer that an operation is in; `inner`: the operation's name in it; `fused`: layers that run in it too."""

    scope: str
    inner: str
    fused: tuple[str, ...] = ()
    normed: bool = False


def addresses(graph: Graph, tensors: Sequence[int], named: dict[str, int]) -> dict[int, Address]:
    """A distinct address for each of `tensors` (in execution order); `named` are the names of outputs."""
    given = [graph.tensors[each] for each in tensors]
    traced = _traced(graph, given)
    origins = {each.index: origin for each in given if (origin := _origin(graph, each, traced)) is not None}
    exits = _exits(graph, tensors, origins)
    taken: set[str] = set()
    found: dict[int, Address] = {}
    for index in (*exits.values(), *tensors):  # those that are a layer's result first, so that they get its name
        if index not in found:
            result = [scope for scope, last in exits.items() if last == index]
            path = _path(graph, index, origins.get(index), result, named)
            found[index] = Address(free(path, taken), note=_note(graph, index, origins.get(index)))
    return _with_aliases(graph, {index: found[index] for index in tensors}, origins, exits, named)


def _traced(graph: Graph, tensors: Sequence[Tensor]) -> bool:
    """Whether every name shows that the model is the second trace that Keras 3 exports."""
    calls = [CALL.fullmatch(graph.tensors[each].name) for each in graph.outputs]
    tops = [each.name.split("/")[0] for each in tensors if "/" in each.name]
    return any(each and each[1] == "_1" for each in calls) and bool(tops) and all(each.endswith("_1") for each in tops)


def _named(graph: Graph, tensor: Tensor) -> str:
    """The tensor's name, or where it has the model's output's, the product that its weights are named after.

    A dense layer on a picture ends in a reshape, which then stands for it.
    """
    operator = graph.operators[graph.made_by[tensor.index]]
    if not NAMELESS.fullmatch(tensor.name):
        return tensor.name
    if operator.name == "RESHAPE" and operator.inputs[0] in graph.made_by:
        return _named(graph, graph.tensors[operator.inputs[0]])
    parts = _weight_name(graph, tensor).split(";")
    return next((each for each in parts if PRODUCT.fullmatch(each)), tensor.name)


def _weight_name(graph: Graph, tensor: Tensor) -> str:
    operator = graph.operators[graph.made_by[tensor.index]]
    weighted = operator.name in WEIGHTED and len(operator.inputs) > 1
    return graph.tensors[operator.inputs[1]].name if weighted else ""


def _origin(graph: Graph, tensor: Tensor, traced: bool) -> Origin | None:
    """What a tensor's name says, as far as it is about this tensor.

    Where layers share a constant, such as a bias of zeros, the converter puts the names of all of them into each one's:
    a product by other weights than the operator's own shows it, and then only the first name counts.
    """
    parts = [each for each in _named(graph, tensor).split(";") if "/" in each]
    if not parts:
        return None
    products = {found[1] for each in parts if (found := PRODUCT.fullmatch(each))}
    weights = {found[1] for each in _weight_name(graph, tensor).split(";") if (found := PRODUCT.fullmatch(each))}
    if len(products) > 1 and products - weights:
        parts = [parts[0], *(each for each in parts[1:] if (found := PRODUCT.fullmatch(each)) and found[1] in weights)]
    scopes = [_scope(each, traced) for each in parts]
    own, inner = scopes[0]
    fused = dict.fromkeys(scope for scope, _ in scopes[1:] if not f"{scope}/".startswith(f"{own}/"))
    return Origin(own, inner, tuple(fused), any(NORMS.search(each) for each in parts))


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
    found = {}
    for scope, members in within.items():
        if len(members) == len(origins) and "/" not in scope and len(within) > 1:
            continue
        inside = {graph.made_by[index] for index in members}
        leaving = [
            index
            for index in members
            if index in graph.outputs or any(at not in inside for at in graph.taken_by.get(index, ()))
        ]
        found[scope] = (leaving or members)[-1]
    return found


def _around(scope: str) -> Iterator[str]:
    """`a/b/c`, `a/b`, `a`."""
    while scope:
        yield scope
        scope = scope.rpartition("/")[0]


def _path(graph: Graph, index: int, origin: Origin | None, results: Sequence[str], named: dict[str, int]) -> str:
    if origin is not None:
        return origin.scope if origin.scope in results else f"{origin.scope}/{origin.inner}"
    name = graph.tensors[index].name.partition(";")[0]
    if NAMELESS.fullmatch(name):
        output = next((each for each, at in named.items() if at == index), "")
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
        return f"BatchNorm folded: values are after {last!r}"
    names = ", ".join(repr(each.rpartition("/")[2]) for each in origin.fused)
    return f"{names} fused in: values are after {last!r}" if names else ""


def _with_aliases(
    graph: Graph,
    found: dict[int, Address],
    origins: dict[int, Origin],
    exits: dict[str, int],
    named: dict[str, int],
) -> dict[int, Address]:
    """The addresses with the other names of each tensor, none of which means two of them."""
    names: dict[int, list[str]] = {index: [graph.tensors[index].name] for index in found}
    for scope, index in exits.items():
        names[index].append(scope)
    for index, origin in origins.items():
        names[index] += origin.fused
    for name, index in named.items():
        if index in names:
            names[index].append(name)
    fused = [each for origin in origins.values() for each in origin.fused]
    for index, origin in origins.items():
        names[index] += _short(origin.fused)
    paths = {each.path for each in found.values()}
    often = Counter(each for listed in names.values() for each in dict.fromkeys(listed))
    ends = {each.path.rpartition("/")[2] for each in found.values()} - set(fused)
    return {
        index: replace(
            address,
            aliases=tuple(
                each
                for each in dict.fromkeys(names[index])
                if each and often[each] == 1 and each not in paths and each not in ends
            ),
        )
        for index, address in found.items()
    }


def _short(scopes: Iterable[str]) -> list[str]:
    return [each.rpartition("/")[2] for each in scopes if "/" in each]
