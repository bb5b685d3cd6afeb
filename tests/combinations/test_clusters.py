"""Clusters against scikit-learn's k-means run by hand."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

import layerscope as ls
from helpers.arrays import planes_first
from helpers.wording import raises, wording


def blobs(images=2, size=8, channels=6, kinds=3, seed=0):
    """Positions around a few centres, more of the first than of the last."""
    random = np.random.default_rng(seed)
    kind = random.choice(kinds, (images, size, size), p=np.arange(kinds, 0, -1) / (kinds * (kinds + 1) / 2))
    centers = random.normal(size=(kinds, channels)) * 5
    return (centers[kind] + random.normal(size=(*kind.shape, channels))).astype(np.float32), kind


@pytest.mark.parametrize("order", [np.ascontiguousarray, planes_first], ids=["nhwc", "nchw"])
def test_clusters_are_scikit_learns_numbered_by_size(order):
    values, _ = blobs(kinds=4)
    expected = KMeans(4, n_init=4, random_state=0).fit(values.reshape(-1, 6))
    fm, basis = ls.clusters(order(values), 4), ls.cluster_basis(order(values), 4)
    labels = fm.values.ravel().astype(int)
    assert fm.role == "labels" and fm.shape == (2, 8, 8, 1)
    assert adjusted_rand_score(expected.labels_, labels) == 1
    sizes = np.bincount(labels)
    assert (np.diff(sizes) <= 0).all()
    np.testing.assert_allclose(basis.share, sizes / sizes.sum())
    match = cdist(basis.centers, expected.cluster_centers_).argmin(1)
    np.testing.assert_allclose(basis.centers, expected.cluster_centers_[match], atol=1e-4)
    flat = values.reshape(-1, 6).astype(np.float64)
    between = 1 - expected.inertia_ / np.square(flat - flat.mean(0)).sum()
    wording(fm.notes, f"{between:.1%}")


@pytest.mark.parametrize("seed", [0, 5, 2**32 - 1])
@pytest.mark.parametrize("kind", ["blobs", "noise", "few vectors"])
def test_starts_are_counted_and_change_no_digit(kind, seed):
    random = np.random.default_rng(0)
    noise = random.random((2, 8, 8, 6), np.float32)
    values = {"blobs": blobs(kinds=4)[0], "noise": noise, "few vectors": np.round(noise[..., :2] * 1.2)}[kind]
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected = KMeans(5, n_init=4, random_state=seed).fit(values.reshape(-1, values.shape[-1]))
    events = []
    with ls.progress(events.append):
        fm, basis = ls.clusters(values, 5, seed=seed), ls.cluster_basis(values, 5, seed=seed)
    order = np.argsort(-np.bincount(expected.labels_, minlength=5), kind="stable")[: len(basis.centers)]
    np.testing.assert_array_equal(basis.centers, expected.cluster_centers_[order])
    np.testing.assert_array_equal(order[fm.values.ravel().astype(int)], expected.labels_)
    assert sorted({(event.done, event.total, event.what) for event in events}) == [(n, 4, "starts") for n in range(5)]


def test_a_fit_of_clusters_can_be_cancelled_in_its_first_start():
    asked = []

    def cancel(event):
        asked.append(event.done)
        if len(asked) == 3:
            raise ls.Cancelled("enough")

    values, _ = blobs()
    before, found = values.copy(), ls.clusters(values, 3).values
    with pytest.raises(ls.Cancelled), ls.progress(cancel):
        ls.clusters(values, 3)
    assert asked == [0, 0, 0] and np.array_equal(values, before)
    assert np.array_equal(ls.clusters(values, 3).values, found)


def test_by_cosine_a_place_goes_with_its_direction():
    values, kind = blobs()
    values *= np.random.default_rng(1).uniform(0.01, 100, (*kind.shape, 1)).astype(np.float32)
    unit = values / np.linalg.norm(values, axis=-1, keepdims=True)
    expected = KMeans(3, n_init=4, random_state=0).fit(unit.reshape(-1, 6))
    fm = ls.clusters(values, 3, metric="cosine")
    assert adjusted_rand_score(expected.labels_, fm.values.ravel()) == 1
    values[0, 0, 0] = 0
    fm = ls.clusters(values, 3, metric="cosine")
    assert np.isnan(fm.values[0, 0, 0, 0]) and np.isfinite(fm.values).sum() == 127
    wording(fm.notes, "1", "0")
    with raises(ls.BadOption, "0"):
        ls.clusters(np.zeros((1, 3, 3, 2)), 2, metric="cosine")


def test_saved_centres_sort_other_images(tmp_path):
    values, _ = blobs(3)
    for metric in ("euclidean", "cosine"):
        together = ls.clusters(values, 3, metric=metric)
        basis = ls.cluster_basis(values, 3, metric=metric)
        path = basis.save(tmp_path / f"{metric}.npz")
        for source in (basis, path, ls.ClusterBasis.load(path)):
            again = ls.clusters(values[1:2], basis=source)
            np.testing.assert_array_equal(again.values, together.values[1:2])
            wording(again.notes)
        assert ls.ClusterBasis.load(path).metric == metric
        expected = cdist(values[1].reshape(-1, 6), basis.centers, metric).argmin(1)
        np.testing.assert_array_equal(again.values.ravel(), expected)
    with raises(ls.BadOption, "6", "2"):
        ls.clusters(values[..., :2], basis=basis)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 9), st.integers(0, 50))
def test_every_place_has_one_of_k_numbers(k, seed):
    fm = ls.clusters(blobs(1, 5, seed=seed)[0], k)
    assert set(np.unique(fm.values)) == set(range(k))
    assert sum(group["share"] for group in fm.provenance["groups"]) == pytest.approx(1)


def test_broken_places_are_left_out_and_marked():
    values, _ = blobs()
    values[0, 1, 2, 3], values[1, 0, 0] = np.nan, np.inf
    fm = ls.clusters(values, 3)
    assert np.isnan(fm.values).sum() == 2 and np.isnan(fm.values[0, 1, 2, 0])
    wording(fm.notes, "2", "128")


def test_fewer_different_vectors_than_clusters_are_noted():
    values = np.zeros((1, 4, 4, 3), np.float32)
    values[0, :2] = 1
    values[0, 0, 0] = 2
    fm = ls.clusters(values, 5)
    assert sorted(np.bincount(fm.values.ravel().astype(int)).tolist()) == [1, 7, 8]
    wording(fm.notes, "3", "5")
    assert fm.rule.startswith("3 clusters")
    assert (ls.clusters(np.zeros((1, 4, 4, 3))).values == 0).all()


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_the_size_of_the_values_changes_nothing(size):
    values, _ = blobs()
    np.testing.assert_array_equal(ls.clusters(values * np.float32(size), 3).values, ls.clusters(values, 3).values)


@pytest.mark.parametrize(
    ("values", "k"),
    [
        (blobs()[0], 0),
        (blobs()[0], True),
        (blobs(1, 2)[0], 5),
        (blobs(1, 1)[0], 6),
        (np.full((1, 3, 3, 4), np.inf, np.float32), 2),
    ],
)
def test_what_can_not_be_is_named(values, k):
    with raises(ls.BadOption):
        ls.clusters(values, k)


def test_a_metric_by_another_name_is_named():
    with raises(ls.BadOption, "'cosine'"):
        ls.clusters(blobs()[0], 2, metric="cosin")


@pytest.mark.parametrize("seed", [-1, "x", 2.0, True, None])
def test_a_seed_is_a_whole_number(seed):
    values = np.abs(np.random.default_rng(0).standard_normal((1, 4, 4, 3)))
    for rule in (ls.clusters, ls.nmf):
        with raises(ls.BadOption, "seed=", "0"):
            rule(values, 2, seed=seed)


def test_a_heat_map_of_groups_has_no_range_to_cut():
    with raises(ls.BadOption):
        ls.heatmap(ls.clusters(np.random.default_rng(0).random((1, 4, 4, 3)), 2), clip=(1, 99))
