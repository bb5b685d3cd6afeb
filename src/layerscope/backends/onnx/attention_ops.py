"""Operators that are a whole attention: what they say of axes, and how they are asked for the weights that they keep inside.

ONNX's `Attention` (opset 23) and ONNX Runtime's `GroupQueryAttention` return them where an option says so, `MultiHeadAttention`
the scores that its softmax is then taken of. The option is set in the copy that is run, where the weights are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

NAME = "attention_map"


MICROSOFT = "com.microsoft"


STANDARD = ("", "ai.onnx")


WEIGHTS_OUTPUT = 3


# Those whose first output has the tokens of their first input.
ATTENTIONS = {
    *("Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention", "LongformerAttention"),
    *("DecoderMaskedSelfAttention", "DecoderMaskedMultiHeadAttention", "SparseAttention"),
}


# The axes of each output by its rank: what is made of the tokens; keys and values, or both in one tensor; weights or scores.
AXES: tuple[Mapping[int, str], ...] = (
    {3: "bnc", 4: "bhnc"},
    {4: "bhnc", 5: "dbhnc"},
    {4: "bhnc"},
    {4: "bcqk"},
)


@dataclass(frozen=True)
class Way:
    """How an operator is made to return its weights: an option and its value; whether a softmax is still to be taken."""

    option: str = ""
    value: int = 0
    scores: bool = False


def is_attention(node: onnx.NodeProto) -> bool:
    """Whether a node is a whole attention."""
    standard = node.op_type == "Attention" and node.domain in STANDARD
    return standard or (node.domain == MICROSOFT and node.op_type in ATTENTIONS)


def way_to_weights(node: onnx.NodeProto) -> Way | None:
    """How a node is made to return its weights, `None` where it can't be."""
    if node.op_type == "Attention" and node.domain in STANDARD:
        return Way("qk_matmul_output_mode", 3)
    if node.domain != MICROSOFT:
        return None
    return {"GroupQueryAttention": Way("qk_output", 2), "MultiHeadAttention": Way(scores=True)}.get(node.op_type)


def return_weights(node: onnx.NodeProto) -> onnx.NodeProto | None:
    """A copy of the node that returns its weights as well, `None` where it can't, or returns weights or scores already."""
    option = way_to_weights(node)
    if option is None or not node.output or not node.output[0] or any(node.output[WEIGHTS_OUTPUT : WEIGHTS_OUTPUT + 1]):
        return None
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.output.extend([""] * (WEIGHTS_OUTPUT + 1 - len(copy.output)))
    copy.output[WEIGHTS_OUTPUT] = f"{node.output[0]}:{NAME}"
    if option.option:
        kept = [attribute for attribute in copy.attribute if attribute.name != option.option]
        del copy.attribute[:]
        copy.attribute.extend([*kept, onnx.helper.make_attribute(option.option, option.value)])
    return copy


def axes_of(index: int, rank: int | None) -> str | None:
    """The axes of the output of an attention at that index."""
    return AXES[index].get(rank or 0) if index < len(AXES) else None


def shape_of(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...] | None]) -> tuple[int, ...] | None:
    """The shape of the weights, from those of queries and keys; `None` where keys of earlier calls come in as well."""
    heads = next((attribute.i for attribute in node.attribute if attribute.name in ("num_heads", "q_num_heads")), 0)
    past = any(name for index, name in enumerate(node.input) if index in PAST.get(node.op_type, ()))
    query, key = shapes.get(node.output[0]), shapes.get(node.input[1]) if len(node.input) > 1 else None
    if past or not heads or query is None or len(query) != 3:
        return None
    keys = query[1] if key is None else key[1] if len(key) == 3 else key[2] if len(key) == 4 else None
    return None if keys is None else (query[0], heads, query[1], keys)


PAST = {"MultiHeadAttention": (6, 7), "GroupQueryAttention": (3, 4), "Attention": (4, 5)}
