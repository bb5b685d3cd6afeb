"""PyTorch: what modules give is copied as they are called, in one run that stops as soon as it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ...errors import ModelNotReadable
from ..common.backend import RoleBackend, Verbs
from .activation import activation
from .capture import capture
from .evidence import evidence
from .facts import digest, facts
from .hub import from_hf, from_timm, from_torchvision
from .load import load, load_weights
from .model import unwrap
from .table import layers
from .target import scores
from .tree import settings_of
from .weights import head, kernel


class TorchBackend(RoleBackend[torch.nn.Module]):
    """Reads a `torch.nn.Module`, compiled, parallel or exported (`torch.export`)."""

    name = "torch"
    gradients = True
    picks = True
    verbs = Verbs(facts, digest, layers, capture, scores, head, kernel, evidence, activation)

    def owns(self, model: Any) -> bool:
        # On Keras's torch backend every Keras layer is a module as well, and Keras knows it better.
        if any(kind.__module__.partition(".")[0] in ("keras", "tf_keras") for kind in type(model).__mro__):
            return False
        return isinstance(model, torch.nn.Module | torch.export.ExportedProgram)

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> Any:
        return load(source, weights, trust)

    def load_weights(self, model: Any, path: Path) -> None:
        load_weights(model, path)

    def from_library(
        self, library: str, name: str, weights: Path | None = None, trust: bool = False
    ) -> tuple[Any, Any]:
        """The model of that name of torchvision (with the entry of its default weights), timm, or transformers (`hf`)."""
        if library == "torchvision":
            return from_torchvision(name, weights)
        return from_timm(name, weights) if library == "timm" else from_hf(name, weights, trust), None

    def settings(self, model: Any) -> Any:
        return None if isinstance(model, torch.export.ExportedProgram) else settings_of(unwrap(model))

    def open(self, model: Any) -> torch.nn.Module:
        model = unwrap(model)
        if isinstance(model, torch.jit.ScriptModule):
            raise ModelNotReadable(
                "this is a TorchScript module, whose layers can't be watched: give the original nn.Module, or export "
                "it again with torch.export.save (.pt2)"
            )
        module: torch.nn.Module = model
        return module
