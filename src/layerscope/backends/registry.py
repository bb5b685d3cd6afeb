"""The table of the backends there are, and how a backend is found for a model or a file."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..checks import OF_ARRAY
from ..core.conversion import is_array
from ..errors import BackendMissing, BackendSkipped, BadOption, ModelNotReadable, TrustRequired, caller_level
from ..surface import by_surface
from .keras.framework import on_installed_framework
from .protocol import REQUIRED, Backend, not_offered

GROUP = "layerscope.backends"


@dataclass(frozen=True)
class Spec:
    """One row of the table of backends.

    >>> Spec("acme", "acme", (".acme",), "", "acme_layerscope:AcmeBackend", "pip install acme-layerscope").modules
    ('acme',)

    Attributes:
        name: The backend's own name.
        module: The module that must have been imported for an object to be a model of the framework.
        suffixes: The suffixes of the files that its `load` reads.
        extra: The extra of layerscope that installs what it needs, `""` for none.
        entry: `"package.module:Class"` of the backend, imported when a model is its own.
        install: The pip line where the backend isn't layerscope's own; else it is made from `extra`.
        instead: Modules that do as well as `module`.
        libraries: Libraries whose models can be opened by name, as `"timm:resnet18"`.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    extra: str
    entry: str
    install: str = ""
    instead: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules any of which is the framework."""
        return (self.module, *self.instead)

    @property
    def imported(self) -> bool:
        """Whether the framework has been imported, so that an object may be a model of it."""
        return any(module in sys.modules for module in self.modules)

    def backend(self) -> Backend:
        """The backend itself; raises `BackendMissing` where the framework isn't installed."""
        if all(importlib.util.find_spec(module) is None for module in self.modules):
            raise BackendMissing(f"this model needs {self.module}, which isn't installed: {self.line}")
        module, _, name = self.entry.partition(":")
        try:
            with on_installed_framework() if self.module == "keras" else nullcontext():
                loaded = importlib.import_module(module)
            return adapt(getattr(loaded, name)())
        except ImportError as error:
            raise BackendMissing(f"{self.module} is installed but can't be imported ({error}): {self.line}") from error

    @property
    def line(self) -> str:
        """The pip line that installs what the backend needs."""
        if self.install:
            return self.install
        return f'pip install "layerscope[{self.extra}]" {self.hint}'.rstrip()

    @property
    def hint(self) -> str:
        return {"torch": "torch", "keras": "keras tensorflow", "jax": "jax flax"}.get(self.name, "")


SPECS = (
    # Before torch: on Keras's torch backend, every Keras layer is a torch.nn.Module as well.
    Spec(
        "keras",
        "keras",
        (".keras", ".h5", ".hdf5"),
        "keras",
        "layerscope.backends.keras.backend:KerasBackend",
        libraries=("keras",),
    ),
    # After keras, which reads most of the old files as well; SavedModel folders come here at once.
    Spec(
        "tf_keras",
        "tf_keras",
        (".keras", ".h5", ".hdf5"),
        "",
        "layerscope.backends.tf_keras.backend:TfKerasBackend",
        install="pip install tf_keras",
    ),
    Spec(
        "torch",
        "torch",
        (".pt2", ".pt", ".pth"),
        "torch",
        "layerscope.backends.torch.backend:TorchBackend",
        libraries=("torchvision", "timm", "hf"),
    ),
    Spec("onnx", "onnx", (".onnx",), "onnx", "layerscope.backends.onnx.backend:OnnxBackend"),
    Spec(
        "tflite",
        "ai_edge_litert",
        (".tflite",),
        "tflite",
        "layerscope.backends.tflite.backend:TfliteBackend",
        instead=("tflite_runtime", "tensorflow"),
    ),
    # After keras, whose models on JAX are Keras's own.
    Spec("jax", "jax", (), "jax", "layerscope.backends.jax.backend:JaxBackend"),
)


WEIGHTS = (".safetensors", ".bin", ".ckpt", ".msgpack", ".npz")  # of files in which there is no model


class Adapted(Backend):
    """A backend of another package that has the verbs without the base class: every look-up goes to it, `original`, first."""

    # What the base class demands; `original` has them, or `adapt` refuses it.
    owns = layers = capture = not_offered("it is gone from the object that was adapted")

    def __init__(self, original: Any) -> None:
        self.original = original

    def __getattribute__(self, name: str) -> Any:
        own = super().__getattribute__
        if name.startswith("__") or name in ("original", "offers", "refusal"):
            return own(name)
        original = own("original")
        return getattr(original, name) if hasattr(original, name) else own(name)


def adapt(backend: Any) -> Backend:
    """A `Backend` of any object that has its name and the verbs `owns`, `layers` and `capture`; a `Backend` as it is.

    >>> from layerscope.testing import TinyBackend
    >>> backend = TinyBackend()
    >>> adapt(backend) is backend
    True

    Raises:
        BadOption: The name or one of the three verbs is missing.
    """
    missing = [name for name in ("name", *REQUIRED) if not getattr(backend, name, None)]
    if missing:
        raise BadOption(
            f"backend={backend!r} has no {', '.join(missing)}: give the name of a backend, or an object with"
            f" {', '.join(REQUIRED)}, best a layerscope.backends.Backend"
        )
    return backend if isinstance(backend, Backend) else Adapted(backend)


