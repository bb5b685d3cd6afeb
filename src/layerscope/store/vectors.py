"""What vectors of many images tell: classes that channels answer to, images and channels that are alike, layers that agree.

Vectors are `[image, channel]`, one number for each channel of each image; rows of NaN are images that couldn't be read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import BadOption
from ..safe_text import counted

FEWEST = 4  # images that an unbiased estimate of CKA needs
COMPARED = 3  # images that a correlation needs


def present(*vectors: np.ndarray) -> np.ndarray:
    """bool `[image]`: which images have numbers, in at least half of the channels of each of the vectors."""
    return np.logical_and.reduce([2 * np.isfinite(each).sum(1) >= max(1, each.shape[1]) for each in vectors])


def complete(vectors: np.ndarray) -> np.ndarray:
    """bool `[channel]`: which channels have a number in every row."""
    found: np.ndarray = np.isfinite(vectors).all(0)
    return found


class Selectivity(NamedTuple):
    """For each channel its best class: that with the largest mean.

    `ratio` is (best − others) / (best + others), the class selectivity index of Morcos et al. 2018, "On the importance of
    single directions for generalization"; NaN where a mean is negative. `auc` is the probability that an image of the class has
    a larger value than one of the others, 0.5 by chance. `means` is `[channel, class]`. Each channel counts the images in which
    it has a number; `best` is -1 where it has none, or the same mean in every class.
    """

    best: np.ndarray
    inside: np.ndarray
    others: np.ndarray
    ratio: np.ndarray
    auc: np.ndarray
    means: np.ndarray


def selectivity(vectors: np.ndarray, labels: np.ndarray, classes: int) -> Selectivity:
    """How the channels answer to classes; `labels` int `[image]`, -1 for images without one.

    >>> one = selectivity(np.array([[4.0], [2.0], [1.0], [1.0]]), np.array([0, 0, 1, 1]), 2)
    >>> one.best.tolist(), one.ratio.tolist(), one.auc.tolist()
    ([0], [0.5], [1.0])
    """
    known = np.isfinite(vectors).any(1) & (labels >= 0)
    order = np.flatnonzero(known)[np.argsort(labels[known], kind="stable")]
    wide, labels = vectors[order].astype(np.float64), labels[order]
    held, starts = np.unique(labels, return_index=True)
    if len(held) < 2:
        raise BadOption(
            f"it takes images of two classes that have values, and there are some of {counted(len(held), 'class', 'classes')}"
        )
    finite = np.isfinite(wide)
    counts = np.add.reduceat(finite, starts, 0, dtype=np.int64)
    sums = np.add.reduceat(np.where(finite, wide, 0), starts, 0)
    means = np.full((classes, wide.shape[1]), np.nan)
    means[held] = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    best = np.where(np.isnan(means), -np.inf, means).argmax(0)
    inside = means[best, np.arange(len(best))]
    # "Others" is the mean of the other classes' means, so that large classes don't weigh more.
    rest = (~np.isnan(means)).sum(0) - 1
    others = np.divide(np.nansum(means, 0) - inside, rest, out=np.full(len(best), np.nan), where=rest > 0)
    positive = (np.nan_to_num(means) >= 0).all(0) & (inside + others > 0)
    index = np.divide(inside - others, inside + others, out=np.full(len(best), np.nan), where=positive)
    same = ~(np.nan_to_num(means, nan=np.inf).min(0) < inside)
    return Selectivity(np.where(same, -1, best), inside, others, index, _auc(wide, labels, best), means.T)


def _auc(values: np.ndarray, labels: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The area under the ROC curve of each channel for its class, equal values counted half; NaN without either."""
    result = np.full(values.shape[1], np.nan)
    for channel in range(values.shape[1]):
        column, members = values[:, channel], labels == best[channel]
        finite = np.isfinite(column)
        inside, outside = np.sort(column[members & finite]), np.sort(column[~members & finite])
        if not (len(inside) and len(outside)):
            continue
        below = np.searchsorted(outside, inside, "left") + np.searchsorted(outside, inside, "right")
        result[channel] = below.sum() / (2 * len(inside) * len(outside))
    return result


def correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each column of `one` with the same of `other`, over the images in which both are finite.

    NaN for constant columns, and over fewer than three images, of which two always agree.

    >>> a = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [np.nan, 1.0]])
    >>> correlations(a, -a).round(6).tolist()
    [-1.0, nan]
    """
    both = np.isfinite(one) & np.isfinite(other)
    whole = both.all(0)
    result = np.full(one.shape[1], np.nan)
    result[whole] = _correlations(one[:, whole], other[:, whole])
    for column in np.flatnonzero(~whole).tolist():
        rows = both[:, column]
        result[column] = _correlations(one[rows, column, None], other[rows, column, None])[0]
    return result


def _correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    if len(one) < COMPARED:
        return np.full(one.shape[1], np.nan)
    return np.clip((_standard(one) * _standard(other)).sum(0), -1, 1)


def _standard(vectors: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and length 1; NaN for those that are constant."""
    centred = _centred(vectors)
    lengths = np.linalg.norm(centred, axis=0)
    return np.divide(centred, lengths, out=np.full(centred.shape, np.nan), where=lengths > 0)


