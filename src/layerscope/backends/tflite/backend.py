"""TFLite (LiteRT) models, run by the interpreter on an in-memory cut of the file that ends at the layers asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.layer import Layer
from ...errors import ModelNotReadable
from ..protocol import Backend, Captured, Change, Facts, Head, Kernel, Target, not_offered
from . import capture, facts, table, weights
from .graph import IDENTIFIER
from .model import TfliteModel
from .target import scores

INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter")
MOST_HELD = 2


class TfliteBackend(Backend):
    """Layers of TFLite files. `threads` is the number of threads inside an operator, `None` for one."""

    name = "tflite"
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
                f"weights={str(weights)!r}: a TFLite file holds its own weights, so leave weights out"
            )
        return TfliteModel.from_file(Path(source), threads=self.threads)

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        return table.layers(self._opened(model), batch)

    def capture(
        self, model: Any, batch: Any, paths: Sequence[str], target: Target | None = None
    ) -> dict[str, Captured]:
        if target is not None:
            raise self.refusal("gradients")
        return capture.capture(self._opened(model), batch, paths, target)

    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> np.ndarray:
        """The target's number for each image, with other values in the place of what some layers return."""
        return scores(self._opened(model), batch, target, changes)

    def head(self, model: Any, batch: Any) -> Head | None:
        """The last dense layer of the file; nothing is run."""
        return weights.head(self._opened(model), batch)

    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        """The weights of the convolution at `path`, read from the file."""
        return weights.kernel(self._opened(model), path, batch)

    def digest(self, model: Any) -> str:
        """The checksum of the file."""
        return facts.digest(self._opened(model))

    def facts(self, model: Any) -> Facts:
        """What the file says about itself: inputs, checksum, and preprocessing and class names where it has them."""
        return facts.facts(self._opened(model))

    def _opened(self, model: Any) -> TfliteModel:
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
