"""What reaches the first BatchNorm of a Flax model, against what it has seen in training."""

from __future__ import annotations

from typing import Any

import jax

from ..common.facts import NormSearch, compare
from ..common.run import until_stopped
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
    search = NormSearch()

    def record(call: Call) -> None:
        if is_a(call.module, "BatchNorm"):
            array = call.arguments[0][0] if call.arguments[0] else None
            concrete = isinstance(array, jax.Array) and not isinstance(array, jax.core.Tracer)
            search.reached(_compare(call, array) if concrete else None)
        search.passed(bool(model.parameters(call.path)))

    with until_stopped(search):
        model.run(batch, Watch(record))
    return search.evidence


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
