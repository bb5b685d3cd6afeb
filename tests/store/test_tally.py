"""Statistics of units against numpy on all values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerscope.store.counter import Counter
from layerscope.store.tally import BINS, Tally, decode, edges, encode, merged, quantiles

NAMES = ("count", "zeros", "positive", "nan", "inf", "low", "high", "histogram", "top_value", "top_image", "top_place")


def tallied(values, cuts=(), top=4, batch=3):
    """The tallies of float32 `[image, channel, position]`, one for each unit between `cuts`."""
    tallies = []
    for first, end in zip((0, *cuts), (*cuts, len(values)), strict=True):
        counter = Counter(end - first, values.shape[1], top)
        for start in range(first, end, batch):
            part = values[start : min(start + batch, end)]
            with np.errstate(over="ignore"):
                halves = part.astype(np.float16)
            counter.add(part, halves, list(range(start - first, start - first + len(part))))
        tallies.append(counter.finished(first))
    return tallies


def wild(seed, images=11, channels=5, positions=49):
    random = np.random.default_rng(seed)
    values = np.maximum(
        random.normal(size=(images, channels, positions)), random.choice([-np.inf, 0], channels)[:, None]
    )
    values = (values * 10.0 ** random.integers(-3, 4, (channels, 1))).astype(np.float32)
    values[:, 0] = 0
    values[:, 1] = np.round(values[:, 1], 1)
    return values


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_numpy_on_all_values(seed):
    values = wild(seed)
    whole = merged(tallied(values, (4, 7)), 5, 4)
    flat = values.transpose(1, 0, 2).reshape(5, -1)
    assert whole.count.tolist() == [11 * 49] * 5
    assert np.array_equal(whole.low, flat.min(1)) and np.array_equal(whole.high, flat.max(1))
    assert np.array_equal(whole.zeros, (flat == 0).sum(1)) and np.array_equal(whole.positive, (flat > 0).sum(1))
    wide = flat.astype(np.float64)
    assert np.allclose(whole.total, wide.sum(1), rtol=1e-13, atol=1e-13 * np.abs(wide).sum(1).max())
    assert np.allclose(whole.squares, np.square(wide).sum(1), rtol=1e-13)
    assert np.allclose(whole.mean, wide.mean(1), rtol=1e-12, atol=1e-12)
    assert np.allclose(whole.deviation, wide.std(1), rtol=1e-9, atol=1e-12)
    bins = flat.astype(np.float16).view(np.uint16) >> 5
    assert np.array_equal(whole.histogram, [np.bincount(row, minlength=BINS) for row in bins])


@pytest.mark.parametrize("seed", range(4))
def test_values_that_are_not_finite_are_counted_and_left_out(seed):
    values, random = wild(seed), np.random.default_rng(seed)
    for odd in (np.nan, np.inf, -np.inf):
        values[random.random(values.shape) < 0.02] = odd
    values[2:4, 2] = np.nan
    whole = merged(tallied(values, (6,)), 5, 4)
    flat = values.transpose(1, 0, 2).reshape(5, -1)
    finite = np.isfinite(flat)
    assert np.array_equal(whole.nan, np.isnan(flat).sum(1)) and np.array_equal(whole.inf, np.isinf(flat).sum(1))
    assert np.array_equal(whole.count, finite.sum(1)) and np.array_equal(whole.histogram.sum(1), finite.sum(1))
    assert np.array_equal(whole.low, np.where(finite, flat, np.inf).min(1))
    assert np.array_equal(whole.high, np.where(finite, flat, -np.inf).max(1))
    kept = np.where(finite, flat, 0).astype(np.float64)
    assert np.allclose(whole.total, kept.sum(1), rtol=1e-12, atol=1e-9)
    assert np.array_equal(whole.positive, (finite & (flat > 0)).sum(1))
    assert not set(whole.top_image[2]) & {2, 3}


def test_a_channel_without_a_finite_value_has_none():
    (tally,) = tallied(np.full((2, 1, 4), np.nan, np.float32))
    assert (tally.count[0], tally.low[0], tally.high[0]) == (0, np.inf, -np.inf)
    assert np.isnan(tally.mean[0]) and np.isnan(tally.deviation[0]) and np.isnan(quantiles(tally)).all()
    assert tally.top_image.tolist() == [[-1] * 4]


def expected_top(values, top):
    """(value, image, place) of each channel by a stable sort of all images."""
    highs, places = values.max(2), values.argmax(2)
    order = np.argsort(-highs, axis=0, kind="stable")[:top]
    return (
        np.take_along_axis(each, order, 0).T for each in (highs, np.arange(len(values))[:, None] + 0 * places, places)
    )


@given(st.integers(0, 10**6), st.lists(st.integers(1, 12), max_size=4, unique=True), st.randoms())
@settings(max_examples=40, deadline=None)
def test_top_images_break_ties_by_number_and_merge_in_any_order(seed, cuts, shuffler):
    values = np.random.default_rng(seed).integers(0, 4, (13, 3, 4)).astype(np.float32)  # full of ties
    tallies = tallied(values, sorted(cuts))
    shuffler.shuffle(tallies)
    whole = merged(tallies, 3, 4)
    highs, images, places = expected_top(values, 4)
    assert np.array_equal(whole.top_value, highs) and np.array_equal(whole.top_image, images)
    assert np.array_equal(whole.top_place, places)
    one = merged(tallied(values), 3, 4)
    assert all(np.array_equal(getattr(whole, name), getattr(one, name)) for name in NAMES)


def test_an_image_that_is_not_there_leaves_no_trace():
    values = wild(1)
    counter = Counter(12, 5, 3)
    rows = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    counter.add(values, values.astype(np.float16), rows)
    assert np.isnan(counter.mean[5]).all() and (counter.place[5] == -1).all()
    assert np.allclose(counter.mean[rows], values.mean(2, dtype=np.float64), rtol=1e-6)
    assert 105 not in counter.finished(100).top_image


def test_quantiles_are_within_a_bin():
    random = np.random.default_rng(0)
    values = np.abs(random.normal(size=(40, 3, 100)) * [[0.01], [1], [500]]).astype(np.float32)
    whole = merged(tallied(values, (9, 30)), 3, 4)
    exact = np.quantile(values.transpose(1, 0, 2).reshape(3, -1).astype(np.float64), (0.05, 0.5, 0.95), axis=1).T
    assert np.allclose(quantiles(whole, (0.05, 0.5, 0.95)), exact, rtol=1 / 64, atol=2e-6)


def test_bins_follow_one_another_without_a_gap():
    ends = edges()
    positive = ends[: 31 * 32]
    assert positive[0, 0] == 0 and np.isinf(ends[31 * 32]).all()
    assert (positive[1:, 0] > positive[:-1, 1]).all()
    assert np.array_equal(ends[1024 : 1024 + 31 * 32], -positive[:, ::-1])


def test_bytes_are_the_same_for_the_same_numbers_and_read_back():
    (tally,) = tallied(wild(0))
    data = encode({"a": tally, "b/c": tally})
    again = decode(data, "b/c")
    assert encode({"a": tally, "b/c": again}) == data
    assert all(np.array_equal(getattr(tally, name), getattr(again, name)) for name in vars(tally))


def test_the_empty_tally_changes_nothing():
    (tally,) = tallied(wild(2))
    assert encode({"": merged([Tally.empty(5, 4), tally], 5, 4)}) == encode({"": tally})
