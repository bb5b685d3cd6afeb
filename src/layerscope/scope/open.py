"""`open`: a model object, a file or a reference becomes a `Scope`."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from inspect import signature
from pathlib import Path
from typing import Any

from ..backends.common.device import Device
from ..backends.common.fault import raised_by_own
from ..backends.keras.applications import require_name
from ..backends.protocol import Backend, Facts
from ..backends.registry import adapt, for_library, for_model, load_file, named, on_device, suffixes
from ..checks import file_path, flag, keywords
from ..errors import BadOption, LayerscopeError, ModelNotReadable, near, one_line
from ..files import no_such_file, parsing, read_bytes
from ..inputs import preprocess as _preprocess
from ..inputs.paths import is_image
from ..inputs.transforms import categories
from ..surface import by_surface, option
from .factory import REFERENCE, built, reference_meant
from .scope import Scope

MOST_LABELS = 1 << 24  # bytes: a million names
DEMO, DEMO_PHOTO = "efficientnet-lite0.onnx", "chelsea.png"
PACKED_LABELS = {"imagenet": "imagenet-labels.txt"}


@keywords
def open(
    model: Any,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocess: Any = "auto",
    size: int | str | Sequence[int] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    backend: Any = None,
    device: Any = None,
    trust: bool = False,
) -> Scope:
    """A `Scope` on a model, which captures the feature maps of its layers.

    >>> import numpy as np
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> scope = open(tiny_model(), backend=TinyBackend(), preprocess=None)
    >>> scope.capture(np.zeros((1, 3, 8, 8), np.float32), "conv1")
    conv1: <FeatureMap conv1 (Conv) [1, 8, 8, 4]>

    Args:
        model: A model object (Keras, PyTorch, JAX, ONNX, the bytes of a TFLite file); the path of a file (`.keras`,
            `.h5`, `.onnx`, `.tflite`, `.pt2`, `.pt`); `"keras:VGG16"`, `"torchvision:vgg16"`, `"timm:resnet18"` or
            `"hf:FOLDER_OR_NAME"`; `"package.module:factory"`, a function that builds the model; or `"demo"`, the
            embedded network.
        weights: A file of weights for a model that is built, not loaded.
        preprocess: `"auto"` (what the model itself says), the name of a recipe, a `Recipe`, a mapping of its fields, a
            transform or a weights entry of torchvision (whose class names become the labels), a function of the RGB
            pixels, or `None` for batches that are ready.
        size: The model's input size in pixels, `(height, width)`, one number or `"224x224"`, where the model doesn't fix it.
        labels: Class names; a file of them, one per line or a JSON list; or `"imagenet"`, the 1,000 of ImageNet. `None`:
            what the model itself says.
        backend: The name of a backend, or a backend. `None`: the one that reads the model.
        device: Where the model runs: `"cpu"`, `"cuda"`, `"cuda:1"`, `"gpu"` … A ready model that is elsewhere is copied there.
            `None`: where it is, a file on the CPU, or what its framework chooses.
        trust: Whether a file may run code while it is loaded.

    Raises:
        ModelNotReadable: The model can't be found or read.
        BackendMissing: The framework of the model isn't installed.
        TrustRequired: The file would run code, and `trust` is false.
        PreprocessUnknown: No recipe has that name, or none fits the model's input.
        BadOption: The other arguments contradict each other, or the labels can't be read.
    """
    trust = flag("trust", trust)
    path = None if weights is None else _weights_file(weights)
    place = None if device is None else str(Device.of(device))
    reader: Backend | None = None
    if backend is not None:
        reader = on_device(named(backend).backend() if isinstance(backend, str) else adapt(backend), place)
    entry = None
    if isinstance(model, str | os.PathLike):
        model, reader, name, entry = _from_reference(os.fspath(model), path, reader, trust=trust, device=place)
    else:
        if path is not None:
            raise BadOption("weights= is for a file or a reference; a model object has its weights already")
        reader = reader or on_device(for_model(model), place)
        if not reader.owns(model):
            raise ModelNotReadable(f"the backend {reader.name!r} doesn't read a {type(model).__qualname__}")
        name = ""
    if place is not None:
        model = reader.place(model)
    facts = reader.facts(model) if reader.offers("facts") else Facts(type(model).__name__)
    if preprocess == "auto" and entry is not None:
        preprocess = entry
    recipe, plan = _preprocess.choose(preprocess, facts, size)
    if labels is None and (names := categories(preprocess)):
        facts = replace(facts, labels=names)
    if reader.device:
        facts = replace(facts, framework=", ".join(filter(None, (facts.framework, reader.device))))
    return Scope(model, reader, recipe, _labels(labels, facts), plan, facts, name or facts.name)


def scope_of(model: Any, **opening: Any) -> Scope:
    """A `Scope` as it is, and one on anything else that `open` takes. Raises `BadOption` for options that come too late."""
    if not isinstance(model, Scope):
        return open(model, **opening)
    check_opened(opening)
    return model


def check_opened(opening: Mapping[str, Any]) -> None:
    """Raises `BadOption` for options of `open` that are given where the model is open already."""
    if opening.get("weights") is not None:
        _weights_file(opening["weights"])
    if late := given_options(opening):
        given = ", ".join(f"{name}=…" for name in late)
        raise BadOption(
            f"{', '.join(option(name) for name in late)} {'belongs' if len(late) == 1 else 'belong'} to ls.open, and this"
            f" model is open already: ls.open(model, {given}), or give the model itself here"
        )


def given_options(opening: Mapping[str, Any]) -> list[str]:
    """The options of `open` among these that aren't as they are by default."""
    usual = signature(open).parameters
    return [name for name, value in opening.items() if not _is_usual(value, usual[name].default)]


