"""Combinations that reduce the channels to one number at each place: a `FeatureMap` from a `FeatureMap`.

Each takes a `FeatureMap` or a bare array and gives a `FeatureMap` with one channel; so they chain, and `heatmap`, `overlay`
and `sheet` draw the result.
"""

from __future__ import annotations

# MOVED
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays.reductions import lengths, weighted_sum
from ..core.conversion import as_numpy
from ..core.feature_map import FeatureMap, as_map
from ..errors import BadWeights


def mean(fm: Any) -> FeatureMap:
    """The mean over the channels, float32 `[image, *spatial, 1]`: every channel with the same weight.

    >>> import numpy as np
    >>> mean(np.array([[[1.0, 3.0]]])).values.ravel().tolist()
    [2.0]
    """
    fm = as_map(fm)
    count = fm.values.shape[-1]
    summed = weighted_sum(fm.values, np.full(count, 1 / count))
    return fm.combined(summed[..., None], f"mean of {count} channels")


def total(fm: Any) -> FeatureMap:
    """The sum over the channels, float32 `[image, *spatial, 1]`."""
    fm = as_map(fm)
    count = fm.values.shape[-1]
    return fm.combined(weighted_sum(fm.values, np.ones(count))[..., None], f"sum of {count} channels")


def weighted(fm: Any, weights: Any) -> FeatureMap:
    """`np.sum(values * weights, axis=-1)`, signed, float32 `[image, *spatial, 1]`.

    `weights`: an array with one number a channel, a dict `{channel: weight}` by true number (all others 0), or the path
    of a `.npy` or `.csv` file. With a row of a classifier's last layer this is a class activation map (Zhou et al. 2016,
    equation 2). Raises `BadWeights`.

    >>> import numpy as np
    >>> weighted(np.array([[[1.0, 3.0]]]), [1, -1]).values.ravel().tolist()
    [-2.0]
    """
    fm = as_map(fm)
    vector = weight_vector(fm, weights)
    used = int(np.count_nonzero(vector))
    values = weighted_sum(fm.values, vector)[..., None]
    # A map of negative values alone looks like any other once it has colours, so it is said in words.
    notes = () if (values > 0).any() else ("no positive evidence: every value is 0 or below",)
    return fm.combined(values, f"weighted sum of {used} of {len(vector)} channels", notes)


def maximum(fm: Any) -> FeatureMap:
    """The largest value of any channel at each place, float32 `[image, *spatial, 1]`."""
    fm = as_map(fm)
    values = fm.values.max(axis=-1, keepdims=True)
    return fm.combined(values, f"maximum of {fm.values.shape[-1]} channels")


def norm(fm: Any) -> FeatureMap:
    """The Euclidean length of the channel vector at each place, float32 `[image, *spatial, 1]`."""
    fm = as_map(fm)
    return fm.combined(lengths(fm.values)[..., None], f"norm of {fm.values.shape[-1]} channels")


def deviation(fm: Any) -> FeatureMap:
    """The standard deviation over the channels at each place (divided by their number), float32 `[image, *spatial, 1]`."""
    fm = as_map(fm)
    count = fm.values.shape[-1]
    middle = weighted_sum(fm.values, np.full(count, 1 / count))
    spread = lengths(fm.values, middle) / np.float32(np.sqrt(count))
    return fm.combined(spread[..., None], f"standard deviation of {count} channels")


def weight_vector(fm: FeatureMap, weights: Any) -> np.ndarray:
    """float64 `[channel]` of what the caller gave as weights. Raises `BadWeights`."""
    channels = fm.values.shape[-1]
    if isinstance(weights, str | Path):
        weights = read_weights(Path(weights))
    if isinstance(weights, Mapping):
        missing = [each for each in weights if each not in fm.channels]
        if missing or not weights:
            raise BadWeights(
                f"weights name the channels {missing}, which {fm.layer.path!r} doesn't hold"
                if missing
                else "the weights are empty: give {channel: weight}"
            )
        at = {channel: place for place, channel in enumerate(fm.channels)}
        vector = np.zeros(channels)
        for channel, weight in weights.items():
            vector[at[channel]] = _number(weight)
    else:
        try:
            given = as_numpy(weights)
            if given.dtype.kind == "c":
                raise TypeError("a complex number is no weight")
            vector = np.asarray(given, np.float64)
        except (TypeError, ValueError) as error:
            raise BadWeights(f"weights are numbers, one a channel; got {type(weights).__name__}: {error}") from error
        if vector.ndim > 1 and vector.size == max(vector.shape):
            vector = vector.reshape(-1)
        if vector.shape != (channels,):
            raise BadWeights(
                f"{fm.layer.path!r} has {channels} channels and needs {channels} weights; got shape {vector.shape}"
            )
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise BadWeights(f"weights must be finite; not so at the positions {bad[:8].tolist()}")
    return vector


def _number(weight: Any) -> float:
    try:
        return float(weight)
    except (TypeError, ValueError) as error:
        raise BadWeights(f"a weight is a number, not {weight!r}") from error


def read_weights(path: Path) -> Any:
    """Weights from a file: `.npy`, or `.csv` with one number a line, one line of numbers, or lines `channel,weight`."""
    if not path.is_file():
        raise BadWeights(f"no file {path} with weights")
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix not in (".csv", ".txt"):
            raise BadWeights(f"{path.name}: weights are read from .npy or .csv")
        table = np.loadtxt(path, delimiter=",", ndmin=2, encoding="utf-8")
    except BadWeights:
        raise
    except (ValueError, OSError) as error:
        raise BadWeights(f"{path.name} does not hold numbers: {error}") from error
    if table.shape[1] == 2 and table.shape[0] != 1 and (table[:, 0] == np.round(table[:, 0])).all():
        return {int(channel): weight for channel, weight in table}
    return table.reshape(-1)
