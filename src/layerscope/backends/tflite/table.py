"""Rows of the table of layers for a TFLite file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ...core.layer import Layer
from ..common.table import number_rows
from ..common.tokens import located
from ..graph.table import doubt, model_row, of_one_image, value_note
from .axes import Axes
from .capture import shapes_of
from .field import Fields
from .graph import Operator, Tensor
from .model import Output, TfliteModel
from .schema import BODIES
from .weights import weights_of


def layers(model: TfliteModel, batch: Any) -> list[Layer]:
    """Every layer in the order of the file, those that can't run last, and the model's own output."""
    graph = model.graph
    feeds = model.first_image(model.feeds(batch))
    axes, images = Axes(graph, shapes_of(model, feeds)), model.count(feeds)
    fields = Fields(graph, axes)
    table = [
        located(of_one_image(_layer(model, output, axes, index), images), fields.get(output))
        for index, output in enumerate(model.outputs)
    ]
    if model.final:
        last = of_one_image(_layer(model, model.final, axes, len(table)), images)
        last = located(last, fields.get(model.final))
        key, _, _, others = model.signature
        signature = f"of the signature {key!r}; the layers of {', '.join(others)} are not listed" if others else ""
        note = "; ".join(text for text in (last.note, signature) if text)
        name = graph.tensors[model.final.tensor].name
        table.append(model_row(replace(last, note=note), name, model, weights=weights_of))
    table.sort(key=lambda layer: not layer.calls)
    return number_rows(table)


def _layer(model: TfliteModel, output: Output, axes: Axes, index: int) -> Layer:
    """The row of one output."""
    tensor, operator = model.graph.tensors[output.tensor], output.operator
    shape, letters = axes.shapes.get(tensor.index), axes.letters(output)
    ran = shape is not None or not tensor.numeric
    notes = [output.address.note, *_operator_notes(operator, tensor), _value_note(model, output, axes)]
    return Layer(
        path=output.address.path,
        kind=operator.kind,
        axes="" if tensor.index in axes.spread else letters,
        shape=shape,
        index=index,
        calls=int(ran),
        note="; ".join(note for note in notes if note),
        doubt=doubt(output, axes),
        aliases=output.address.aliases,
        step=index if ran else -1,
        parameters=sum(weights_of(model.graph, operator).values()),
    )


def _operator_notes(operator: Operator, tensor: Tensor) -> Iterator[str]:
    """What is to be known of the operator that makes a layer."""
    if operator.name in BODIES:
        yield "its body can't be inspected"
    if operator.custom:
        yield "a custom operator"
    if tensor.quantised:
        yield f"dequantised from {tensor.type}"


def _value_note(model: TfliteModel, output: Output, axes: Axes) -> str:
    """Why a layer has no picture, or what its axes rest on."""
    tensor = model.graph.tensors[output.tensor]
    shape = axes.shapes.get(tensor.index)
    if tensor.index in axes.spread:
        return "pixels moved into the batch axis: take the layer that moves them back"
    if shape is None and tensor.numeric:
        return f"needs the operator {model.graph.after_custom.get(tensor.index)!r}, which the interpreter doesn't have"
    if shape is None:
        return f"not numbers but {tensor.type}"
    return value_note(output, axes)