def _is_usual(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, str) and value == default)


def _weights_file(weights: Any) -> Path:
    """The path of a model's weights. Raises `BadOption` for numbers, which are weights of channels."""
    if isinstance(weights, str | os.PathLike):
        return file_path(weights, "weights")
    raise BadOption(
        f"{option('weights')} is the path of a file with the model's weights, not a value of type"
        f" {type(weights).__name__}: weights of a layer's channels go into combine=weights, as into ls.weighted, or"
        " combine='weights:w.npy' from a file"
    )


def demo_model() -> Path:
    """The file of the embedded network: EfficientNet-Lite0 for ImageNet's 1,000 classes, as ONNX.

    >>> demo_model().name
    'efficientnet-lite0.onnx'
    """
    return _asset(DEMO)


def demo_photo() -> Path:
    """The file of the embedded photo: a cat, 451 × 300 pixels.

    >>> demo_photo().name
    'chelsea.png'
    """
    return _asset(DEMO_PHOTO)


def labels_file(labels: str | os.PathLike[str]) -> Path:
    """The file of class names: that of the packed ones by their name, also beside a file of that name, which is `./imagenet`.

    >>> labels_file("imagenet").name, labels_file("./imagenet").name
    ('imagenet-labels.txt', 'imagenet')
    """
    packed = PACKED_LABELS.get(labels) if isinstance(labels, str) else None
    return Path(labels) if packed is None else _asset(packed)


def _asset(name: str) -> Path:
    return Path(str(resources.files("layerscope").joinpath("assets", name)))


def _from_reference(
    reference: str, weights: Path | None, reader: Backend | None, *, trust: bool, device: str | None
) -> tuple[Any, Backend, str, Any]:
    """(model, backend, name, transform of its own or `None`) for a path or a reference."""
    if reference == "demo":  # also beside a folder of that name, which is `./demo`
        reference = str(demo_model())
    check_reference(reference)
    path = Path(reference)
    if os.path.exists(path):
        if reader is not None:
            return reader.load(path, weights, trust), reader, path.stem, None
        return *load_file(path, weights, trust, device), path.stem, None
    if known := for_library(reference):
        spec, library, name = known
        reader = reader or on_device(spec.backend(), device)
        # Backends that were written before `trust` was an argument needn't have it.
        with _library_errors(f"{reference}: {library} could not build it"):
            model, entry = reader.from_library(library, name, weights, **({"trust": True} if trust else {}))
        return model, reader, name, entry
    model, owner = built(reference, reader)
    reader = reader or on_device(owner, device)
    if weights is not None:
        if not reader.offers("load_weights"):
            raise reader.refusal("load_weights")
        reader.load_weights(model, weights)
    return model, reader, reference.rpartition(":")[2], None


def check_reference(reference: str) -> None:
    """Raises `ModelNotReadable` for what is no file, no reference and not `"demo"`; that needs no framework."""
    if re.match(r"[a-z][a-z0-9+.]+://", reference, re.IGNORECASE):
        raise ModelNotReadable(
            f"{reference}: nothing is fetched from the network; download the model and give its path"
        )
    if is_image(reference):
        first = by_surface("the model comes first, then the image", "give MODEL first, then IMAGE")
        raise ModelNotReadable(f"{reference} is an image and no model: {first}")
    path = Path(reference)
    if reference != "demo" and (meant := reference_meant(reference)) and not os.path.isdir(path):
        raise ModelNotReadable(f"{reference}: a function that builds a model is named by its module: write {meant}")
    library = for_library(reference)
    if library is not None and library[1] == "keras" and not os.path.exists(path):
        require_name(library[2])
    known = reference == "demo" or os.path.exists(path) or library or REFERENCE.fullmatch(reference)
    if not known:
        advice = near(reference, ["demo"]) or (
            f"; give the path of a model file ({suffixes()}), 'keras:VGG16', 'torchvision:vgg16', 'timm:resnet18',"
            " 'hf:NAME', 'package.module:factory', or 'demo'"
        )
        raise ModelNotReadable(no_such_file(path, "model", advice))


@contextmanager
def _library_errors(problem: str) -> Iterator[None]:
    """Around a library that builds a model. Raises `ModelNotReadable` for what the library raises."""
    try:
        yield
    except LayerscopeError:
        raise
    except Exception as error:
        if raised_by_own(error):
            raise
        raise ModelNotReadable(f"{problem}: {type(error).__name__}: {one_line(error)}") from error


def _labels(labels: Any, facts: Facts) -> tuple[str, ...] | None:
    if labels is None:
        return facts.labels
    if isinstance(labels, str | os.PathLike):
        labels = read_labels(labels_file(labels))
    return tuple(str(label) for label in labels)


def read_labels(path: Path) -> list[Any]:
    """The names in a file: a JSON list, or one per line; line ends are those of text files alone."""
    data = read_bytes(path, what="labels", most=MOST_LABELS)
    with parsing(path, "a list of class names", BadOption):
        text = data.decode("utf-8-sig")
        if path.suffix.lower() != ".json":
            return io.StringIO(text, newline=None).read().removesuffix("\n").split("\n") if text else []
        names = json.loads(text)
    if not isinstance(names, list):
        raise BadOption(f"labels {path}: a JSON list of names is needed, not a {type(names).__name__}")
    odd = [name for name in names if isinstance(name, bool) or not isinstance(name, str | int | float)]
    if odd:
        raise BadOption(f"labels {path}: a JSON list of names is needed; it holds {odd[0]!r:.60}")
    return names
