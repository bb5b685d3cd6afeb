"""Principal components of the channels, as colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..arrays.reductions import Rows, finite_positions, lengths, weighted_sum
from ..checks import keywords, whole
from ..core.conversion import as_numpy
from ..core.feature_map import FeatureMap, as_map
from ..core.linear import Linear
from ..core.note import Note
from ..core.progress import work
from ..core.words import all_channels
from ..errors import BadOption, near
from ..safe_text import counted
from .basis import Stored, fitted_to
from .eigenvectors import leading

SIDES = ("auto", "above", "below")

# Of positions whose lengths are spread normally, one in 1.7 million lies beyond.
DEVIATIONS = 5.0
MOST_OUTLIERS = 0.1
BACKGROUND = -np.inf


@dataclass(frozen=True, eq=False)
class Basis(Stored):
    """Principal components of a layer, so that later images get the same colours; `save` and `load` keep it.

    >>> import numpy as np
    >>> basis = pca_basis(np.array([[[[3.0, 0.0]], [[-3.0, 0.0]]]]), 1)
    >>> basis.components.tolist(), basis.variance.tolist()
    ([[1.0, 0.0]], [1.0])

    Attributes:
        mean: float64 `[channel]`.
        components: float64 `[k, channel]`, rows of length 1.
        variance: float64 `[k]`, the share of the variance that each explains.
        split: float64 `[channel + 1]`: a position is foreground where `values @ split[:-1] + split[-1] > 0`; `None`
        without.
        notes: Notes for the caption on how the basis was made.

    Raises:
        BadOption: An array has other axes, doesn't fit the others, or isn't finite.
    """

    AXES: ClassVar[dict[str, str]] = {"mean": "c", "components": "kc", "variance": "k", "split": "s"}

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    split: np.ndarray | None = None
    notes: tuple[str, ...] = ()


@keywords
def pca_basis(fm: Any, components: int = 3, *, foreground: Any = None, robust: bool = False) -> Basis:
    """The principal components of the channel vectors at all positions of all images.

    >>> import numpy as np
    >>> values = np.random.default_rng(0).normal(size=(2, 4, 4, 8))
    >>> pca_basis(values).components.shape
    (3, 8)

    By the eigenvectors of the channel covariance (or of the Gram matrix where there are fewer positions than channels),
    so a 224 × 224 × 64 layer needs megabytes where an SVD of all its values needs gigabytes. Signs are fixed: the
    channel with the largest weight in a component has a positive one. Positions with NaN or inf don't count.

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.
        components: How many; components beyond the rank are rows of 0.
        foreground: Which positions it is fitted to, as in `pca`.
        robust: Leave out positions with vectors of unusual length, as in `pca`.

    Raises:
        BadOption: The map is empty, no position is left, or an option is invalid.
    """
    fm = as_map(fm)
    components = whole("components", components)
    if not fm.values.size:
        raise BadOption(f"pca: the map is empty, its shape is {fm.shape}")
    keep, notes = _inliers(fm.values) if robust else (None, ())
    split = None
    if isinstance(foreground, str):
        split = _split(fm.values, foreground, keep)
    mask = _foreground(fm, foreground, split)
    if mask is not None:
        keep = mask if keep is None else keep & mask
    return Basis(*_fitted(Rows(fm.values, keep), components), split, notes)


@keywords
def pca(fm: Any, *, basis: Any = None, foreground: Any = None, robust: bool = False) -> FeatureMap:
    """The first three principal components as red, green and blue.

    >>> import numpy as np
    >>> pca(np.array([[[[3.0, 0.0]], [[-3.0, 0.0]]]])).values[..., 0].ravel().tolist()
    [3.0, -3.0]

    One basis over all the images of `fm`, so that they share their colours. The values are the projections themselves;
    `heatmap` stretches each to its 1st and 99th percentile.

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.
        basis: A `Basis` that `pca_basis` gave, or the path of its file; `None` makes one of `fm`.
        foreground: Fits the basis to a part of the positions and leaves the rest bare (−inf in the values): a bool
            array `[*spatial]` or `[image, *spatial]`; or `"auto"`, which splits at the middle of the first component of
            all positions and takes the side that is seen less at the edge of the images (the threshold of DINOv2's
            demonstration, Oquab et al. 2023, section 7.5, whose side is chosen by eye: `"above"` and `"below"` name
            it).
        robust: Fit without the positions whose vectors are far longer or shorter than the others' (beyond the median ±
            5 normal deviations, by the median absolute deviation; none where that would be more than a tenth), as the
            few tokens that transformers use for storage (Darcet et al. 2024). They get colours all the same.

    Returns:
        A map of three channels, float32 `[image, *spatial, 3]`, with the role `"rgb"`; `linear` has the projection.

    Raises:
        BadOption: The basis is of other channels, no position is left, or an option is invalid.
    """
    fm = as_map(fm)
    projected = basis is not None
    if projected and robust:
        raise BadOption(
            "robust=True applies when a basis is made, and basis= is given: make it with pca_basis(fm, robust=True)"
        )
    basis = Basis.of(basis) if projected else pca_basis(fm, foreground=foreground, robust=robust)
    channels = fm.values.shape[-1]
    if basis.components.shape != (3, channels):
        raise BadOption(
            f"the basis has {counted(basis.components.shape[0], 'component')} of "
            f"{counted(basis.components.shape[1], 'channel')}; this map needs 3 of {channels}"
        )
    mask = _foreground(fm, foreground, basis.split)
    shift = basis.components @ basis.mean
    planes = np.stack(
        [weighted_sum(fm.values, row) - np.float32(less) for row, less in zip(basis.components, shift, strict=True)], -1
    )
    # A weight of 0 looks at no value, so NaN and inf must be carried over by hand.
    broken = ~np.isfinite(planes).all(-1)
    if not basis.components.all():
        broken |= ~finite_positions(fm.values)
    planes[broken] = np.nan
    if mask is not None:
        planes[~mask & ~broken] = BACKGROUND
    linear = Linear.of(basis.components.T, fm.channels, bias=-shift)
    notes = _notes(fm, basis, projected, mask)
    combined = fm.combined(planes, "PCA", notes, role="rgb", linear=linear, over=all_channels(fm))
    return replace(combined, provenance={**combined.provenance, "variance": basis.variance.tolist()})


def _notes(fm: FeatureMap, basis: Basis, given: bool, mask: np.ndarray | None) -> tuple[str, ...]:
    shares = ", ".join(f"PC{index + 1} {share:.1%}" for index, share in enumerate(basis.variance))
    notes = [
        Note("variance", f"variance explained: {shares}, together {sum(basis.variance):.1%}"),
        fitted_to(fm, "components", given=given),
    ]
    notes += [Note("robust", note) for note in basis.notes]
    if mask is not None:
        how = "by the first component of all positions" if basis.split is not None else "as given"
        of = ", to which the basis is fitted" if not given else ""
        text = f"foreground ({how}): {mask.mean():.1%} of the positions{of}; the rest is blank"
        notes.append(Note("foreground", text))
    return tuple(notes)


def _fitted(rows: Rows, components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, unit directions with fixed signs, and the share of the variance of each."""
    center, count = rows.center()
    values, directions, spread = _directions(rows, center, count, components)
    basis, share = np.zeros((components, rows.channels)), np.zeros(components)
    threshold = values[0] * min(count, rows.channels) * np.finfo(np.float32).eps ** 2 if len(values) else 0
    for component, (value, direction) in enumerate(zip(values, directions, strict=True)):
        length = np.linalg.norm(direction)
        if value > threshold and length > 0:
            row = direction / length
            basis[component] = row * np.sign(row[np.argmax(np.abs(row))])
    if spread > 0:
        share[: len(values)] = values / spread
    return center, basis, share


