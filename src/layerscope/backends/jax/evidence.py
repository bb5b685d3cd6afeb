"""What reaches the first BatchNorm of a Flax model, against what it has seen in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ..protocol import Evidence, trained
from .axes import is_a
from .model import JaxModel
from .outputs import as_captured
from .watch import Call, Stop, Watch


def evidence(model: JaxModel, batch: Any) -> Evidence | None:
    """The comparison where a BatchNorm comes after at most one layer with weights; the run stops there.

    Equinox keeps these statistics in a state of its own: nothing is said of its models.
    """
    if model.channels_first:
        return None
    search = _Search(model)
    try:
        model.run(batch, Watch(search.ended))
    except Stop as stop:
        if stop.of is not search:
            raise
    return search.found


class _Search:
    def __init__(self, model: JaxModel) -> None:
        self._model = model
        self._before = 0
        self.found: Evidence | None = None

    def ended(self, call: Call) -> Mapping[str, Any] | None:
        if is_a(call.module, "BatchNorm"):
            given = call.arguments[0][0] if call.arguments[0] else None
            if isinstance(given, jax.Array) and not isinstance(given, jax.core.Tracer):
                self.found = _compared(call, given)
            raise Stop(self)
        if self._model.parameters(call.path):
            self._before += 1
            if self._before > 1:
                raise Stop(self)
        return None


def _compared(call: Call, given: Any) -> Evidence | None:
    kept = _statistics(call.module)
    if given.ndim != 4 or kept is None:
        return None
    values = as_captured(given).values
    mean, variance = (np.asarray(each, np.float64) for each in kept)
    if mean.shape != values.shape[-1:] or not trained(mean, variance):
        return None
    return Evidence(call.path, mean, variance, values.mean((1, 2)), values.var((1, 2)))


def _statistics(module: Any) -> tuple[Any, Any] | None:
    """The running mean and variance: variables of an NNX module, a collection of a linen one that is being run."""
    if hasattr(module, "get_variable"):
        found = (module.get_variable("batch_stats", "mean"), module.get_variable("batch_stats", "var"))
        return None if found[0] is None or found[1] is None else found
    return module.mean.get_value(), module.var.get_value()
