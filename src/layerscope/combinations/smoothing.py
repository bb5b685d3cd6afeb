"""A combination averaged over changed inputs: noise (SmoothGrad) and mirrored images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from ..checks import whole
from ..core.conversion import only_map, require_array
from ..core.feature_map import FeatureMap
from ..core.note import Note, kind_of
from ..core.origin import Origin
from ..core.progress import work
from ..errors import BadOption
from ..safe_text import counted

BATCH = 16  # copies run at a time
# Kinds of notes that hold for one map, and not for a mean of maps.
NO_EVIDENCE, ZERO_GRADIENT, NEARLY_MEAN = "no-evidence", "zero-gradient", "nearly-mean"


@dataclass(frozen=True)
class Averaging:
    """Which changed inputs a combination is averaged over; nothing is changed by default.

    `smooth`: over this many copies of the input with normal noise of `noise` times its value range (maximum − minimum)
    as standard deviation, drawn from `seed` (Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise"; for
    class activation maps Omeiza et al. 2019). `flip`: over the input and its mirror image, whose map is mirrored back.
    """

    smooth: int = 0
    noise: float = 0.1
    flip: bool = False
    seed: int = 0

    def of(self, name: str, method: Callable[[FeatureMap], FeatureMap], fm: Any) -> FeatureMap:
        """What `method`, the combination of this name, gives for the map, averaged. Raises `BadOption`.

        Each copy is a run of the model, one image after another; of the map itself only what is said of it stays where
        `smooth` is given.
        """
        fm = only_map(fm)
        if not self.smooth and not self.flip:
            return method(fm)
        whole("smooth", self.smooth, 0)
        if not 0 < self.noise < np.inf:
            raise BadOption(f"noise={self.noise!r}: use a fraction of the input's value range, above 0, such as 0.1")
        origin = needed_origin(fm, name)
        plain = method(fm)
        with work(len(fm.ids) * self.copies, "inputs") as step:
            values = np.stack([self._mean(origin.image(index), method, step) for index in range(len(fm.ids))])
        return replace(plain, values=values, notes=(*_still_true(plain, values), *self._notes()), linear=None)

    def _notes(self) -> Iterator[Note]:
        if self.smooth:
            noise = f"noise of {self.noise:g} of their range, seed {self.seed}"
            yield Note("averaged", f"mean over {counted(self.smooth, 'input')} with {noise}")
        if self.flip:
            yield Note("averaged", "mean with the mirrored input")

    @property
    def copies(self) -> int:
        """How often the model runs for each image."""
        return max(1, self.smooth) * (2 if self.flip else 1)

    def _mean(
        self, origin: Origin, method: Callable[[FeatureMap], FeatureMap], step: Callable[[int], None]
    ) -> np.ndarray:
        """The mean map `[*spatial, channel]` for the changed inputs of one image; `step` is told of each."""
        axis = origin.axes.index("b")
        total: np.ndarray | None = None
        done, size = 0, origin.fitting(BATCH, captured=True)
        copies = self._copies(origin)
        while part := list(islice(copies, size)):
            maps = method(origin.captured(np.concatenate([inputs for inputs, _ in part], axis)))
            for values, (_, mirrored) in zip(maps.values, part, strict=True):
                values = np.flip(values, -2) if mirrored else values
                total = values.astype(np.float64) if total is None else total + values
            done += len(part)
            step(len(part))
        assert total is not None
        return (total / done).astype(np.float32)

    def _copies(self, origin: Origin) -> Iterator[tuple[np.ndarray, bool]]:
        """The changed inputs, each of them followed by its mirror image where both are wanted."""
        for inputs in self._changed(origin.inputs):
            yield inputs, False
            if self.flip:
                yield _mirrored(inputs, origin.axes), True

    def _changed(self, inputs: np.ndarray) -> Iterator[np.ndarray]:
        if not self.smooth:
            yield inputs
            return
        random = np.random.default_rng(self.seed)
        deviation = self.noise * (float(inputs.max()) - float(inputs.min()))
        for _ in range(self.smooth):
            yield as_input(inputs + random.normal(0, deviation, inputs.shape), inputs.dtype)


def needed_origin(fm: Any, name: str) -> Origin:
    """What can run the model again for this map. Raises `BadOption` where nothing can."""
    origin = fm.origin if isinstance(fm, FeatureMap) else None
    if origin is None:
        if not isinstance(fm, FeatureMap):
            require_array(fm)
        raise BadOption(
            f"{name} runs the model again, and this map has no link to its model",
            "use a map that Scope.capture returned for a model with one input, not one from a file, a stream, a copy, a"
            " combination or a bare array",
        )
    return origin


def as_input(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Changed inputs in the type that the model takes; whole numbers are rounded and stay in its range, and don't wrap."""
    if dtype.kind in "iu":
        values = np.rint(values).clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return values.astype(dtype)


def _mirrored(inputs: np.ndarray, axes: str) -> np.ndarray:
    if "w" not in axes:
        raise BadOption(f"flip=True mirrors images, and the model input has the axes {axes}")
    return np.ascontiguousarray(np.flip(inputs, axes.index("w")))


def _still_true(plain: FeatureMap, values: np.ndarray) -> tuple[str, ...]:
    """The notes of the plain map, but for those that the mean must earn itself."""
    kept = tuple(note for note in plain.notes if kind_of(note) not in (NO_EVIDENCE, ZERO_GRADIENT, NEARLY_MEAN))
    if not (values <= 0).all(tuple(range(1, values.ndim))).any():
        return kept
    return (*kept, Note(NO_EVIDENCE, "no positive evidence: every value is 0 or below"))