def _directions(rows: Rows, center: np.ndarray, count: int, most: int) -> tuple[np.ndarray, np.ndarray, float]:
    """(the `most` largest eigenvalues, the largest first; their directions `[k, channel]`, of any length; the sum of all
    eigenvalues)."""
    channels = len(center)
    wide = count < channels
    if wide:
        points = rows.matrix().astype(np.float64) - center
        square = points @ points.T
    else:
        square = np.zeros((channels, channels))
        with work(len(rows), "blocks") as step:
            for part in rows:
                # Centred in float64 and multiplied in float32 would lose small components of layers with a large mean.
                part = part.astype(np.float64) - center
                square += part.T @ part
                step(1)
    values, vectors = leading(square, most)
    return values, vectors @ points if wide else vectors, float(np.trace(square))


def first_component(values: np.ndarray, center: bool) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """One image `[*spatial, channel]` on its first principal direction, with the sign of the channels' sum.

    Returns (the projection `[*spatial]`, the unit direction `[channel]`, what is subtracted: the mean's own projection).
    """
    rows = Rows(values[None])
    middle, count = rows.center()
    middle = middle if center else middle * 0
    _, directions, _ = _directions(rows, middle, count, 1)
    length = np.linalg.norm(directions[0]) if len(directions) else 0.0
    direction = directions[0] / length if length else middle * 0
    along = sum(((part.astype(np.float64) - middle).sum(1) @ (part @ direction - middle @ direction)) for part in rows)
    direction = direction if along >= 0 else -direction
    shift = np.float32(direction @ middle)
    projection = weighted_sum(values[None], direction) - shift
    # A weight of 0 looks at no value.
    projection[~finite_positions(values[None])] = np.nan
    return np.asarray(projection[0]), direction, shift


