"""What reaches the first BatchNorm of a Flax model, against what it has seen in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from ..common.facts import compare
from ..common.run import Stop, until_stopped
from ..protocol import Evidence
from .axes import is_a
from .model import JaxModel
from .outputs import as_captured
from .watch import Call, Watch


def evidence(model: JaxModel, batch: Any) -> Evidence | None:
    """The statistics at a BatchNorm after at most one layer with weights, where the run stops; `None` for other models.

    Equinox keeps these statistics in a state of its own, so there are none for its models.
    """
    if model.channels_first:
        return None
    search = _Search(model)
    with until_stopped(search):
        model.run(batch, Watch(search.record))
    return search.evidence


class _Search:
    """Follows a run up to the first BatchNorm."""

    def __init__(self, model: JaxModel) -> None:
        self._model = model
        self._weighted = 0
        self.evidence: Evidence | None = None

    def record(self, call: Call) -> Mapping[str, Any] | None:
        """Count the layers with weights, and compare at the first BatchNorm."""
        if is_a(call.module, "BatchNorm"):
            array = call.arguments[0][0] if call.arguments[0] else None
            if isinstance(array, jax.Array) and not isinstance(array, jax.core.Tracer):
                self.evidence = _compare(call, array)
            raise Stop(self)
        self._weighted += bool(self._model.parameters(call.path))
        if self._weighted > 1:
            raise Stop(self)
        return None


def _compare(call: Call, array: Any) -> Evidence | None:
    """What reaches a BatchNorm, against its running statistics."""
    statistics = _statistics(call.module)
    if array.ndim != 4 or statistics is None:
        return None
    return compare(call.path, as_captured(array).values, *statistics, -1)


def _statistics(module: Any) -> tuple[Any, Any] | None:
    """The running mean and variance: variables of an NNX module, a collection of a linen one that is being run."""
    if hasattr(module, "get_variable"):
        mean, variance = (module.get_variable("batch_stats", name) for name in ("mean", "var"))
        return None if mean is None or variance is None else (mean, variance)
    return module.mean.get_value(), module.var.get_value()
