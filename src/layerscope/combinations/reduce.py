"""Combinations that reduce the channels to one number at each position: a `FeatureMap` from a `FeatureMap`.

Each takes a `FeatureMap` or a bare array and gives a `FeatureMap` with one channel; so they chain, and `heatmap`,
`overlay` and `sheet` draw the result.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays.reductions import lengths, weighted_sum
from ..checks import keywords
from ..core.conversion import as_numpy
from ..core.feature_map import FeatureMap, as_map
from ..core.linear import Linear
from ..core.note import Note
from ..core.npz import array_of
from ..core.words import MAXIMUM, MEAN, NORM, all_channels, channel_word
from ..errors import BadWeights, one_line
from ..files import parsing, read_bytes
from ..picture.numbers import number
from ..safe_text import counted
from ..surface import by_surface

MOST_BYTES = 1 << 26  # of a file of weights, which has a number per channel
MOST_NAMED = 6  # weights in a caption


@keywords
def mean(fm: Any) -> FeatureMap:
    """The mean over the channels: every channel with the same weight.

    >>> import numpy as np
    >>> mean(np.array([[[1.0, 3.0]]])).values.ravel().tolist()
    [2.0]

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; `linear` has its weights.

    Raises:
        BadLayout: `fm` isn't an array of numbers.
    """
    fm = as_map(fm)
    count = fm.values.shape[-1]
    return _weighted(fm, np.full(count, 1 / count), MEAN, all_channels(fm))


@keywords
def total(fm: Any) -> FeatureMap:
    """The sum over the channels.

    >>> import numpy as np
    >>> total(np.array([[[1.0, 3.0]]])).values.ravel().tolist()
    [4.0]

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; `linear` has its weights.

    Raises:
        BadLayout: `fm` isn't an array of numbers.
    """
    fm = as_map(fm)
    count = fm.values.shape[-1]
    return _weighted(fm, np.ones(count), "sum", all_channels(fm))


@keywords
def weighted(fm: Any, weights: Any) -> FeatureMap:
    """The weighted sum over the channels, `np.sum(values * weights, axis=-1)`, signed.

    >>> import numpy as np
    >>> weighted(np.array([[[1.0, 3.0]]]), [1, -1]).values.ravel().tolist()
    [-2.0]
    >>> weighted(np.array([[[1.0, 3.0]]]), {1: 0.5}).values.ravel().tolist()
    [1.5]

    With a row of a classifier's last layer this is a class activation map (Zhou et al. 2016, "Learning Deep Features for
    Discriminative Localization", equation 2); `class_cam` checks that the row may be used so.

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.
        weights: An array with one finite number per channel, a dict `{channel: weight}` by true channel number (all others
            0), or the path of a `.npy` or `.csv` file (one number per line, one line of numbers, or lines
            `channel,weight`). A channel with weight 0 is not read, so its NaN stays out.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; `linear` has its weights. A note says where no value is
        above 0.

    Raises:
        BadWeights: The weights are not finite numbers, don't fit the channels, or their file cannot be read.
        BadLayout: `fm` isn't an array of numbers.
    """
    fm = as_map(fm)
    vector = weight_vector(fm, weights)
    values = weighted_sum(fm.values, vector)[..., None]
    # A map of negative values alone looks like any other once it has colours, so a note says it.
    notes = () if (values > 0).any() else (Note("no-evidence", "no value is above 0"),)
    used, channels = np.count_nonzero(vector), all_channels(fm)
    over = channels if used == len(vector) else f"{used} of {channels}"
    notes = (Note("weights", weights_text(fm, vector)), *notes)
    return fm.combined(values, "weighted sum", notes, linear=Linear.of(vector, fm.channels), over=over)


@keywords
def maximum(fm: Any) -> FeatureMap:
    """The largest value of any channel at each position.

    >>> import numpy as np
    >>> maximum(np.array([[[1.0, 3.0]]])).values.ravel().tolist()
    [3.0]

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; NaN where a channel has NaN.

    Raises:
        BadLayout: `fm` isn't an array of numbers.
    """
    fm = as_map(fm)
    values = fm.values.max(axis=-1, keepdims=True)
    return fm.combined(values, MAXIMUM, over=all_channels(fm))


@keywords
def norm(fm: Any) -> FeatureMap:
    """The Euclidean length of the channel vector at each position.

    >>> import numpy as np
    >>> norm(np.array([[[3.0, -4.0]]])).values.ravel().tolist()
    [5.0]

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`, correct also where the squares overflow float32.

    Raises:
        BadLayout: `fm` isn't an array of numbers.
    """
    fm = as_map(fm)
    return fm.combined(lengths(fm.values)[..., None], NORM, over=all_channels(fm))


@keywords
def deviation(fm: Any) -> FeatureMap:
    """The standard deviation over the channels at each position (divided by their number, as `np.std`).

    >>> import numpy as np
    >>> deviation(np.array([[[1.0, 3.0]]])).values.ravel().tolist()
    [1.0]

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`.

    Raises:
        BadLayout: `fm` isn't an array of numbers.
    """
    fm = as_map(fm)
    count = fm.values.shape[-1]
    center = weighted_sum(fm.values, np.full(count, 1 / count))
    spread = lengths(fm.values, center[..., None]) / np.float32(np.sqrt(count))
    return fm.combined(spread[..., None], "standard deviation", over=all_channels(fm))


def _weighted(fm: FeatureMap, weights: np.ndarray, rule: str, over: str) -> FeatureMap:
    values = weighted_sum(fm.values, weights)[..., None]
    return fm.combined(values, rule, linear=Linear.of(weights, fm.channels), over=over)


def weights_text(fm: FeatureMap, weights: np.ndarray) -> str:
    """The weights of channels in a caption: all of a few, else the largest."""
    used = np.count_nonzero(weights)
    order = np.argsort(-np.abs(weights), kind="stable")[: min(used, MOST_NAMED)]
    order = np.sort(order) if used <= MOST_NAMED else order
    word = channel_word(fm)
    if not used:
        return "every weight is 0"
    if used > MOST_NAMED:
        parts = [f"{number(weights[index])} × {word} {fm.channels[index]}" for index in order]
        return f"the {MOST_NAMED} largest of {used:,} weights: {', '.join(parts)}"
    text = ""
    for index in order:
        size = abs(weights[index])
        sign = "−" if weights[index] < 0 else "+" * bool(text)
        text += f" {sign} " if text else sign
        text += f"{'' if size == 1 else f'{number(size)} × '}{word} {fm.channels[index]}"
    return f"the weighted sum is {text}"


def weight_vector(fm: FeatureMap, weights: Any) -> np.ndarray:
    """float64 `[channel]` of what the caller gave as weights. Raises `BadWeights`."""
    channels = fm.values.shape[-1]
    if isinstance(weights, str | Path):
        weights = read_weights(Path(weights))
    if isinstance(weights, Mapping):
        missing = [channel for channel in weights if channel not in fm.channels]
        if missing or not weights:
            raise BadWeights(
                f"weights are given for channels {missing}, which {fm.layer.path!r} doesn't have"
                if missing
                else "the weights are empty: give {channel: weight}"
            )
        positions = {channel: position for position, channel in enumerate(fm.channels)}
        vector = np.zeros(channels)
        for channel, weight in weights.items():
            vector[positions[channel]] = _number(weight)
    else:
        try:
            array = as_numpy(weights)
            if array.dtype.kind == "c":
                raise TypeError("weights can't be complex numbers")
            vector = np.asarray(array, np.float64)
        except (TypeError, ValueError) as error:
            raise BadWeights(
                f"weights are numbers, one per channel; got {type(weights).__name__}: {one_line(error)}"
            ) from error
        if vector.ndim > 1 and vector.size == max(vector.shape):
            vector = vector.reshape(-1)
        if vector.shape != (channels,):
            raise BadWeights(
                f"{fm.layer.path!r} has {counted(channels, 'channel')} and needs as many weights; got shape {vector.shape}"
            )
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise BadWeights(f"weights must be finite; those that are not are at {bad[:8].tolist()}")
    return vector


def _number(weight: Any) -> float:
    try:
        return float(weight)
    except (TypeError, ValueError) as error:
        raise BadWeights(f"a weight is a number, not {weight!r}") from error


def read_weights(path: Path) -> Any:
    """Weights from a file: `.npy`, or `.csv` with one number per line, one line of numbers, or lines `channel,weight`."""
    if "=" in path.name and not path.exists():
        weighted_by = by_surface(
            "ls.weighted(fm, {3: 0.5, 7: -1}) takes them as they are", "the file has lines CHANNEL,WEIGHT"
        )
        raise BadWeights(f"weights {path}: weights are read from a file; {weighted_by}")
    data = read_bytes(path, what="weights", error=BadWeights, most=MOST_BYTES)
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".csv", ".txt"):
        raise BadWeights(f"{path.name}: weights are read from .npy or .csv")
    with parsing(path, "numbers", BadWeights):
        if suffix == ".npy":
            return array_of(io.BytesIO(data), "it")
        text = data.decode("utf-8-sig")
        if not text.strip():
            raise BadWeights(f"{path.name} is empty: it needs a number per channel")
        table = np.loadtxt(text.splitlines(), delimiter=",", ndmin=2)
    channels = table[:, 0]
    if table.shape[1] != 2 or len(table) == 1 or not (np.isfinite(channels) & (channels == np.round(channels))).all():
        return table.reshape(-1)
    twice = [int(channel) for channel, count in zip(*np.unique(channels, return_counts=True), strict=True) if count > 1]
    if twice:
        raise BadWeights(f"{path.name} gives the channels {twice[:8]} more than once: one line per channel")
    return {int(channel): weight for channel, weight in table}
