"""What the numbers of an ONNX model's output are: the activation of its head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..common.activation import OVER_IMAGES
from ..graph.activation import activation_of
from .graph import attributes
from .model import OnnxModel


def activation(model: OnnxModel, batch: Any) -> str:
    """As `Backend.activation`, from the graph alone."""
    graph = model.graph

    def step_of(step: int) -> tuple[Sequence[str], Sequence[str]]:
        node = graph.nodes[step]
        over_images = "Softmax" in node.op_type and attributes(node).get("axis") == 0
        return [node.op_type + OVER_IMAGES * over_images], [name for name in node.input if name in graph.data]

    return activation_of(model.final.tensor, graph.made_by, step_of) if model.final else ""
