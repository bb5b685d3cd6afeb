"""Scores of an ONNX model with other values in place of what its layers return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from ...core.layer import split_call
from ...errors import BadOption
from ..common.outputs import apply_change, score_images
from ..protocol import Change, Target
from .capture import axes_on_the_way, run
from .cut import Replacement
from .model import OnnxModel
from .run import Feeds


def scores(model: OnnxModel, batch: Any, target: Target, changes: Mapping[str, Change]) -> np.ndarray:
    """The target's number for each image, with other values in place of what some layers return.

    With a change the graph runs to the layer, and from it to the end. A function as target is given the output of one
    image as numpy.
    """
    if model.final is None:
        raise BadOption("the model has no output that could be a target")
    feeds, final = model.feeds(batch), model.final.tensor
    tensors = {path: output.tensor for name in changes for path, output in model.find([name]).items()}
    fixed: dict[Replacement, np.ndarray] = {}
    for path in sorted(tensors, key=lambda path: model.order[tensors[path]]):
        values, replacement = _values(model, feeds, path, tensors[path], fixed=fixed)
        fixed = {other: value for other, value in fixed.items() if other.tensor != replacement.tensor}
        fixed[replacement] = apply_change(path, changes.get(path) or changes[split_call(path)[0]], values)
        if replacement.tensor in model.graph.codes and np.isnan(fixed[replacement]).any():
            raise BadOption(f"the change for layer {path!r} returned NaN, which quantised values can't represent")
    axes = axes_on_the_way(model, feeds, [final]).axes[final]
    return score_images(run(model, (final,), feeds, fixed)[1][0], target, axes)


def _values(
    model: OnnxModel, feeds: Feeds, path: str, tensor: str, *, fixed: Mapping[Replacement, np.ndarray]
) -> tuple[np.ndarray, Replacement]:
    """What a layer returns, and how other values are given in its place."""
    if tensor in model.graph.attention_maps:
        raise BadOption(
            f"the values shown for {path!r} aren't those that the graph passes on, so they can't be changed: change "
            "the operator itself"
        )
    session, (values,) = run(model, (tensor,), feeds, fixed)
    cast = "" if tensor in model.graph.codes else session.dtypes[0]
    return values, Replacement(tensor, onnx.helper.np_dtype_to_tensor_dtype(values.dtype), values.ndim, cast)
