"""What can be said of a model of a JAX library without computing anything."""

from __future__ import annotations

import hashlib
import importlib.metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..protocol import Facts, Input
from .axes import EQUINOX, FIRST, LAST
from .model import JaxModel

SAMPLES = 64


def facts(model: JaxModel) -> Facts:
    """Name, input, digest of the weights, and versions."""
    versions = f"{model.library} {importlib.metadata.version(model.library)} on jax {jax.__version__}"
    return Facts(model.name, inputs(model), digest(model), versions)


def digest(model: JaxModel) -> str:
    """A hash over name, shape, type and 64 evenly spaced values of each array; `""` for a model without any."""
    hashed, any_leaf = hashlib.sha256(), False
    for name, leaf in model.leaves():
        any_leaf = True
        hashed.update(f"{name} {tuple(np.shape(leaf))} {getattr(leaf, 'dtype', '')}".encode())
        hashed.update(_sample(leaf))
    return f"sampled-sha256:{hashed.hexdigest()}" if any_leaf else ""


def _sample(leaf: Any) -> bytes:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    flat = np.asarray(leaf).reshape(-1)
    return np.ascontiguousarray(flat[:: max(1, flat.size // SAMPLES)][:SAMPLES]).tobytes()


def inputs(model: JaxModel) -> tuple[Input, ...]:
    """The input that the first convolution (or the first dense layer) takes; its sizes are free."""
    found = model.first()
    if found is None:
        # Nothing says how many channels; the axes are those of the library.
        axes = (EQUINOX if model.channels_first else LAST)[4]
        return (Input("input", axes, (None, None, None, None)),)
    _, module, shape = found
    if model.channels_first:
        channels, axes = getattr(module, "in_channels", shape[-1]), FIRST[len(shape)]
        return (Input("input", axes, tuple(channels if each == "c" else None for each in axes)),)
    channels, axes = getattr(module, "in_features", shape[-2]), LAST[len(shape)]
    groups = getattr(module, "feature_group_count", 1) if not hasattr(module, "in_features") else 1
    return (Input("input", axes, tuple(channels * groups if each == "c" else None for each in axes)),)
