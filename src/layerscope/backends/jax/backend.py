"""JAX: models of Flax (NNX and linen) and Equinox, each read in its library's own way."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import jax

from ...errors import ModelNotReadable
from ..common.backend import RoleBackend, Verbs
from ..protocol import not_offered
from .activation import activation
from .capture import capture
from .device import check_placed, device_named, placed
from .evidence import evidence
from .facts import digest, facts
from .model import JaxModel
from .table import layers
from .target import scores
from .weights import head, kernel


class JaxBackend(RoleBackend[JaxModel]):
    """Reads `nnx.Module`, linen modules with their variables, `TrainState`, and `eqx.Module`."""

    name = "jax"
    gradients = True
    verbs = Verbs(facts, digest, layers, capture, scores, head, kernel, evidence, activation)
    load = not_offered("a checkpoint of JAX holds arrays without the code that runs them: give the model itself")
    from_library = not_offered("Flax and Equinox have no models of their own to name")
    load_weights = not_offered("a checkpoint of JAX is a tree of arrays of its own kind: restore it in the factory")

    def __init__(self) -> None:
        self.target_device: jax.Device | None = None

    def on_device(self, device: str) -> JaxBackend:
        """The same for models whose arrays are copied to a device."""
        backend = JaxBackend()
        backend.target_device = there = device_named(device)
        backend.device = f"{there.platform}:{there.id}"
        return backend

    def place(self, model: Any) -> Any:
        if self.target_device is None:
            return model
        there = placed(model, self.target_device)
        check_placed((array for _, array in self.open(there).leaves()), self.target_device)
        return there

    def owns(self, model: Any) -> bool:
        """Whether `model` is of Flax or Equinox."""
        try:
            return _read(model) is not None
        except ModelNotReadable:
            # One of theirs, but something is missing: `facts` and the verbs name it.
            return True

    def path_of(self, model: Any, part: Any) -> str | None:
        modules = self.open(model).modules
        return next((path for path, module in modules.items() if module is not None and module is part), None)

    def open(self, model: Any) -> JaxModel:
        opened = _read(model)
        if opened is None:
            raise ModelNotReadable(
                f"the JAX backend doesn't read a {type(model).__qualname__}: give an nnx.Module, (linen module, variables), a"
                " TrainState or an eqx.Module; a plain function has no layers with names"
            )
        return opened

    def settings(self, model: Any) -> Any:
        """Those of NNX: modules of linen and Equinox are frozen."""
        settings = getattr(self.open(model), "settings", None)
        return settings() if settings else None


# What has been imported where a model is of a library, and the class that reads its models.
READERS = {"flax.nnx": ".nnx:NnxModel", "flax.linen": ".linen:LinenModel", "equinox": ".equinox:EquinoxModel"}


def _read(model: Any) -> JaxModel | None:
    """The model opened by the library it is of, `None` for what none reads."""
    for library, reader in READERS.items():
        if library in sys.modules:
            file, _, name = reader.partition(":")
            opened: JaxModel | None = getattr(importlib.import_module(file, __package__), name).read(model)
            if opened is not None:
                return opened
    return None
