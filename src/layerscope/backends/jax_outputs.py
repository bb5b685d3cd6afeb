"""What comes out of a module of a JAX library, by name, and as arrays on the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import BadOption, GradientsUnavailable
from . import Captured, Target

MAIN_NAMES = ("logits", "last_hidden_state", "out", "output")


def parts_of(output: Any, name: str = "", depth: int = 0) -> dict[str, Any]:
    """Every array in an output by its place: `""`, `"[0]"`, `".logits"`, `".stages[2]"`."""
    if isinstance(output, jax.Array):
        return {} if jnp.issubdtype(output.dtype, jax.dtypes.extended) else {name: output}
    if depth > 4:
        return {}
    members: list[tuple[str, Any]] = []
    if isinstance(output, Mapping):
        members = [(f".{key}", each) for key, each in output.items()]
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        members = [(f".{key}", each) for key, each in zip(output._fields, output, strict=True)]
    elif isinstance(output, tuple | list):
        members = [(f"[{at}]", each) for at, each in enumerate(output)]
    elif _is_dataclass(output):
        members = [(f".{each.name}", getattr(output, each.name)) for each in dataclasses.fields(output)]
    found: dict[str, Any] = {}
    for suffix, each in members:
        found.update(parts_of(each, name + suffix, depth + 1))
    return found


def packed(output: Any, replaced: Mapping[int, Any]) -> Any:
    """The same structure with other arrays in the place of those whose `id` is in `replaced`."""

    def put(leaf: Any) -> Any:
        if id(leaf) in replaced:
            return replaced[id(leaf)]
        if _is_dataclass(leaf):
            fields = {each.name: packed(getattr(leaf, each.name), replaced) for each in dataclasses.fields(leaf)}
            return dataclasses.replace(leaf, **fields)
        return leaf

    return jax.tree.map(put, output)


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and not hasattr(value, "shape")


def main_part(parts: Mapping[str, Any]) -> str:
    """The part that a plain path means: `.logits` and its like where there is one, else the first floating array."""
    for known in MAIN_NAMES:
        if f".{known}" in parts:
            return f".{known}"
    floating = [part for part, each in parts.items() if jnp.issubdtype(each.dtype, jnp.floating)]
    return next(iter(floating or parts), "")


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


def first_image(batch: Any) -> Any:
    """The batch cut to its first image."""
    if isinstance(batch, Mapping):
        return {name: first_image(each) for name, each in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple(first_image(each) for each in batch)
    return batch[:1] if getattr(batch, "ndim", 0) else batch


def floating_leaf(tree: Any) -> Any:
    """One floating array of a tree of parameters, `None` where it has none."""
    leaves = jax.tree.leaves(tree)
    return next((each for each in leaves if hasattr(each, "dtype") and jnp.issubdtype(each.dtype, jnp.floating)), None)


def aim_at(output: Any, target: Target, channels_first: bool = False) -> Any:
    """The number to differentiate: one class's score of the main output summed over the images, or what a function gives."""
    if callable(target):
        aim = target(output)
        if not isinstance(aim, jax.Array):
            raise GradientsUnavailable(
                f"the target function gave a {type(aim).__name__}; it must give an array computed from the output"
            )
        if aim.ndim > 1:
            raise BadOption(
                f"the target function gave numbers of shape {tuple(aim.shape)}; it must give one number, or one for each image"
            )
        return aim.sum()
    parts = parts_of(output)
    main = parts.get(main_part(parts))
    if main is None or main.ndim < 2:
        raise GradientsUnavailable(
            "the model's output has no classes to aim at: give target= as a function of the output"
        )
    axis = 1 if channels_first and main.ndim > 3 else main.ndim - 1
    count = main.shape[axis]
    if not -count <= target < count:
        raise BadOption(f"target={target}: the model's output has {count} classes, 0 to {count - 1}")
    return jnp.take(main, target % count, axis=axis).sum()
