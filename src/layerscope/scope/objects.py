"""Layers that are given as objects of the user's model: `model.layers[3]`, `model.features[5]`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.layer import Layer
from ..errors import LayerNotFound

if TYPE_CHECKING:
    from .scope import Scope


def by_path(scope: Scope, layers: Any) -> Any:
    """A choice of layers, in which each object of the model is the `Layer` with its path; the rest stays as it is.

    Raises `LayerNotFound` for a layer of the framework that is no part of the model.
    """
    if isinstance(layers, str | int | Layer):
        return layers
    layers = layers.tolist() if isinstance(layers, np.ndarray | np.generic) else layers
    one = _by_path(scope, layers)
    if one is not layers or callable(layers) or not isinstance(layers, Iterable):
        return one
    if hasattr(layers, "dtype"):  # a tensor, which may have no members yet
        return [layers]
    return [_by_path(scope, choice) for choice in layers]


def _by_path(scope: Scope, choice: Any) -> Any:
    if isinstance(choice, str | int | Layer | list | tuple) or inspect.isroutine(choice):
        return choice
    reader, kind = scope._reader, type(choice).__name__
    path = reader.path_of(scope.model, choice)
    if path is not None:
        return Layer(path, kind)
    if not isinstance(choice, type) and reader.owns(choice):
        raise LayerNotFound(
            f"this {kind} isn't found among the layers of {scope.name}",
            "give the object that is part of the model itself, or the layer's name, as text",
        )
    return choice
