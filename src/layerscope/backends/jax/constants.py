"""Numbers that a traced JAX model computes from nothing but its own code, such as the weights of a resize."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from ...core.receptive_field import Field, Sampling, resample

LARGEST = 1 << 20  # of arrays that are computed here
SMALLEST = 1e-6  # of weights that count


def _iota(*, dtype: Any, shape: Sequence[int], dimension: int, **_: Any) -> np.ndarray:
    return np.indices(shape, sparse=True)[dimension].astype(dtype) * np.ones(shape, dtype)


def _spread(array: np.ndarray, *, shape: Sequence[int], broadcast_dimensions: Sequence[int], **_: Any) -> np.ndarray:
    sizes = dict(zip(broadcast_dimensions, np.shape(array), strict=True))
    return np.broadcast_to(np.reshape(array, [sizes.get(dim, 1) for dim in range(len(shape))]), shape)


# The operations of which `jax.image` and indices are made, in numpy, which compiles nothing; those without parameters by name.
SAME_NAME = {"abs", "floor", "ceil", "round", "sign", "sin", "cos"}
OTHER_NAME = (
    {"add": "add", "sub": "subtract", "mul": "multiply", "max": "maximum", "min": "minimum", "neg": "negative"}
    | {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
    | {"and": "bitwise_and", "or": "bitwise_or", "copy": "asarray"}
)
NUMPY: dict[str, Callable[..., Any]] = {
    "iota": _iota,
    "broadcast_in_dim": _spread,
    "convert_element_type": lambda array, *, new_dtype, **_: np.asarray(array).astype(new_dtype),
    "reduce_sum": lambda array, *, axes, **_: np.sum(array, axis=axes),
    "select_n": lambda which, no, yes, **_: np.where(which, yes, no),
    "reshape": lambda array, *, new_sizes, **_: np.reshape(array, new_sizes),
    "squeeze": lambda array, *, dimensions, **_: np.squeeze(array, tuple(dimensions)),
    "expand_dims": lambda array, *, dimensions, **_: np.expand_dims(array, tuple(dimensions)),
    "slice": lambda array, *, start_indices, limit_indices, strides, **_: np.asarray(array)[
        tuple(map(slice, start_indices, limit_indices, strides or [1] * len(start_indices)))
    ],
    "integer_pow": lambda array, *, y, **_: array**y,
}


def evaluate(name: str, params: Mapping[str, Any], values: Sequence[Any], size: int) -> np.ndarray | None:
    """What an operation gives for these values, `None` where one isn't known or the result is large."""
    if any(value is None for value in values) or size > LARGEST:
        return None
    if name == "div":
        whole = np.issubdtype(np.result_type(*values), np.integer)
        return np.asarray(np.floor_divide(*values) if whole else np.divide(*values))
    plain = OTHER_NAME.get(name) or (name if name in SAME_NAME else None)
    if plain is None and name not in NUMPY:
        return None
    with np.errstate(all="ignore"):
        try:
            return np.asarray(getattr(np, plain)(*values) if plain else NUMPY[name](*values, **params))
        except (
            TypeError,
            ValueError,
        ):  # types that numpy doesn't have, or a form of an operation that isn't written here
            return None


def reading(weights: np.ndarray) -> Callable[[Field], Field] | None:
    """The rule for units that are sums of those before with these weights `[before, after]`, as a resize has them.

    `None` where they don't lie evenly.
    """
    before, after = weights.shape
    used = np.abs(weights) > SMALLEST
    rows, units = np.arange(before), np.arange(after)
    inside = used.any(0) & ~used[0] & ~used[-1]
    if inside.sum() < 2 or not np.allclose(weights[:, inside].sum(0), 1, atol=1e-3):
        return None
    means = (rows @ weights)[inside]
    ratio, shift = (Fraction(float(number)).limit_denominator(512) for number in np.polyfit(units[inside], means, 1))
    resized = Sampling.by_centres(Fraction(before, after))
    fits = (sampling for sampling in (resized, Sampling(ratio, shift)) if _fits(sampling, units[inside], means))
    sampling = next(fits, None)
    if sampling is None:
        return None
    places = units * float(sampling.ratio) + float(sampling.shift)
    reach = float(np.abs(rows[:, None] - places)[used].max())
    spread = max(1.0, float(sampling.ratio))
    kinds = sorted(
        [(1.0, "linear", False), (spread, "linear", True), (2.0, "cubic", False), (2 * spread, "cubic", True)]
    )
    kind = next(((mode, wide) for most, mode, wide in kinds if reach <= most + 1e-4), None)
    if kind is None:
        return None
    return partial(resample, before=before, after=after, sampling=sampling, mode=kind[0], antialias=kind[1])


def _fits(sampling: Sampling, units: np.ndarray, means: np.ndarray) -> bool:
    places = units * float(sampling.ratio) + float(sampling.shift)
    return bool(np.abs(means - places).max() < 0.25 * max(1.0, float(sampling.ratio)))
