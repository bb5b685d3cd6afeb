"""What reaches the first BatchNormalization of a Keras model, against what it has seen in training."""

from __future__ import annotations

from typing import Any

from ..common.facts import NormSearch, compare
from ..protocol import Evidence
from .engine import copy_to_host
from .model import KerasModel
from .tree import WITH_KERNEL, is_a
from .watch import Call, run


def evidence(model: KerasModel, batch: Any) -> Evidence | None:
    """The statistics at the first BatchNormalization, `None` where more than one layer with a kernel comes before it."""
    search = NormSearch()

    def record(call: Call) -> None:
        if is_a(call.layer, "BatchNormalization"):
            search.reached(_compare(model, call))
        search.passed(is_a(call.layer, *WITH_KERNEL))

    run(model, lambda: model.forward(batch), record)
    return search.evidence


def _compare(model: KerasModel, call: Call) -> Evidence | None:
    """What reaches a BatchNormalization, against its moving statistics."""
    engine, layer = model.engine, call.layer
    tensor = next((leaf for leaf in engine.flatten(call.arguments) if engine.has_values(leaf)), None)
    if tensor is None or len(tensor.shape) != 4:
        return None
    variables = (layer.moving_mean, layer.moving_variance)
    mean, variance = (copy_to_host(engine, engine.stored_value(variable))[0] for variable in variables)
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    return compare(call.location.path, copy_to_host(engine, tensor)[0], mean, variance, axis)
