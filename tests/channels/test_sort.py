"""The order of channels on a sheet, and their similarity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope import cli
from layerscope.channels.sort import SORTS, chain, correlations
from layerscope.cli import arguments


def channels_of(*args, **options):
    return [cell.channel for cell in ls.sheet(*args, **options).cells]


def bumps(centres, width=0.08):
    """One bump a channel along the rows, at those centres from 0 to 1."""
    xs = np.linspace(0, 1, 40)[:, None, None]
    return np.exp(-(((xs - np.array(centres)) / width) ** 2)).repeat(4, 1)[None].astype(np.float32)


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("mean", lambda planes: planes.mean(0)),
        ("max", lambda planes: planes.max(0)),
        ("energy", lambda planes: np.square(planes).sum(0)),
        ("sparsity", lambda planes: (planes == 0).mean(0)),
        ("deviation", lambda planes: planes.std(0)),
    ],
)
def test_the_largest_come_first_under_their_true_numbers(sort, key):
    values = np.maximum(noise(1, 9, 9, 20) + np.linspace(-1, 1, 20, dtype=np.float32), 0)
    values *= np.random.default_rng(1).uniform(1, 5, 20).astype(np.float32)
    keys = key(values[0].reshape(81, 20).astype(float))
    assert (np.diff(keys[channels_of(values, sort=sort)]) <= 0).all()
    picture = ls.sheet(values, sort=sort, channels=[3, 11, 7])
    wording(picture.alt(), "3", "20", sort)
    assert (np.diff(keys[[cell.channel for cell in picture.cells]]) <= 0).all()


def test_channels_without_a_figure_come_last_and_equal_ones_stay():
    values = np.zeros((1, 4, 4, 5), np.float32)
    values[..., 1] = np.nan
    values[..., 3] = 2
    assert channels_of(values, sort="mean") == [3, 0, 2, 4, 1]
    assert channels_of(values, sort="similarity") == [0, 1, 2, 3, 4], "nothing has a correlation"


def test_similar_channels_stand_side_by_side():
    """Bumps that move along a line come in the order of their centres, from whichever end has the lower number."""
    centres = np.random.default_rng(3).permutation(np.linspace(0.1, 0.9, 25))
    order = channels_of(bumps(centres), sort="similarity")
    expected = np.argsort(centres).tolist()
    assert order in (expected, expected[::-1])
    assert order[0] < order[-1]
    wording(ls.sheet(bumps(centres), sort="similarity").alt())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(0, 99))
def test_the_order_of_likeness_holds_every_channel_once(channels, seed):
    values = noise(1, 5, 5, channels, seed=seed)
    values[..., ::4] = 0
    order = channels_of(values, sort="similarity")
    assert sorted(order) == list(range(channels))
    dead = len(range(0, channels, 4))
    assert order[channels - dead :] == list(range(0, channels, 4)), "dead ones last"


def test_correlations_are_numpys():
    values = (noise(12, 12, 30) + np.float32(3)) * np.logspace(-30, 30, 30).astype(np.float32)
    alike, known = correlations(values)
    assert known.all()
    np.testing.assert_allclose(alike, np.corrcoef(values.reshape(144, 30).astype(float).T), atol=2e-6)
    values[0, 0, 3], values[..., 4] = np.nan, 7
    alike, known = correlations(values)
    assert np.flatnonzero(~known).tolist() == [4]
    plane = values[..., 3].reshape(-1).astype(float)
    plane[0] = np.nanmean(plane)
    expected = np.corrcoef(plane, values[..., 5].reshape(-1))[0, 1]
    assert alike[3, 5] == pytest.approx(expected, abs=0.02)


def test_neighbours_are_as_alike_as_scipys_own_order_makes_them():
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy", reason="SciPy's order of leaves is the comparison")
    random = np.random.default_rng(0)
    kinds = noise(8, 8, 12)
    values = kinds[..., random.integers(0, 12, 150)] + noise(8, 8, 150, seed=1) * 0.7
    alike, known = correlations(values)
    apart = (1 - alike.astype(float))[np.triu_indices(150, 1)]
    best = hierarchy.leaves_list(hierarchy.linkage(apart, "average", optimal_ordering=True))
    order = chain(alike, known)
    mine, theirs = (alike[leaves[:-1], leaves[1:]].mean() for leaves in (order, best))
    plain = alike[np.arange(149), np.arange(1, 150)].mean()
    assert mine > 0.97 * theirs
    assert mine > plain + 0.3


def test_likeness_to_one_channel():
    values = bumps(np.linspace(0.1, 0.9, 9))
    values[..., 8] = 1
    order = channels_of(values, sort="similarity:3")
    assert order[0] == 3
    assert set(order[1:3]) == {2, 4}
    assert order[-1] == 8
    wording(ls.sheet(values, sort="similarity:3").alt(), "3")
    assert channels_of(values, sort="similarity:3", channels=[0, 1, 2]) == [2, 1, 0]
    with raises(ls.BadChannels, "99"):
        ls.sheet(values, sort="similarity:99")
    with raises(ls.BadOption):
        ls.sheet(values, sort="similarity:8")


@pytest.mark.parametrize(
    "sort",
    [
        "sparcity",
        "similarity:",
        "similarity:-1",
        "mean:3",
        None,
        3,
    ],
)
def test_unknown_orders_are_named(sort):
    for values in (noise(1, 4, 4, 3), noise(3)):
        with raises(ls.BadOption):
            ls.sheet(values, sort=sort)


def test_the_command_line_knows_the_same_orders():
    assert all(arguments.sort(order) == order for order in SORTS)
    options = cli.parser().parse_args(["show", "m", "i", "--sort", "similarity:3", "--channels", "mean > 0.1"])
    assert (options.sort, options.channels) == ("similarity:3", "mean > 0.1")


@pytest.mark.parametrize(
    ("wrong", "name"),
    [(["--sort", "maxx"], "--sort maxx"), (["--channels", "meen > 1"], "'mean'"), (["--theme", "drak"], "'drak'")],
    ids=["sort", "channels", "theme"],
)
def test_the_command_line_refuses_others(wrong, name, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["show", "model.onnx", "cat.jpg", *wrong])
    assert left.value.code == 2
    wording(capsys.readouterr().err.splitlines()[-1], name)


def test_blocks_of_correlations_and_pairs_that_join_are_counted():
    values, events = noise(1, 20, 40, 12), []
    plain = channels_of(values, sort="similarity")
    with ls.progress(events.append):
        assert channels_of(values, sort="similarity") == plain
    pairs = [event for event in events if event.what == "pairs"]
    assert pairs == [ls.Progress(done, 11, "pairs") for done in range(12)]
    blocks = [event for event in events if event.what == "blocks"]
    assert blocks[-1].done == blocks[-1].total

    def stop(event):
        if event.what == "pairs" and event.done == 3:
            raise ls.Cancelled("enough")

    with pytest.raises(ls.Cancelled), ls.progress(stop):
        ls.sheet(values, sort="similarity")
