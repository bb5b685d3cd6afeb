"""Principal components of the channels, as colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BadOption
from .featuremap import FeatureMap, as_map
from .reducing import center_of, finite_rows, place_rows, weighted_sum


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
    rows = place_rows(fm.values)
    center, _ = center_of(rows)
    values, found, size = _directions(rows, center, components)
    kept = len(found)
    basis = np.zeros((components, channels))
    threshold = values[0] * size * np.finfo(np.float32).eps ** 2 if len(values) else 0
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
        weighted_sum(fm.values, row) - np.float32(less) for row, less in zip(basis.components, shift, strict=True)
    ]
    if not basis.components.all():
        # A weight of 0 looks at no value, so NaN and inf must be carried over by hand.
        broken = ~np.isfinite(weighted_sum(fm.values, np.ones(channels)))
        planes = [np.where(broken, np.float32(np.nan), plane) for plane in planes]
    said = ", ".join(f"PC{at + 1} {share:.1%}" for at, share in enumerate(basis.variance))
    images = fm.values.shape[0]
    source = "a basis given" if given else f"one basis over {images} images" if images > 1 else "a basis of this image"
    notes = (f"variance explained: {said}", source)
    return fm.combined(np.stack(planes, -1), f"PCA of {channels} channels", notes, role="rgb")


def _directions(rows: list[np.ndarray], center: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, int]:
    """(all eigenvalues, the largest first; the first `most` directions `[k, channel]`, of any length; the matrix's size)."""
    channels = len(center)
    wide = sum(each[..., 0].size for each in rows) < channels
    if wide:
        points = np.concatenate(list(finite_rows(rows))).astype(np.float64) - center
        square = points @ points.T
    else:
        square = np.zeros((channels, channels))
        for part in finite_rows(rows):
            # Centred in float64 and multiplied in float32 would lose small components of layers with a large mean.
            part = part.astype(np.float64) - center
            square += part.T @ part
    values, vectors = np.linalg.eigh(square)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    kept = min(most, len(values))
    return values, (points.T @ vectors[:, :kept]).T if wide else vectors[:, :kept].T, len(square)


def projected(values: np.ndarray, center: bool) -> np.ndarray:
    """`[*spatial]`: one image `[*spatial, channel]` on its first principal direction, with the sign of the channels' sum."""
    rows = place_rows(values[None])
    middle = center_of(rows)[0] if center else np.zeros(values.shape[-1])
    _, found, _ = _directions(rows, middle, 1)
    length = np.linalg.norm(found[0]) if len(found) else 0.0
    if not length:
        return weighted_sum(values[None], middle * 0)[0]
    direction = found[0] / length
    along = sum(
        ((part.astype(np.float64) - middle).sum(1) @ (part @ direction - middle @ direction))
        for part in finite_rows(rows)
    )
    direction = direction if along >= 0 else -direction
    return weighted_sum(values[None], direction)[0] - np.float32(direction @ middle)
