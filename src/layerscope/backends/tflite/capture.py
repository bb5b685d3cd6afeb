"""Capturing layers of a TFLite file: one run of the part that ends at them, one image at a time where the model takes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import BadOption, ModelNotReadable
from ..protocol import Captured, Target
from .axes import Axes
from .graph import Graph, Tensor
from .model import TfliteModel
from .run import Feeds, Session, dequantise


def capture(model: TfliteModel, batch: Any, paths: Sequence[str], target: Target | None) -> dict[str, Captured]:
    """What the named layers produce for a batch, by name, in execution order; `target` is `None`."""
    outputs = model.find(paths)
    tensors = [model.graph.tensors[index] for index in dict.fromkeys(output.tensor for output in outputs.values())]
    if not tensors:
        return {}
    values = run(model, tensors, model.feeds(batch))
    by_index = {
        tensor.index: Captured(dequantise(tensor, value), dtype=tensor.type if tensor.quantised else "")
        for tensor, value in zip(tensors, values, strict=True)
    }
    return {name: by_index[output.tensor] for name, output in outputs.items()}


def run(
    model: TfliteModel, tensors: Sequence[Tensor], feeds: Feeds, fixed: Mapping[int, np.ndarray] | None = None
) -> list[np.ndarray]:
    """The tensors for a batch; `fixed` are the values of tensors on the way, in the file's own types."""
    fixed, indices = fixed or {}, [tensor.index for tensor in tensors]
    session = model.session(indices, list(fixed))
    images = model.images(
        feeds, lambda feed: not fixed and all_axes(model, feeds).gives_one(lambda: session.run(feed), indices)
    )
    if images is None:
        return session.run({**feeds, **fixed})
    axes = all_axes(model, feeds) if fixed else None
    if axes:
        images = [image | _of_image(fixed, index, axes) for index, image in enumerate(images)]
    results = [session.run(image) for image in images]
    shapes = {index: value.shape for index, value in zip(indices, results[0], strict=True)}
    axes = axes or Axes(model.graph, {**model.graph.file_shapes, **shapes})
    return axes.join(results, indices, lambda index: model.graph.tensors[index].name)


def all_axes(model: TfliteModel, feeds: Feeds) -> Axes:
    """The axes of every tensor; found once for each model, as a combination asks for many scores."""
    if model.axes is None:
        model.axes = Axes(model.graph, shapes_of(model, model.first_image(feeds)))
    return model.axes


def shapes_of(model: TfliteModel, feeds: Feeds) -> dict[int, tuple[int, ...]]:
    """The shape of every input, and of every layer that can be run, by one run."""
    graph = model.graph
    tensors = [output.tensor for output in model.outputs if graph.tensors[output.tensor].numeric]
    try:
        shapes = _shapes(graph, tensors, feeds, model.threads)
    except ModelNotReadable:
        before = [index for index in tensors if index not in graph.after_custom]
        if len(before) in (0, len(tensors)):
            raise
        shapes = _shapes(graph, before, feeds, model.threads)
    return {**{index: value.shape for index, value in feeds.items()}, **shapes}


def _shapes(graph: Graph, tensors: Sequence[int], feeds: Feeds, threads: int | None) -> dict[int, tuple[int, ...]]:
    """The shapes by an interpreter that isn't kept, since it holds every layer's memory."""
    values = Session(graph, tensors, threads).run(feeds)
    return {index: value.shape for index, value in zip(tensors, values, strict=True)}


def _of_image(fixed: Mapping[int, np.ndarray], image: int, axes: Axes) -> dict[int, np.ndarray]:
    """The given values for one image of several."""
    for index in fixed:
        if "b" not in axes.axes.get(index, "") or not axes.certain(index):
            raise BadOption(
                f"the model takes one image at a time, and {axes.graph.tensors[index].name!r} has no known batch axis to take"
                " one from: change one image at a time"
            )
    return {index: value.take([image], axes.axes[index].index("b")) for index, value in fixed.items()}
