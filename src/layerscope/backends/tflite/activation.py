"""What the numbers of a TFLite file's output are: the activation of its head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.activation import activation_of
from .model import TfliteModel


def activation(model: TfliteModel, batch: Any) -> str:
    """As `Backend.activation`, from the graph alone."""
    graph = model.graph

    def step_of(step: int) -> tuple[Sequence[str], Sequence[int]]:
        operator = graph.operators[step]
        names = [operator.name, operator.activation] if operator.activation else [operator.name]
        return names, [index for index in operator.inputs if index in graph.data]

    return activation_of(model.final.tensor, graph.made_by, step_of) if model.final else ""
