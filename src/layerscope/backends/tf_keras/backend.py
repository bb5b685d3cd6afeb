"""The backend of tf_keras, Keras 2 as it is maintained beside Keras 3: models in memory, its files, SavedModel folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tf_keras

from ..keras.engine import Engine
from ..keras.shared import WatchingBackend
from ..protocol import not_offered
from .engine import TfKerasEngine
from .load import load


class TfKerasBackend(WatchingBackend):
    """Watches the layers of a tf_keras model in one eager run."""

    name = "tf_keras"
    from_library = not_offered("keras:NAME opens the models of Keras 3")

    def owns(self, model: Any) -> bool:
        """Whether `model` is a tf_keras model or layer."""
        return isinstance(model, tf_keras.layers.Layer)

    def engine(self) -> Engine:
        return TfKerasEngine()

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> Any:
        """The model in a `.keras` or `.h5` file or a SavedModel folder."""
        with self.engine().on_device(self.device):
            return load(source, weights, trust)
