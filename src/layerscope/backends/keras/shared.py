"""The backend that Keras 3 and tf_keras share, from watched eager runs."""

from __future__ import annotations

from abc import abstractmethod
from itertools import chain
from pathlib import Path
from typing import Any

from ...errors import BadOption
from ..common.backend import RoleBackend, Verbs
from ..common.device import Device
from .activation import activation
from .capture import capture
from .engine import Engine
from .evidence import evidence
from .facts import digest, facts
from .files import load_weights
from .model import KerasModel
from .table import layers
from .target import scores
from .tree import walk
from .weights import head, kernel


class WatchingBackend(RoleBackend[KerasModel]):
    """Watches the layers of a model in one eager run; a subclass tells with which engine."""

    gradients = True
    picks = True
    verbs = Verbs(facts, digest, layers, capture, scores, head, kernel, evidence, activation)

    @abstractmethod
    def engine(self) -> Engine:
        """The engine of the library in this process."""

    def open(self, model: Any) -> KerasModel:
        return KerasModel(model, self.engine(), self.device)

    def on_device(self, device: str) -> WatchingBackend:
        """The same for models that are built and run on a device."""
        asked, backend = Device.of(device), type(self)()
        engine = backend.engine()
        name = engine.find_device(asked)
        if name is None:
            asked.warn_missing(engine.framework, ())
        backend.device = name or "cpu:0"
        return backend

    def place(self, model: Any) -> Any:
        if self.device and self.engine().is_elsewhere(model, self.device):
            raise BadOption(
                f"the model's variables aren't on {self.device}, and Keras moves none: build or load it inside"
                f" keras.device({self.device!r})"
            )
        return model

    def path_of(self, model: Any, part: Any) -> str | None:
        inside = ((location.path, layer) for location, layer in walk(model))
        return next((path for path, layer in chain([("", model)], inside) if layer is part), None)

    def load_weights(self, model: Any, path: Path) -> None:
        load_weights(model, path)
