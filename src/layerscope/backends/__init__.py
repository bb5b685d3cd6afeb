"""The three verbs of a backend, and the table of the backends there are.

A backend is the only code that knows a framework. It turns (model, batch, layer paths) into raw arrays whose axes the
layers name; `layerscope.testing.BackendTests` is the suite that holds it to this page.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..errors import BackendMissing, BackendSkipped, ModelNotReadable, TrustRequired, caller_level
from ..layer import Layer

Target = int | Callable[[Any], Any]
Change = Callable[[np.ndarray], np.ndarray]
GROUP = "layerscope.backends"


@dataclass(frozen=True)
class Captured:
    """What one call of a layer produced: `values` in the axes that its `Layer` names, as a copy on the host.

    `gradient` has the same shape: the derivative of the target with respect to the values. `dtype` is the model's own
    type where numpy can't say it (`bfloat16`).
    """

    values: np.ndarray
    gradient: np.ndarray | None = None
    dtype: str = ""


@dataclass(frozen=True)
class Pick:
    """Which channels of a layer are wanted: `numbers` along `axis` of its output."""

    axis: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Evidence:
    """What the first BatchNorm of a model (`layer`) was given in training and is given for a batch, for each channel.

    `trained_mean` and `trained_variance` are its running statistics `[channel]`; `mean` and `variance` those of what reaches
    it, over the pixels of each image, `[image, channel]`. A backend may offer it as `evidence(model, batch)`, `None` where
    there is no such layer near the input, or an untrained one; the run stops there.
    """

    layer: str
    trained_mean: np.ndarray
    trained_variance: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Head:
    """The dense layer of a model that runs last: `weights` float32 `[class, channel]`, `bias` float32 `[class]`.

    `activation` is what the layer itself does to its scores (`"softmax"`), `""` for nothing. A backend may offer it as
    `head(model, batch)`, after one dry run, `None` where there is no such layer or its weights aren't to be had.
    """

    path: str
    weights: np.ndarray
    bias: np.ndarray | None = None
    activation: str = ""


@dataclass(frozen=True)
class Kernel:
    """The weights of a convolution, float32, with one letter an axis in the framework's own order.

    `o` filters, `i` input channels of a filter (those of its own group), `d h w` space, or `n` for one dimension; `m` instead
    of `o` where the weights hold that many filters for each input channel (depthwise). With `groups`, filters and inputs are
    cut into as many equal runs, and a filter reads the inputs of its own run. `note` says what these weights are not.
    """

    values: np.ndarray
    axes: str
    groups: int = 1
    note: str = ""


def turned(values: np.ndarray, groups: int) -> np.ndarray:
    """Weights of a transposed convolution, `[all inputs, filters of a group, …]`, as `[all filters, inputs of a group, …]`."""
    inputs, filters, *space = values.shape
    grouped = values.reshape(groups, inputs // groups, filters, *space).swapaxes(1, 2)
    return grouped.reshape(groups * filters, inputs // groups, *space)


def trained(mean: np.ndarray, variance: np.ndarray) -> bool:
    """Whether running statistics have left the values they start with, 0 and 1."""
    return bool(np.isfinite(mean).all() and np.isfinite(variance).all() and (mean.any() or (variance != 1).any()))


@runtime_checkable
class Backend(Protocol):
    """What the core asks of a framework. `gradients` says whether `capture` takes a target.

    `batch` is an array in the model's own input axes, a tuple of such arrays (several inputs) or a dict (inputs by
    name); the framework's own tensors are taken as they are. A backend with `picks = True` takes one more argument,
    `capture(..., picks={path: Pick})`, and leaves out other channels before it copies; the rest are cut afterwards.
    `scores(model, batch, target, changes)`, optional, gives a target's number for each image, float64 `[image]`, where
    `changes` (path -> `Change`) is given what a layer returns, in its own axes, and says what the model goes on with.
    `kernel(model, path, batch)`, optional, gives the weights of a convolution, a `Kernel`, `None` for any other layer.
    One with `random = False` runs nothing that draws from Python's or numpy's random numbers: nobody needs to keep their
    state around it, which takes 0.1 ms.
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
    """One input of a model: its name, axes, sizes (`None` where free) and type.

    `codes` describes a quantised input that takes floats as well, which the backend turns into its codes.
    """

    name: str
    axes: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    codes: str = ""


@dataclass(frozen=True)
class Facts:
    """What can be said of a model without running it. A backend may offer it as `facts(model)`.

    `digest` tells two states of the weights apart; a backend whose models can be trained on offers it alone as well, as
    `digest(model)`, since it is taken at every capture; `recipe` is preprocessing that the model itself names (a recipe's
    name or its fields), with `source` saying where it was found; `assumed` where that is the architecture alone, whose
    weights may have been trained on other values.
    """

    name: str
    inputs: tuple[Input, ...] = ()
    digest: str = ""
    framework: str = ""
    recipe: str | Mapping[str, Any] | None = None
    source: str = ""
    labels: tuple[str, ...] | None = None
    assumed: bool = False


