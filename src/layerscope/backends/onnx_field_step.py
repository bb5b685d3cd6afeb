"""One node of an ONNX graph as the rules of receptive fields see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from ..places import Places, constant
from .onnx_axes import AxesFlow
from .onnx_graph import attributes


class Step:
    """One node: its attributes, and the places of its inputs."""

    def __init__(
        self, flow: AxesFlow, places: Mapping[str, Places], node: onnx.NodeProto, shape: Sequence[int]
    ) -> None:
        self.flow, self.places, self.node, self.shape = flow, places, node, tuple(shape)
        self.graph = flow.graph
        self.said: Mapping[str, Any] = attributes(node)

    @property
    def source(self) -> Places:
        return self.input(0)

    def input(self, at: int) -> Places:
        name = self.node.input[at]
        known = self.places.get(name)
        if known is not None:
            return known
        stored = self.graph.initializers.get(name)
        shape = tuple(stored.dims) if stored is not None else self.flow.shapes.get(name)
        value = self.graph.constant(name) if shape is None else None
        return constant(value.shape if value is not None else shape or ())

    def inputs(self) -> list[Places]:
        return [self.input(at) for at, name in enumerate(self.node.input) if name]

    def values(self, at: int, attribute: str = "") -> list[Any] | None:
        """Constant numbers, from an input or (older opsets) an attribute; `None` where they aren't constant."""
        if attribute in self.said:
            return list(self.said[attribute])
        if len(self.node.input) <= at or not self.node.input[at]:
            return []
        value = self.graph.constant(self.node.input[at])
        return None if value is None else np.ravel(value).tolist()

    def lost(self, what: str = "") -> Places:
        first = next(each for each in self.inputs() if each.fields)
        return first.lost(what or f"{self.node.op_type} isn't followed", self.shape)
