"""What a Keras file holds, read without Keras: a model or weights alone, who wrote it, its configuration."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import h5py

from ...errors import ModelNotReadable, first_line
from ...files import open_regular, open_zip, parsing
from ...surface import by_surface
from .hdf5 import WHAT, check_weights
from .heaps import check_heaps, check_width


class Contents(NamedTuple):
    """What a model file says: the configuration of the model, and the version of Keras that wrote it, `""` where it doesn't
    say that."""

    config: dict[str, Any]
    version: str


def _weights_only(source: Path) -> ModelNotReadable:
    build = by_surface(
        "build the model in Python and give this file as its weights: weights=",
        "give a function that builds the model, package.module:factory, and this file as its --weights",
    )
    return ModelNotReadable(f"{source.name} holds weights only, no model: {build}")


def read_contents(source: Path) -> Contents:
    """What the model file says, once it is known that its weights are all in it. Raises `ModelNotReadable`."""
    if source.name.lower().endswith((".weights.h5", ".weights.json")):
        raise _weights_only(source)
    open_regular(source, what="model", error=ModelNotReadable).close()
    with parsing(source, WHAT, ModelNotReadable):
        contents = _from_archive(source) if source.suffix.lower() == ".keras" else _from_hdf5(source)
        if not isinstance(contents.config, dict):
            raise ModelNotReadable(f"{source.name} is not a Keras model file: its configuration is no JSON object")
    check_weights(source, heaps=source.suffix == ".keras")
    return contents


def _from_archive(source: Path) -> Contents:
    if not zipfile.is_zipfile(source):
        raise ModelNotReadable(f"{source.name} is not a Keras model file (not a zip archive)")
    with open_zip(source, WHAT, ModelNotReadable) as archive:
        names = archive.namelist()
        if "config.json" not in names:
            raise ModelNotReadable(f"{source.name} is not a Keras model file: it has no config.json")
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
        # what only training needs isn't loaded
        config = {**json.loads(archive.read("config.json")), "compile_config": None}
        return Contents(config, str(metadata.get("keras_version", "")))


def _from_hdf5(source: Path) -> Contents:
    if not h5py.is_hdf5(source):
        raise ModelNotReadable(f"{source.name} is not a Keras model file (not HDF5)")
    with open_regular(source, what="model", error=ModelNotReadable) as opened:
        check_heaps(opened, source)
    with h5py.File(source, "r") as file:
        check_width(file, source)
        if "model_config" not in file.attrs:
            raise _weights_only(source)
        version = file.attrs.get("keras_version", "2")  # only old files don't say
        return Contents(json.loads(file.attrs["model_config"]), str(version))


@contextmanager
def in_small_letters(path: Path) -> Iterator[Path]:
    """The path, or that of a link whose suffix is in small letters: Keras knows no others."""
    if path.suffix == path.suffix.lower():
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder, path.name.lower())
        try:
            link.symlink_to(path.resolve())
        except OSError:  # Windows asks for a right of its own
            shutil.copyfile(path, link)
        yield link


def load_weights(model: Any, path: Path) -> None:
    """Read a file of weights into a model that was built."""
    check_weights(path)
    try:
        with in_small_letters(path) as known:
            model.load_weights(known)
    except Exception as error:
        raise ModelNotReadable(
            f"{path.name} doesn't fit {model.name!r}: {first_line(error)[:300]}. Give the weights of this"
            " architecture, with the same number of classes"
        ) from error


def other_head(model: Any, path: Path) -> dict[str, Any] | None:
    """The options of a builder of `keras.applications` whose model fits a file of weights that `model` doesn't.

    It has another number of classes, or no head where the numbers in the file aren't as many; `None` where there is no HDF5.
    """
    if zipfile.is_zipfile(path):
        return None
    head = next(layer for layer in reversed(model.layers) if layer.weights)
    classes = getattr(head, "units", getattr(head, "filters", 0))
    each = head.count_params() // max(classes, 1)  # weights and bias of one class
    missing = count_numbers(path) - (model.count_params() - head.count_params())
    count, rest = divmod(missing, max(each, 1))
    return {"classes": count} if count > 0 and not rest else {"include_top": False}


def count_numbers(path: Path) -> int:
    """How many weights an HDF5 file holds, without states of random numbers and of an optimizer."""
    total = 0

    def add(name: str, part: Any) -> None:
        nonlocal total
        if isinstance(part, h5py.Dataset) and part.dtype.kind == "f" and not name.startswith("optimizer"):
            total += int(part.size)

    with h5py.File(path, "r") as file:
        file.visititems(add)
    return total
