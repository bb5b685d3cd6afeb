"""A Keras model with the engine of its library, and how it is called on a batch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.fault import call_model
from ..common.run import count_images, map_batch, part_for_dry_run
from .engine import Engine
from .tree import is_graph


@dataclass(frozen=True)
class KerasModel:
    """A model of Keras 3 or tf_keras (`root`), opened for watched runs."""

    root: Any
    engine: Engine
    device: str = ""

    def forward(self, batch: Any) -> Any:
        """The model's output for `batch`, run eagerly in inference mode on tensors of its own."""
        with self.engine.on_device(self.device):
            return self._called(batch)

    def _called(self, batch: Any) -> Any:
        batch = call_model(map_batch, batch, self.engine.copy_input)
        parameters = () if is_graph(self.root) else _tensor_parameters(self.root)
        if isinstance(getattr(self.root, "_inputs_struct", None), list) and isinstance(batch, np.ndarray):
            # Keras takes a tensor for a list of one input, but warns of an array
            batch = [batch]
        if isinstance(batch, Mapping) and parameters and set(batch) <= set(parameters):
            return call_model(self.root, **batch, training=False)
        if isinstance(batch, tuple) and (len(batch) == 1 or 1 < len(batch) <= len(parameters)):
            return call_model(self.root, *batch, training=False)
        return call_model(self.root, batch, training=False)

    def part_for_dry_run(self, batch: Any) -> tuple[Any, int]:
        """What a dry run needs of a batch, and how many images that are: one, or all where the model takes a fixed number."""
        sizes = (tuple(getattr(tensor, "shape", ()))[:1] for tensor in getattr(self.root, "inputs", None) or ())
        fixed = any(size not in ((), (None,)) for size in sizes)
        return (batch, count_images(batch)) if fixed else part_for_dry_run(batch)


def _tensor_parameters(layer: Any) -> tuple[str, ...]:
    """The names of the tensors that a subclassed model's `call` takes."""
    parameters = inspect.signature(layer.call).parameters.values()
    return tuple(
        parameter.name
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name not in ("training", "mask")
    )
