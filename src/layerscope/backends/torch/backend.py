"""PyTorch: what modules give is copied as they are called, in one run that stops as soon as it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ...errors import ModelNotReadable
from ..common.backend import RoleBackend, Verbs
from .activation import activation
from .capture import capture
from .device import device_named, placed
from .evidence import evidence
from .facts import digest, facts
from .hub import from_hf, from_timm, from_torchvision
from .load import load, load_weights
from .model import unwrap
from .table import layers
from .target import scores
from .tree import named_modules_of, settings_of
from .weights import head, kernel


class TorchBackend(RoleBackend[torch.nn.Module]):
    """Reads a `torch.nn.Module`, compiled, parallel or exported (`torch.export`)."""

    name = "torch"
    gradients = True
    picks = True
    verbs = Verbs(facts, digest, layers, capture, scores, head, kernel, evidence, activation)

    def __init__(self) -> None:
        self.target_device: torch.device | None = None

    def on_device(self, device: str) -> TorchBackend:
        """The same for models that are loaded to a device, or copied there."""
        backend = TorchBackend()
        backend.target_device = device_named(device)
        backend.device = str(backend.target_device)
        return backend

    def place(self, model: Any) -> Any:
        return model if self.target_device is None else placed(model, self.target_device)

    def _there(self, model: Any) -> Any:
        """A model that was made here, moved to the device."""
        return model if self.target_device is None else model.to(self.target_device)

    def owns(self, model: Any) -> bool:
        # On Keras's torch backend every Keras layer is a module as well, and Keras knows it better.
        if any(kind.__module__.partition(".")[0] in ("keras", "tf_keras") for kind in type(model).__mro__):
            return False
        return isinstance(model, torch.nn.Module | torch.export.ExportedProgram)

    def path_of(self, model: Any, part: Any) -> str | None:
        if not isinstance(part, torch.nn.Module) or isinstance(model, torch.export.ExportedProgram):
            return None
        modules = [("", model), *named_modules_of(unwrap(model))]
        return next((name for name, module in modules if module is part), None)

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> Any:
        return self._there(load(source, weights, trust))

    def load_weights(self, model: Any, path: Path) -> None:
        load_weights(model, path)

    def from_library(
        self, library: str, name: str, weights: Path | None = None, trust: bool = False
    ) -> tuple[Any, Any]:
        """The model of that name of torchvision (with the entry of its default weights), timm, or transformers (`hf`)."""
        if library == "torchvision":
            model, entry = from_torchvision(name, weights)
            return self._there(model), entry
        return self._there(from_timm(name, weights) if library == "timm" else from_hf(name, weights, trust)), None

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
