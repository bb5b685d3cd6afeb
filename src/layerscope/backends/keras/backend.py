"""The backend of Keras 3, on TensorFlow, torch, JAX and numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from .engine import Engine
from .engines import engine
from .load import from_reference, load
from .shared import WatchingBackend

__all__ = ["KerasBackend", "from_reference"]


class KerasBackend(WatchingBackend):
    """Watches the layers of a Keras 3 model in one eager run."""

    name = "keras"

    def owns(self, model: Any) -> bool:
        """Whether `model` is a Keras 3 model or layer."""
        return isinstance(model, keras.Layer)

    def engine(self) -> Engine:
        return engine()

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> Any:
        """The model in a `.keras` or `.h5` file."""
        with self.engine().on_device(self.device):
            return load(source, weights, trust)

    def from_library(
        self, library: str, name: str, weights: Path | None = None, trust: bool = False
    ) -> tuple[Any, Any]:
        """The model `keras.applications.NAME`; its preprocessing is among its facts."""
        with self.engine().on_device(self.device):
            return from_reference(name, weights), None
