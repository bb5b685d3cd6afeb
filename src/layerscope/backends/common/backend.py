"""`RoleBackend`: a backend whose verbs are the functions of the role files, called with the model that it has opened."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from ...core.layer import Layer
from ..protocol import Backend, Captured, Change, Evidence, Facts, Head, Kernel, Target
from ..values import Scores
from .modes import keep_modes

Model = TypeVar("Model")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Verbs(Generic[Model]):
    """The functions of a framework's role files, each by the name that the verb has in `Backend`."""

    facts: Callable[[Model], Facts]
    digest: Callable[[Model], str]
    layers: Callable[[Model, Any], list[Layer]]
    capture: Callable[..., dict[str, Captured]]
    scores: Callable[[Model, Any, Target, Mapping[str, Change]], Scores]
    head: Callable[[Model, Any], Head | None]
    kernel: Callable[[Model, str, Any], Kernel | None]
    evidence: Callable[[Model, Any], Evidence | None] = lambda model, batch: None
    activation: Callable[[Model, Any], str] = lambda model, batch: ""


class RoleBackend(Backend, Generic[Model]):
    """Opens the model, and leaves the rest to its `verbs`."""

    verbs: ClassVar[Verbs[Any]]

    @abstractmethod
    def open(self, model: Any) -> Model:
        """What the role files work on; raises `ModelNotReadable` where a model can't be read."""

    def facts(self, model: Any) -> Facts:
        return self.verbs.facts(self.open(model))

    def digest(self, model: Any) -> str:
        return self.verbs.digest(self.open(model))

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        return self._run(self.verbs.layers, model, batch)

    def capture(
        self, model: Any, batch: Any, paths: Sequence[str], target: Target | None = None, **options: Any
    ) -> dict[str, Captured]:
        if target is not None and not self.gradients:
            raise self.refusal("gradients")
        return self._run(self.verbs.capture, model, batch, paths, target, **options)

    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> Scores:
        return self._run(self.verbs.scores, model, batch, target, changes)

    def head(self, model: Any, batch: Any) -> Head | None:
        return self._run(self.verbs.head, model, batch)

    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        return self._run(self.verbs.kernel, model, path, batch)

    def evidence(self, model: Any, batch: Any) -> Evidence | None:
        return self._run(self.verbs.evidence, model, batch)

    def activation(self, model: Any, batch: Any) -> str:
        return self._run(self.verbs.activation, model, batch)

    def _run(self, verb: Callable[..., Value], model: Any, *args: Any, **options: Any) -> Value:
        """What a verb that may run the model says of it; the framework's modes are afterwards as they were."""
        return keep_modes(lambda: verb(self.open(model), *args, **options))
