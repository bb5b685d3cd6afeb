"""What a Keras file holds, read without Keras: a model or weights alone, who wrote it, and whether there is code in it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py

from ...errors import ModelNotReadable, TrustRequired, first_line
from ...files import open_regular


def refuse_weights_only(source: Path) -> None:
    """Raise `ModelNotReadable` for what isn't a model file or holds weights alone."""
    advice = "build the model in Python and give this file as its weights: weights="
    if source.name.endswith((".weights.h5", ".weights.json")):
        raise ModelNotReadable(f"{source.name} holds weights only, no model: {advice}")
    if source.suffix == ".keras":
        if not zipfile.is_zipfile(source):
            raise ModelNotReadable(f"{source.name} is not a Keras model file (not a zip archive)")
        with zipfile.ZipFile(source) as archive:
            if "config.json" not in archive.namelist():
                raise ModelNotReadable(f"{source.name} is not a Keras model file: it has no config.json")
        return
    if not h5py.is_hdf5(source):
        raise ModelNotReadable(f"{source.name} is not a Keras model file (not HDF5)")
    with h5py.File(source, "r") as file:
        if "model_config" not in file.attrs:
            raise ModelNotReadable(f"{source.name} holds weights only, no model: {advice}")


def keras_version(source: Path) -> str:
    """The version of Keras that wrote the file, `"2"` for an HDF5 file that doesn't say, which only old ones do."""
    if source.suffix == ".keras":
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
            return str(json.loads(archive.read("metadata.json"))["keras_version"]) if "metadata.json" in names else ""
    with h5py.File(source, "r") as file:
        return str(file.attrs.get("keras_version", "2"))


def holds_code(config: Any) -> bool:
    """Whether a model's configuration holds a Lambda layer, or Python code as an argument of another one."""
    if isinstance(config, dict):
        if config.get("class_name") in ("Lambda", "__lambda__") or config.get("function_type") == "lambda":
            return True
        return any(map(holds_code, config.values()))
    return isinstance(config, list) and any(map(holds_code, config))


def trust_required(source: Path) -> TrustRequired:
    """The error for a file with code in it."""
    return TrustRequired(
        f"{source.name} holds a Lambda layer, whose code would run: open it with trust=True (--trust) if you know where the"
        " file comes from"
    )


def load_weights(model: Any, path: Path) -> None:
    """Read a file of weights into a model that was built."""
    open_regular(path, what="weights", error=ModelNotReadable).close()
    try:
        model.load_weights(path)
    except Exception as error:
        raise ModelNotReadable(
            f"{path.name} doesn't fit {model.name!r}: {first_line(error)[:300]}. Give the weights of this"
            " architecture, with the same number of classes"
        ) from error
