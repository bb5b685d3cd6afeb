"""Weights for channels: an array, a dict by channel number, a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BadWeights
from .featuremap import FeatureMap, as_numpy


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
