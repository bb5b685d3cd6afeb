"""The inputs of a graph file: what each takes, a batch read by them, and codes of a few bits: `(code - zero point) · scale`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    `codes` are scale and zero point of a quantised input, by which floats become its codes. `axis` is the one that its images
    lie along, `None` where the graph doesn't say that it has images.

    >>> str(GraphInput("x", (None, 8), "int8", (0.1, 0)))
    'int8[any, 8] or float32 to be quantised'
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    codes: tuple[Any, Any] | None = None
    axis: int | None = None

    @property
    def images(self) -> int | None:
        """How many images the graph fixes, `None` for any number."""
        axis = self.axis or 0
        return self.shape[axis] if self.shape and axis < len(self.shape) else None

    def count(self, value: np.ndarray) -> int | None:
        """How many images an array holds, where the graph says that it holds images, of which it takes any number or one."""
        if self.images is not None:
            count = value.shape[self.axis or 0]
            return count if self.images == 1 < count else None
        return None if self.axis is None else value.shape[self.axis]

    def cut(self, value: np.ndarray, image: int) -> np.ndarray:
        """One image of an array."""
        return value.take([image], self.axis or 0)

    def __str__(self) -> str:
        sizes = (
            "" if self.shape is None else f"[{', '.join('any' if size is None else str(size) for size in self.shape)}]"
        )
        return self.dtype + sizes + " or float32 to be quantised" * (self.codes is not None)

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether an array of that shape can go in, whatever its number of images."""
        if self.shape is None:
            return True
        pairs = enumerate(zip(self.shape, shape, strict=False))
        same = (size in (given, None) for axis, (size, given) in pairs if axis != (self.axis or 0))
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


def first_image(inputs: Mapping[Name, GraphInput], feeds: Mapping[Name, np.ndarray]) -> dict[Name, np.ndarray]:
    """The batch cut to its first image, as it is where that isn't known of each array.

    >>> inputs = {"x": GraphInput("x", (None, 3), "float32", axis=0), "k": GraphInput("k", (None, 4), "float32")}
    >>> {name: len(value) for name, value in first_image(inputs, {"x": np.zeros((2, 3)), "k": np.zeros((5, 4))}).items()}
    {'x': 1, 'k': 5}
    """
    counts = {name: count for name, value in feeds.items() if (count := inputs[name].count(value)) is not None}
    images = next(iter(counts.values()), 1)
    unknown = any(
        inputs[name].axis is None and inputs[name].images is None and value.shape[:1] == (images,)
        for name, value in feeds.items()
    )
    whole = unknown or len(set(counts.values())) > 1
    apart = {name for name in counts if not whole or inputs[name].images == 1}
    return {name: inputs[name].cut(value, 0) if name in apart else value for name, value in feeds.items()}


def split_images(
    inputs: Mapping[Name, GraphInput],
    feeds: Mapping[Name, np.ndarray],
    advice: str,
    gives_one: Callable[[dict[Name, np.ndarray]], bool] = lambda feed: False,
) -> list[dict[Name, np.ndarray]] | None:
    """The batch one image at a time where the model takes only one, `None` where it takes the batch as it is.

    `advice` is how one gets a model that doesn't fix the number of images. Where the graph doesn't say whether the rows of an
    input are images, `gives_one` tells whether the model makes one image of a feed that holds them all.

    >>> x = GraphInput("x", (1, 3), "float32")
    >>> [{name: len(value) for name, value in feed.items()} for feed in split_images({"x": x}, {"x": np.zeros((2, 3))}, "")]
    [{'x': 1}, {'x': 1}]
    """
    fixed = {name: inputs[name].images for name, value in feeds.items() if value.ndim}
    counts = {name: value.shape[inputs[name].axis or 0] for name, value in feeds.items() if value.ndim}
    wrong = [name for name, size in fixed.items() if size not in (None, counts[name])]
    if not wrong:
        return None
    images = counts[wrong[0]]
    apart = {name for name in counts if name in wrong or (fixed[name] is None and inputs[name].axis is not None)}

    def one(image: int) -> dict[Name, np.ndarray]:
        return {name: inputs[name].cut(value, image) if name in apart else value for name, value in feeds.items()}

    rows = {name for name in counts if name not in apart and fixed[name] is None and counts[name] > 1}
    single = all(fixed[name] == 1 for name in wrong)
    if rows and (not single or not gives_one(one(0))):
        apart |= rows
    if not single or any(counts[name] != images for name in apart):
        raise ModelNotReadable(
            f"the model takes exactly {counted(fixed[wrong[0]] or 1, 'image')} at a time, the batch has {images}:"
            f" give that many, or {advice}"
        )
    return [one(image) for image in range(images)]
