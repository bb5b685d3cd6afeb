"""Capturing layers of an ONNX graph: one run of the part that ends at them; the shapes and axes of what leads there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from ...errors import BadOption
from ..protocol import Captured, Target
from .attention_ops import shape_of
from .axes import Axes
from .cut import Replacement, skeleton
from .graph import Graph, sizes
from .model import OnnxModel
from .run import TEXT, Feeds, Session

Shapes = dict[str, tuple[int, ...] | None]


def capture(model: OnnxModel, batch: Any, paths: Sequence[str], target: Target | None) -> dict[str, Captured]:
    """What the named layers produce for a batch, by name, in execution order; `target` is `None`."""
    outputs = model.find(paths)
    tensors = tuple(dict.fromkeys(output.tensor for output in outputs.values()))
    if not tensors:
        return {}
    session, values = run(model, tensors, model.feeds(batch), {})
    by_tensor = {
        tensor: Captured(value, dtype=dtype)
        for tensor, value, dtype in zip(tensors, values, session.dtypes, strict=True)
    }
    return {name: by_tensor[output.tensor] for name, output in outputs.items()}


def run(
    model: OnnxModel, tensors: tuple[str, ...], feeds: Feeds, fixed: Mapping[Replacement, np.ndarray]
) -> tuple[Session, list[np.ndarray]]:
    """The tensors for a batch; `fixed` are the values of tensors on the way."""
    session = model.session(tensors, tuple(fixed))
    session.check()

    def gives_one(feed: Feeds) -> bool:
        axes = axes_on_the_way(model, feeds, tensors)
        return not fixed and axes.gives_one(lambda: session.run(feed), tensors)

    images = model.images(feeds, gives_one)
    if images is None:
        return session, session.run({**feeds, **{replacement.name: value for replacement, value in fixed.items()}})
    axes = axes_on_the_way(model, feeds, [*tensors, *(replacement.tensor for replacement in fixed)])
    for replacement, value in fixed.items():
        letters = axes.axes[replacement.tensor]
        if "b" not in letters:
            raise BadOption(
                f"the model takes one image at a time, and {replacement.tensor!r} has no batch axis: change one image at a time"
            )
        for image, row in zip(images, np.split(value, len(images), letters.index("b")), strict=True):
            image[replacement.name] = row
    return session, axes.join([session.run(image) for image in images], tensors, str)


def shapes_of(model: OnnxModel, feeds: Feeds, wanted: Sequence[str] | None = None) -> Shapes:
    """The shape of every layer, or of those on the way to `wanted`; `None` for what isn't a tensor of numbers."""
    graph, outputs = model.graph, model.outputs
    if wanted is not None:
        steps = set(graph.ancestors(wanted))
        outputs = [output for output in outputs if graph.made_by[output.tensor] in steps]
    shapes: Shapes = {name: value.shape for name, value in feeds.items()}
    shapes |= _infer(graph, feeds)
    shapes |= {output.tensor: None for output in outputs if output.tensor in graph.foreign}
    for late in (False, True):
        # Attention weights after the tensors that they are made of, whose shapes may be enough.
        shapes |= _map_shapes(graph, shapes) if late else {}
        names = [output.tensor for output in outputs if output.tensor not in shapes]
        missing = tuple(name for name in names if late or name not in graph.attention_maps)
        if missing:
            session = model.session(missing)
            graph.text.update(name for name, reason in session.unshown.items() if reason == TEXT)
            shapes |= {
                name: None if name in session.unshown else value.shape
                for name, value in zip(missing, session.run(feeds), strict=True)
            }
    return shapes


def axes_on_the_way(model: OnnxModel, feeds: Feeds, tensors: Sequence[str]) -> Axes:
    """The axes of tensors and of what leads to them; kept for a model, as a combination asks for many scores."""
    covered, axes = model.kept.axes.get(model.digest, (frozenset(), None))
    if axes is None or not covered.issuperset(tensors):
        covered |= frozenset(tensors)
        one, names = model.first_image(feeds), sorted(covered)
        two = lambda: shapes_of(model, model.twice(one), names)  # noqa: E731
        axes = Axes(model.graph, shapes_of(model, one, names), of_two=two)
        model.kept.axes = {model.digest: (covered, axes)}
    return axes


def _infer(graph: Graph, feeds: Feeds) -> Shapes:
    """Shapes from ONNX's own inference; `None` for what isn't a tensor, left out where it isn't known."""
    bare = skeleton(graph)
    for value in bare.graph.input:
        if value.name in feeds:
            value.type.tensor_type.shape.Clear()
            for size in feeds[value.name].shape:
                value.type.tensor_type.shape.dim.add(dim_value=size)
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except onnx.shape_inference.InferenceError:  # a graph that ONNX can't follow may still run: ask the runtime
        return {}
    shapes: Shapes = {}
    for value in inferred.graph.value_info:
        text = value.type.tensor_type.elem_type == onnx.TensorProto.STRING
        if value.type.WhichOneof("value") not in ("tensor_type", None) or text:
            graph.text.update([value.name] if text else [])
            shapes[value.name] = None
            continue
        shape = sizes(value)
        if shape is not None and None not in shape:
            shapes[value.name] = tuple(size for size in shape if size is not None)
    return shapes


def _map_shapes(graph: Graph, shapes: Mapping[str, tuple[int, ...] | None]) -> Shapes:
    """The shapes of attention weights that follow from queries and keys: they are too large to be made for their shape."""
    maps = {
        name: shape_of(graph.nodes[step], shapes) for name, step in graph.attention_maps.items() if name not in shapes
    }
    return {name: shape for name, shape in maps.items() if shape is not None}
