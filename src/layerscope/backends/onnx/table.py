"""Rows of the table of layers for an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx

from ...core.axes import prefix_names
from ...core.layer import Layer
from ..common.axes import token_grid
from .attention import KIND, is_attention, shape_of, way
from .axes import AxesFlow
from .cut import skeleton
from .graph import Graph, attributes, bodies, sizes
from .model import Output
from .run import ODD, TEXT, Feeds
from .weights import weights_of

FUSED = {"FusedConv": "Conv", "NhwcFusedConv": "Conv", "FusedGemm": "Gemm"}


SUMS = {"ConvInteger", "MatMulInteger"}


def inferred_shapes(graph: Graph, feeds: Feeds) -> dict[str, tuple[int, ...] | None]:
    """Shapes from ONNX's own inference; `None` for what is no tensor, left out where it isn't known."""
    bare = skeleton(graph)
    for each in bare.graph.input:
        if each.name in feeds:
            each.type.tensor_type.shape.Clear()
            for size in feeds[each.name].shape:
                each.type.tensor_type.shape.dim.add(dim_value=size)
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except onnx.shape_inference.InferenceError:  # a graph that ONNX can't follow may still run: ask the runtime
        return {}
    found: dict[str, tuple[int, ...] | None] = {}
    for each in inferred.graph.value_info:
        if each.type.WhichOneof("value") not in ("tensor_type", None):
            found[each.name] = None
            continue
        if each.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            graph.text.add(each.name)
            found[each.name] = None
            continue
        shape = sizes(each)
        if shape is not None and None not in shape:
            found[each.name] = tuple(size for size in shape if size is not None)
    return found


def map_shapes(graph: Graph, shapes: Mapping[str, tuple[int, ...] | None]) -> dict[str, tuple[int, ...] | None]:
    """The shapes of attention weights that follow from queries and keys: they are too large to be made for their shape."""
    found = {name: shape_of(graph.nodes[at], shapes) for name, at in graph.attention_maps.items() if name not in shapes}
    return {name: shape for name, shape in found.items() if shape is not None}


def layer_of(graph: Graph, output: Output, shapes: Mapping[str, tuple[int, ...] | None], flow: AxesFlow) -> Layer:
    node, tensor = output.node, output.tensor
    shape, axes = shapes[tensor], flow.axes.get(tensor, "")
    notes = [output.address.note]
    if bodies(node) or graph.is_function(node):
        notes.append("its body can't be looked into")
    if is_attention(node) and way(node) is None:
        notes.append("its attention weights stay inside the operator")
    if tensor in graph.codes:
        notes.append(f"quantised to {graph.code_type(tensor)}, shown dequantised")
    elif node.op_type in SUMS:
        notes.append("sums of codes, scaled later")
    if shape is None and tensor in graph.foreign:
        notes.append(f"behind {graph.foreign[tensor]}, an operator that ONNX Runtime doesn't have")
    elif shape is None:
        notes.append(TEXT if tensor in graph.text else ODD)
    elif not shape:
        notes.append("a single number")
    elif tensor in flow.blocked:
        notes.append("channels in blocks of ONNX Runtime's own: open the file from before it was optimised")
    elif not axes:
        notes.append(f"{len(shape)} axes, more than a picture can show")
    elif tensor in flow.assumed:
        notes.append("axes assumed from the rank")
    grid = _grid(tensor, shape, axes, flow)
    front = 0 if grid is None or shape is None else shape[axes.index("k" if "k" in axes else "n")] - grid[0] * grid[1]
    return Layer(
        path=output.address.full,
        kind=KIND if tensor in graph.attention_maps else _kind(node),
        axes=axes,
        shape=shape,
        calls=1,
        note="; ".join(each for each in notes if each),
        grid=grid,
        aliases=output.address.aliases,
        prefix=prefix_names(front, flow.prefix) if front else (),
        parameters=0 if tensor in graph.attention_maps else sum(weights_of(graph, node).values()),
    )


def _grid(tensor: str, shape: tuple[int, ...] | None, axes: str, flow: AxesFlow) -> tuple[int, int] | None:
    """The grid of the tokens of a layer (of the key tokens of attention weights), if its rows are images."""
    letter = "n" if len(axes) == 3 and "n" in axes and "c" in axes else "k" if axes == "bcqk" else ""
    if shape is None or not letter or not flow.certain(tensor) or not flow.images(tensor):
        return None
    return token_grid(shape[axes.index(letter)], flow.grids.get(tensor, ()))


def _kind(node: onnx.NodeProto) -> str:
    """The operator, and after a plus sign the activation that ONNX Runtime's fused operators hold as well."""
    activation = attributes(node).get("activation")
    if node.op_type in FUSED and isinstance(activation, bytes):
        return f"{FUSED[node.op_type]}+{activation.decode()}"
    return node.op_type


def together(path: str, calls: Sequence[Layer]) -> Layer:
    if len(calls) == 1 and calls[0].path == path:
        return calls[0]
    return replace(calls[0], path=path, calls=len(calls), aliases=(), per_call=tuple(calls))


def indexed(layer: Layer, index: int) -> Layer:
    return replace(layer, index=index, per_call=tuple(replace(each, index=index) for each in layer.per_call))
