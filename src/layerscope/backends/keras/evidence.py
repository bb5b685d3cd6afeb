"""What reaches the first BatchNormalization of a Keras model, against what it has seen in training."""

from __future__ import annotations

from typing import Any

from ..common.facts import compare
from ..common.run import Stop
from ..protocol import Evidence
from .engine import copy_to_host
from .model import KerasModel
from .tree import WITH_KERNEL, is_a
from .watch import Call, run


def evidence(model: KerasModel, batch: Any) -> Evidence | None:
    """The statistics at the first BatchNormalization, `None` where more than one layer with a kernel comes before it."""
    search = _Search(model)
    run(model, lambda: model.forward(batch), search.record)
    return search.evidence


class _Search:
    """Follows a run up to the first BatchNormalization."""

    def __init__(self, model: KerasModel) -> None:
        self._engine = model.engine
        self._kernels = 0
        self.evidence: Evidence | None = None

    def record(self, call: Call) -> None:
        """Count the layers with a kernel, and compare at the first BatchNormalization."""
        if is_a(call.layer, "BatchNormalization"):
            self.evidence = self._compare(call)
            raise Stop
        self._kernels += is_a(call.layer, *WITH_KERNEL)
        if self._kernels > 1:
            raise Stop

    def _compare(self, call: Call) -> Evidence | None:
        """What reaches a BatchNormalization, against its moving statistics."""
        engine, layer = self._engine, call.layer
        tensor = next((leaf for leaf in engine.flatten(call.arguments) if engine.has_values(leaf)), None)
        if tensor is None:
            return None
        variables = (layer.moving_mean, layer.moving_variance)
        mean, variance = (copy_to_host(engine, engine.stored_value(variable))[0] for variable in variables)
        axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
        return compare(call.place.path, copy_to_host(engine, tensor)[0], mean, variance, axis)
