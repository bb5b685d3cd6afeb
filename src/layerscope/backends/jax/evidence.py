"""What reaches the first BatchNorm of a Flax model, against what it has seen in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ...core.placement import Size
from ..common.facts import FirstShape, NormSearch, compare, names_in_code, resizes_by_itself
from ..common.run import until_stopped
from ..protocol import Evidence, Input
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


def resizes(model: JaxModel, taken: Sequence[Input]) -> bool:
    """Whether a model brings photos of any size to its own before its first layer with weights.

    It is only traced where the code of one of its modules may resize something.
    """
    (entry,) = taken
    sizes = dict(zip(entry.axes, entry.shape, strict=True))
    modules = [module for module in model.modules.values() if module is not None]
    if sizes.keys() != set("bchw") or not any(map(_may_resize, modules)):
        return False

    def shape_at_weights(size: Size) -> Sequence[int] | None:
        search = FirstShape()

        def record(call: Call) -> None:
            if model.parameters(call.path):
                arguments = (part for part in call.arguments[0] if isinstance(part, jax.Array))
                # an Equinox model takes one example
                batch = (1,) if model.channels_first else ()
                search.reached(next(((*batch, *part.shape) for part in arguments), None))

        lengths = {"b": 1, "c": sizes["c"] or 3, "h": size[0], "w": size[1]}
        blank = np.zeros([lengths[axis] for axis in entry.axes], np.float32)
        with until_stopped(search):
            try:
                # traced: each operation on its own would be compiled for each size
                jax.eval_shape(lambda: model.run(blank, Watch(record, differentiating=True)))
            except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):  # its Python looks at values
                model.run(blank, Watch(record))
        return search.shape

    return resizes_by_itself(shape_at_weights)


def _may_resize(module: Any) -> bool:
    """Whether the code of a module's class, or of a function that it holds, may resize something."""
    names = names_in_code(type(module), lambda base: base.__module__.partition(".")[0] in ("flax", "jax", "equinox"))
    codes = [getattr(value, "__code__", None) for value in getattr(module, "__dict__", {}).values()]
    names = " ".join([names, *(" ".join(code.co_names).lower() for code in codes if code is not None)])
    return any(word in names for word in ("resiz", "scale_and_translate", "crop"))


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
