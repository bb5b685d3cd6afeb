"""The largest eigenvalues of a matrix and their vectors, without all the others."""

from __future__ import annotations

import numpy as np

from ..core.progress import watched, work

# Below that size LAPACK finds all of them at once in as much time; beyond that share of the size too.
SMALL, SHARE = 384, 32
EPSILON = float(np.finfo(np.float64).eps)


def leading(square: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The `most` largest eigenvalues of a symmetric matrix without negative ones, the largest first, and their unit vectors
    `[most, size]`.

    Block Lanczos with full reorthogonalisation (Golub and Underwood 1977): the vectors that fit best within the span of a
    block and its products, until what is left of `square @ vector - value * vector` is no more than rounding. Where that
    takes too many of them, all are found by LAPACK.

    >>> values, vectors = leading(np.diag([1.0, 3.0, 2.0]), 2)
    >>> values.tolist(), np.abs(vectors).tolist()
    ([3.0, 2.0], [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    """
    size = len(square)
    most = min(most, size)
    found = _by_products(square, most) if size >= SMALL and most <= size // SHARE else None
    if found is None:
        values, vectors = watched(lambda: np.linalg.eigh(square), "rounds") if size >= SMALL else np.linalg.eigh(square)
        found = values[::-1][:most], vectors.T[::-1][:most]
    return np.maximum(found[0], 0), found[1]


def _by_products(square: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray] | None:
    """By products with blocks of vectors; `None` where half of the size isn't enough of them."""
    size, block = len(square), most + 5
    limit = size // 2 // block
    # Rows of `span` are orthonormal, those of `images` their products, `inner` what they are to each other.
    span, images = np.empty((2, limit * block, size))
    inner = np.empty((limit * block,) * 2)
    random = np.random.default_rng(0)
    fresh, tried = random.normal(size=(block, size)), 0
    with work(limit, "rounds", most=True) as step:
        for end in range(block, limit * block + 1, block):
            here = slice(end - block, end)
            span[here] = _orthonormal(fresh, span[: end - block])
            np.matmul(span[here], square, out=images[here])
            inner[here, :end] = images[here] @ span[:end].T
            step(1)
            # Looked for in a span that is a tenth larger each time, as that takes its size cubed.
            if end >= 1.1 * tried:
                tried = end
                values, inside = np.linalg.eigh(inner[:end, :end])
                values, inside = values[::-1][:most], inside.T[::-1][:most]
                vectors = inside @ span[:end]
                left = np.linalg.norm(inside @ images[:end] - values[:, None] * vectors, axis=1)
                if (left <= 8 * EPSILON * np.sqrt(size) * values[0]).all():
                    return values, vectors
            fresh = images[here] - images[here] @ span[:end].T @ span[:end]
            # What the span holds already leaves nothing but rounding: another direction takes its place.
            empty = np.linalg.norm(fresh, axis=1) <= EPSILON * size * np.linalg.norm(images[here], axis=1)
            fresh[empty] = random.normal(size=(int(empty.sum()), size))
    return None


def _orthonormal(rows: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Orthonormal rows, orthogonal to those of `span`; twice, as once leaves some of it."""
    for _ in range(2):
        rows = rows - rows @ span.T @ span
        rows = np.linalg.qr(rows.T)[0].T
    return rows
