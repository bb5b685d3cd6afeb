"""ONNX models, run by ONNX Runtime on an in-memory cut of the graph that ends at the layers asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from ...errors import ModelNotReadable
from ...files import open_regular, parsing
from ...surface import option
from ..common.backend import RoleBackend, Verbs
from ..protocol import not_offered
from .activation import activation
from .capture import capture
from .checks import check
from .evidence import evidence
from .facts import digest, facts
from .model import Kept, OnnxModel
from .providers import CPU, Execution, name_of, providers_of
from .table import layers
from .target import scores
from .weights import head, kernel


class OnnxBackend(RoleBackend[OnnxModel]):
    """Layers of ONNX graphs. `threads` is the number of threads inside an operator, `None` for the runtime's choice."""

    name = "onnx"
    gradients = not_offered("ONNX Runtime computes none")
    random = False
    verbs = Verbs(facts, digest, layers, capture, scores, head, kernel, evidence, activation)
    from_library = not_offered("ONNX has no library of models to name: give the file")
    load_weights = not_offered("an ONNX file holds its own weights")

    def __init__(self, threads: int | None = None, providers: Sequence[Any] = CPU) -> None:
        self.execution = Execution(threads, providers)
        self._kept = Kept()

    def on_device(self, device: str) -> OnnxBackend:
        """The same with the execution provider for a device, where this build of ONNX Runtime has one."""
        backend = OnnxBackend(self.execution.threads, providers_of(device))
        backend.device = name_of(backend.execution.providers[0])
        return backend

    def place(self, model: Any) -> Any:
        if isinstance(model, OnnxModel) and list(model.execution.providers) != list(self.execution.providers):
            return OnnxModel(model.proto, model.path, execution=self.execution)
        return model

    def owns(self, model: Any) -> bool:
        return isinstance(model, onnx.ModelProto | OnnxModel)

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> OnnxModel:
        """The model in an `.onnx` file. Opening one runs no code from it, so `trust` makes no difference."""
        path = Path(source)
        if weights is not None:
            raise ModelNotReadable(
                f"{option('weights', str(weights))}: an ONNX file holds its own weights, so leave weights out"
            )
        with (
            open_regular(path, what="model", error=ModelNotReadable) as file,
            parsing(path, "an ONNX model", ModelNotReadable),
        ):
            proto = onnx.load(file, load_external_data=False)
            if not proto.graph.node:
                raise ModelNotReadable(f"{path.name} is not an ONNX model, or is damaged: it has no nodes")
            try:
                check(proto)
                return OnnxModel(proto, path.absolute(), execution=self.execution)
            except ModelNotReadable as error:
                raise ModelNotReadable(f"{path.name}: {error}") from error

    def open(self, model: Any) -> OnnxModel:
        # A ModelProto can be changed by whoever holds it: it is read anew, and what is kept is found by its content.
        return model if isinstance(model, OnnxModel) else OnnxModel(model, execution=self.execution, kept=self._kept)
