"""Combinations: a feature map made from another one by a rule over its channels.

Each takes a `FeatureMap` or a bare array and gives a `FeatureMap` with one channel, or three for `pca`; so they chain, and
`heatmap`, `overlay` and `sheet` draw the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .encoding import raw_extent
from .errors import BadOption, BadWeights
from .featuremap import FeatureMap, as_map, as_numpy

# Values in one step of a reduction: what a core's cache holds.
BLOCK = 1 << 16


def mean(fm: Any) -> FeatureMap:
    """The mean over the channels, float32 `[image, *spatial, 1]`: every channel with the same weight.

    >>> import numpy as np
    >>> mean(np.array([[[1.0, 3.0]]])).values.ravel().tolist()
    [2.0]
    """
    fm = as_map(fm)
    count = fm.values.shape[-1]
    summed = _weighted_sum(fm.values, np.full(count, 1 / count))
    return fm.combined(summed[..., None], f"mean of {count} channels")


def total(fm: Any) -> FeatureMap:
    """The sum over the channels, float32 `[image, *spatial, 1]`."""
    fm = as_map(fm)
    count = fm.values.shape[-1]
    return fm.combined(_weighted_sum(fm.values, np.ones(count))[..., None], f"sum of {count} channels")


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
    vector = _weights(fm, weights)
    used = int(np.count_nonzero(vector))
    values = _weighted_sum(fm.values, vector)[..., None]
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
    values = fm.values
    # Divided by the largest first where squares would leave the range of float32.
    extent = np.abs(raw_extent(values))
    largest = float(extent[np.isfinite(extent)].max(initial=0))
    unit = np.float32(largest if largest > 1e18 or 0 < largest < 1e-18 else 1)
    with np.errstate(invalid="ignore", over="ignore"):
        squares = _squares(values if unit == 1 else values / unit, None)
    return fm.combined((np.sqrt(squares) * unit)[..., None], f"norm of {values.shape[-1]} channels")


def deviation(fm: Any) -> FeatureMap:
    """The standard deviation over the channels at each place (divided by their number), float32 `[image, *spatial, 1]`."""
    fm = as_map(fm)
    count = fm.values.shape[-1]
    with np.errstate(invalid="ignore", over="ignore"):
        middle = _weighted_sum(fm.values, np.full(count, 1 / count))
        spread = np.sqrt(_squares(fm.values, middle) / count)
    return fm.combined(spread[..., None], f"standard deviation of {count} channels")


@dataclass(frozen=True, eq=False)
class Basis:
    """Principal components: `mean` float64 `[channel]`, `components` float64 `[k, channel]` (unit rows), `variance` `[k]`
    the share of the variance that each explains. `save` and `load` keep it, so that later images get the same colours."""

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray

    def save(self, path: str | Path) -> Path:
        """Write the basis as `.npz`."""
        path = Path(path)
        if path.suffix != ".npz":
            raise BadOption(f"{path.name!r}: a basis is saved as .npz")
        np.savez(path, mean=self.mean, components=self.components, variance=self.variance)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Basis:
        """The basis that `save` wrote."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(file["mean"], file["components"], file["variance"])
        except (KeyError, ValueError, OSError) as error:
            raise BadOption(f"{path} is not a basis saved by layerscope: {error}") from error


def pca_basis(fm: Any, components: int = 3) -> Basis:
    """The principal components of the channel vectors at all places of all images.

    By the eigenvectors of the channel covariance (or of the Gram matrix where there are fewer places than channels), so a
    224 × 224 × 64 layer needs megabytes where an SVD of all its values needs gigabytes. Signs are fixed: the channel with
    the largest weight in a component has a positive one. Places with NaN or inf don't count.
    """
    fm = as_map(fm)
    channels = fm.values.shape[-1]
    if not components >= 1:
        raise BadOption(f"components={components}: use a whole number from 1")
    rows = _rows(fm.values)
    center, count = _center(rows)
    wide = count < channels
    if wide:
        points = np.concatenate(list(_finite(rows))).astype(np.float64) - center
        square = points @ points.T
    else:
        square = np.zeros((channels, channels))
        for part in _finite(rows):
            # Centred in float64 and multiplied in float32 would lose small components of layers with a large mean.
            part = part.astype(np.float64) - center
            square += part.T @ part
    values, vectors = np.linalg.eigh(square)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    kept = min(components, len(values))
    found = (points.T @ vectors[:, :kept]).T if wide else vectors[:, :kept].T
    basis = np.zeros((components, channels))
    threshold = values[0] * max(square.shape) * np.finfo(np.float32).eps ** 2 if len(values) else 0
    for at in range(kept):
        length = np.linalg.norm(found[at])
        if values[at] > threshold and length > 0:
            row = found[at] / length
            basis[at] = row * np.sign(row[np.argmax(np.abs(row))])
    share = np.zeros(components)
    if values.sum() > 0:
        share[:kept] = values[:kept] / values.sum()
    return Basis(center, basis, share)


