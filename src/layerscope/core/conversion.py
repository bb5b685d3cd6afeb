"""Any framework's arrays as numpy on the host, and any type of number as float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np

from ..errors import BadLayout, BadOption, one_line
from .note import Note

FLOAT32 = np.dtype(np.float32)
MOST_NAMED = 12


def is_array(value: Any) -> bool:
    """Whether a value is an array of any library: it offers numpy's protocol or DLPack.

    >>> is_array(np.zeros(2)), is_array([0, 1])
    (True, False)
    """
    return any(hasattr(value, name) for name in ("__array__", "__array_interface__", "__dlpack__"))


def library_of(array: Any) -> str:
    """The library whose array it is: `"torch"` for classes derived from its tensor, `"numpy"` for Python's own numbers.

    >>> library_of(np.zeros(2)), library_of([0, 1])
    ('numpy', 'numpy')
    """
    while isinstance(array, list | tuple) and array:
        array = array[0]
    libraries = [kind.__module__.partition(".")[0] for kind in type(array).__mro__]
    return "torch" if "torch" in libraries else "numpy" if libraries[0] == "builtins" else libraries[0]


def only_map(values: Any) -> Any:
    """The one map of a mapping such as `capture` gives, or of a list of arrays such as `predict` gives of several outputs.

    Anything else is given back as it is. Raises `BadOption` for several maps, or none.

    >>> only_map({"conv1": 7}), only_map(7), only_map([np.zeros((2, 3))]).shape
    (7, 7, (2, 3))
    """
    if isinstance(values, list | tuple) and _apart(values):
        if len(values) == 1:
            return values[0]
        shapes = [str(tuple(each.shape)) for each in values]
        join = "np.stack" if len(values[0].shape) < 4 else "np.concatenate"
        joined = f"{join}(maps) makes them the images of one array, and " if len(set(shapes)) == 1 else ""
        ways = f"choose one by its number, maps[0]; {joined}compare({{'a': maps[0], 'b': maps[1]}})"
        raise _several("of shapes " + _listed(shapes), len(shapes), ways)
    if not isinstance(values, Mapping):
        return values
    if not values:
        raise BadOption("one feature map is needed, and there is none in this mapping")
    if len(values) > 1:
        names = [repr(name) for name in values]
        raise _several(_listed(names), len(names), f"choose one by its name, maps[{names[0]}]; compare()")
    return next(iter(values.values()))


def _apart(values: Sequence[Any]) -> bool:
    """Whether these are arrays each of its own, not the rows of one."""
    if not values or not all(is_array(each) and hasattr(each, "shape") for each in values):
        return False
    shapes = {tuple(each.shape) for each in values}
    return any(len(shape) > 1 for shape in shapes) or len(shapes) > 1


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (" …" if len(names) > MOST_NAMED else "")


def _several(listed: str, count: int, ways: str) -> BadOption:
    return BadOption(f"one feature map is needed, and these are {count} ({listed})", f"{ways} shows them side by side")


def require_known(layout: Any, grid: Any) -> None:
    """Raises `BadOption` for what states the axes of a bare array, given with a feature map, which knows them.

    >>> require_known(None, None)
    """
    if layout is not None:
        raise BadOption(
            f"layout={layout!r} is for a bare array, and a feature map knows its axes",
            f"give it where the map is made, ls.FeatureMap.of_array(array, {layout!r})",
        )
    if grid is not None:
        raise BadOption(f"grid={grid!r} is for a bare array", f"fm.on_grid({grid!r}) lays the tokens of a feature map")


def require_array(values: Any) -> None:
    """Raises `BadLayout` for a model and anything else that holds no numbers, with the way from a model to its maps.

    >>> require_array([0.5, 1.0])
    """
    if isinstance(values, str) or not (is_array(values) or isinstance(values, Sequence | Number)):
        raise BadLayout(
            f"a feature map or an array of numbers is needed, and this is a {type(values).__name__}",
            "the maps of a model's layers come from ls.open(model).capture(image, layer), and ls.show(model, image, layer)"
            " draws one at once",
        )


def to_host(array: Any) -> np.ndarray:
    """The array on the host: torch tensors are detached, and bfloat16, which numpy doesn't have, becomes float32.

    Masked values become NaN: what lies below a mask is no data.
    """
    if hasattr(array, "detach") and hasattr(array, "cpu"):
        array = array.detach().cpu()
        if str(getattr(array, "dtype", "")) == "torch.bfloat16":
            array = array.float()  # every value of it is one of float32
    elif hasattr(array, "__cuda_array_interface__") and hasattr(array, "get"):
        array = array.get()  # CuPy copies only where that is asked for
    elif hasattr(array, "__dlpack__") and not hasattr(array, "__array__"):
        array = np.from_dlpack(array)
    if count_masked(array) and array.dtype.kind in "biufc":
        array = array.astype(np.result_type(array.dtype, np.float32)).filled(np.nan)
    return np.asarray(array)


def count_masked(array: Any) -> int:
    """How many values of a numpy array are masked.

    >>> count_masked(np.ma.masked_equal([1, 999], 999)), count_masked(np.zeros(2))
    (1, 0)
    """
    return int(np.count_nonzero(array.mask)) if isinstance(array, np.ma.MaskedArray) else 0


def as_numpy(array: Any) -> np.ndarray:
    """An array of numbers on the host. Raises `BadLayout` for anything else."""
    try:
        values = to_host(array)
    except (
        TypeError,
        ValueError,
        RuntimeError,
        NotImplementedError,
    ) as error:  # lists of unequal lengths, sparse tensors
        raise BadLayout(
            f"this {type(array).__name__} can't be read as an array of numbers: {one_line(error)}"
        ) from error
    if values.dtype == object or values.dtype.kind in "SUMm" or values.dtype.type is np.void:
        raise BadLayout(f"an array of numbers is needed; this {type(array).__name__} has dtype {values.dtype}")
    return values


def as_float32(values: np.ndarray) -> tuple[np.ndarray, tuple[Note, ...]]:
    """`values` as float32, with a note where that loses something. No copy where they are float32 already."""
    if values.dtype == FLOAT32:
        return values, ()
    if values.dtype.kind == "c":
        return np.abs(values).astype(np.float32), (Note("magnitude", f"magnitude of {values.dtype} values"),)
    with np.errstate(over="ignore"):
        converted = values.astype(np.float32)
    if values.dtype == np.float64 and np.isinf(converted).sum() > np.isinf(values).sum():
        return converted, (Note("overflow", "values beyond float32 became ±inf"),)
    return converted, ()
