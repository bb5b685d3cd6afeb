"""What a run may change though it is no array of JAX: numpy arrays, containers, and objects of the user's own classes."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import numpy as np

CHANGING = (list, dict, set, bytearray, deque, np.ndarray)
# What they define can't change, or is theirs.
LIBRARIES = frozenset(
    {
        "_io",
        "builtins",
        "chex",
        "equinox",
        "flax",
        "functools",
        "jax",
        "jaxlib",
        "jaxtyping",
        "ml_dtypes",
        "numpy",
        "optax",
    }
    | {"threading", "types", "typing", "weakref"}
)


def own(value: Any, memo: dict[int, Any]) -> Any:
    """A copy of what a run may change, `value` itself of all else; `memo` holds what was copied before, by identity."""
    kind = type(value)
    if kind not in CHANGING and kind.__module__.partition(".")[0] in LIBRARIES:
        return value
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # locks, handles: the class decides what it raises. They are shared
        return value
