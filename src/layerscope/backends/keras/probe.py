"""In which order a layer that computes with its framework's own functions gives the axes of what it is given.

Neither Keras nor sizes tell that of a square picture: a row of the input is changed, and the layer is called once more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .engine import Engine, Part, is_numeric
from .tree import is_a, is_library_class
from .watch import Call, silent

PEAK = 1.5  # how much more must change in one place of an axis, against the mean, than in one of any other axis


def order_of(engine: Engine, call: Call, source: Any, part: Part) -> tuple[int, ...] | None:
    """The axis of `source` that each axis of a part of the output is, where they are in another order; else `None`."""
    output = part.tensor
    shape, after = tuple(source.shape), tuple(output.shape)
    own = not is_library_class(type(call.layer)) or is_a(call.layer, "Lambda")
    fits = sorted(shape) == sorted(after) and len(shape) > 2 and shape[0] == after[0] and min(shape[1:]) > 1
    if not own or not fits or not call.location.path or "float" not in str(source.dtype) or not is_numeric(output):
        return None
    order = [0] * len(shape)
    alike = [axis for axis in range(1, len(shape)) if shape[1:].count(shape[axis]) > 1]
    for axis in [*alike, *(axis for axis in range(1, len(shape)) if axis not in alike)]:
        # where others were told, an axis of a size of its own is known by that
        known = alike and axis not in alike
        place = after.index(shape[axis], 1) if known else _place(engine, call, source, part, axis=axis)
        if place is None or order[place]:
            return None
        if axis == place and shape == after and len(alike) == 2 and not known:
            return None  # as nearly all: the axis stays, and so do the others
        order[place] = axis
    return tuple(order) if tuple(shape[axis] for axis in order) == after else None


def _place(engine: Engine, call: Call, source: Any, part: Part, *, axis: int) -> int | None:
    """The axis of the output along which a change in the middle of an axis of the input stays together."""
    values = np.array(engine.as_numpy(source), np.float32)
    row = (slice(None),) * axis + (values.shape[axis] // 2,)
    values[row] += np.random.default_rng(0).uniform(0.5, 1, values[row].shape) * max(float(np.abs(values).max()), 1.0)
    changed = engine.tensor_like(values, source)
    leaves = [changed if leaf is source else leaf for leaf in engine.flatten(call.arguments)]
    args, kwargs = engine.pack(call.arguments, leaves)
    try:
        with silent(call.layer):
            parts = engine.parts_of(call.layer(*args, **kwargs))
    except Exception:  # whatever the user's own code does with a tensor that it didn't expect
        return None
    again = next((other.tensor for other in parts if other.subpath == part.subpath), None)
    if again is None or again.shape != part.tensor.shape:
        return None
    difference = np.abs(
        np.subtract(*(np.asarray(engine.as_numpy(tensor), np.float32) for tensor in (again, part.tensor)))
    )
    if not np.isfinite(difference).all() or not difference.any():
        return None
    peaks = {
        dim: _peak(np.moveaxis(difference, dim, 0).reshape(size, -1).sum(1))
        for dim, size in enumerate(difference.shape)
        if dim and size == source.shape[axis]
    }
    best = max(peaks, key=peaks.__getitem__)
    second = max((peak for dim, peak in peaks.items() if dim != best), default=1.0)
    return best if peaks[best] > PEAK * second else None


def _peak(profile: np.ndarray) -> float:
    return float(profile.max() / profile.mean())