def pca(fm: Any, *, basis: Basis | None = None) -> FeatureMap:
    """The first three principal components as red, green and blue, float32 `[image, *spatial, 3]`.

    One basis over all the images of `fm`, so that they share their colours; or a `basis` made before by `pca_basis`.
    The values are the projections themselves; `heatmap` stretches each to its 1st and 99th percentile.
    """
    fm = as_map(fm)
    given = basis is not None
    basis = basis or pca_basis(fm)
    channels = fm.values.shape[-1]
    if basis.components.shape != (3, channels):
        raise BadOption(
            f"the basis has {basis.components.shape[0]} components of {basis.components.shape[1]} channels;"
            f" this map needs 3 of {channels}"
        )
    shift = basis.components @ basis.mean
    planes = [
        _weighted_sum(fm.values, row) - np.float32(less) for row, less in zip(basis.components, shift, strict=True)
    ]
    if not basis.components.all():
        # A weight of 0 looks at no value, so NaN and inf must be carried over by hand.
        broken = ~np.isfinite(_weighted_sum(fm.values, np.ones(channels)))
        planes = [np.where(broken, np.float32(np.nan), plane) for plane in planes]
    said = ", ".join(f"PC{at + 1} {share:.1%}" for at, share in enumerate(basis.variance))
    images = fm.values.shape[0]
    source = "a basis given" if given else f"one basis over {images} images" if images > 1 else "a basis of this image"
    return fm.combined(np.stack(planes, -1), f"PCA of {channels} channels", (f"variance explained: {said}", source))


def _weights(fm: FeatureMap, weights: Any) -> np.ndarray:
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
            vector = np.asarray(as_numpy(weights), np.float64)
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


def _weighted_sum(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`sum(values * weights, -1)` in float32, read once in the order in which the values lie in memory.

    A weight of 0 looks at no value, so that NaN in a channel that isn't asked for stays out.
    """
    weights = weights.astype(np.float32)
    used = np.flatnonzero(weights)
    whole = len(used) == len(weights)
    out = np.zeros(values.shape[:-1], np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        if values.flags.c_contiguous:
            np.matmul(values.reshape(-1, len(weights)), weights, out=out.reshape(-1))
            # 0 times a finite value is 0: only where something isn't finite must the unused channels really stay out.
            if whole or np.isfinite(out).all():
                return out
            out[:] = 0
        for image, planes in enumerate(_channel_planes(values)):
            if whole and planes.flags.c_contiguous:
                out[image] = (weights @ planes.reshape(len(weights), -1)).reshape(out.shape[1:])
                continue
            for channel in used:
                out[image] += planes[channel] * weights[channel]
    return out


def _squares(values: np.ndarray, middle: np.ndarray | None) -> np.ndarray:
    """`sum((values - middle)², -1)` in float32, without a temporary of the size of `values`."""
    out = np.zeros(values.shape[:-1], np.float32)
    if values.flags.c_contiguous:
        flat, to = values.reshape(-1, values.shape[-1]), out.reshape(-1)
        step = max(1, BLOCK // values.shape[-1])
        for start in range(0, len(flat), step):
            part = flat[start : start + step]
            if middle is not None:
                part = part - middle.reshape(-1)[start : start + step, None]
            np.einsum("nc,nc->n", part, part, out=to[start : start + step])
        return out
    scratch = np.empty(values.shape[1:-1], np.float32)
    for image, planes in enumerate(_channel_planes(values)):
        for plane in planes:
            if middle is not None:
                np.subtract(plane, middle[image], out=scratch)
                np.multiply(scratch, scratch, out=scratch)
            else:
                np.multiply(plane, plane, out=scratch)
            out[image] += scratch
    return out


def _channel_planes(values: np.ndarray) -> Iterator[np.ndarray]:
    """`[channel, *spatial]` of each image."""
    for each in values:
        yield np.moveaxis(each, -1, 0)


def _rows(values: np.ndarray) -> list[np.ndarray]:
    """Views of at most some megabytes as `[place, channel]`."""
    parts = []
    for each in values:
        if each.ndim == 1:
            each = each[None]
        step = max(1, 32 * BLOCK // max(1, each[0].size))
        parts += [each[start : start + step] for start in range(0, each.shape[0], step)]
    return parts


def _finite(parts: list[np.ndarray]) -> Any:
    for part in parts:
        flat = part.reshape(-1, part.shape[-1])
        keep = np.isfinite(flat).all(1)
        yield flat if keep.all() else flat[keep]


def _center(parts: list[np.ndarray]) -> tuple[np.ndarray, int]:
    total_, count = 0.0, 0
    for flat in _finite(parts):
        total_ = total_ + flat.sum(0, dtype=np.float64)
        count += len(flat)
    if not count:
        return np.zeros(parts[0].shape[-1]), 0
    return np.asarray(total_) / count, count