def _inliers(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The positions whose vectors are about as long as most, and the notes on the others."""
    long = lengths(values)
    sound = np.isfinite(long)
    if not sound.any():
        return sound, ()
    middle = np.median(long[sound])
    reach = DEVIATIONS * 1.4826 * np.median(np.abs(long[sound] - middle))
    # More than half of the positions alike: their spread is 0, and says nothing of the rest.
    keep = sound & (np.abs(long - middle) <= reach) if reach > 0 else sound
    out, count = int(sound.sum() - keep.sum()), int(sound.sum())
    if not out:
        return sound, ("robust: no position left out",)
    beyond = f"whose vectors have a length outside {max(0, middle - reach):.3g}…{middle + reach:.3g}"
    if out > MOST_OUTLIERS * count:
        return sound, (
            f"robust: none left out, since {out:,} of {count:,} positions, {beyond}, are too many to be outliers",
        )
    return keep, (f"robust: basis fitted without {out:,} of {count:,} positions, {beyond}",)


def _split(values: np.ndarray, side: str, keep: np.ndarray | None) -> np.ndarray:
    """`[channel + 1]`: the plane through the mean, across the first component, whose upper side is the foreground."""
    if side not in SIDES:
        raise BadOption(
            f"foreground={side!r}: use {', '.join(map(repr, SIDES))}, or a bool array with one entry for each "
            f"position{near(side, SIDES)}"
        )
    center, components, _ = _fitted(Rows(values, keep), 1)
    plane = np.append(components[0], -components[0] @ center)
    if side == "below" or (side == "auto" and _more_at_the_edge(_above(values, plane))):
        plane = -plane
    return plane


def _above(values: np.ndarray, plane: np.ndarray) -> np.ndarray:
    return np.asarray(weighted_sum(values, plane[:-1]) + np.float32(plane[-1]) > 0)


def _more_at_the_edge(mask: np.ndarray) -> bool:
    """Whether the positions of `mask` `[image, *spatial]` are more common at the edge of the images than inside."""
    inner = (slice(None), *(slice(1, -1),) * (mask.ndim - 1))
    inside = mask[inner]
    edge = mask.size - inside.size
    if not inside.size or not edge:
        return False
    return bool((mask.sum() - inside.sum()) / edge > inside.mean())


def _foreground(fm: FeatureMap, given: Any, split: np.ndarray | None) -> np.ndarray | None:
    """bool `[image, *spatial]`, or `None` where every position counts."""
    if given is None or isinstance(given, str):
        if split is None:
            if given is not None:
                raise BadOption(
                    f"foreground={given!r}: the given basis has no foreground: make one with pca_basis(fm, "
                    f"foreground={given!r})"
                )
            return None
        if len(split) != fm.values.shape[-1] + 1:
            raise BadOption(f"the basis has {counted(len(split) - 1, 'channel')}, this map has {fm.values.shape[-1]}")
        mask = _above(fm.values, split)
    else:
        mask = _mask(fm, given)
    if not mask.any():
        raise BadOption("foreground= leaves no position: everything is background")
    return mask


def _mask(fm: FeatureMap, given: Any) -> np.ndarray:
    shape = fm.values.shape[:-1]
    mask = as_numpy(given.values[..., 0] if isinstance(given, FeatureMap) and given.shape[-1] == 1 else given)
    if mask.dtype != np.bool_ and not np.isin(mask, (0, 1)).all():
        raise BadOption(f"foreground= holds {mask.dtype} values: give a bool array, for example values > 0.5")
    if mask.shape not in (shape, shape[1:]):
        raise BadOption(f"foreground= has the shape {mask.shape}: give {shape[1:]}, the size of the map, or {shape}")
    return np.broadcast_to(mask.astype(bool), shape)
