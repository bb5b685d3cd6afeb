"""Opening what tf_keras and TensorFlow 2 up to 2.15 wrote: `.h5`, `.keras`, and SavedModel folders with Keras metadata."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import tf_keras

# the metadata that says which Keras layers a SavedModel holds; nothing public reads it
from tf_keras.protobuf import saved_metadata_pb2

from ...errors import ModelNotReadable, first_line
from ...files import open_regular
from ..keras.files import holds_code, load_weights, refuse_weights_only, trust_required


def load(source: Path, weights: Path | None = None, trust: bool = False) -> Any:
    """The model in a file or a SavedModel folder, not compiled, with `weights` read into it where they are given.

    tf_keras's own safe mode covers `.keras` files alone, so code is looked for here, before anything is loaded. Raises
    `TrustRequired` where there is some, `ModelNotReadable` with what to do instead for everything else.
    """
    if source.is_dir():
        _refuse_serving_only(source)
    else:
        open_regular(source, what="model", error=ModelNotReadable).close()
        refuse_weights_only(source)
    try:
        code = any(map(holds_code, _configurations(source)))
    except Exception as error:
        # a damaged file of JSON, zip, HDF5 or protobuf: each raises its own
        raise ModelNotReadable(f"{source.name} can't be read: {first_line(error)[:300]}") from error
    if code and not trust:
        raise trust_required(source)
    try:
        model = tf_keras.models.load_model(source, compile=False, safe_mode=not trust)
    except Exception as error:
        raise ModelNotReadable(
            f"{source.name} can't be read by tf_keras {tf_keras.__version__}: {first_line(error)[:300]}"
        ) from error
    if weights is not None:
        load_weights(model, weights)
    return model


def _refuse_serving_only(source: Path) -> None:
    """Raise `ModelNotReadable` for a folder that holds no Keras layers."""
    if not (source / "saved_model.pb").exists():
        raise ModelNotReadable(f"{source.name} is a folder without saved_model.pb, so it isn't a SavedModel")
    if not (source / "keras_metadata.pb").exists():
        raise ModelNotReadable(
            f"{source.name} is a SavedModel without Keras layers (a tf.Module, or written by model.export() to be served):"
            " its inside is one compiled graph, which keras.layers.TFSMLayer runs as a black box. Open the original model"
            " (.keras, .h5 or the code that builds it), or convert the folder to ONNX (tf2onnx) or TFLite and open that"
        )


def _configurations(source: Path) -> Iterator[Any]:
    """The configurations of the layers that a file would build."""
    if source.is_dir():
        metadata = saved_metadata_pb2.SavedMetadata()
        metadata.ParseFromString((source / "keras_metadata.pb").read_bytes())
        for node in metadata.nodes:
            yield json.loads(node.metadata)
    elif source.suffix == ".keras":
        with zipfile.ZipFile(source) as archive:
            yield json.loads(archive.read("config.json"))
    else:
        with h5py.File(source, "r") as file:
            yield json.loads(file.attrs["model_config"])
