"""Opening Keras models: from a file, or from `keras.applications` by name. Never from the network."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import keras

# keras.applications asks this module for its weights; nothing public says where the file would be
from keras.src.utils import file_utils

from ...errors import ModelNotReadable, RandomWeights, first_line
from ...surface import by_surface, option
from ..formats import trust_required
from .allowed import Names, refusal
from .applications import require_name
from .files import Contents, count_numbers, in_small_letters, load_weights, other_head, read_contents
from .hdf5 import WHAT, check_weights

OF_APPLICATIONS = "keras.src.applications"

# Keras 2 wrote these under modules that Keras 3 doesn't have
OF_KERAS_2 = ("Functional", "Sequential", "Model", "TFOpLambda", "SlicingOpLambda")


def load(source: Path, weights: Path | None = None, trust: bool = False) -> Any:
    """The model in a `.keras` or `.h5` file, not compiled, with `weights` read into it where they are given.

    Raises `TrustRequired` where the file holds code, `ModelNotReadable` with what to do instead for everything else.
    """
    contents = read_contents(source)
    if not trust:
        _check(source, contents)
    try:
        with warnings.catch_warnings(), in_small_letters(source) as known:
            # no capture needs the optimizer
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer", UserWarning)
            model = keras.saving.load_model(known, compile=False, safe_mode=not trust)
    except Exception as error:
        unknown = re.search(r"(?:Could not locate \w+|Unknown \w+:?|Could not deserialize \w+) '([^']+)'", str(error))
        raise _reason(source, contents.version, unknown[1] if unknown else "", first_line(error)) from error
    if weights is not None:
        load_weights(model, weights)
    return model


def _check(source: Path, contents: Contents) -> None:
    """Raise `TrustRequired` where the configuration holds code, `ModelNotReadable` where a class in it isn't known."""
    bases = (
        *(keras.Layer, keras.Operation, keras.initializers.Initializer, keras.regularizers.Regularizer),
        *(keras.constraints.Constraint, keras.losses.Loss, keras.metrics.Metric, keras.optimizers.Optimizer),
        *(keras.optimizers.schedules.LearningRateSchedule, keras.dtype_policies.DTypePolicy),
        *(keras.dtype_policies.DTypePolicyMap, keras.quantizers.Quantizer, keras.random.SeedGenerator),
        getattr(keras.quantizers, "QuantizationConfig", keras.quantizers.Quantizer),  # since Keras 3.13
    )
    refused = refusal(contents.config, Names(keras, bases))
    if refused is None:
        return
    if refused.runs:
        raise trust_required(source, refused.holds)
    raise _reason(source, contents.version, refused.name, f"it knows no {refused.name!r}")


def from_reference(name: str, weights: Path | None = None) -> Any:
    """The model `keras.applications.NAME`, with the weights of a file, else those in Keras's folder, else random.

    Random weights come with a `RandomWeights` warning. Raises `ModelNotReadable` with near names.
    """
    builders = _builders()
    name = {builder.lower(): builder for builder in builders}.get(name.lower(), name)
    require_name(name, [*builders])
    if weights is not None:
        return _with_weights(builders[name], weights)
    try:
        return _with_cached_weights(builders[name])
    except _NotCached as missing:
        warnings.warn(
            f"keras:{name} has random weights: {missing} isn't there, and nothing is downloaded to show a picture. Give"
            f" {option('weights')}, or fetch them once with keras.applications.{name}()",
            RandomWeights,
            stacklevel=2,
        )
        return builders[name](weights=None)


def _with_weights(build: Callable[..., Any], weights: Path) -> Any:
    """A model with the weights of a file, which may have no head ("notop"), or one for another number of classes."""
    model = build(weights=None)
    try:
        load_weights(model, weights)
        return model
    except ModelNotReadable as error:
        head = other_head(model, weights)
        if head is not None:
            with suppress(ModelNotReadable):
                other = build(weights=None, **head)
                load_weights(other, weights)
                # Weights without a place would be left out in silence.
                if other.count_params() == count_numbers(weights):
                    return other
        raise error


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
        check_weights(path)
        return str(path)

    module = sys.modules[build.__module__]
    return _copies(module, SimpleNamespace(get_file=cached))[build.__name__](weights="imagenet")


def _copies(module: ModuleType, files: SimpleNamespace) -> dict[str, Any]:
    """What a module of `keras.applications` holds, its functions copied, so that they ask `files` for weights.

    Nothing is replaced in Keras itself, where another thread would see it.
    """
    names = {**vars(module), "file_utils": files}
    for name, value in vars(module).items():
        if isinstance(value, FunctionType) and value.__globals__ is vars(module):
            names[name] = FunctionType(value.__code__, names, name, value.__defaults__, value.__closure__)
            names[name].__kwdefaults__ = value.__kwdefaults__
        elif isinstance(value, ModuleType) and value.__name__.startswith(f"{OF_APPLICATIONS}."):
            names[name] = SimpleNamespace(**_copies(value, files))
    return names


def _reason(source: Path, version: str, unknown: str, why: str) -> ModelNotReadable:
    """The error for a file of this version that Keras can't read: where it is a class, `unknown`, that Keras doesn't know."""
    why = why[:300]
    if _is_newer(version):
        return ModelNotReadable(
            f"{source.name} was written by Keras {version} and this is {keras.__version__}, which can't read it:"
            f" {why}. Upgrade Keras (pip install -U keras), or save the model with this version"
        )
    if unknown and unknown not in OF_KERAS_2 and not hasattr(keras.layers, unknown):
        return ModelNotReadable(
            f"{source.name} needs the custom object {unknown!r}: decorate it with"
            " keras.saving.register_keras_serializable() and import its module before opening the file (--import MODULE), or"
            " give a function that builds the model, 'package.module:factory', with its weights as"
            f" {by_surface('weights= (--weights)', '--weights')}"
        )
    if unknown or version.startswith("2"):
        return ModelNotReadable(
            f"{source.name} can't be read by Keras {keras.__version__}: {why}. A file that tf.keras 2"
            " wrote is read by tf_keras (pip install tf_keras): tf_keras.models.load_model(file)"
        )
    return ModelNotReadable(f"{source.name} can't be read as {WHAT}: {why}")


def _is_newer(version: str) -> bool:
    """Whether a version of Keras is above the one that runs, by its first two numbers."""
    ours, theirs = ([int(number) for number in re.findall(r"\d+", text)[:2]] for text in (keras.__version__, version))
    return theirs > ours
