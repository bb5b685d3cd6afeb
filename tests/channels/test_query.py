"""Channels by a condition on their figures."""

import json
from pathlib import Path

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope.channels.query import parse
from layerscope.channels.statistics import ChannelStatistics
from layerscope.testing import TinyBackend, tiny_model

# Shared with implementations of the grammar in other languages.
FIXTURES = json.loads((Path(__file__).parents[1] / "fixtures/channel_queries.json").read_text("utf-8"))


@pytest.mark.parametrize("case", FIXTURES["cases"], ids=lambda case: f"{case['table']}: {case['query']}")
def test_a_query_chooses_what_the_grammar_says(case):
    lists = FIXTURES["tables"][case["table"]].items()
    columns = {name: np.array([np.nan if value is None else value for value in values]) for name, values in lists}
    table = ChannelStatistics(columns, "conv1", ("image 0",), True, (4, 4))
    if "error" in case:
        with pytest.raises(getattr(ls, case["error"])):
            parse(case["query"]).select(table)
    else:
        assert parse(case["query"]).select(table) == case["channels"]


@pytest.mark.parametrize(("query", "expected"), [("0:2,3", [0, 1, 3]), ("3,0", [3, 0]), ("2:", [2, 3]), ("0:5", None)])
def test_numbers_as_text_choose_tiles_and_what_is_captured(query, expected):
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    batch = np.abs(noise(1, 3, 8, 8))
    whole = scope.capture(batch, "conv1")["conv1"]
    if expected is None:
        with raises(ls.BadChannels, "4"):
            scope.capture(batch, "conv1", channels=query)
        with raises(ls.BadChannels, "4"):
            ls.sheet(whole, channels=query)
        return
    assert channels_of(whole, channels=query) == expected
    assert list(scope.capture(batch, "conv1", channels=query)["conv1"].channels) == expected


def test_a_condition_needs_values_so_a_capture_refuses_it():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    with raises(ls.BadChannels, "conv1"):
        scope.capture(np.abs(noise(1, 3, 8, 8)), "conv1", channels="mean > 1")


def channels_of(*args, **options):
    return [cell.channel for cell in ls.sheet(*args, **options).cells]


def graded():
    """Channel k holds k where it isn't 0; the higher the number, the fewer zeros; 0 is dead, 5 has a NaN."""
    values = np.zeros((1, 4, 4, 6), np.float32)
    for channel in range(1, 6):
        values[0].reshape(16, 6)[: 3 * channel, channel] = channel
    values[0, 3, 3, 5] = np.nan
    return values


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("max > 2", [3, 4, 5]),
        ("max >= 2 and max <= 3", [2, 3]),
        ("max>2 and not dead", [3, 4, 5]),
        ("dead", [0]),
        ("not dead and nan == 0", [1, 2, 3, 4]),
        ("channel != 3 and sparsity < 50%", [4, 5]),
        ("mean > 1e9", []),
        ("min < -1", []),
        (lambda row: row.max == 3 or row.dead, [0, 3]),
    ],
)
def test_channels_are_found_by_their_figures(condition, expected):
    assert ls.find_channels(graded(), condition) == expected
    if expected:
        assert channels_of(graded(), channels=condition) == expected
    else:
        with raises(ls.BadChannels, "'array'"):
            ls.sheet(graded(), channels=condition)


def test_channels_are_found_in_one_image_or_over_all():
    values = np.zeros((2, 3, 3, 2), np.float32)
    values[1, ..., 1] = 4
    assert ls.find_channels(values, "max > 1") == [1]
    assert ls.find_channels(values, "max > 1", image=0) == []
    assert ls.find_channels(ls.FeatureMap.of_array(values).select([1]), "max > 1") == [1]


@pytest.mark.parametrize(
    "condition",
    [
        "meen > 1",
        "mean > much",
        "mean > 1 or dead",
        "mean",
        "dead > 1",
        "",
        "__import__('os').system('true')",
        "mean > 1 and",
        3.5,
    ],
)
def test_conditions_that_mean_nothing_are_named(condition):
    with raises(ls.BadOption):
        ls.find_channels(graded(), condition)


def test_a_mask_is_a_mask_and_never_the_numbers_0_and_1():
    values = noise(1, 4, 4, 4)
    assert channels_of(values, channels=np.array([True, False, False, True])) == [0, 3]
    assert channels_of(values, channels=[False, False, True, True]) == [2, 3]
    assert channels_of(values, channels=slice(1, None, 2)) == [1, 3]
    for mask in ([True, False], [False] * 4):
        with raises(ls.BadChannels, "4"):
            ls.sheet(values, channels=mask)
    assert channels_of(noise(5), channels="max > -100") == [0, 1, 2, 3, 4], "strips choose as well"


@pytest.mark.parametrize(
    ("draw", "shape", "layout"),
    [
        (ls.sheet, (1, 4, 5, 6), "bhwc"),
        (ls.strip, (1, 7, 6), "bnc"),
        (ls.bars, (1, 6), "bc"),
        (ls.compare, (2, 4, 5, 6), "bhwc"),
    ],
)
def test_every_picture_of_channels_takes_the_whole_grammar(draw, shape, layout):
    fm = ls.FeatureMap.of_array(np.arange(6.0) + noise(*shape) / 8, layout)
    expected = [(cell.channel, cell.image) for cell in draw(fm, channels=[4, 5]).cells]
    for channels in (
        "4:6",
        "4,5",
        slice(4, 6),
        np.arange(6) > 3,
        "mean > 3.5",
        lambda row: row.mean > 3.5,
        np.array([4, 5]),
    ):
        picture = draw(fm, channels=channels)
        assert [(cell.channel, cell.image) for cell in picture.cells] == expected, channels
        assert ("where mean > 3.5" in picture.alt()) is (isinstance(channels, str) and "mean" in channels)
    for channels in (7, "9", "mean > 100", [True]):
        with pytest.raises(ls.BadChannels):
            draw(fm, channels=channels)
    with pytest.raises(ls.BadOption):
        draw(fm, channels="mean >")


def test_a_sheet_of_a_condition_says_how_many_it_shows():
    wording(ls.sheet(graded(), channels="max > 2", sort="mean").alt(), "3", "6", "2")
    wording(ls.sheet(graded(), channels=lambda row: row.max > 3).alt(), "4", "5", "6")


def test_show_draws_and_combines_the_channels_of_a_condition():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit")
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path = scope.layers()[0].path
    whole = scope.capture(photo, path)[path]
    expected = ls.find_channels(whole, "mean > 0")
    assert 0 < len(expected) < whole.shape[-1]
    picture = ls.show(scope, photo, path, channels="mean > 0", per_page=1, text=2, theme="dark")
    assert [cell.channel for cell in picture.cells] == expected[:1]
    assert (picture.pages, picture.theme) == (len(expected), "dark")
    wording(picture.alt(), "0")
    combined = ls.show(scope, photo, path, channels="mean > 0", combine="mean")
    mean = ls.heatmap(ls.mean(whole.select(expected)))
    np.testing.assert_array_equal(combined.decode(combined.cells[0]), mean.decode(mean.cells[0]))
