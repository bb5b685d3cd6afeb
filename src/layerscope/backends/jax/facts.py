"""What is known of a model of a JAX library without computing anything."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..common.axes import CHANNELS_FIRST, CHANNELS_LAST, PICTURES_FIRST
from ..common.facts import sample, sampled_digest
from ..protocol import Facts, Input
from .evidence import resizes
from .model import JaxModel


def facts(model: JaxModel) -> Facts:
    """Name, input, digest of the weights, and versions."""
    versions = f"{model.library} {importlib.metadata.version(model.library)} on jax {jax.__version__}"
    taken = inputs(model)
    return Facts(model.name, taken, digest(model), versions, resizes=resizes(model, taken))


def digest(model: JaxModel) -> str:
    """A hash over name, shape, type and 64 evenly spaced values of each array; `""` for a model without any."""
    return sampled_digest(
        (f"{name} {tuple(np.shape(leaf))} {getattr(leaf, 'dtype', '')}", _sample(leaf)) for name, leaf in model.leaves()
    )


def _sample(leaf: Any) -> bytes:
    """The bytes of 64 evenly spaced values of an array."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return bytes(sample(np.asarray(leaf).reshape(-1)).tobytes())


def inputs(model: JaxModel) -> tuple[Input, ...]:
    """The input that the first convolution (or the first dense layer) takes; its sizes are free."""
    layer = model.first_layer()
    if layer is None:
        # Nothing tells how many channels; the axes are those of the library.
        axes, channels = (PICTURES_FIRST if model.channels_first else CHANNELS_LAST)[4], None
    elif model.channels_first:
        axes, channels = CHANNELS_FIRST[len(layer.shape)], getattr(layer.module, "in_channels", layer.shape[-1])
    else:
        axes, channels = CHANNELS_LAST[len(layer.shape)], getattr(layer.module, "in_features", None)
        if channels is None:
            channels = layer.shape[-2] * getattr(layer.module, "feature_group_count", 1)
    return (Input("input", axes, tuple(channels if letter == "c" else None for letter in axes)),)
