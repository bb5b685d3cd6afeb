"""Non-negative factors of a layer: the few patterns of channels whose sums make up its vectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..arrays.reductions import channel_squares
from ..checks import keywords, one_of, whole
from ..core.feature_map import FeatureMap, as_map
from ..core.note import Note
from ..core.progress import work
from ..core.words import all_channels
from ..errors import BadOption
from ..safe_text import counted
from ..surface import by_surface
from .basis import LARGEST_SEED, EachRound, Stored, finite_vectors, fitted_to, learning, left_out, scikit_learn, spread

MOST_ROUNDS = 400
STRONGEST = 4
PARTS = 16  # so that no array in float64 of the size of the layer is made


@dataclass(frozen=True, eq=False)
class FactorBasis(Stored):
    """Non-negative factors of a layer, so that later images get the same ones; `save` and `load` keep it.

    >>> basis = nmf_basis(np.array([[[[2.0, 0.0]], [[0.0, 1.0]]]], np.float32), 2)
    >>> basis.components.shape, basis.energy.round(2).tolist()
    ((2, 2), [0.8, 0.2])

    Attributes:
        components: float64 `[k, channel]`, non-negative rows of length 1.
        energy: float64 `[k]`, the share of the energy of the values that each explains, the largest first.
        notes: Notes for the caption on how the basis was made.

    Raises:
        BadOption: An array has other axes, doesn't fit the other, or isn't finite.
    """

    AXES: ClassVar[dict[str, str]] = {"components": "kc", "energy": "k"}

    components: np.ndarray
    energy: np.ndarray
    notes: tuple[str, ...] = ()


@keywords
def nmf_basis(fm: Any, factors: int = 6, *, seed: int = 0, negative: str = "error") -> FactorBasis:
    """The non-negative factors of the channel vectors at all positions of all images.

    >>> nmf_basis(np.array([[[[2.0, 0.0]], [[0.0, 1.0]]]], np.float32), 2).components.round(3).tolist()
    [[1.0, 0.0], [0.0, 1.0]]

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.
        factors: How many, at most the number of channels and of positions.
        seed: Seed of the start, a whole number below 2³².
        negative: `"error"` or `"clip"`, as in `nmf`.

    Raises:
        BadOption: The map has negative values or no usable position, or an option is invalid.
        LibraryMissing: scikit-learn isn't installed.
    """
    fm = as_map(fm)
    matrix, _, notes = _matrix(fm, negative)
    return _learned(matrix, fm, factors, seed=seed, notes=notes)[1]


@keywords
def nmf(fm: Any, factors: int = 6, *, seed: int = 0, basis: Any = None, negative: str = "error") -> FeatureMap:
    """How strong each of a few non-negative factors is at each position.

    >>> import numpy as np
    >>> values = np.array([[[[2.0, 0.0]], [[0.0, 1.0]]]], np.float32)
    >>> nmf(values, 2).values.reshape(2, 2).round(3).tolist()
    [[2.0, 0.0], [0.0, 1.0]]

    The matrix V `[position, channel]` of all images becomes W H with no negative number in W (the result) or H (the
    factors' channels, rows of length 1): Deep Feature Factorization (Collins et al. 2018, "Deep Feature Factorization
    For Concept Discovery", equation 1), by scikit-learn's coordinate descent from the start "nndsvda", so that runs are
    reproducible. Factors are ordered by the share of the energy of V that they explain; the shares add up to `1 - |V -
    W H|² / |V|²`.

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.
        factors: How many, at most the number of channels and of positions; not used with a `basis`.
        seed: Seed of the start, a whole number below 2³².
        basis: A `FactorBasis` that `nmf_basis` gave, or the path of its file; the strengths of its factors are solved
            for.
        negative: What becomes of negative values: `"error"` raises; `"clip"` treats them as 0, and a note says so.

    Returns:
        A map with a channel for each factor, float32 `[image, *spatial, factor]`, with the role `"factors"`: `heatmap`
        and `overlay` give each a colour, `sheet` a tile.

    Raises:
        BadOption: The map has negative values or no usable position, or an option is invalid.
        LibraryMissing: scikit-learn isn't installed.
    """
    fm = as_map(fm)
    matrix, sound, notes = _matrix(fm, negative)
    if basis is None:
        strengths, learned = _learned(matrix, fm, factors, seed=seed, notes=notes)
    else:
        learned = FactorBasis.of(basis)
        if learned.components.shape[1] != matrix.shape[1]:
            raise BadOption(
                f"the basis has {counted(learned.components.shape[1], 'channel')}, this map has {matrix.shape[1]}"
            )
        if (learned.components < 0).any():
            raise BadOption("the basis has negative components, which non-negative factors can't have")
        strengths, energy = _solved(matrix, learned.components)
        learned = replace(learned, energy=energy, notes=notes)
    groups = [
        {"number": number, "share": float(share), "channels": _strongest(row, fm)}
        for number, (row, share) in enumerate(zip(learned.components, learned.energy, strict=True))
    ]
    count = len(groups)
    energy_note = Note("energy", f"energy explained by {counted(count, 'factor')}: {learned.energy.sum():.1%}")
    texts = (energy_note, fitted_to(fm, "factors", given=basis is not None), *learned.notes, *left_out(sound))
    rule = f"{counted(count, 'factor')} (NMF)"
    combined = fm.combined(spread(strengths, sound), rule, texts, role="factors", over=all_channels(fm))
    return replace(
        combined,
        notes=(*combined.notes, *(Note("group", group_text(group)) for group in groups)),
        provenance={**combined.provenance, "groups": groups},
    )


def group_text(group: dict[str, Any]) -> str:
    """One factor in words: `factor 0: 31.2%, channels 12, 40, 7`."""
    channels = ", ".join(map(str, group["channels"])) or "none"
    return f"factor {group['number']}: {group['share']:.1%}, channels {channels}"


def _matrix(fm: FeatureMap, negative: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """(the non-negative matrix, its positions, notes on it)."""
    one_of("negative", negative, ("error", "clip"))
    matrix, sound = finite_vectors(fm, "nmf")
    lowest = float(matrix.min())
    if lowest >= 0:
        return matrix, sound, ()
    share = float((matrix < 0).mean())
    if negative == "error":
        after = "choose the layer after its activation (ReLU);"
        raise BadOption(
            f"nmf needs non-negative values, and {share:.1%} of those of {fm.layer.path!r} are negative (down to "
            f"{lowest:.3g})",
            by_surface(
                'capture the layer after its activation (ReLU), or use negative="clip", which treats them as 0;',
                after,
                after,
            )
            + " pca and clusters accept any sign",
        )
    return (
        np.maximum(matrix, 0),
        sound,
        (Note("clipped", f"{share:.1%} of the values are negative (down to {lowest:.3g}), treated as 0"),),
    )


def _learned(
    matrix: np.ndarray, fm: FeatureMap, factors: int, *, seed: int, notes: tuple[str, ...]
) -> tuple[np.ndarray, FactorBasis]:
    """The strengths `[position, factor]` and the basis, the strongest factor first."""
    factors = whole("factors", factors)
    positions, channels = matrix.shape
    if factors > min(positions, channels):
        raise BadOption(
            f"{by_surface('factors=', '--combine nmf:', 'factors ')}{factors}: {fm.layer.path!r} has"
            f" {counted(positions, 'position')} and {counted(channels, 'channel')}, so use at most {min(positions, channels)}"
        )
    seed = whole("seed", seed, 0, LARGEST_SEED)
    matrix, unit = _of_size_one(matrix)
    if not unit:
        return np.zeros((positions, factors)), FactorBasis(
            np.zeros((factors, channels)), np.zeros(factors), (*notes, Note("all-zero", "every value is 0"))
        )
    model, strengths = _fit(matrix, factors, seed)
    if model.n_iter_ >= MOST_ROUNDS:
        notes = (*notes, Note("not-settled", f"not converged after {MOST_ROUNDS} rounds"))
    rows = model.components_.astype(np.float64)
    size = np.linalg.norm(rows, axis=1)
    rows = np.divide(rows, size[:, None], out=np.zeros_like(rows), where=size[:, None] > 0)
    strengths = strengths * size.astype(np.float32)
    shares = _shares(matrix, strengths, rows)
    order = np.argsort(-shares, kind="stable")
    return strengths[:, order] * np.float32(unit), FactorBasis(rows[order], shares[order], notes)


def _fit(matrix: np.ndarray, factors: int, seed: int) -> tuple[Any, np.ndarray]:
    """scikit-learn's model and the strengths. Its start from singular vectors divides 0 by 0 where the values have fewer
    dimensions than there are factors; a random one then takes its place."""
    for init in ("nndsvda", "random"):
        with _rounds() as each, np.errstate(invalid="ignore"):
            model = scikit_learn("decomposition", "nmf").NMF(
                factors, init=init, solver="cd", random_state=seed, max_iter=MOST_ROUNDS, verbose=each
            )
            strengths = model.fit_transform(matrix)
        if np.isfinite(model.reconstruction_err_):
            break
    return model, strengths


def _solved(matrix: np.ndarray, components: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The non-negative strengths `[position, factor]` of given factors that come closest to the matrix, and their shares."""
    matrix, unit = _of_size_one(matrix)
    if not unit or not components.any():
        return np.zeros((len(matrix), len(components)), np.float32), np.zeros(len(components))
    with _rounds() as each:
        strengths, _, _ = scikit_learn("decomposition", "nmf").non_negative_factorization(
            matrix,
            H=np.ascontiguousarray(components, np.float32),
            n_components=len(components),
            update_H=False,
            init="custom",
            solver="cd",
            tol=1e-6,
            max_iter=MOST_ROUNDS,
            verbose=each,
        )
    return strengths * np.float32(unit), _shares(matrix, strengths, components)


@contextmanager
def _rounds() -> Iterator[EachRound]:
    """Around scikit-learn's work, whose `verbose=` it gives."""
    with work(MOST_ROUNDS, "rounds", most=True) as step, learning("nmf"):
        yield EachRound(lambda: step(1))


def _of_size_one(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """The matrix divided by the root mean square of its values (0 where all are 0), and that number.

    scikit-learn's start fills gaps with the mean of the values and takes what is below 1e-6 for 0, so without this the factors
    would depend on the unit.
    """
    largest = float(matrix.max())
    if largest <= 0:
        return matrix, 0.0
    shrunk = matrix if 1e-15 < largest < 1e15 else matrix / np.float32(largest)
    size = np.sqrt(float(channel_squares(shrunk).sum()) / matrix.size)
    return shrunk / np.float32(size), size * (1.0 if shrunk is matrix else largest)


def _shares(matrix: np.ndarray, strengths: np.ndarray, components: np.ndarray) -> np.ndarray:
    """The share of the energy of V that each factor explains, in all `1 - |V - W H|² / |V|²`.

    A factor's share is `2 <V, w h> - <W H, w h>` of `|V|²`; where nothing can be gained any more, `<V, w h>`.
    """
    energy, with_values, within = 0.0, np.zeros(len(components)), np.zeros((len(components),) * 2)
    for values, part in zip(np.array_split(matrix, PARTS), np.array_split(strengths, PARTS), strict=True):
        values, part = values.astype(np.float64), part.astype(np.float64)
        energy += float(np.einsum("pc,pc->", values, values))
        with_values += np.einsum("pk,pk->k", part, values @ components.T)
        within += part.T @ part
    with_product = np.einsum("jk,jk->k", within, components @ components.T)
    return np.asarray((2 * with_values - with_product) / energy)


def _strongest(row: np.ndarray, fm: FeatureMap) -> list[int]:
    """The true numbers of the channels with the most weight in a factor."""
    order = np.argsort(-row, kind="stable")[:STRONGEST]
    return [fm.channels[index] for index in order if row[index] > 0]
