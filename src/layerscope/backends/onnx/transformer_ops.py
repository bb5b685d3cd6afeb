"""Operators of transformers in an ONNX graph: what they say of axes, of attention weights and of tokens in front."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx

from .graph import Graph, attributes

SCORES = {3: "bqk", 4: "bcqk"}


# Norms that may be over the channels of each token alone, and the index of their scale.
NORMS = {
    **dict.fromkeys(("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"), 1),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), 2),
}


# Products that may be with a matrix of weights, their second input.
PRODUCTS = {
    *("MatMul", "MatMulInteger", "FusedMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits"),
    *("Gemm", "FusedGemm"),
}


PASSING = ("Dropout", "Cast", "Identity")
FRONT = {"cls": "cls", "class": "cls", "dist": "dist", "reg": "reg", "register": "reg"}


def channels_last(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether an operator works on the last axis as channels: a norm over it alone, a product with a matrix of weights."""
    if node.op_type in NORMS and len(node.input) > NORMS[node.op_type]:
        scale = graph.initializers.get(graph.weight_name(node.input[NORMS[node.op_type]]))
        return attributes(node).get("axis", -1) == -1 and scale is not None and len(scale.dims) == 1
    if node.op_type not in PRODUCTS or node.input[1] in graph.data or attributes(node).get("transA"):
        return False
    if node.op_type == "MatMulNBits":  # whose weights lie in blocks
        return True
    weight = graph.initializers.get(graph.weight_name(node.input[1]))
    return weight is not None and len(weight.dims) == 2


def attention_axes(graph: Graph, node: onnx.NodeProto, rank: int | None) -> str | None:
    """The axes of attention weights: a Softmax of a product of two tensors, which weighs a third."""
    if node.op_type != "Softmax" or rank != 4 or attributes(node).get("axis", -1) not in (-1, 3):
        return None
    weights = node.output[0]
    while len(readers := graph.taken_by.get(weights, [])) == 1 and graph.nodes[readers[0]].op_type in PASSING:
        weights = graph.nodes[readers[0]].output[0]
    weighs = any(graph.nodes[step].op_type == "MatMul" and graph.nodes[step].input[0] == weights for step in readers)
    return SCORES[4] if weighs and _of_product(graph, node.input[0]) else None


def _of_product(graph: Graph, name: str, steps: int = 12) -> bool:
    """Whether a tensor comes from a product of two tensors, scaled, masked or reshaped on the way."""
    if not steps or name not in graph.data or name not in graph.made_by:
        return False
    node = graph.nodes[graph.made_by[name]]
    if node.op_type == "MatMul":
        return all(operand in graph.data for operand in node.input)
    if node.op_type not in ("Add", "Sub", "Mul", "Div", "Where", "Reshape", "Cast", "Identity", "Clip"):
        return False
    return any(_of_product(graph, operand, steps - 1) for operand in node.input)


def prefix_names(graph: Graph, node: onnx.NodeProto) -> tuple[str, ...]:
    """The names of the tokens that a Concat puts in front of others, by the names of their weights (`cls_token`)."""
    names: list[str] = []
    for tensor in node.input:
        if tensor in graph.data:
            return tuple(names)
        name = graph.weight_name(tensor)
        front = FRONT.get(name.rpartition(".")[2].partition("_")[0])
        weight = graph.initializers.get(name)
        if front is None or weight is None or not weight.dims:
            return ()
        count = prod(weight.dims) // weight.dims[-1]
        names += [f"reg{index + 1}" for index in range(count)] if front == "reg" else [front] * count
    return ()


def einsum_axes(equation: str, operands: Sequence[str]) -> str | None:
    """The axes of what an Einsum gives, from those of its operands, surest first with its own term: an index that only an
    operand without such an axis has is a channel.

    >>> einsum_axes("bdhw,kd->bkhw", ["bchw", ""]), einsum_axes("bhqd,bhkd->bhqk", ["bhnc", "bhnc"])
    ('bchw', 'bcqk')
    """
    terms, arrow, output = equation.replace(" ", "").partition("->")
    known: dict[str, str] = {}
    for term, axes in zip(terms.split(","), operands, strict=False):
        if len(term) == len(axes) and "." not in term:
            known |= {index: letter for index, letter in zip(term, axes, strict=True) if index not in known}
    if not arrow or "." in output or not known:
        return None
    letters = [known.get(index, "") for index in output]
    if letters.count("n") == 2:
        return SCORES.get(len(letters))
    taken = {letter for letter in letters if letter}
    spare = iter([letter for letter in "cnhwd" if letter not in taken])
    named = "".join(letter or next(spare, "?") for letter in letters)
    return named if len(set(named)) == len(named) and "?" not in named else None
