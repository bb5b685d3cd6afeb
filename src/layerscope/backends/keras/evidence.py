"""What reaches the first BatchNormalization of a Keras model, against what it has seen in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..protocol import Evidence, trained
from .engine import Engine, host
from .names import FUSING, is_a
from .watch import Call, Stop, run


def evidence(model: Any, on: Engine, forward: Callable[[], Any]) -> Evidence | None:
    """The statistics at the first BatchNormalization, `None` where more than one layer with a kernel comes before it."""
    watch = _Watch(on)
    run(model, on, forward, watch.ended)
    return watch.found


class _Watch:
    def __init__(self, on: Engine) -> None:
        self.on = on
        self.found: Evidence | None = None
        self.before = 0

    def ended(self, call: Call) -> None:
        if is_a(call.layer, "BatchNormalization"):
            self.found = self._compared(call)
            raise Stop
        self.before += is_a(call.layer, *FUSING)
        if self.before > 1:
            raise Stop

    def _compared(self, call: Call) -> Evidence | None:
        given = next((each for each in self.on.flatten(call.arguments) if self.on.concrete(each)), None)
        if given is None:
            return None
        values = host(self.on, given)[0].astype(np.float32, copy=False)
        layer = call.layer
        mean, variance = (
            np.array(self.on.view(self.on.raw(each)), np.float64) for each in (layer.moving_mean, layer.moving_variance)
        )
        if values.ndim != 4 or not trained(mean, variance):
            return None
        values = np.moveaxis(values, layer.axis if isinstance(layer.axis, int) else layer.axis[0], -1)
        return Evidence(call.place.path, mean, variance, values.mean((1, 2)), values.var((1, 2)))
