"""Opening what tf_keras and TensorFlow 2 up to 2.15 wrote: `.h5`, `.keras`, and SavedModel folders with Keras metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tf_keras

# what files call the built-in layers, older names included; nothing public says so
from tf_keras.src.layers.serialization import get_builtin_layer

from ...errors import ModelNotReadable
from ...files import parsing
from ..formats import trust_required
from ..keras.allowed import Names, refusal
from ..keras.files import Contents, in_small_letters, load_weights, read_contents
from .operations import operation


def load(source: Path, weights: Path | None = None, trust: bool = False) -> Any:
    """The model in a file or a SavedModel folder, not compiled, with `weights` read into it where they are given.

    Raises `TrustRequired` where the file or folder holds code, or a class that tf_keras would import;
    `ModelNotReadable` with what to do instead for everything else.
    """
    if source.is_dir():
        _refuse_serving_only(source)
        if not trust:
            raise trust_required(
                source, "a TensorFlow graph", "save the model as .keras or .h5, or convert it to ONNX or TFLite"
            )
    else:
        contents = read_contents(source)
        if contents.version.partition(".")[0] not in ("", "1", "2"):
            raise ModelNotReadable(
                f"{source.name} was written by Keras {contents.version}, which tf_keras doesn't read"
            )
        if not trust:
            _check(source, contents)
    what = f"a file of tf_keras {tf_keras.__version__}"
    with parsing(source, what, ModelNotReadable), in_small_letters(source) as known:
        model = tf_keras.models.load_model(known, compile=False, safe_mode=not trust)
    if weights is not None:
        load_weights(model, weights)
    return model


def _check(source: Path, contents: Contents) -> None:
    """Raise `TrustRequired` where the configuration holds code or names what tf_keras doesn't have."""
    bases = (
        *(tf_keras.layers.Layer, tf_keras.initializers.Initializer, tf_keras.regularizers.Regularizer),
        *(tf_keras.constraints.Constraint, tf_keras.losses.Loss, tf_keras.optimizers.Optimizer),
        *(tf_keras.optimizers.legacy.Optimizer, tf_keras.optimizers.schedules.LearningRateSchedule),
        tf_keras.mixed_precision.Policy,
    )
    refused = refusal(contents.config, Names(tf_keras, bases, get_builtin_layer, operation))
    if refused is not None:
        registered = "import the module that registers it first (--import, register_keras_serializable)"
        raise trust_required(source, refused.holds, "" if refused.runs else registered)


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
