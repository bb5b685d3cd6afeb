"""ONNX models, run by ONNX Runtime on an in-memory cut of the graph that ends at the layers asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # its types are a package of their own

from ...core.layer import Layer
from ...errors import ModelNotReadable
from ..protocol import Backend, Captured, Change, Evidence, Facts, Head, Kernel, Target, not_offered
from . import capture, evidence, facts, table, weights
from .model import Kept, OnnxModel
from .target import scores


class OnnxBackend(Backend):
    """Layers of ONNX graphs. `threads` is the number of threads inside an operator, `None` for the runtime's choice."""

    name = "onnx"
    gradients = not_offered("ONNX Runtime computes none")
    random = False
    from_library = not_offered("ONNX has no library of models to name: give the file")
    load_weights = not_offered("an ONNX file holds its own weights")

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._kept = Kept()

    def owns(self, model: Any) -> bool:
        return isinstance(model, onnx.ModelProto | OnnxModel)

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> OnnxModel:
        """The model in an `.onnx` file. Opening one runs no code from it, so `trust` makes no difference."""
        path = Path(source)
        if weights is not None:
            raise ModelNotReadable(
                f"weights={str(weights)!r}: an ONNX file holds its own weights, so leave weights out"
            )
        try:
            proto = onnx.load(path, load_external_data=False)
        except FileNotFoundError as error:
            raise ModelNotReadable(f"there is no file {path}") from error
        except (OSError, DecodeError) as error:
            raise ModelNotReadable(f"{path.name} is no ONNX model, or a damaged one: {error}") from error
        if not proto.graph.node:
            raise ModelNotReadable(f"{path.name} is no ONNX model, or a damaged one: it has no nodes")
        return OnnxModel(proto, path.absolute(), threads=self.threads)

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        return table.layers(self._opened(model), batch)

    def capture(
        self, model: Any, batch: Any, paths: Sequence[str], target: Target | None = None
    ) -> dict[str, Captured]:
        if target is not None:
            raise self.refusal("gradients")
        return capture.capture(self._opened(model), batch, paths, target)

    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> np.ndarray:
        """The target's number for each image, with other values in the place of what a layer returns."""
        return scores(self._opened(model), batch, target, changes)

    def head(self, model: Any, batch: Any) -> Head | None:
        """The last dense layer of the graph; nothing is run."""
        return weights.head(self._opened(model), batch)

    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        """The weights of the convolution at `path`, read from the graph."""
        return weights.kernel(self._opened(model), path, batch)

    def digest(self, model: Any) -> str:
        """The checksum of the file, or of the proto as it is now."""
        return facts.digest(self._opened(model))

    def facts(self, model: Any) -> Facts:
        """What the file says about itself: inputs, checksum, and preprocessing and class names where it has them."""
        return facts.facts(self._opened(model))

    def evidence(self, model: Any, batch: Any) -> Evidence | None:
        """What reaches the first BatchNormalization, against what it has seen in training; exporters fold most of them."""
        return evidence.evidence(self._opened(model), batch)

    def _opened(self, model: Any) -> OnnxModel:
        # A ModelProto can be changed by whoever holds it: it is read anew, and what is kept is found by its content.
        return model if isinstance(model, OnnxModel) else OnnxModel(model, threads=self.threads, kept=self._kept)
