"""TFLite (LiteRT) models, run by the interpreter on an in-memory cut of the file that ends at the layers asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import ModelNotReadable
from ...surface import option
from ..common.backend import RoleBackend, Verbs
from ..protocol import not_offered
from .activation import activation
from .capture import capture
from .facts import digest, facts
from .graph import IDENTIFIER
from .model import TfliteModel
from .table import layers
from .target import scores
from .weights import head, kernel

INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter")
MOST_HELD = 2


class TfliteBackend(RoleBackend[TfliteModel]):
    """Layers of TFLite files. `threads` is the number of threads inside an operator, `None` for one."""

    name = "tflite"
    verbs = Verbs(facts, digest, layers, capture, scores, head, kernel, activation=activation)
    gradients = not_offered("the TFLite interpreter computes none")
    from_library = not_offered("TFLite has no library of models to name: give the file")
    load_weights = not_offered("a TFLite file holds its own weights")
    evidence = not_offered("the converter folds BatchNorms into the convolutions before them")

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._models: list[tuple[bytes, TfliteModel]] = []

    def owns(self, model: Any) -> bool:
        if isinstance(model, bytes):
            return model[4:8] == IDENTIFIER
        return isinstance(model, TfliteModel) or _is_interpreter(model)

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> TfliteModel:
        """The model in a `.tflite` file. Opening one runs no code from it, so `trust` makes no difference."""
        if weights is not None:
            raise ModelNotReadable(
                f"{option('weights', str(weights))}: a TFLite file holds its own weights, so leave weights out"
            )
        return TfliteModel.from_file(Path(source), threads=self.threads)

    def open(self, model: Any) -> TfliteModel:
        if isinstance(model, TfliteModel):
            return model
        content = model if isinstance(model, bytes) else _content(model)
        for known, opened in self._models:
            if known is content:
                return opened
        opened = TfliteModel(content, threads=self.threads)
        self._models = [*self._models[1 - MOST_HELD :], (content, opened)]
        return opened


def _is_interpreter(model: Any) -> bool:
    return any(kind.__module__ in INTERPRETERS and kind.__name__ == "Interpreter" for kind in type(model).__mro__)


def _content(interpreter: Any) -> bytes:
    """The bytes that an interpreter was made from; it keeps them only where it was given bytes."""
    content = getattr(interpreter, "_model_content", None)
    if not isinstance(content, bytes):
        raise ModelNotReadable(
            "this Interpreter was opened from a file and doesn't say which: give the path of the .tflite file instead"
        )
    return content
