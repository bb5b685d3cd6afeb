"""Combinations that reduce the channels to one number at each place: a `FeatureMap` from a `FeatureMap`.

Each takes a `FeatureMap` or a bare array and gives a `FeatureMap` with one channel; so they chain, and `heatmap`, `overlay`
and `sheet` draw the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .featuremap import FeatureMap, as_map
from .reducing import lengths, weighted_sum
from .weights import weight_vector


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
