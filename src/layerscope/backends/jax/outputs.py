"""What comes out of a module of a JAX library, by name, and as arrays on the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..common.outputs import Aim, is_record, main_place, places
from ..protocol import Captured


def parts_of(output: Any) -> dict[str, Any]:
    """Every array in an output by its place: `""`, `"[0]"`, `".logits"`, `".stages[2]"`."""
    found = places(output, lambda each: isinstance(each, jax.Array))
    return {place: each for place, each in found if not jnp.issubdtype(each.dtype, jax.dtypes.extended)}


def packed(output: Any, replaced: Mapping[int, Any]) -> Any:
    """The same structure with other arrays in the place of those whose `id` is in `replaced`."""

    def put(leaf: Any) -> Any:
        if id(leaf) in replaced:
            return replaced[id(leaf)]
        if is_record(leaf):
            fields = {each.name: packed(getattr(leaf, each.name), replaced) for each in dataclasses.fields(leaf)}
            return dataclasses.replace(leaf, **fields)
        return leaf

    return jax.tree.map(put, output)


def main_part(parts: Mapping[str, Any]) -> str:
    """The part that a plain path means."""
    return main_place(parts, lambda each: jnp.issubdtype(each.dtype, jnp.floating))


def as_captured(value: Any) -> Captured:
    """A copy on the host: float32 where the model computes in less, or in whole numbers."""
    copied = np.array(value)
    if copied.dtype != np.float64 and not np.iscomplexobj(copied):
        copied = copied.astype(np.float32, copy=False)
    return Captured(copied, dtype=str(value.dtype))


def fed(batch: Any, like: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A batch as the arguments of a call: an array, a tuple of arrays, or a dict of them by name.

    float64 becomes float32 unless the model itself (`like`, one of its arrays) is in float64.
    """

    def array(value: Any) -> Any:
        wide = isinstance(value, np.ndarray) and value.dtype == np.float64
        narrow = wide and getattr(like, "dtype", None) != np.float64
        return jnp.array(value, dtype=jnp.float32 if narrow else None, copy=True)

    if isinstance(batch, Mapping):
        return (), {name: array(each) for name, each in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple(array(each) for each in batch), {}
    return (array(batch),), {}


def floating_leaf(tree: Any) -> Any:
    """One floating array of a tree of parameters, `None` where it has none."""
    leaves = jax.tree.leaves(tree)
    return next((each for each in leaves if hasattr(each, "dtype") and jnp.issubdtype(each.dtype, jnp.floating)), None)


def aim(channels_first: bool) -> Aim:
    """What a target means: classes are the last axis, in Equinox the channels of a map."""

    def main(output: Any) -> Any:
        parts = parts_of(output)
        return parts.get(main_part(parts))

    return Aim(
        is_array=lambda each: isinstance(each, jax.Array),
        main=main,
        classes=lambda each: 1 if channels_first and each.ndim > 3 else each.ndim - 1,
        take=lambda each, index, axis: jnp.take(each, index, axis=axis),
        total=jnp.sum,
    )
