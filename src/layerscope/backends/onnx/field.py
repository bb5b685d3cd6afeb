"""Receptive fields of the tensors of an ONNX graph."""

from __future__ import annotations

from functools import partial

import onnx

from ..common.field import followed
from ..graph.field import KnownFields
from .attention import is_attention
from .axes import AxesFlow
from .field_rules import Step, rule_of
from .graph import Graph


class FieldFlow(KnownFields[str]):
    """What every tensor of the graph sees of the model's one image."""

    def __init__(self, graph: Graph, flow: AxesFlow) -> None:
        super().__init__([each.name for each in graph.inputs], flow)
        self.graph, self.flow = graph, flow
        for node in graph.nodes:
            for name in node.output:
                if name in graph.data:
                    self._follow(node, name)

    def _follow(self, node: onnx.NodeProto, output: str) -> None:
        first = next((self.places[name] for name in node.input if name in self.places), None)
        shape = self.flow.shapes.get(output)
        if first is None:
            return
        if shape is None:
            self.places[output] = first.lost("no tensor of one shape", ())
            return
        lost = [name for name in node.input if name in self.graph.data and name not in self.places]
        aside = is_attention(node) and output != node.output[0]  # keys, values and weights
        rule = None if self.graph.is_function(node) or aside else rule_of(node)
        if lost:
            made = first.lost(f"{lost[0]!r} comes from another input", shape)
        elif rule is None:
            made = first.lost(f"{node.op_type} isn't followed", shape)
        else:
            made = followed(partial(rule, Step(self.flow, self.places, node, shape)), first, node.op_type, shape)
        self.places[output] = made
