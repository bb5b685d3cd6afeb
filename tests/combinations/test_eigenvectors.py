"""The largest eigenvalues by products, beside all of them by LAPACK."""

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from layerscope.combinations import eigenvectors
from layerscope.combinations.eigenvectors import leading

SIZE = 400
SPECTRA = {
    "a slope": 1 / np.arange(1.0, SIZE + 1),
    "one far above": np.append(1e8, np.linspace(1, 2, SIZE - 1)),
    "a few alone": np.append([9.0, 4, 1], np.zeros(SIZE - 3)),
    "one alone": np.append(2.0, np.zeros(SIZE - 1)),
    "two alike": np.append([5.0, 5, 3], np.linspace(0, 2, SIZE - 3)),
    "many alike": np.repeat([3.0, 2, 1, 0], SIZE // 4),
    "all alike": np.ones(SIZE),
    "nothing": np.zeros(SIZE),
    "the least that float32 has": 1e-76 / np.arange(1.0, SIZE + 1),
    "the most that it has": 1e80 / np.arange(1.0, SIZE + 1),
    "nearly alike": 1 - 1e-9 * np.arange(SIZE),
}


def turned(spectrum, seed=0):
    """A matrix with these eigenvalues, and its eigenvectors as columns."""
    vectors = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(spectrum),) * 2))[0]
    square = (vectors * spectrum) @ vectors.T
    return (square + square.T) / 2, vectors


@pytest.mark.parametrize("most", [1, 3, 12])
@pytest.mark.parametrize("name", SPECTRA)
def test_they_are_those_of_lapack(name, most):
    spectrum = np.sort(SPECTRA[name])[::-1]
    square, _ = turned(spectrum)
    values, vectors = leading(square, most)
    rounding = 1e-12 * spectrum[0]
    assert values.shape == (most,) and vectors.shape == (most, SIZE)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(square)[::-1][:most], rtol=0, atol=rounding)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(most), atol=1e-12)
    assert np.linalg.norm(square @ vectors.T - vectors.T * values, axis=0).max() <= rounding


def test_what_stands_apart_is_the_same_direction_to_the_last_digits():
    square, vectors = turned(SPECTRA["a slope"], seed=1)
    along = np.abs((leading(square, 3)[1] * vectors[:, :3].T).sum(1))
    np.testing.assert_allclose(along, 1, atol=1e-13)


def test_it_takes_a_small_part_of_them(monkeypatch):
    sizes, whole = [], np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda square: sizes.append(len(square)) or whole(square))
    leading(turned(SPECTRA["a slope"])[0], 3)
    assert max(sizes) < SIZE / 2
    leading(turned(SPECTRA["nearly alike"])[0], 3)
    assert max(sizes) <= SIZE


def test_rounds_are_counted_and_can_be_the_last():
    values, events = np.maximum(noise(1, 25, 25, eigenvectors.SMALL), 0), []
    plain = ls.pca_basis(values)
    with ls.progress(events.append):
        assert np.array_equal(ls.pca_basis(values).components, plain.components)
    rounds = [event for event in events if event.what == "rounds"]
    assert len(rounds) > 3 and rounds[-1].done == rounds[-1].total

    def stop(event):
        if event.what == "rounds" and event.done == 2:
            raise ls.Cancelled("enough")

    with pytest.raises(ls.Cancelled), ls.progress(stop):
        ls.pca_basis(values)


def test_what_lapack_takes_as_a_whole_is_one_round():
    events = []
    with ls.progress(events.append):
        leading(turned(SPECTRA["a slope"])[0], SIZE // 4)
    assert [event for event in events if event.done] == [ls.Progress(1, 1, "rounds")]
