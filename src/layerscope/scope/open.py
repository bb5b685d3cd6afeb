"""`open`: a model object, a file or a reference becomes a `Scope`."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ..backends.protocol import Backend, Facts
from ..backends.registry import adapt, for_library, for_model, load_file, named, specs, suffixes
from ..errors import BadOption, LayerscopeError, ModelNotReadable
from ..inputs import preprocess as _preprocess
from ..inputs.transforms import categories
from .scope import Scope

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


DEMO, DEMO_PHOTO = "efficientnet-lite0.onnx", "chelsea.png"


def open(
    model: Any,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocess: Any = "auto",
    size: int | Sequence[int] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    backend: Any = None,
    trust: bool = False,
) -> Scope:
    """A `Scope` on a model.

    `model`: a model object (Keras, PyTorch, ONNX, the bytes of a TFLite file); the path of a file (`.keras`, `.h5`,
    `.onnx`, `.tflite`, `.pt2`, `.pt`);
    `"keras:VGG16"`, `"torchvision:vgg16"`, `"timm:resnet18"` or `"hf:FOLDER_OR_NAME"`; `"package.module:factory"`, a
    function that builds the model; or `"demo"`, the embedded network.
    `weights` is a file for a model that is built, not loaded. `preprocess`: `"auto"` (what the model
    itself says), the name of a recipe, a `Recipe`, a transform or a weights entry of torchvision (whose class names become
    the labels), a function, or `None` for batches that are ready. `size`: the model's input size, `(height, width)`, where
    the model leaves it free. `labels`: class names, or a file with one a line. `backend`: the name of one, or an object
    with its verbs. `trust=True` lets a file run code while it is loaded.

    Raises `ModelNotReadable` and its children `BackendMissing` and `TrustRequired`, `PreprocessUnknown`, `BadOption`.
    """
    path = None if weights is None else Path(weights)
    reader = named(backend).backend() if isinstance(backend, str) else None if backend is None else adapt(backend)
    entry = None
    if isinstance(model, str | os.PathLike):
        model, reader, name, entry = _from_reference(os.fspath(model), path, reader, trust)
    else:
        if path is not None:
            raise BadOption("weights= goes with a file or a reference; a model object has its weights already")
        reader = reader or for_model(model)
        if not reader.owns(model):
            raise ModelNotReadable(f"the backend {reader.name!r} doesn't read a {type(model).__qualname__}")
        name = ""
    facts = reader.facts(model) if reader.offers("facts") else Facts(type(model).__name__)
    if preprocess == "auto" and entry is not None:
        preprocess = entry
    recipe, plan = _preprocess.choose(preprocess, facts, size)
    named_by = categories(preprocess) if labels is None else None
    return Scope(model, reader, recipe, named_by or _labels(labels, facts), plan, facts, name or facts.name)


def demo_model() -> Path:
    """The embedded network: EfficientNet-Lite0 for ImageNet's 1,000 classes, as ONNX."""
    return _asset(DEMO)


def demo_photo() -> Path:
    """The embedded photo: a cat, 451 × 300."""
    return _asset(DEMO_PHOTO)


def _asset(name: str) -> Path:
    return Path(str(resources.files("layerscope").joinpath("assets", name)))


def _from_reference(
    given: str, weights: Path | None, reader: Backend | None, trust: bool
) -> tuple[Any, Backend, str, Any]:
    """(model, backend, name, transform of its own or `None`) for a path or a reference."""
    if given == "demo" and not Path(given).exists():
        given = str(demo_model())
    path = Path(given)
    if path.exists():
        if reader is not None:
            return reader.load(path, weights, trust), reader, path.stem, None
        return *load_file(path, weights, trust), path.stem, None
    if known := for_library(given):
        spec, library, name = known
        reader = reader or spec.backend()
        model, entry = reader.from_library(library, name, weights)
        return model, reader, name, entry
    if REFERENCE.fullmatch(given):
        built = _built(given)
        reader = reader or for_model(built)
        if weights is not None:
            _put_weights(built, reader, weights)
        return built, reader, given.rpartition(":")[2], None
    raise ModelNotReadable(
        f"no file {given!r}; a model is the path of a file ({suffixes()}), 'keras:VGG16', 'torchvision:vgg16',"
        " 'timm:resnet18', 'hf:NAME',"
        " 'package.module:factory', or 'demo'"
    )


def _built(reference: str) -> Any:
    """What the factory of `package.module:factory` returns; the current folder counts as a place for packages."""
    module, _, name = reference.partition(":")
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return found() if callable(found) and not _is_model(found) else found
    except LayerscopeError:
        raise
    except Exception as error:
        # The user's own code: any error is theirs to see, in one line here and whole with --debug.
        raise ModelNotReadable(f"{reference} could not be built: {type(error).__name__}: {error}") from error
    finally:
        if added:
            sys.path.remove(here)


def _is_model(found: Any) -> bool:
    if isinstance(found, type):
        return False
    return any(spec.imported and spec.backend().owns(found) for spec in specs())


def _put_weights(model: Any, reader: Backend, weights: Path) -> None:
    if not reader.offers("load_weights"):
        raise reader.refusal("load_weights")
    reader.load_weights(model, weights)


def _labels(given: Any, facts: Facts) -> tuple[str, ...] | None:
    if given is None:
        return facts.labels
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        try:
            text = path.read_text("utf-8")
            lines = json.loads(text) if path.suffix == ".json" else text.splitlines()
        except (OSError, ValueError) as error:
            raise BadOption(f"labels {path}: {error}") from error
        if not isinstance(lines, list):
            raise BadOption(f"labels {path}: a JSON list of names is needed, not a {type(lines).__name__}")
        return tuple(str(each) for each in lines)
    return tuple(str(each) for each in given)
