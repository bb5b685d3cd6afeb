"""Rows of the table of layers for an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf, nan

import numpy as np
import onnx

from ...core.layer import ATTENTION_MAP, Layer, rectifier
from ..common.table import number_rows
from ..common.tokens import located
from ..graph.table import doubt, model_row, of_one_image, value_note
from .attention_ops import is_attention, way_to_weights
from .axes import Axes
from .capture import Shapes, shapes_of
from .field import Fields
from .graph import Graph, attributes, bodies
from .model import OnnxModel, Output
from .run import ODD, TEXT, Feeds
from .weights import weights_of

FUSED = {"FusedConv": "Conv", "NhwcFusedConv": "Conv", "FusedGemm": "Gemm"}
SUMS = {"ConvInteger", "MatMulInteger"}


def layers(model: OnnxModel, batch: object) -> list[Layer]:
    """Every layer in the order of the graph, and the model's own output."""
    graph, every = model.graph, model.feeds(batch)
    feeds = model.first_image(every)
    shapes, axes = _followed(model, feeds)
    if axes.without_images and model.count(every) > 1:
        feeds = every
        shapes, axes = _followed(model, feeds)
    images = model.count(feeds)
    fields = Fields(graph, axes)
    rows: dict[str, list[Layer]] = {}
    for step, output in enumerate(model.outputs):
        layer = of_one_image(_layer(graph, output, shapes, axes), images)
        layer = replace(located(layer, fields.get(output), axes.prefix), step=step)
        rows.setdefault(output.address.path, []).append(layer)
    table = [_merge_calls(path, calls) for path, calls in rows.items()]
    if model.final:
        last = of_one_image(_layer(graph, model.final, shapes, axes), images)
        last = replace(located(last, fields.get(model.final), axes.prefix), step=len(model.outputs))
        table.append(model_row(last, model.final.tensor, model, weights=weights_of))
    return number_rows(table)


def _followed(model: OnnxModel, feeds: Feeds) -> tuple[Shapes, Axes]:
    shapes = shapes_of(model, feeds)
    return shapes, Axes(model.graph, shapes, of_two=lambda: shapes_of(model, model.twice(feeds)))


def _layer(graph: Graph, output: Output, shapes: Mapping[str, tuple[int, ...] | None], axes: Axes) -> Layer:
    """The row of one output, without its index in the table."""
    node, tensor = output.operator, output.tensor
    shape, letters = shapes[tensor], axes.letters(output)
    notes = [output.address.note, *_operator_notes(graph, output), _value_note(graph, output, shape, axes)]
    return Layer(
        path=output.address.full,
        kind=ATTENTION_MAP if tensor in graph.attention_maps else _kind(node),
        axes=letters,
        shape=shape,
        calls=1,
        note="; ".join(note for note in notes if note),
        doubt=doubt(output, axes),
        aliases=output.address.aliases,
        parameters=0 if tensor in graph.attention_maps else sum(weights_of(graph, node).values()),
        usual_name=_usual_name(graph, node),
    )


def _operator_notes(graph: Graph, output: Output) -> Iterator[str]:
    """What is to be known of the operator that makes a layer."""
    node = output.operator
    if bodies(node) or graph.is_function(node):
        yield "its body can't be inspected"
    if is_attention(node) and way_to_weights(node) is None:
        yield "its attention weights stay inside the operator"
    if output.tensor in graph.codes:
        yield f"quantised to {graph.code_type(output.tensor)}, shown dequantised"
    elif node.op_type in SUMS:
        yield "integer sums, rescaled later"


def _value_note(graph: Graph, output: Output, shape: tuple[int, ...] | None, axes: Axes) -> str:
    """Why a layer has no picture, or what its axes rest on."""
    tensor = output.tensor
    if shape is None and tensor in graph.foreign:
        return f"after {graph.foreign[tensor]}, an operator that ONNX Runtime doesn't have"
    if shape is None:
        return TEXT if tensor in graph.text else ODD
    if shape and tensor in axes.blocked:
        return "channels in ONNX Runtime's own blocked layout: open the file from before it was optimised"
    return value_note(output, axes)


def _kind(node: onnx.NodeProto) -> str:
    """The operator, and after a plus sign the activation that ONNX Runtime's fused operators hold as well."""
    activation = attributes(node).get("activation")
    if node.op_type in FUSED and isinstance(activation, bytes):
        return f"{FUSED[node.op_type]}+{activation.decode()}"
    return node.op_type


def _usual_name(graph: Graph, node: onnx.NodeProto) -> str:
    """`ReLU` and `ReLU6` for the operators that they are exported as; after the operator that one is fused into."""
    if node.op_type == "Clip":
        return rectifier(_limit(graph, node, "min", 1, absent=-inf), _limit(graph, node, "max", 2, absent=inf))
    if node.op_type == "Max" and len(node.input) == 2:
        values = [value for name in node.input if (value := graph.constant(name)) is not None]
        return "ReLU" if len(values) == 1 and values[0].size and not values[0].any() else ""
    stated = attributes(node)
    if node.op_type in FUSED and stated.get("activation") == b"Clip":
        limits = stated.get("activation_params")
        name = rectifier(*limits) if isinstance(limits, list) and len(limits) == 2 else ""
        return name and f"{FUSED[node.op_type]}+{name}"
    return ""


def _limit(graph: Graph, node: onnx.NodeProto, name: str, position: int, *, absent: float) -> float:
    """A limit of a `Clip`, which older operators have as an attribute; NaN where the graph computes it."""
    stated = attributes(node).get(name)
    if isinstance(stated, float):
        return stated
    given = node.input[position] if len(node.input) > position else ""
    value = graph.constant(given) if given else np.float32(absent)
    return nan if value is None or np.size(value) != 1 else float(np.ravel(value)[0])


def _merge_calls(path: str, calls: Sequence[Layer]) -> Layer:
    """One row for all calls of a layer."""
    if len(calls) == 1 and calls[0].path == path:
        return calls[0]
    return replace(calls[0], path=path, calls=len(calls), aliases=(), per_call=tuple(calls))
