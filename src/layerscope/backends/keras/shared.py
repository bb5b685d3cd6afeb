"""The backend that Keras 3 and tf_keras share, from watched eager runs."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from ..common.backend import RoleBackend, Verbs
from .activation import activation
from .capture import capture
from .engine import Engine
from .evidence import evidence
from .facts import digest, facts
from .files import load_weights
from .model import KerasModel
from .table import layers
from .target import scores
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
        return KerasModel(model, self.engine())

    def load_weights(self, model: Any, path: Path) -> None:
        load_weights(model, path)