def _centred(vectors: np.ndarray) -> np.ndarray:
    """float64, columns with mean 0: those that are constant wholly so, without the rounding of a mean."""
    centred: np.ndarray = vectors - vectors.mean(0, dtype=np.float64)
    centred[:, vectors.min(0) == vectors.max(0)] = 0
    return centred


def cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The cosine of each row with `query`; NaN for rows of zeros or of images that couldn't be read.

    >>> cosines(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), np.array([2.0, 0.0])).round(3).tolist()
    [1.0, 0.707, nan]
    """
    wide = vectors.astype(np.float64)
    query = query.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(query)
    return np.divide(wide @ query, lengths, out=np.full(len(wide), np.nan), where=lengths > 0)


def cka(one: np.ndarray, other: np.ndarray) -> float:
    """Linear CKA of two sets of vectors of the same images, from 0 (nothing in common) to 1 (the same up to a rotation).

    Centred kernel alignment (Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited") with the unbiased
    estimate of HSIC by Song et al. 2012, which doesn't grow with the number of channels, as the usual one does where there are
    few images; by chance it may be a little below 0.

    >>> random = np.random.default_rng(0)
    >>> a = random.random((50, 8))
    >>> round(cka(a, 3 * a[:, ::-1] + 1), 6), abs(cka(a, random.random((50, 400)))) < 0.2
    (1.0, True)

    Raises:
        BadOption: There are fewer than four images, or other numbers of them.
    """
    if len(one) != len(other):
        raise BadOption(f"CKA compares vectors of the same images, and there are {len(one)} and {len(other)}")
    if len(one) < FEWEST:
        raise BadOption(f"CKA needs at least {FEWEST} images, and there are {len(one)}")
    # HSIC doesn't change with the means, but small numbers lose less to rounding.
    first, second = _centred(one), _centred(other)
    own = _hsic(first, first), _hsic(second, second)
    if min(own) <= 0:
        return float("nan")  # one of them is the same for all images
    return float(_hsic(first, second) / np.sqrt(own[0] * own[1]))


def _hsic(one: np.ndarray, other: np.ndarray) -> float:
    """The unbiased estimate of HSIC with linear kernels, without the matrix of all pairs of images."""
    count = len(one)
    diagonals = [np.einsum("ij,ij->i", vectors, vectors) for vectors in (one, other)]
    rows = [vectors @ vectors.sum(0) - diagonal for vectors, diagonal in zip((one, other), diagonals, strict=True)]
    both = np.square(one.T @ other).sum() - diagonals[0] @ diagonals[1]
    totals = rows[0].sum() * rows[1].sum() / ((count - 1) * (count - 2))
    return float((both + totals - 2 * (rows[0] @ rows[1]) / (count - 2)) / (count * (count - 3)))


def principal(vectors: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates of the images along the first principal components, and the share of variance of each.

    The sign of a component is such that its largest weight is positive.
    """
    centred = _centred(vectors)
    if len(centred) < centred.shape[1]:
        _, sizes, right = np.linalg.svd(centred, full_matrices=False)
        spread = np.square(sizes)
    else:  # the matrix of channels is the smaller one
        spread, columns = np.linalg.eigh(centred.T @ centred)
        spread, right = spread[::-1].clip(0), columns.T[::-1]
    right = right[:count]
    right = right * np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])[:, None]
    total = spread.sum()
    return centred @ right.T, spread[:count] / total if total else np.zeros(len(right))


def js_distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The Jensen-Shannon distance of each row of two tables of counts, from 0 (the same) to 1 (nothing in common).

    >>> js_distance(np.array([[2, 2], [1, 0]]), np.array([[1, 1], [0, 5]])).tolist()
    [0.0, 1.0]
    """
    first, second = (counts / np.maximum(counts.sum(1, keepdims=True), 1) for counts in (one, other))
    middle = (first + second) / 2
    return np.sqrt(np.clip((_relative_entropy(first, middle) + _relative_entropy(second, middle)) / 2, 0, 1))


def _relative_entropy(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """In bits, by rows; what `one` doesn't have counts nothing."""
    ratio = np.divide(one, other, out=np.ones_like(one), where=one > 0)
    return (one * np.log2(ratio)).sum(1)


def ranks_of(values: np.ndarray, bins: int) -> list[np.ndarray]:
    """The rows of an array of numbers by size, the largest first, in `bins` parts of equal number; NaN in none.

    >>> [part.tolist() for part in ranks_of(np.array([3.0, np.nan, 1.0, 2.0, 0.0]), 2)]
    [[0, 3], [2, 4]]
    """
    order = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")
    order = order[: np.count_nonzero(~np.isnan(values))]
    return [part for part in np.array_split(order, bins) if len(part)]


def label_numbers(labels: Sequence[str | None]) -> tuple[np.ndarray, list[str]]:
    """The class of each image by number, -1 without one, and the names of the classes in natural order.

    >>> numbers, names = label_numbers(["10", "2", None])
    >>> numbers.tolist(), names
    ([1, 0, -1], ['2', '10'])
    """
    names = sorted({label for label in labels if label is not None}, key=_natural)
    at = {name: number for number, name in enumerate(names)}
    return np.array([-1 if label is None else at[label] for label in labels], np.int64), names


def _natural(name: str) -> list[tuple[int, int, str]]:
    """By which `2` comes before `10`."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", name) if part]
