"""Opening Keras models: from a file, or from `keras.applications` by name. Never from the network."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

# keras.applications asks this module for its weights; nothing public says where the file would be
from keras.src.utils import file_utils

from ...errors import ModelNotReadable, RandomWeights, first_line, near
from ...files import open_regular
from .files import keras_version, load_weights, refuse_weights_only, trust_required

# Keras 2 wrote these under modules that Keras 3 doesn't have
OF_KERAS_2 = ("Functional", "Sequential", "Model", "TFOpLambda", "SlicingOpLambda")


def load(source: Path, weights: Path | None = None, trust: bool = False) -> Any:
    """The model in a `.keras` or `.h5` file, not compiled, with `weights` read into it where they are given.

    Raises `TrustRequired` where the file holds code, `ModelNotReadable` with what to do instead for everything else.
    """
    open_regular(source, what="model", error=ModelNotReadable).close()
    refuse_weights_only(source)
    try:
        with warnings.catch_warnings():
            # no capture needs the optimizer
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer", UserWarning)
            model = keras.saving.load_model(source, compile=False, safe_mode=not trust)
    except Exception as error:
        raise _reason(source, error) from error
    if weights is not None:
        load_weights(model, weights)
    return model


def from_reference(name: str, weights: Path | None = None) -> Any:
    """The model `keras.applications.NAME`, with the weights of a file, else those in Keras's folder, else random.

    Random weights come with a `RandomWeights` warning. Raises `ModelNotReadable` with near names.
    """
    builders = _builders()
    if name not in builders:
        raise ModelNotReadable(
            f"keras.applications has no {name!r}{near(name, builders) or '.'} There are {', '.join(builders)}"
        )
    if weights is not None:
        model = builders[name](weights=None)
        load_weights(model, weights)
        return model
    try:
        return _with_cached_weights(builders[name])
    except _NotCached as missing:
        warnings.warn(
            f"keras:{name} has random weights: {missing} isn't there, and nothing is downloaded to show a picture. Give"
            f" weights=, or fetch them once with keras.applications.{name}()",
            RandomWeights,
            stacklevel=2,
        )
        return builders[name](weights=None)


class _NotCached(BaseException):
    """The weights aren't on this machine. Keras must not wrap it."""


def _builders() -> dict[str, Callable[..., Any]]:
    """The functions of `keras.applications` that build models, by name."""
    return {
        name: getattr(keras.applications, name)
        for name in dir(keras.applications)
        if name[0].isupper() and callable(getattr(keras.applications, name))
    }


def _with_cached_weights(build: Callable[..., Any]) -> Any:
    """A model of `keras.applications` with its weights from disk; raises `_NotCached` where they would be downloaded."""

    def cached(name: str, *_: Any, cache_subdir: str = "datasets", **__: Any) -> str:
        path = Path(file_utils.config.keras_home(), cache_subdir, name)
        if not path.exists():
            raise _NotCached(path)
        return str(path)

    original = file_utils.get_file
    file_utils.get_file = cached
    try:
        return build(weights="imagenet")
    finally:
        file_utils.get_file = original


def _reason(source: Path, error: Exception) -> ModelNotReadable:
    """The error for a file that Keras can't read; only its message tells why."""
    unknown = re.search(r"(?:Could not locate \w+|Unknown \w+:?|Could not deserialize \w+) '([^']+)'", str(error))
    if not unknown and re.search("lambda", str(error), re.IGNORECASE):
        return trust_required(source)
    version = keras_version(source)
    if _is_newer(version):
        return ModelNotReadable(
            f"{source.name} was written by Keras {version} and this is {keras.__version__}, which can't read it:"
            f" {first_line(error)[:300]}. Upgrade Keras (pip install -U keras), or save the model with this version"
        )
    if unknown and unknown[1] not in OF_KERAS_2 and not hasattr(keras.layers, unknown[1]):
        return ModelNotReadable(
            f"{source.name} needs the custom object {unknown[1]!r}: decorate it with"
            " keras.saving.register_keras_serializable() and import its module before opening the file, or build the"
            " model in Python and pass it"
        )
    if unknown or version.startswith("2"):
        return ModelNotReadable(
            f"{source.name} can't be read by Keras {keras.__version__}: {first_line(error)[:300]}. A file that tf.keras 2"
            " wrote is read by tf_keras (pip install tf_keras): tf_keras.models.load_model(file)"
        )
    return ModelNotReadable(f"{source.name} can't be read: {first_line(error)[:300]}")


def _is_newer(version: str) -> bool:
    """Whether a version of Keras is above the one that runs, by its first two numbers."""
    ours, theirs = ([int(number) for number in re.findall(r"\d+", text)[:2]] for text in (keras.__version__, version))
    return theirs > ours
