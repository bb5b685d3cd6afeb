"""The three verbs of a backend, and the table of the backends there are.

A backend is the only code that knows a framework. It turns (model, batch, layer paths) into raw arrays whose axes the
layers name; `layerscope.testing.BackendTests` is the suite that holds it to this page.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..errors import BackendMissing, ModelNotReadable
from ..layer import Layer

Target = int | Callable[[Any], Any]


@dataclass(frozen=True)
class Captured:
    """What one call of a layer produced: `values` in the axes that its `Layer` names, as a copy on the host.

    `gradient` has the same shape: the derivative of the target with respect to the values. `dtype` is the model's own
    type where numpy can't say it (`bfloat16`).
    """

    values: np.ndarray
    gradient: np.ndarray | None = None
    dtype: str = ""


@runtime_checkable
class Backend(Protocol):
    """What the core asks of a framework. `gradients` says whether `capture` takes a target.

    `batch` is an array in the model's own input axes, a tuple of such arrays (several inputs) or a dict (inputs by
    name); the framework's own tensors are taken as they are.
    """

    name: str
    gradients: bool

    def owns(self, model: Any) -> bool:
        """Whether `model` is of this framework."""
        ...

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        """Every layer in the order in which its first call ended, those that never ran last, after one dry run.

        The model's own output is the layer with the path `""`, where the framework has no name for it.
        """
        ...

    def capture(
        self, model: Any, batch: Any, paths: Sequence[str], target: Target | None = None
    ) -> dict[str, Captured]:
        """What the named layers produce for `batch`, in execution order, in one forward pass.

        `conv` gives every call (as `conv`, or `relu:0`, `relu:1` … where there are more); `relu:1` gives that call
        under that name. If all paths are single calls, the pass stops after the last of them. Raises `LayerNotFound`
        or `LayerNotCalled` where one can't be given; leaves model, batch and random state as they were, also when the
        model raises.
        """
        ...


@dataclass(frozen=True)
class Input:
    """One input of a model: its name, axes, sizes (`None` where free) and type."""

    name: str
    axes: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Facts:
    """What can be said of a model without running it. A backend may offer it as `facts(model)`.

    `digest` tells two states of the weights apart; a backend whose models can be trained on offers it alone as well, as
    `digest(model)`, since it is taken at every capture; `recipe` is preprocessing that the model itself names (a recipe's
    name or its fields), with `source` saying where it was found.
    """

    name: str
    inputs: tuple[Input, ...] = ()
    digest: str = ""
    framework: str = ""
    recipe: str | Mapping[str, Any] | None = None
    source: str = ""
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Spec:
    """One row of the table: which framework, which module must be imported for an object to be its model, which files."""

    name: str
    module: str
    suffixes: tuple[str, ...]
    extra: str
    entry: str

    def backend(self) -> Any:
        """The backend itself; raises `BackendMissing` where the framework isn't installed."""
        if importlib.util.find_spec(self.module) is None:
            raise BackendMissing(
                f"this model needs {self.module}, which isn't installed: pip install 'layerscope[{self.extra}]' {self.hint}"
            )
        module, _, name = self.entry.partition(":")
        try:
            return getattr(importlib.import_module(module), name)()
        except ImportError as error:
            raise BackendMissing(
                f"{self.module} is installed but can't be imported ({error}): pip install 'layerscope[{self.extra}]'"
            ) from error

    @property
    def hint(self) -> str:
        return {"torch": "torch", "keras": "keras tensorflow"}.get(self.name, "")


SPECS = (
    # Before torch: on Keras's torch backend, every Keras layer is a torch.nn.Module as well.
    Spec("keras", "keras", (".keras", ".h5", ".hdf5"), "keras", "layerscope.backends.keras:KerasBackend"),
    Spec("torch", "torch", (".pt2", ".pt", ".pth"), "torch", "layerscope.backends.torch:TorchBackend"),
    Spec("onnx", "onnx", (".onnx",), "onnx", "layerscope.backends.onnx:OnnxBackend"),
)


def named(name: str) -> Spec:
    """The row of that name."""
    for spec in SPECS:
        if spec.name == name:
            return spec
    raise BackendMissing(f"no backend {name!r}; there are {', '.join(each.name for each in SPECS)}")


def for_file(path: Path) -> Spec:
    """The row that reads files of this suffix."""
    for spec in SPECS:
        if path.suffix.lower() in spec.suffixes:
            return spec
    known = ", ".join(suffix for spec in SPECS for suffix in spec.suffixes)
    raise ModelNotReadable(
        f"{path.name}: no backend reads {path.suffix or 'files without a suffix'}; known are {known}"
    )


def for_model(model: Any) -> Any:
    """The backend that owns a model object. Only frameworks that are already imported are asked."""
    for spec in SPECS:
        if spec.module in sys.modules:
            backend = spec.backend()
            if backend.owns(model):
                return backend
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    raise ModelNotReadable(
        f"a {kind} is not a model that layerscope reads: give a keras.Model, a torch.nn.Module, an onnx.ModelProto,"
        " or the path of a model file"
    )
