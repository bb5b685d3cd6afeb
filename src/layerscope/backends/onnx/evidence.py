"""What an ONNX graph shows of its training data: its first BatchNormalization, and arithmetic on its input."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..common.input_scaling import takes
from ..protocol import trained
from .graph import Graph

SCALING = ("Sub", "Div", "Mul", "Add")


PASSING = ("Cast", "Identity", "Transpose")


WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class FirstNorm(NamedTuple):
    """The node's name, the tensor that goes into it, and its statistics."""

    name: str
    tensor: str
    mean: np.ndarray
    variance: np.ndarray


def first_norm(graph: Graph) -> FirstNorm | None:
    """The first BatchNormalization behind at most one layer with weights; exporters fold most of them."""
    for node in graph.nodes:
        if node.op_type != "BatchNormalization" or node.domain not in ("", "ai.onnx"):
            continue
        before = [graph.nodes[at].op_type for at in graph.ancestors([node.input[0]])]
        kept = [graph.constant(name) for name in node.input[3:5]]
        if sum(before.count(each) for each in WEIGHTED) > 1 or kept[0] is None or kept[1] is None:
            return None
        mean, variance = (np.asarray(each, np.float64) for each in kept)
        return (
            FirstNorm(node.name or node.output[0], node.input[0], mean, variance) if trained(mean, variance) else None
        )
    return None


def own_scaling(graph: Graph) -> tuple[str | None, str]:
    """(the recipe whose pixels the arithmetic on the model's only input takes, what that arithmetic is)."""
    if len(graph.inputs) != 1:
        return None, ""
    scale, offset = np.ones(1), np.zeros(1)
    done: list[str] = []
    at = graph.inputs[0].name
    while len(takers := graph.taken_by.get(at, [])) == 1:
        node = graph.nodes[takers[0]]
        if node.op_type in SCALING:
            constant = graph.constant(next((name for name in node.input if name != at), ""))
            backwards = node.op_type in ("Sub", "Div") and node.input[0] != at
            if constant is None or backwards:
                break
            number = np.asarray(constant, np.float64).reshape(-1)
            if number.size not in (1, 3):
                break
            if node.op_type in ("Sub", "Add"):
                offset = offset + (number if node.op_type == "Add" else -number)
            else:
                factor = number if node.op_type == "Mul" else 1 / number
                scale, offset = scale * factor, offset * factor
            done.append(node.op_type)
        elif node.op_type not in PASSING:
            break
        at = node.output[0]
    recipe = takes(scale, offset) if done else None
    return recipe, f"the arithmetic on the model's own input ({', '.join(done)})" if recipe else ""