@dataclass(frozen=True)
class Spec:
    """One row of the table: which framework, which module must be imported for an object to be its model, which files.

    `entry` is `"package.module:Class"` of the backend, imported when a model is its own. `install` is the pip line where
    the backend isn't layerscope's own (else it is made from `extra`). `instead` are modules that do as well as `module`.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    extra: str
    entry: str
    install: str = ""
    instead: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules any of which is the framework."""
        return (self.module, *self.instead)

    @property
    def imported(self) -> bool:
        """Whether the framework has been imported, so that an object may be a model of it."""
        return any(each in sys.modules for each in self.modules)

    def backend(self) -> Any:
        """The backend itself; raises `BackendMissing` where the framework isn't installed."""
        if all(importlib.util.find_spec(each) is None for each in self.modules):
            raise BackendMissing(f"this model needs {self.module}, which isn't installed: {self.line}")
        module, _, name = self.entry.partition(":")
        try:
            return getattr(importlib.import_module(module), name)()
        except ImportError as error:
            raise BackendMissing(f"{self.module} is installed but can't be imported ({error}): {self.line}") from error

    @property
    def line(self) -> str:
        """The pip line that installs what the backend needs."""
        if self.install:
            return self.install
        return f"pip install 'layerscope[{self.extra}]' {self.hint}".rstrip()

    @property
    def hint(self) -> str:
        return {"torch": "torch", "keras": "keras tensorflow", "jax": "jax flax"}.get(self.name, "")


SPECS = (
    # Before torch: on Keras's torch backend, every Keras layer is a torch.nn.Module as well.
    Spec("keras", "keras", (".keras", ".h5", ".hdf5"), "keras", "layerscope.backends.keras:KerasBackend"),
    # After keras, which reads most of the old files as well; SavedModel folders come here at once.
    Spec(
        *("tf_keras", "tf_keras", (".keras", ".h5", ".hdf5"), "", "layerscope.backends.tf_keras:TfKerasBackend"),
        install="pip install tf_keras",
    ),
    Spec("torch", "torch", (".pt2", ".pt", ".pth"), "torch", "layerscope.backends.torch:TorchBackend"),
    Spec("onnx", "onnx", (".onnx",), "onnx", "layerscope.backends.onnx:OnnxBackend"),
    Spec(
        "tflite",
        "ai_edge_litert",
        (".tflite",),
        "tflite",
        "layerscope.backends.tflite:TfliteBackend",
        instead=("tflite_runtime", "tensorflow"),
    ),
    # After keras, whose models on JAX are Keras's own.
    Spec("jax", "jax", (), "jax", "layerscope.backends.jax:JaxBackend"),
)


@cache
def specs() -> tuple[Spec, ...]:
    """Every row: those of installed packages (entry points of the group `layerscope.backends`) before layerscope's own.

    A package's backend is asked first, as it reads something more special than a framework's models do. One that can't be
    used is left out with a `BackendSkipped` warning.
    """
    rows: list[Spec] = []
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda each: each.name):
        try:
            spec = point.load()
        except Exception as error:
            # Code of another package: whatever it raises must not take layerscope down with it.
            _skip(point, f"{type(error).__name__}: {error}")
            continue
        if not isinstance(spec, Spec):
            _skip(point, f"{point.value} is a {type(spec).__name__}, not a layerscope.backends.Spec")
        elif spec.name in {each.name for each in (*rows, *SPECS)}:
            _skip(point, f"there is a backend {spec.name!r} already")
        else:
            rows.append(spec)
    return (*rows, *SPECS)


def _skip(point: importlib.metadata.EntryPoint, why: str) -> None:
    of = f" of {point.dist.name}" if point.dist else ""
    warnings.warn(f"the backend {point.name!r}{of} is left out: {why}", BackendSkipped, stacklevel=caller_level())


def suffixes() -> str:
    """The suffixes of all files that a backend reads, as a list to print."""
    return ", ".join(dict.fromkeys(suffix for spec in specs() for suffix in spec.suffixes))


def named(name: str) -> Spec:
    """The row of that name."""
    for spec in specs():
        if spec.name == name:
            return spec
    raise BackendMissing(f"no backend {name!r}; there are {', '.join(each.name for each in specs())}")


def for_file(path: Path) -> list[Spec]:
    """The rows that read this file or folder, the first to be asked first."""
    if (path / "saved_model.pb").exists():
        return [named("tf_keras")]
    found = [spec for spec in specs() if path.suffix.lower() in spec.suffixes]
    if not found:
        raise ModelNotReadable(
            f"{path.name}: no backend reads {path.suffix or 'files without a suffix'}; known are {suffixes()}"
        )
    return found


def load_file(path: Path, weights: Path | None, trust: bool) -> tuple[Any, Any]:
    """(model, backend) of a file. Where several backends read its suffix, the next is asked when one can't.

    If none can, the error is the first one's; what is refused for want of trust is not tried elsewhere.
    """
    first: ModelNotReadable | None = None
    for spec in for_file(path):
        try:
            backend = spec.backend()
            return backend.load(path, weights, trust), backend
        except TrustRequired:
            raise
        except ModelNotReadable as error:
            # A missing framework says less than one that looked into the file.
            if first is None or (isinstance(first, BackendMissing) and not isinstance(error, BackendMissing)):
                first = error
    assert first is not None
    raise first


def for_model(model: Any) -> Any:
    """The backend that owns a model object. Only frameworks that are already imported are asked."""
    for spec in specs():
        if spec.imported:
            backend = spec.backend()
            if backend.owns(model):
                return backend
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    raise ModelNotReadable(
        f"a {kind} is not a model that layerscope reads: give a keras.Model, a torch.nn.Module, an onnx.ModelProto,"
        " a model of Flax or Equinox, or the path of a model file"
    )
