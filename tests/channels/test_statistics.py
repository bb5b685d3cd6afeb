"""The table of channel statistics, against numpy by hand."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import layerscope as ls
from helpers.arrays import noise, planes_first
from helpers.wording import raises, wording
from layerscope.arrays.moments import BLOCK


def by_hand(plane):
    """One channel's figures `[image, *spatial]` by numpy's own functions in float64."""
    plane = plane.astype(np.float64)
    finite = plane[np.isfinite(plane)]
    if not finite.size:
        return dict.fromkeys(("min", "mean", "max", "deviation", "sparsity", "positive"), np.nan)
    return {
        "min": np.min(finite),
        "mean": np.mean(finite),
        "max": np.max(finite),
        "deviation": np.std(finite),
        "sparsity": np.mean(finite == 0),
        "positive": np.mean(finite > 0),
    }


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 3),
    st.lists(st.integers(1, 9), max_size=3),
    st.integers(1, 70),
    st.sampled_from(["relu", "signed", "broken"]),
    st.booleans(),
    st.integers(0, 99),
)
def test_every_figure_is_numpys_own(images, spatial, channels, kind, planes, seed):
    values = noise(images, *spatial, channels, seed=seed)
    if kind == "relu":
        values = np.maximum(values, 0)
    if kind == "broken":
        random = np.random.default_rng(seed)
        for bad in (np.nan, np.inf, -np.inf, 0):
            values[random.random(values.shape) < 0.2] = bad
    if planes:
        values = planes_first(values)
    layout = "b" + {0: "", 1: "n", 2: "hw", 3: "dhw"}[len(spatial)] + "c"
    table = ls.statistics(values, layout=layout)
    finite = np.where(np.isfinite(values), values, 0).astype(float)
    energies = np.square(finite).sum(tuple(range(values.ndim - 1)))
    for channel in range(channels):
        plane = values[..., channel]
        for name, expected in by_hand(plane).items():
            np.testing.assert_allclose(table[name][channel], expected, rtol=1e-9, atol=1e-12, err_msg=name)
        assert table["nan"][channel] == np.isnan(plane).sum()
        assert table["inf"][channel] == np.isinf(plane).sum()
        if np.isfinite(plane).any():
            peak = plane[tuple(table["peak"][channel])]
            assert peak == plane[np.isfinite(plane)].max()
    if energies.sum():
        np.testing.assert_allclose(table["energy"], energies / energies.sum(), rtol=1e-9)


@pytest.mark.parametrize("planes", [False, True])
def test_maps_of_many_blocks(planes):
    """Larger than one block of the walk, with a rest, in both memory orders; the largest is the first of two."""
    values = noise(1, 211, 97, 5)
    assert values.size > BLOCK
    values[0, 100, 3, 2] = values[0, 200, 90, 2] = 50
    values = planes_first(values) if planes else values
    table = ls.statistics(values)
    wide = values.astype(np.float64)[0]
    np.testing.assert_allclose(table["mean"], wide.mean((0, 1)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(table["deviation"], wide.std((0, 1)), rtol=1e-9)
    np.testing.assert_allclose(table["positive"], (wide > 0).mean((0, 1)))
    assert table["peak"][2].tolist() == [0, 100, 3]
    many = ls.statistics(planes_first(noise(1, 300, 300, 2)))
    assert many["sparsity"].tolist() == [0, 0]


def test_many_zeros_are_counted_without_overflow():
    table = ls.statistics(np.zeros((1, 400, 400, 3), np.float32))
    assert table["sparsity"].tolist() == [1, 1, 1]
    assert ls.statistics(np.ones((1, 70_000, 1), np.float32))["positive"].tolist() == [1]
    assert ls.statistics(np.zeros((1, 300, 1, 4096), np.float32))["sparsity"].min() == 1


def test_a_channel_far_from_zero_keeps_its_deviation():
    values = np.float32(4096) + np.random.default_rng(0).integers(0, 2, (1, 50, 50, 2)).astype(np.float32) / 2048
    table = ls.statistics(values)
    np.testing.assert_allclose(table["deviation"], values.astype(float).std((0, 1, 2)), rtol=1e-6)


def test_extreme_values_raise_no_warnings():
    values = np.zeros((1, 2, 2, 4), np.float32)
    values[..., 0], values[..., 1], values[..., 2] = 3e38, np.nan, 1e-45
    values[0, 0, 0, 0] = -3e38
    table = ls.statistics(values)
    assert np.isfinite(table["deviation"][[0, 2, 3]]).all()
    assert np.isnan(table["mean"][1])
    assert table["energy"][1] == 0


def test_dead_constant_and_broken_channels_are_lists():
    values = np.abs(noise(2, 4, 4, 6)) + 1
    values[..., 1] = 0
    values[0, ..., 2] = 0
    values[..., 3] = 0.5
    values[1, 0, 0, 4] = np.inf
    values[..., 5] = 0
    values[0, 0, 0, 5] = np.nan
    both, first = ls.statistics(values), ls.statistics(values, 0)
    assert (both.dead, both.constant, both.not_finite) == ((1,), (3,), (4, 5))
    assert (first.dead, first.constant, first.not_finite) == ((1, 2), (3,), (5,))
    assert ls.statistics(values, -1)["peak"][0, 0] == 1, "the image's own number"
    numbered = ls.FeatureMap.of_array(values).select([5, 2, 1])
    assert ls.statistics(numbered).dead == (1,)
    assert [row.channel for row in ls.statistics(numbered)] == [5, 2, 1]


def test_a_sheet_says_whether_dead_means_this_image_or_all():
    values = np.abs(noise(3, 4, 4, 5)) + 1
    values[..., 1] = 0
    values[0, ..., 2] = 0
    wording(ls.sheet(values, image=0).alt(), "0", "2", "5", "1", "3")
    values[2, 0, 0, 1] = 1
    wording(ls.sheet(values, image=0).alt(), "3")
    wording(ls.sheet(values[:1]).alt(), "0", "2", "5", "1")
    values[0, 0, 0, 1] = np.nan
    text = ls.sheet(values[:1]).alt()
    wording(text, "0", "1", "5", "2")


def test_it_prints_as_a_table():
    values = np.abs(noise(1, 3, 3, 4))
    values[..., 2] = 0
    lines = repr(ls.statistics(values)).splitlines()
    assert lines[0].split() == [
        "channel", "min", "mean", "max", "deviation", "zeros", "positive", "energy", "peak",
    ]  # fmt: skip
    assert lines[3].split() == ["2", "0", "0", "0", "0", "100%", "0%", "0%", "0,", "0", "dead"]
    wording(lines[-2:], "4", "0", "1", "(2)")
    long = ls.statistics(noise(2, 3, 3, 100))
    left_out = next(line for line in repr(long).splitlines() if "…" in line)
    wording([left_out, repr(long).splitlines()[-1]], "60", "2")
    assert len(long.plain().splitlines()) == 102
    html = ls.statistics(ls.FeatureMap.of_array(values, None))._repr_html_()
    assert html.count("<tr>") == 5
    assert lines[-1] in html


def test_text_of_the_user_is_escaped_in_a_notebook():
    fm = ls.FeatureMap(noise(1, 2, 2, 1), ls.Layer("<b>x", "k", "bhwc", (1, 2, 2, 1), 0, 1), ("<i>.png",), (0,))
    assert "<b>" not in ls.statistics(fm)._repr_html_()
    assert "<i>" not in ls.statistics(fm)._repr_html_()


def test_json_and_csv_hold_every_number(tmp_path):
    values = noise(2, 3, 4, 3)
    values[..., 1] = np.nan
    table = ls.statistics(values)
    rows = json.loads(table.json())
    assert [row["channel"] for row in rows] == [0, 1, 2]
    assert rows[0]["mean"] == table["mean"][0]
    assert rows[1]["mean"] is None
    assert (rows[2]["peak_image"], rows[2]["peak_y"], rows[2]["peak_x"]) == tuple(table["peak"][2])
    text = table.csv(tmp_path / "a.csv").read_text("utf-8")
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert len(text.splitlines()) == 4
    assert [float(row["deviation"]) for row in read][::2] == table["deviation"][::2].tolist()
    assert read[0]["dead"] == "False"
    with raises(ls.BadOption):
        table.csv(tmp_path / "missing" / "a.csv")


def test_columns_are_arrays_of_their_own():
    table = ls.statistics(noise(1, 3, 3, 4))
    assert table["mean"].dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        table["mean"][0] = 1
    with raises(ls.BadOption, "'sparsity'"):
        table["sparsty"]
    with raises(ls.BadOption, "1"):
        ls.statistics(noise(1, 3, 3, 4), 1)


def test_the_users_array_is_left_alone():
    values = noise(2, 5, 5, 3)
    before = values.copy()
    ls.statistics(values)
    assert np.array_equal(values, before)
    assert values.flags.writeable


def test_a_sheet_writes_mean_and_zeros_below_its_tiles():
    values = np.maximum(noise(1, 12, 12, 10), 0)
    plain, more = ls.sheet(values), ls.sheet(values, statistics=True)
    wording(more.alt(), "0")
    assert more.height > plain.height
    assert [cell.channel for cell in more.cells] == list(range(10))
    paged = ls.sheet(values, statistics=True, per_page=4, page=2)
    assert [cell.channel for cell in paged.cells] == [8, 9]


def test_one_channel_is_no_channels():
    wording(repr(ls.statistics(np.ones((4, 4)))).splitlines()[2], "1")
