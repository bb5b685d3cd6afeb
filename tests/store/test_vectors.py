"""What vectors of many images tell, against the definitions written out in numpy."""

import itertools

import numpy as np
import pytest

from layerscope import BadOption
from layerscope.store import vectors


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_selectivity_is_the_index_of_the_class_with_the_largest_mean():
    values, labels = np.abs(random(60, 5)), np.arange(60) % 3
    values[labels == 2, 4] += 5
    values[7] = np.nan  # an image that couldn't be read
    labels = np.where(np.arange(60) == 8, -1, labels)  # one without a label
    one = vectors.selectivity(values, labels, 3)
    kept = (labels >= 0) & np.isfinite(values[:, 0])
    means = np.stack([values[kept & (labels == label)].mean(0) for label in range(3)], 1)
    np.testing.assert_allclose(one.means, means)
    assert one.best.tolist() == means.argmax(1).tolist()
    assert one.best[4] == 2
    others = (means.sum(1) - means.max(1)) / 2
    np.testing.assert_allclose(one.ratio, (means.max(1) - others) / (means.max(1) + others))


def test_auc_is_the_share_of_pairs_in_order():
    values, labels = np.round(np.abs(random(40, 3)), 1), np.arange(40) % 2  # with equal values among them
    one = vectors.selectivity(values, labels, 2)
    for channel in range(3):
        inside, outside = values[labels == one.best[channel], channel], values[labels != one.best[channel], channel]
        pairs = (inside[:, None] > outside).mean() + 0.5 * (inside[:, None] == outside).mean()
        assert one.auc[channel] == pytest.approx(pairs)


def test_channels_with_negative_means_have_no_index():
    one = vectors.selectivity(np.array([[-1.0, 1.0], [2.0, 3.0]]), np.array([0, 1]), 2)
    assert np.isnan(one.ratio[0])
    assert one.ratio[1] == 0.5


def test_one_class_is_refused():
    with pytest.raises(BadOption, match="two classes"):
        vectors.selectivity(np.ones((3, 2)), np.array([0, 0, -1]), 2)


def test_correlations_are_numpys():
    a, b = random(30, 4), random(30, 4, seed=1)
    np.testing.assert_allclose(vectors.correlations(a, b), np.diag(np.corrcoef(a, b, rowvar=False)[:4, 4:]))


def test_a_correlation_is_over_the_images_that_both_channels_have():
    a, b = random(12, 3), random(12, 3, seed=1)
    a[[2, 5], 0], b[7, 0], a[1:, 1] = np.nan, np.inf, np.nan
    a[2:, 2] = np.nan  # two images are left, which always agree
    rows = [0, 1, 3, 4, 6, 8, 9, 10, 11]
    found = vectors.correlations(a, b)
    assert found[0] == pytest.approx(np.corrcoef(a[rows, 0], b[rows, 0])[0, 1])
    assert np.isnan(found[1:]).all()


def test_a_constant_channel_correlates_with_none_also_where_rounding_is_left():
    a = np.column_stack([np.full(50, 0.1, np.float32), random(50)])
    assert np.isnan(vectors.correlations(a, a)[0])
    assert vectors.correlations(a, a)[1] == pytest.approx(1)


def hsic(one, other):
    """The unbiased estimate as in the paper, with the matrices of all pairs."""
    count = len(one)
    kernels = [vectors @ vectors.T for vectors in (one, other)]
    for kernel in kernels:
        np.fill_diagonal(kernel, 0)
    first, second = kernels
    ones = np.ones(count)
    total = np.trace(first @ second) + (ones @ first @ ones) * (ones @ second @ ones) / ((count - 1) * (count - 2))
    return (total - 2 / (count - 2) * (ones @ first @ second @ ones)) / (count * (count - 3))


@pytest.mark.parametrize(("channels", "others"), [(3, 8), (40, 90)])
def test_cka_is_that_of_the_kernels(channels, others):
    a = random(20, channels) + 3
    b = np.tanh(a @ random(channels, others, seed=1)) - 7
    wanted = hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))
    assert vectors.cka(a, b) == pytest.approx(wanted)


def test_cka_is_one_for_rotations_and_about_zero_for_strangers():
    a = random(100, 12)
    rotation, _ = np.linalg.qr(random(12, 12, seed=2))
    assert vectors.cka(a, 5 * a @ rotation + 2) == pytest.approx(1)
    # The usual estimate would give more than 0.8 here.
    assert abs(vectors.cka(a, random(100, 2000, seed=3))) < 0.1
    for value in (1.0, 0.1, 1 / 3):
        same = np.full((100, 3), value, np.float32)
        assert np.isnan(vectors.cka(a, same))
        assert np.isnan(vectors.cka(same, same))
        assert vectors.principal(same)[1].tolist() == [0, 0]


def test_cka_refuses_other_numbers_of_images():
    with pytest.raises(BadOption, match="5 and 6"):
        vectors.cka(random(5, 2), random(6, 2))
    with pytest.raises(BadOption, match="at least 4"):
        vectors.cka(random(3, 2), random(3, 2))


@pytest.mark.parametrize("shape", [(50, 6), (5, 30)])
def test_principal_components_are_those_of_the_covariance(shape):
    values = random(*shape) * np.arange(1, shape[1] + 1)
    coordinates, shares = vectors.principal(values)
    spread, axes = np.linalg.eigh(np.cov(values, rowvar=False))
    np.testing.assert_allclose(shares, (spread / spread.sum())[::-1][:2])
    centred = values - values.mean(0)
    for column in range(2):
        np.testing.assert_allclose(np.abs(coordinates[:, column]), np.abs(centred @ axes[:, -1 - column]), atol=1e-6)


def test_ranks_are_parts_of_equal_number():
    values = random(31)
    parts = vectors.ranks_of(values, 4)
    assert [len(part) for part in parts] == [8, 8, 8, 7]
    assert sorted(np.concatenate(parts).tolist()) == list(range(31))
    assert all(values[high].min() > values[low].max() for high, low in itertools.pairwise(parts))


def test_labels_are_in_natural_order():
    numbers, names = vectors.label_numbers(["n10", None, "n2", "n10"])
    assert names == ["n2", "n10"]
    assert numbers.tolist() == [1, -1, 0, 1]
