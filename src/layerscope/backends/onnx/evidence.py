"""What an ONNX graph shows of its training data: its first BatchNormalization, and arithmetic on its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import NodeProto

from ...core.placement import Size
from ..common.facts import compare, recipe_of_scaling, resizes_by_itself
from ..protocol import Evidence, trained
from .graph import Graph
from .model import OnnxModel

# (factor, offset) of the arithmetic with a number.
SCALING: dict[str, Callable[[np.ndarray], tuple[Any, Any]]] = {
    "Sub": lambda number: (1, -number),
    "Add": lambda number: (1, number),
    "Mul": lambda number: (number, 0),
    "Div": lambda number: (1 / number, 0),
}


PASSING = ("Cast", "Identity", "Transpose")


RESIZING = frozenset({"Resize", "Upsample", "AffineGrid", "CenterCropPad"})


WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class FirstNorm(NamedTuple):
    """The node's name, the tensor that goes into it, and its statistics."""

    name: str
    tensor: str
    mean: np.ndarray
    variance: np.ndarray


def evidence(model: OnnxModel, batch: Any) -> Evidence | None:
    """What reaches the first BatchNormalization, against what it has seen in training; exporters fold most of them."""
    norm = _first_norm(model.graph)
    if norm is None:
        return None
    feeds = model.feeds(batch)
    if norm.tensor in feeds:
        parts = [feeds[norm.tensor]]
    else:
        session = model.session((norm.tensor,))
        parts = [session.run(image)[0] for image in model.images(feeds) or [feeds]]
    return compare(norm.name, np.concatenate(parts), norm.mean, norm.variance, 1)


def _first_norm(graph: Graph) -> FirstNorm | None:
    """The first BatchNormalization behind at most one layer with weights, where it was trained."""
    norms = (node for node in graph.nodes if node.op_type == "BatchNormalization" and node.domain in ("", "ai.onnx"))
    node = next(norms, None)
    if node is None:
        return None
    kinds = [graph.nodes[step].op_type for step in graph.ancestors([node.input[0]])]
    mean, variance = (graph.constant(name) for name in node.input[3:5])
    if sum(kinds.count(kind) for kind in WEIGHTED) > 1 or mean is None or variance is None:
        return None
    return FirstNorm(node.name or node.output[0], node.input[0], mean, variance) if trained(mean, variance) else None


def resizes(model: OnnxModel) -> bool:
    """Whether a graph brings photos of any size to its own before its first node with weights; two blank images tell."""
    entry = next(iter(model.graph.takes.values()), None)
    axes = model.input_axes.axes[entry.name] if entry is not None else ""
    sizes = dict(zip(axes, (entry.shape if entry is not None else None) or (), strict=False))
    weighted = next((node for node in model.graph.nodes if node.op_type in WEIGHTED), None)
    if len(model.graph.takes) != 1 or entry is None or weighted is None or sizes.keys() != set("bchw"):
        return False
    kinds = {model.graph.nodes[step].op_type for step in model.graph.ancestors(weighted.input[:1])}
    if sizes["h"] or sizes["w"] or kinds.isdisjoint(RESIZING):
        return False

    def shape_at_weights(size: Size) -> Sequence[int]:
        lengths = {"b": sizes["b"] or 1, "c": sizes["c"] or 3, "h": size[0], "w": size[1]}
        feeds = model.feeds(np.zeros([lengths[axis] for axis in axes], entry.dtype))
        return tuple(model.session((weighted.input[0],)).run(feeds)[0].shape)

    return resizes_by_itself(shape_at_weights)


def own_scaling(graph: Graph) -> tuple[str | None, str]:
    """(the recipe whose pixels the arithmetic on the model's only input takes, what that arithmetic is)."""
    if len(graph.inputs) != 1:
        return None, ""
    scale, offset = np.ones(1), np.zeros(1)
    kinds: list[str] = []
    tensor = graph.inputs[0].name
    while len(readers := graph.taken_by.get(tensor, [])) == 1:
        node = graph.nodes[readers[0]]
        if node.op_type in SCALING:
            number = _operand(graph, node, tensor)
            if number is None:
                break
            factor, shift = SCALING[node.op_type](number)
            scale, offset = scale * factor, offset * factor + shift
            kinds.append(node.op_type)
        elif node.op_type not in PASSING:
            break
        tensor = node.output[0]
    recipe = recipe_of_scaling(scale, offset) if kinds else None
    return recipe, f"the arithmetic on the model's own input ({', '.join(kinds)})" if recipe else ""


def _operand(graph: Graph, node: NodeProto, tensor: str) -> np.ndarray | None:
    """The number, or the one for each color, that a node applies to a tensor; `None` where it is none of these."""
    constant = graph.constant(next((name for name in node.input if name != tensor), ""))
    backwards = node.op_type in ("Sub", "Div") and node.input[0] != tensor
    if constant is None or backwards or constant.size not in (1, 3):
        return None
    return np.asarray(constant, np.float64).reshape(-1)
