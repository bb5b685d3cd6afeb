"""The inputs of a graph file: what each takes, a batch read by them, and codes of a few bits: `(code - zero point) · scale`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ModelNotReadable
from ...safe_text import counted
from ..protocol import Input
from .walk import Name

# What the range of a quantised input stands for, where it is exactly one of these: (low, high) -> recipe.
RANGES = {(0.0, 1.0): "unit", (-1.0, 1.0): "tf", (0.0, 255.0): "raw"}


@dataclass(frozen=True)
class GraphInput:
    """An input of a graph: its sizes (`None` for free ones, or altogether where even the rank is free) and its type.

    `codes` are scale and zero point of a quantised input, by which floats become its codes.

    >>> str(GraphInput("x", (None, 8), "int8", (0.1, 0)))
    'int8[any, 8] or float32 to be quantised'
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    codes: tuple[Any, Any] | None = None

    def __str__(self) -> str:
        sizes = (
            "" if self.shape is None else f"[{', '.join('any' if size is None else str(size) for size in self.shape)}]"
        )
        return self.dtype + sizes + " or float32 to be quantised" * (self.codes is not None)

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether an array of that shape can go in, whatever its number of images."""
        if self.shape is None:
            return True
        same = (size in (wanted, None) for size, wanted in zip(self.shape[1:], shape[1:], strict=False))
        return len(shape) == len(self.shape) and all(same)

    def read(self, value: Any) -> np.ndarray:
        """An array of a batch in the input's own type. Only one kind of float is turned into another, or into codes."""
        array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
        floats, fits = array.dtype.kind == "f", self.fits(array.shape)
        if fits and floats and self.codes is not None:
            return encode(array, *self.codes, self.dtype)
        if fits and self.dtype == "string" and array.dtype.kind in "OUT":
            return array.astype(object)
        if not fits or not (array.dtype == self.dtype or (floats and self.dtype in ("float16", "float32", "float64"))):
            raise ModelNotReadable(f"input {self.name!r} takes {self}; the batch is {array.dtype}{list(array.shape)}")
        return np.asarray(array, self.dtype, order="C")

    def fact(self, axes: str) -> Input:
        """The input as facts list it: quantised ones take floats, but uint8 takes pixels as they are."""
        dtype = self.dtype if self.codes is None or self.dtype == "uint8" else "float32"
        single = self._single_scale()
        codes = f"{self.dtype}, scale {single[0]:g}, zero point {single[1]}" if single else ""
        return Input(self.name, axes, self.shape or (), dtype, codes)

    def recipe(self) -> tuple[str | None, str]:
        """(the recipe whose values fill the range of an int8 input to within one step, why), `(None, "")` for none."""
        single = self._single_scale() if self.dtype == "int8" else None
        if single is None:
            return None, ""
        (scale, zero), limits = single, np.iinfo(self.dtype)
        low, high = (limits.min - zero) * scale, (limits.max - zero) * scale
        for (least, most), recipe in RANGES.items():
            if abs(low - least) <= scale and abs(high - most) <= scale:
                return recipe, f"the range of the quantised input, {least:g} to {most:g}"
        return None, ""

    def _single_scale(self) -> tuple[float, int] | None:
        """Scale and zero point where one says it for all codes."""
        if self.codes is None or np.size(self.codes[0]) != 1:
            return None
        return np.float64(self.codes[0]).item(), np.int64(self.codes[1]).item()


def encode(values: np.ndarray, scale: Any, zero: Any, dtype: str) -> np.ndarray:
    """The codes nearest to `values`: `round(value / scale) + zero`, kept in the range of the type.

    >>> encode(np.array([0.0, 0.2, 1.0, 9.0]), 1 / 255, -128, "int8").tolist()
    [-128, -77, 127, 127]
    """
    limits = np.iinfo(dtype)
    codes = np.rint(values.astype(np.float32) / scale) + zero
    return np.clip(codes, limits.min, limits.max).astype(dtype)


def read_batch(batch: Any, inputs: Mapping[Name, GraphInput], names: Mapping[str, Name]) -> dict[Name, np.ndarray]:
    """The arrays of a batch by input: a mapping by name, a tuple in order, or the only input's array.

    Raises `ModelNotReadable` where arrays are missing, too many, or of another type or size.
    """
    arrays: dict[Name, Any] = {}
    if isinstance(batch, Mapping):
        arrays = {names[str(name)]: value for name, value in batch.items() if str(name) in names}
        arrays = arrays if len(arrays) == len(batch) else {}
    elif isinstance(batch, tuple | list):
        arrays = dict(zip(inputs, batch, strict=True)) if len(batch) == len(inputs) else {}
    elif len(inputs) == 1:
        arrays = dict.fromkeys(inputs, batch)
    if set(arrays) != set(inputs):
        listed = ", ".join(f"{taken.name!r} {taken}" for taken in inputs.values())
        raise ModelNotReadable(
            f"the model has {len(inputs)} inputs: {listed}. Give an array for each, as a tuple or a dict by name"
        )
    return {name: taken.read(arrays[name]) for name, taken in inputs.items()}


def split_images(fixed: Mapping[Name, int], feeds: Mapping[Name, Any], advice: str) -> list[dict[Name, Any]] | None:
    """The batch one image at a time where the model takes only one, `None` where it takes the batch as it is.

    `fixed` are the first sizes that the model fixes, `advice` how one gets a model that doesn't.

    >>> [{name: len(value) for name, value in feed.items()} for feed in split_images({"x": 1}, {"x": np.zeros((2, 3))}, "")]
    [{'x': 1}, {'x': 1}]
    """
    wrong = [name for name, size in fixed.items() if len(feeds[name]) != size]
    if not wrong:
        return None
    images = len(feeds[wrong[0]])
    apart = {name for name, value in feeds.items() if name in wrong or (name not in fixed and value.ndim)}
    if any(fixed[name] != 1 for name in wrong) or any(len(feeds[name]) != images for name in apart):
        raise ModelNotReadable(
            f"the model takes exactly {counted(fixed[wrong[0]], 'image')} at a time, the batch has {images}:"
            f" give that many, or {advice}"
        )
    return [
        {name: value[image : image + 1] if name in apart else value for name, value in feeds.items()}
        for image in range(images)
    ]
