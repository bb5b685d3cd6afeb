"""What reaches the first BatchNormalization of a Keras model, against what it has seen in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.placement import Size
from ..common.facts import FirstShape, NormSearch, compare, names_in_code, resizes_by_itself
from ..protocol import Evidence, Input
from .engine import copy_to_host
from .model import KerasModel
from .tree import WITH_KERNEL, is_a, is_layer, is_library_class, walk
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


def resizes(model: KerasModel, taken: Sequence[Input]) -> bool:
    """Whether a model brings photos of any size to its own before its first layer with weights.

    It is only run where a layer, or the code of a class of the user's own, may resize something.
    """
    engine = model.engine
    axes = "bchw" if engine.data_format == "channels_first" else "bhwc"
    free = Input("", axes, (None,) * 4)
    (entry,) = taken[:2] if len(taken) == 1 else [free]
    sizes = dict(zip(entry.axes, entry.shape, strict=False))
    if len(taken) > 1 or sizes.keys() != set("bchw") or sizes["h"] or sizes["w"]:
        return False
    if not any(_may_resize(layer) for layer in (model.root, *(layer for _, layer in walk(model.root)))):
        return False

    def shape_at_weights(size: Size) -> Sequence[int] | None:
        search, lengths = FirstShape(), {"b": 1, "c": sizes["c"] or 3, "h": size[0], "w": size[1]}

        def record(call: Call) -> None:
            if _learns(call.layer):
                leaves = (leaf for leaf in engine.flatten(call.arguments) if engine.has_values(leaf))
                search.reached(next((tuple(leaf.shape) for leaf in leaves), None))

        blank = np.zeros([lengths[axis] for axis in entry.axes], "float32")
        run(model, lambda: model.forward(blank), record)
        return search.shape

    return resizes_by_itself(shape_at_weights)


def _learns(layer: Any) -> bool:
    """Whether a layer has weights of its own that look at pictures: statistics and random seeds are none."""
    return is_layer(layer) and not is_a(layer, "Model", "Normalization") and bool(layer.trainable_variables)


def _may_resize(layer: Any) -> bool:
    """Whether a layer or an operation may bring pictures to another size, by its class or the code of a user's own."""
    function = getattr(layer, "function", None)  # of a Lambda, and of tf_keras's operations
    names = f"{type(layer).__name__} {getattr(function, '__name__', '')} {names_in_code(type(layer), is_library_class)}"
    names = f"{names} {' '.join(getattr(getattr(function, '__code__', None), 'co_names', ()))}".lower()
    return is_a(layer, "CenterCrop", "RandomCrop") or "resiz" in names or "crop" in names


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
