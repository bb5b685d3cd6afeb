"""A combination averaged over changed inputs: noise (SmoothGrad) and mirrored images."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.feature_map import FeatureMap, Origin
from ..errors import BadOption

# How notes begin that hold for one map, and not for a mean of maps.
NO_EVIDENCE, GRADIENT_0, NEARLY_MEAN = "no positive evidence", "the gradient is 0", "nearly the plain mean"


OPTIONS = inspect.signature(lambda *, smooth=0, noise=0.1, flip=False, seed=0: None).parameters.values()


def averaging(method: Callable[..., FeatureMap]) -> Callable[..., FeatureMap]:
    """`method` with four more options, by which it is averaged over changed inputs.

    `smooth`: over so many copies of the input with normal noise of `noise` times its range (maximum less minimum) as standard
    deviation, drawn from `seed` (Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise"; for class activation maps
    Omeiza et al. 2019). `flip`: over the input and its mirror image, whose map is turned back. Each copy is a run of the model,
    one image after another; of the map itself only what is said of it stays where `smooth` is given.
    """

    @functools.wraps(method)
    def combination(
        fm: Any, *args: Any, smooth: int = 0, noise: float = 0.1, flip: bool = False, seed: int = 0, **options: Any
    ) -> FeatureMap:
        if not smooth and not flip:
            return method(fm, *args, **options)
        if isinstance(smooth, bool) or not isinstance(smooth, int | np.integer) or smooth < 0:
            raise BadOption(f"smooth={smooth!r}: use a whole number of noisy copies, 0 for none")
        if not 0 < noise < np.inf:
            raise BadOption(f"noise={noise!r}: use a share of the input's range above 0, such as 0.1")
        origin = needed_origin(fm, method.__name__)
        whole = method(fm, *args, **options)
        values = np.stack(
            [
                _mean(origin.image(at), lambda one: method(one, *args, **options), smooth, noise, flip, seed)
                for at in range(len(fm.ids))
            ]
        )
        said = [f"mean over {smooth} inputs with noise of {noise:g} of their range, seed {seed}"] if smooth else []
        said += ["mean with the mirrored input"] if flip else []
        return replace(whole, values=values, notes=(*_still_true(whole, values), *said))

    signature = inspect.signature(method)
    own = [each for each in signature.parameters.values() if each.name not in ("args", "options")]
    combination.__signature__ = signature.replace(parameters=[*own, *OPTIONS])  # type: ignore[attr-defined] # of functools
    return combination


def needed_origin(fm: Any, name: str) -> Origin:
    """What can run the model again for this map. Raises `BadOption` where nothing can."""
    origin = fm.origin if isinstance(fm, FeatureMap) else None
    if origin is None:
        raise BadOption(
            f"{name} runs the model again, and this map doesn't know its model: use a map that Scope.capture gave of a model"
            " with one input, not one of a file, a stream, a copy, a combination or a bare array"
        )
    return origin


def _mean(
    origin: Origin, method: Callable[[FeatureMap], FeatureMap], smooth: int, noise: float, flip: bool, seed: int
) -> np.ndarray:
    """The mean map `[*spatial, channel]` for the changed inputs of one image."""
    total: np.ndarray | None = None
    count = 0
    for given in _changed(origin.inputs, smooth, noise, seed):
        for mirrored in (False, True) if flip else (False,):
            found = method(origin.captured(_mirrored(given, origin.axes) if mirrored else given)).values[0]
            found = np.flip(found, -2) if mirrored else found
            total = found.astype(np.float64) if total is None else total + found
            count += 1
    assert total is not None
    return (total / count).astype(np.float32)


def _changed(inputs: np.ndarray, smooth: int, noise: float, seed: int) -> Iterator[np.ndarray]:
    if not smooth:
        yield inputs
        return
    random = np.random.default_rng(seed)
    deviation = noise * (float(inputs.max()) - float(inputs.min()))
    for _ in range(smooth):
        yield as_fed(inputs + random.normal(0, deviation, inputs.shape), inputs.dtype)


def as_fed(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Changed inputs in the type that the model takes; whole numbers are rounded and stay in its range, and don't wrap."""
    if dtype.kind in "iu":
        values = np.rint(values).clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return values.astype(dtype)


def _mirrored(inputs: np.ndarray, axes: str) -> np.ndarray:
    if "w" not in axes:
        raise BadOption(f"flip=True mirrors images, and the model's input has the axes {axes}")
    return np.ascontiguousarray(np.flip(inputs, axes.index("w")))


def _still_true(whole: FeatureMap, values: np.ndarray) -> tuple[str, ...]:
    """The notes of the plain map, but for those that the mean must earn itself."""
    kept = tuple(each for each in whole.notes if not each.startswith((NO_EVIDENCE, GRADIENT_0, NEARLY_MEAN)))
    if not (values <= 0).all(tuple(range(1, values.ndim))).any():
        return kept
    return (*kept, f"{NO_EVIDENCE}: every value is 0 or below")
