"""Scores of a TFLite file with other values in place of what its operators make, as inputs of what runs after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import BadOption
from ..common.outputs import apply_change, score_images
from ..graph.inputs import encode
from ..protocol import Change, Target
from .capture import all_axes, run
from .graph import Tensor
from .model import TfliteModel
from .run import Feeds, dequantise

# The types whose every code is a number that float32 holds exactly.
CODES = ("int8", "uint8", "int16", "uint16")


def scores(model: TfliteModel, batch: Any, target: Target, changes: Mapping[str, Change]) -> np.ndarray:
    """The target's number for each image, with other values in place of what some layers return.

    The file runs to each changed layer, and from there on. A function as target is given the output of one image as
    numpy.
    """
    if model.final is None:
        raise BadOption("the model has no output that could be a target")
    feeds, final = model.feeds(batch), model.graph.tensors[model.final.tensor]
    fixed: dict[int, np.ndarray] = {}
    for path, output in model.find(changes).items():
        fixed |= _change(model, feeds, (path, model.graph.tensors[output.tensor], changes[path]), fixed)
    if final.index not in fixed:
        fixed |= {final.index: run(model, [final], feeds, fixed)[0]}
    axes = all_axes(model, feeds).axes[final.index]
    return score_images(dequantise(final, fixed[final.index]), target, axes)


def _change(
    model: TfliteModel, feeds: Feeds, change: tuple[str, Tensor, Change], fixed: Mapping[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """The values of what one operator makes after a change of one of its outputs, in the file's own types.

    An operator can't run for one of its outputs alone, so the others are given as they are.
    """
    path, tensor, function = change
    graph = model.graph
    outputs = [graph.tensors[index] for index in graph.operators[graph.made_by[tensor.index]].outputs]
    _check(path, tensor, outputs)
    fresh = [output for output in outputs if output.index not in fixed]
    values = dict(
        zip([output.index for output in fresh], run(model, fresh, feeds, fixed) if fresh else (), strict=True)
    )
    before = values[tensor.index] if tensor.index in values else fixed[tensor.index]
    after = apply_change(path, function, dequantise(tensor, before))
    return {**values, tensor.index: _codes(path, tensor, after)}


def _check(path: str, tensor: Tensor, outputs: Sequence[Tensor]) -> None:
    odd = next((output for output in outputs if not output.numeric), None)
    if odd is not None:
        raise BadOption(f"{path!r} can't be changed: its operator makes {odd.name!r} as well, which holds {odd.type}")
    if tensor.quantised and (tensor.scale.size > 1 or tensor.type not in CODES):
        many = "have a scale for each channel" if tensor.scale.size > 1 else f"are of type {tensor.type}"
        raise BadOption(
            f"{path!r} can't be changed: its quantised values {many}, and can't be replaced. "
            "Change the layer before or after it"
        )


def _codes(path: str, tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """The codes nearest to other values, where it has codes; those beyond their range become its ends, as in the model."""
    if tensor.codes is not None and np.isnan(values).any():
        raise BadOption(
            f"the change for layer {path!r} returned NaN, which quantised {tensor.type} values can't represent"
        )
    return values if tensor.codes is None else encode(values, *tensor.codes, tensor.type)
