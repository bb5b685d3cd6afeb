"""What comes out of a module of a JAX library, by name, and as arrays on the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..common.fault import call_model
from ..common.outputs import Aim, arrays_in, is_record, main_subpath
from ..protocol import Captured
from .state import own


def parts_of(output: Any) -> dict[str, Any]:
    """Every array in an output by its subpath: `""`, `"[0]"`, `".logits"`, `".stages[2]"`."""
    arrays = arrays_in(output, lambda value: isinstance(value, jax.Array))
    return {subpath: array for subpath, array in arrays if not jnp.issubdtype(array.dtype, jax.dtypes.extended)}


def with_arrays(output: Any, replaced: Mapping[int, Any]) -> Any:
    """The same structure with other arrays in place of those whose `id` is in `replaced`."""

    def replace(leaf: Any) -> Any:
        if id(leaf) in replaced:
            return replaced[id(leaf)]
        if is_record(leaf):
            names = [field.name for field in dataclasses.fields(leaf)]
            return dataclasses.replace(leaf, **{name: with_arrays(getattr(leaf, name), replaced) for name in names})
        return leaf

    return jax.tree.map(replace, output)


def main_part(parts: Mapping[str, Any]) -> str:
    """The part that a plain path means."""
    return main_subpath(parts, lambda array: jnp.issubdtype(array.dtype, jnp.floating))


def as_captured(value: Any) -> Captured:
    """A copy on the host: float32 where the model computes in less, or in whole numbers."""
    values = np.array(value)
    if values.dtype != np.float64 and not np.iscomplexobj(values):
        values = values.astype(np.float32, copy=False)
    return Captured(values, dtype=str(value.dtype))


def call_arguments(batch: Any, like: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A batch as the arguments of a call: an array, a tuple of arguments, or a dict of them by name; containers are copied.

    float64 becomes float32 unless the model itself (`like`, one of its arrays) is in float64.
    """

    def array(value: Any) -> Any:
        wide = isinstance(value, np.ndarray) and value.dtype == np.float64
        narrow = wide and getattr(like, "dtype", None) != np.float64
        return call_model(jnp.array, value, dtype=jnp.float32 if narrow else None, copy=True)

    def argument(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: argument(member) for name, member in value.items()}
        if type(value) in (tuple, list):
            return type(value)(map(argument, value))
        numeric = isinstance(value, jax.Array | np.ndarray | np.generic | bool | int | float | complex)
        return array(value) if numeric or hasattr(value, "__array__") else own(value, {})

    if isinstance(batch, Mapping):
        return (), {name: argument(value) for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple(map(argument, batch)), {}
    return (array(batch) if hasattr(batch, "shape") else argument(batch),), {}


def floating_leaf(tree: Any) -> Any:
    """One floating array of a tree of parameters, `None` where it has none."""
    arrays = (leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))
    return next((array for array in arrays if jnp.issubdtype(array.dtype, jnp.floating)), None)


def aim(channels_first: bool) -> Aim:
    """How a target is read from an output: classes are the last axis, in Equinox the channels of a map."""

    def main(output: Any) -> Any:
        parts = parts_of(output)
        return parts.get(main_part(parts))

    return Aim(
        is_array=lambda value: isinstance(value, jax.Array),
        main=main,
        classes=lambda array: 1 if channels_first and array.ndim > 3 else array.ndim - 1,
        take=lambda array, index, axis: jnp.take(array, index, axis=axis),
        total=jnp.sum,
    )
