"""Rows of the table of layers for a graph file: what its backends say alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ...core.layer import Layer
from ..common.axes import ASSUMED, DERIVED, SEVERAL
from .axes import KnownAxes
from .model import GraphModel, Output
from .walk import Name

Weights = Callable[[Any, Any], Mapping[Name, int]]


def value_note(output: Output[Name, Any], axes: KnownAxes[Name]) -> str:
    """Why a layer whose shape is known has no picture, or what its axes rest on."""
    shape = axes.shapes.get(output.tensor)
    if not shape:
        return "a single number"
    if not axes.letters(output):
        return f"{len(shape)} axes, more than a picture can show"
    return doubt(output, axes)


def doubt(output: Output[Name, Any], axes: KnownAxes[Name]) -> str:
    """Why the axes of a layer may be other ones, `""` where the operators say what they are."""
    if not axes.letters(output):
        return ""
    if output.tensor in axes.assumed:
        return ASSUMED
    if output.tensor in axes.mixed:
        return SEVERAL
    return DERIVED if output.tensor in axes.derived else ""


def of_one_image(layer: Layer, images: int) -> Layer:
    """The row of a layer with the shape that one image has, where a run of several made it."""
    axis = layer.axes.find("b")
    if images == 1 or not layer.shape or axis < 0 or layer.shape[axis] != images:
        return layer
    return replace(layer, shape=(*layer.shape[:axis], 1, *layer.shape[axis + 1 :]))


def model_row(layer: Layer, name: str, model: GraphModel[Name, Any], *, weights: Weights[Name]) -> Layer:
    """The row of the model itself, from that of the layer that makes its output: the weights of all, shared ones once."""
    sizes: dict[Name, int] = {}
    for output in model.outputs:
        sizes |= weights(model.graph, output.operator)
    part = name if len(model.graph.outputs) > 1 else ""
    return replace(layer, path="", kind="Model", aliases=(name,), parameters=sum(sizes.values()), part=part)