@cache
def specs() -> tuple[Spec, ...]:
    """Every row: those of installed packages (entry points of the group `layerscope.backends`) before layerscope's own.

    A package's backend is asked first, as it reads something more special than a framework's models do. One that can't be
    used is left out with a `BackendSkipped` warning.

    >>> [spec.name for spec in specs() if ".onnx" in spec.suffixes]
    ['onnx']
    """
    rows: list[Spec] = []
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        try:
            spec = point.load()
        except Exception as error:
            # Code of another package: whatever it raises must not take layerscope down with it.
            _skip(point, f"{type(error).__name__}: {error}")
            continue
        if not isinstance(spec, Spec):
            kind = "class" if isinstance(spec, type) else type(spec).__name__
            _skip(point, f"{point.value} is a {kind}, not a layerscope.backends.Spec")
        elif spec.name in {row.name for row in (*rows, *SPECS)}:
            _skip(point, f"there is a backend {spec.name!r} already")
        else:
            rows.append(spec)
    return (*rows, *SPECS)


def _skip(point: importlib.metadata.EntryPoint, why: str) -> None:
    of = f" of {point.dist.name}" if point.dist else ""
    warnings.warn(f"the backend {point.name!r}{of} is left out: {why}", BackendSkipped, stacklevel=caller_level())


def suffixes() -> str:
    """The suffixes of all files that a backend reads, as a list to print.

    >>> ".tflite" in suffixes()
    True
    """
    return ", ".join(dict.fromkeys(suffix for spec in specs() for suffix in spec.suffixes))


def named(name: str) -> Spec:
    """The row of that name.

    >>> named("onnx").suffixes
    ('.onnx',)

    Raises:
        BackendMissing: There is no such backend.
    """
    for spec in specs():
        if spec.name == name:
            return spec
    raise BackendMissing(f"no backend {name!r}; there are {', '.join(spec.name for spec in specs())}")


def for_file(path: Path) -> list[Spec]:
    """The rows that read this file or folder, the first to be asked first.

    >>> [spec.name for spec in for_file(Path("model.h5"))]
    ['keras', 'tf_keras']

    Raises:
        ModelNotReadable: No backend reads files with this suffix.
    """
    if os.path.exists(path / "saved_model.pb"):
        return [named("tf_keras")]
    rows = [spec for spec in specs() if path.suffix.lower() in spec.suffixes]
    if not rows and path.suffix.lower() in WEIGHTS:
        raise ModelNotReadable(
            f"{path.name} holds weights alone: give the model that they belong to, such as 'timm:resnet18' or"
            " 'package.module:factory', and this file as"
            f" {by_surface('weights= (--weights)', '--weights')}"
        )
    if not rows and os.path.isdir(path):
        raise ModelNotReadable(
            f"{path.name or path} is a folder without saved_model.pb: give a SavedModel folder, 'hf:FOLDER' for one of"
            f" transformers, or a model file ({suffixes()})"
        )
    if not rows:
        raise ModelNotReadable(
            f"{path.name}: no backend reads {path.suffix or 'files without a suffix'}; known are {suffixes()}"
        )
    return rows


def for_library(reference: str) -> tuple[Spec, str, str] | None:
    """(row, library, name) of a reference such as `"timm:resnet18"`; `None` where no backend knows the library.

    >>> spec, library, name = for_library("timm:resnet18")
    >>> spec.name, library, name
    ('torch', 'timm', 'resnet18')
    """
    library, _, name = reference.partition(":")
    return next(((spec, library, name) for spec in specs() if name and library in spec.libraries), None)


def load_file(path: Path, weights: Path | None, trust: bool, device: str | None = None) -> tuple[Any, Backend]:
    """(model, backend) of a file. Where several backends read its suffix, the next is asked when one can't.

    If none can, the error is the first one's; what is refused for want of trust is not tried elsewhere.

    Args:
        path: The file or folder.
        weights: A file of weights to read into the model.
        trust: Whether the file may run code of its own.
        device: Where the model runs.

    Raises:
        ModelNotReadable: No backend reads the file.
        TrustRequired: The file runs code, and `trust` is false.
    """
    first: ModelNotReadable | None = None
    for spec in for_file(path):
        try:
            backend = on_device(spec.backend(), device)
            return backend.load(path, weights, trust), backend
        except TrustRequired:
            raise
        except ModelNotReadable as error:
            # A missing framework says less than one that looked into the file.
            if first is None or (isinstance(first, BackendMissing) and not isinstance(error, BackendMissing)):
                first = error
    assert first is not None
    raise first


def on_device(backend: Backend, device: str | None) -> Backend:
    """The backend for a device; as it is for `None`."""
    return backend if device is None else backend.on_device(device)


def for_model(model: Any) -> Backend:
    """The backend that owns a model object. Only frameworks that are already imported are asked.

    Raises:
        ModelNotReadable: No backend owns it.
    """
    for spec in specs():
        if spec.imported:
            backend = spec.backend()
            if backend.owns(model):
                return backend
    if isinstance(model, type):
        raise ModelNotReadable(
            f"{model.__qualname__} is a class, not a model: give an object of it, {model.__qualname__}(…)"
        )
    if isinstance(model, Mapping):
        raise ModelNotReadable(
            "a mapping, such as a state dict, holds weights alone: load them into the model that they belong to, and give that"
        )
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if is_array(model):
        raise ModelNotReadable(f"a {kind} is no model; {OF_ARRAY}")
    raise ModelNotReadable(
        f"a {kind} is not a model that layerscope reads: give a keras.Model, a torch.nn.Module, an onnx.ModelProto,"
        " a model of Flax or Equinox, or the path of a model file"
    )
