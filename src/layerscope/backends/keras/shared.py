"""The backend that Keras 3 and tf_keras share, from watched eager runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...core.layer import Layer
from ..protocol import Backend, Captured, Change, Evidence, Facts, Head, Kernel, Pick, Target
from .capture import capture
from .engine import Engine
from .evidence import evidence
from .facts import digest, facts
from .model import KerasModel
from .table import layers
from .target import scores
from .weights import head, kernel


class WatchingBackend(Backend):
    """Watches the layers of a model in one eager run; a subclass tells with which engine."""

    gradients = True
    picks = True

    def engine(self) -> Engine:
        """The engine of the library in this process."""
        raise NotImplementedError

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        """Every layer, in the order in which its first call ended; those that never ran last."""
        return layers(self._opened(model), batch)

    def capture(
        self,
        model: Any,
        batch: Any,
        paths: Sequence[str],
        target: Target | None = None,
        picks: Mapping[str, Pick] | None = None,
    ) -> dict[str, Captured]:
        """What the named layers produce for `batch`, in execution order."""
        return capture(self._opened(model), batch, paths, target, picks=picks)

    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> list[float]:
        """The target's number for each image, with other values in the place of what some layers return."""
        return scores(self._opened(model), batch, target, changes)

    def evidence(self, model: Any, batch: Any) -> Evidence | None:
        """What reaches the first BatchNormalization, against what it has seen in training."""
        return evidence(self._opened(model), batch)

    def head(self, model: Any, batch: Any) -> Head | None:
        """The dense layer that runs last."""
        return head(self._opened(model), batch)

    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        """The weights of the convolution at `path`, found in a run that stops there."""
        return kernel(self._opened(model), path, batch)

    def facts(self, model: Any) -> Facts:
        """What is known of the model without running it."""
        return facts(self._opened(model))

    def digest(self, model: Any) -> str:
        """A digest of the weights as they are now."""
        return digest(self._opened(model))

    def _opened(self, model: Any) -> KerasModel:
        """The model with the engine of its library."""
        return KerasModel(model, self.engine())
