"""Whether a TFLite file brings photos of any size to its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.placement import Size
from ..common.facts import resizes_by_itself
from .model import TfliteModel

RESIZING = frozenset({"RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"})
# What has weights, and the input that they multiply.
WEIGHTED = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D", "BATCH_MATMUL"), 0),
    "TRANSPOSE_CONV": 2,
}


def resizes(model: TfliteModel) -> bool:
    """Whether images of any size have one size before the first operator with weights; two blank images tell."""
    graph, takes = model.graph, model.takes
    weighted = next((operator for operator in graph.operators if operator.name in WEIGHTED), None)
    if len(takes) != 1 or weighted is None:
        return False
    ((index, entry),) = takes.items()
    source = weighted.inputs[WEIGHTED[weighted.name]]
    axes = model.input_axes.axes[index]
    sizes = dict(zip(axes, entry.shape or (), strict=False))
    kinds = {graph.operators[step].name for step in graph.needed([source])}
    if sizes.keys() != set("bhwc") or sizes["h"] or sizes["w"] or kinds.isdisjoint(RESIZING):
        return False

    def shape_at_weights(size: Size) -> Sequence[int]:
        lengths = {"b": sizes["b"] or 1, "c": sizes["c"] or 3, "h": size[0], "w": size[1]}
        feeds = model.feeds(np.zeros([lengths[axis] for axis in axes], entry.dtype))
        return tuple(model.session([source]).run(feeds)[0].shape)

    return resizes_by_itself(shape_at_weights)
