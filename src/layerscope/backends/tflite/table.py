"""TODO"""

from __future__ import annotations

from ...core.layer import Layer
from ..common.axes import token_grid
from .axes import AxesFlow
from .graph import Graph
from .model import Output, TfliteModel
from .schema import BODIES
from .weights import weights_of


def _layer(held: TfliteModel, output: Output, shapes: dict[int, tuple[int, ...]], flow: AxesFlow, at: int) -> Layer:
    tensor, operator = output.tensor, output.operator
    shape, axes = shapes.get(tensor.index), flow.axes.get(tensor.index, "")
    ran = shape is not None or not tensor.numeric
    notes = [output.address.note]
    if operator.name in BODIES:
        notes.append("its body can't be looked into")
    if operator.custom:
        notes.append("a custom operator")
    if tensor.quantised:
        notes.append(f"dequantised from {tensor.type}")
    if tensor.index in flow.spread:
        notes.append("pixels in the batch axis: take the layer that puts them back")
        axes = ""
    elif not ran:
        notes.append(
            f"needs the operator {held.graph.after_custom.get(tensor.index)!r}, which the interpreter doesn't have"
        )
    elif shape is None:
        notes.append(f"no numbers but {tensor.type}")
    elif not shape:
        notes.append("a single number")
    elif not axes:
        notes.append(f"{len(shape)} axes, more than a picture can show")
    elif tensor.index in flow.assumed:
        notes.append("axes assumed from the rank")
    grid, tokens = None, "k" if "k" in axes else "n"
    if (
        shape is not None
        and flow.certain(tensor.index)
        and tokens in axes
        and "c" in axes
        and len(axes) == 3 + (tokens == "k")
    ):
        grid = token_grid(shape[axes.index(tokens)], flow.grids.get(tensor.index, ()))
    return Layer(
        path=output.address.path,
        kind=operator.kind,
        axes=axes,
        shape=shape,
        index=at,
        calls=int(ran),
        note="; ".join(each for each in notes if each),
        grid=grid,
        aliases=output.address.aliases,
        step=at if ran else -1,
        parameters=sum(weights_of(held.graph, operator).values()),
    )


def _parameters(held: TfliteModel) -> int:
    """The number of weights that the layers of the model read, shared ones once."""
    weights: dict[int, int] = {}
    for each in held.layers:
        weights |= weights_of(held.graph, each.operator)
    return sum(weights.values())


def _file_shapes(graph: Graph) -> dict[int, tuple[int, ...]]:
    """The shapes as the file states them, free sizes as 1: enough to follow axes by."""
    return {each.index: tuple(size or 1 for size in each.shape) for each in graph.tensors if each.shape}
