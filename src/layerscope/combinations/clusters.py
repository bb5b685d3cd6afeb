"""Clusters of the channel vectors: which positions of a layer are alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..checks import keywords, one_of, whole
from ..core.feature_map import FeatureMap, as_map
from ..core.note import Note
from ..core.progress import work
from ..core.words import all_channels
from ..errors import BadOption
from ..safe_text import counted
from ..surface import by_surface
from .basis import (
    LARGEST_SEED,
    EachRound,
    Stored,
    finite_vectors,
    fitted_to,
    learning,
    left_out,
    no_direction,
    scikit_learn,
    spread,
)

METRICS = ("euclidean", "cosine")
STARTS, MOST_ROUNDS = 4, 300
PARTS = 16  # so that no second array of the size of the layer is made


@dataclass(frozen=True, eq=False)
class ClusterBasis(Stored):
    """Centres of clusters, so that later images get the same ones; `save` and `load` keep it.

    >>> basis = cluster_basis(np.array([[[[5.0, 0.0]], [[0.0, 1.0]], [[5.0, 0.0]]]], np.float32), 2)
    >>> basis.centers.tolist(), basis.share.round(2).tolist()
    ([[5.0, 0.0], [0.0, 1.0]], [0.67, 0.33])

    Attributes:
        centers: float64 `[k, channel]`.
        share: float64 `[k]` of the positions that each holds, the largest first.
        metric: The distance, `"euclidean"` or `"cosine"`.
        between: The share of the variance that lies between the centres.
        notes: Notes for the caption on how the basis was made.

    Raises:
        BadOption: An array has other axes, doesn't fit the other, or isn't finite.
    """

    AXES: ClassVar[dict[str, str]] = {"centers": "kc", "share": "k"}

    centers: np.ndarray
    share: np.ndarray
    metric: str = "euclidean"
    between: float = 0.0
    notes: tuple[str, ...] = ()


@keywords
def cluster_basis(fm: Any, k: int = 6, *, seed: int = 0, metric: str = "euclidean") -> ClusterBasis:
    """The centres of the clusters of the channel vectors at all positions of all images.

    >>> cluster_basis(np.array([[[[5.0, 0.0]], [[0.0, 1.0]], [[5.0, 0.0]]]], np.float32), 2).centers.tolist()
    [[5.0, 0.0], [0.0, 1.0]]

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.
        k: How many clusters, at most the number of positions.
        seed: Random seed of the starts, a whole number below 2³².
        metric: `"euclidean"` or `"cosine"`, as in `clusters`.

    Raises:
        BadOption: There is no usable position, or an option is invalid.
        LibraryMissing: scikit-learn isn't installed.
    """
    fm = as_map(fm)
    matrix, sound = finite_vectors(fm, "clusters")
    return _learned(_vectors(matrix, sound, one_of("metric", metric, METRICS))[0], fm, k, seed=seed, metric=metric)[1]


@keywords
def clusters(fm: Any, k: int = 6, *, seed: int = 0, basis: Any = None, metric: str = "euclidean") -> FeatureMap:
    """The number of the cluster that each position belongs to.

    >>> import numpy as np
    >>> values = np.array([[[[5.0, 0.0]], [[0.0, 1.0]], [[5.1, 0.0]]]], np.float32)
    >>> clusters(values, 2).values.ravel().tolist()
    [0.0, 1.0, 0.0]

    k-means (Lloyd 1982; scikit-learn's, with 4 starts from `seed`, so that runs are reproducible) on the channel
    vectors of all images together; clusters are numbered by size, the largest 0.

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.
        k: How many clusters, at most the number of positions; not used with a `basis`.
        seed: Random seed of the starts, a whole number below 2³².
        basis: A `ClusterBasis` that `cluster_basis` gave, or the path of its file; each position goes to the nearest
            centre.
        metric: `"euclidean"`, or `"cosine"`: k-means on unit vectors, where vectors of length 0 become NaN.

    Returns:
        A map of whole numbers, float32 `[image, *spatial, 1]`, with the role `"labels"`: `heatmap` and `overlay` give
        each cluster a colour.

    Raises:
        BadOption: There is no usable position, there are more clusters than positions, or an option is invalid.
        LibraryMissing: scikit-learn isn't installed.
    """
    fm = as_map(fm)
    matrix, sound = finite_vectors(fm, "clusters")
    source = fitted_to(fm, "clusters", given=basis is not None)
    if basis is None:
        vectors, sound, notes = _vectors(matrix, sound, one_of("metric", metric, METRICS))
        labels, basis = _learned(vectors, fm, k, seed=seed, metric=metric)
        between = Note("between", f"the clusters explain {basis.between:.1%} of the variance")
        notes = (between, *basis.notes, *notes)
    else:
        basis = ClusterBasis.of(basis)
        if basis.centers.shape[1] != matrix.shape[1]:
            raise BadOption(
                f"the basis has {counted(basis.centers.shape[1], 'channel')}, this map has {matrix.shape[1]}"
            )
        vectors, sound, notes = _vectors(matrix, sound, one_of("metric", basis.metric, METRICS))
        labels = _nearest(vectors, basis.centers)
    count = len(basis.centers)
    shares = np.bincount(labels, minlength=count) / max(1, len(labels))
    groups = [{"number": number, "share": float(share)} for number, share in enumerate(shares)]
    near_is = "cosine, on unit vectors" if basis.metric == "cosine" else "Euclidean"
    texts = (Note("metric", f"k-means, {near_is}"), source, *notes, *left_out(sound))
    values = spread(labels[:, None].astype(np.float32), sound)
    combined = fm.combined(
        values, counted(count, "cluster"), texts, role="labels", over=f"positions, by {all_channels(fm)}"
    )
    return replace(combined, provenance={**combined.provenance, "groups": groups})


def _vectors(matrix: np.ndarray, sound: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """(what is clustered, its positions, notes): the vectors themselves, or those of length 1."""
    if metric == "euclidean":
        return matrix, sound, ()
    largest = np.abs(matrix).max(1, keepdims=True)
    moving = largest[:, 0] > 0
    # Divided by the largest first, since squares of small numbers vanish in float32.
    unit = matrix[moving] / largest[moving]
    unit /= np.sqrt(np.einsum("pc,pc->p", unit, unit))[:, None]
    if not len(unit):
        raise BadOption('metric="cosine": every vector has length 0, so none has a direction')
    if moving.all():
        return unit, sound, ()
    positions = sound.copy()
    positions[sound] = moving
    return unit, positions, (no_direction(int((~moving).sum())),)


def _learned(vectors: np.ndarray, fm: FeatureMap, k: int, *, seed: int, metric: str) -> tuple[np.ndarray, ClusterBasis]:
    """The cluster of each position, and the basis, the largest cluster first; empty ones are left out."""
    k = whole("k", k)
    if k > len(vectors):
        raise BadOption(
            f"{by_surface('k=', '--combine clusters:', 'clusters ')}{k}: {fm.layer.path!r} has only"
            f" {counted(len(vectors), 'position')} to cluster; use at most that many"
        )
    seed = whole("seed", seed, 0, LARGEST_SEED)
    largest = float(np.abs(vectors).max()) or 1.0
    # Squares of distances must stay within float32; a power of two changes no digit.
    unit = np.float32(2.0 ** np.round(np.log2(largest))) if largest > 1e15 or largest < 1e-15 else np.float32(1)
    scaled = vectors if unit == 1 else vectors / unit
    model = _best(scaled, k, seed)
    labels = model.labels_
    sizes = np.bincount(labels, minlength=k)
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    number = np.empty(k, int)
    number[order] = np.arange(len(order))
    fewer = Note(
        "fewer-clusters", f"{counted(len(order), 'cluster')} instead of {k}: there are no more distinct vectors"
    )
    notes = (fewer,) if len(order) < k else ()
    middle = scaled.mean(0, dtype=np.float64).astype(np.float32)
    variance = sum(float(np.square(part - middle).sum(dtype=np.float64)) for part in np.array_split(scaled, PARTS))
    between = 1 - float(model.inertia_) / variance if variance > 0 else 0.0
    centers = model.cluster_centers_[order].astype(np.float64) * float(unit)
    return number[labels], ClusterBasis(centers, sizes[order] / len(vectors), metric, between, notes)


def _best(vectors: np.ndarray, k: int, seed: int) -> Any:
    """scikit-learn's k-means with `n_init=STARTS`, to the last digit, one start after another so that they can be counted."""
    best: Any = None
    random = np.random.RandomState(seed)
    with work(STARTS, "starts") as step, learning("clusters"):
        kmeans = scikit_learn("cluster", "clusters").KMeans
        for _ in range(STARTS):
            each = EachRound(lambda: step(0))
            model = kmeans(k, n_init=1, random_state=random, algorithm="lloyd", max_iter=MOST_ROUNDS, verbose=each)
            model.fit(vectors)
            # The same clusters may have a slightly smaller sum by rounding.
            if best is None or (model.inertia_ < best.inertia_ and not _same(model.labels_, best.labels_, k)):
                best = model
            step(1)
    return best


def _same(labels: np.ndarray, others: np.ndarray, k: int) -> bool:
    """Whether each cluster lies in one of the others."""
    pairs = np.bincount(labels.astype(np.int64) * k + others, minlength=k * k).reshape(k, k)
    return bool((np.count_nonzero(pairs, axis=1) <= 1).all())


def _nearest(vectors: np.ndarray, centers: np.ndarray) -> np.ndarray:
    metrics = scikit_learn("metrics", "clusters")
    with np.errstate(over="ignore"):
        near = centers.astype(np.float32)
    if not np.isfinite(near).all():
        raise BadOption(
            "the basis has centers beyond the numbers of float32, which maps hold: make it with cluster_basis"
        )
    with learning("clusters"):
        return np.asarray(metrics.pairwise_distances_argmin(vectors, near))
