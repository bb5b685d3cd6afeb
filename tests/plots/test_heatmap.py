"""Heat maps and their bars."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope.picture.codes import ABOVE, BELOW, TOP
from layerscope.picture.colorbar import BAR_GAP, ColorBar, bar_ticks, round_numbers
from layerscope.picture.font import font


@settings(deadline=None, max_examples=30)
@given(st.floats(-50, 50), st.floats(0.1, 100), st.sampled_from([None, "magma", "gray"]))
def test_a_colour_on_the_map_is_found_in_the_bar_at_its_value(low, span, colors):
    """Read a value as a person does: find the pixel's colour in the bar, take the bar's value there."""
    values = (low + np.linspace(0, 1, 24).reshape(4, 6) * span).astype(np.float32)
    picture = ls.heatmap(values, colors=colors)
    cell, bar, rgb = picture.cells[0], picture.bar, picture.rgb().astype(int)
    column = rgb[bar.y : bar.y + bar.height, bar.x]
    value_at_row = bar.high - (np.arange(bar.height) + 0.5) / bar.height * (bar.high - bar.low)
    for y, x in ((0, 0), (1, 3), (3, 5)):
        color = rgb[cell.y + y * picture.zoom, cell.x + x * picture.zoom]
        distance = np.abs(column - color).sum(1)
        candidates = value_at_row[distance == distance.min()]
        assert np.abs(candidates - values[y, x]).min() <= span / TOP * 2 + abs(low) * 1e-6


def test_the_bar_has_the_limits_and_round_numbers():
    picture = ls.heatmap(np.linspace(-0.3, 1.7, 64).reshape(8, 8))
    assert (picture.bar.low, picture.bar.high) == pytest.approx((-0.3, 1.7))
    assert picture.scale.center == 0
    assert round_numbers(-0.3, 1.7) == [0.0, 0.5, 1.0, 1.5]
    assert round_numbers(0, 1e6) == [0, 2e5, 4e5, 6e5, 8e5, 1e6]
    assert [text for _, text in bar_ticks(ls.Scale((1.0, 1.0 + 1e-9)))] == [
        "1.0000000010",
        "1.0000000000",
        "1.0000000002",
        "1.0000000004",
        "1.0000000006",
        "1.0000000008",
    ]


@pytest.mark.parametrize(
    ("limits", "texts"),
    [
        ((0.9998, 1.0002), ["1.0002", "0.9998", "0.9999", "1.0000", "1.0001"]),
        ((0.005083, 0.0051212), ["0.0051212", "0.0050830", "0.0050900", "0.0051000", "0.0051100", "0.0051200"]),
        ((97, 1603), ["1603", "97", "500", "1000", "1500"]),
        ((0, 123456), ["1.23e5", "0", "5e4", "1e5"]),
        ((1e-9, 4e-9), ["4e−9", "1e−9", "2e−9", "3e−9"]),
        ((-3e30, 2e30), ["2e30", "−3e30", "0", "−2e30", "−1e30", "1e30"]),
        ((-0.25, 1.0), ["1.00", "−0.25", "0", "0.50"]),
        ((0.3, 2.6), ["2.6", "0.3", "0.5", "1.0", "1.5", "2.0", "2.5"]),
        ((5e-324, 1e-320), ["1e−320", "4.94e−324"]),
        ((3.0, 3.0), ["3"]),
    ],
)
def test_ticks_have_the_digits_that_their_range_needs(limits, texts):
    center = 0.0 if limits[0] < 0 < limits[1] else None
    assert [text for _, text in bar_ticks(ls.Scale(limits, center=center))] == texts


def test_no_round_number_stands_close_to_a_limit():
    """At its limits a label is moved into the bar, so that one beside it would be read as the limit's."""
    for limits, kept in (((1.55, 2.6), ["2.60", "1.55", "2.00"]), ((-3, 17), ["17", "−3"])):
        drawn = ColorBar(ls.Scale(limits)).draw(0, 0, 224 if len(kept) > 2 else 40)
        assert [label.text for label in drawn.labels] == kept
        tops = sorted(label.y for label in drawn.labels)
        assert min(np.diff(tops)) >= 1.2 * font(drawn.labels[0].size).height


@given(st.floats(-1e9, 1e9), st.floats(-12, 9), st.integers(64, 448), st.sampled_from([(), (ABOVE,), (BELOW, ABOVE)]))
def test_ticks_are_true_and_their_labels_never_overlap(low, exponent, height, marks):
    high = low + 10.0**exponent
    assume(low < high)
    scale = ls.Scale((low, high))
    bar = ColorBar(scale, marks, (low - 1, high + 1))
    placed = bar.draw(5, 0, height)
    assert placed.bar.height > 0
    texts = (*placed.labels, *placed.beyond)
    boxes = sorted((line.y, line.y + font(line.size).height) for line in texts)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(boxes))
    assert boxes[0][0] >= 0
    assert boxes[-1][1] <= height
    # The gap in front of the bar counts as well.
    ends = [line.x + font(line.size).width(line.text) for line in texts]
    assert max(ends) - 5 <= bar.width - BAR_GAP
    assert len(boxes) >= 2 + len(marks), "both limits and every cap have their label"
    for value, text in bar_ticks(scale):
        assert float(text.replace("−", "-")) == pytest.approx(value, abs=(high - low) * 0.006)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_within_the_limits(low, span):
    ticks = round_numbers(low, low + span)
    assert len(ticks) <= 21
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_a_map_is_enlarged_without_a_new_value():
    values = noise(7, 7)
    picture = ls.heatmap(values)
    assert picture.zoom == 64
    assert len(np.unique(picture.codes(picture.cells[0]))) <= 49
    np.testing.assert_allclose(picture.decode(picture.cells[0]), values, atol=np.abs(values).max() / TOP * 1.01)


def test_channels_must_be_combined_first():
    with raises(ls.BadLayout, "8"):
        ls.heatmap(noise(1, 4, 4, 8))
    with raises(ls.BadLayout, "3"):
        ls.heatmap(noise(1, 4, 4, 3)), "three channels of a layer are not colours"
    assert not ls.heatmap(ls.pca(noise(1, 4, 4, 8))).indexed


def test_constant_and_broken_maps_are_drawn():
    for values in (np.zeros((4, 4)), np.full((4, 4), np.nan), np.array([[np.inf, 1.0], [2.0, -np.inf]])):
        picture = ls.heatmap(values.astype(np.float32))
        assert picture.png()


def test_pca_colours_mark_what_is_not_finite():
    values = noise(1, 6, 6, 5)
    values[0, 2, 3] = np.nan
    picture = ls.heatmap(ls.pca(values))
    cell = picture.cells[0]
    zoom = cell.width // 6
    assert picture.rgb()[cell.y + 2 * zoom, cell.x + 3 * zoom].tolist() == [255, 0, 255]
    wording(picture.alt())


def test_to_matplotlib_leaves_the_backend_alone():
    matplotlib = pytest.importorskip("matplotlib", reason="an extra")
    before = (
        matplotlib.rcParams._get_backend_or_none() if hasattr(matplotlib.rcParams, "_get_backend_or_none") else None
    )
    picture = ls.heatmap(noise(8, 8))
    figure = picture.to_matplotlib()
    after = matplotlib.rcParams._get_backend_or_none() if hasattr(matplotlib.rcParams, "_get_backend_or_none") else None
    assert before == after
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (cell,) = picture.cells
    box = slice(cell.y, cell.y + cell.height), slice(cell.x, cell.x + cell.width)
    assert np.array_equal(np.asarray(canvas.buffer_rgba())[box][..., :3], picture.rgb()[box])


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    with raises(ls.BadOption):
        ls.heatmap(noise(8, 8)).save(tmp_path / "nowhere" / "a.png")
    with raises(ls.BadOption):
        ls.heatmap(noise(8, 8)).save(tmp_path / "a.xyz")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([[np.nan, 1.0], [np.inf, np.inf]], "The map holds 1 NaN, 2 +inf."),
        ([[np.nan, np.nan]], "The map holds 2 NaN, no finite value."),
        ([[0.0, 0.0]], "The map is dead (0 everywhere)."),
        ([[3.0, 3.0]], "The map is constant (3)."),
    ],
)
def test_values_without_a_colour_of_their_own_are_named_in_the_caption(values, line):
    assert line in ls.heatmap(np.array(values)).lines


@pytest.mark.parametrize("zoom", [0, -1, 2.5, True, "2"])
def test_a_zoom_that_is_no_whole_number_is_a_named_error(zoom):
    with raises(ls.BadOption, "zoom=", "1"):
        ls.heatmap(np.ones((2, 2)), zoom=zoom)


@pytest.mark.limit("a picture that doesn't fit into memory")
def test_a_picture_that_is_too_large_is_refused_before_it_is_drawn(limit, monkeypatch):
    monkeypatch.setattr("layerscope.memory.available", lambda: 10**9)
    for draw in (ls.heatmap, ls.sheet):
        with limit.raises("zoom="):
            draw(noise(4, 4), zoom=10**9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_without_a_finite_value_has_no_bar(value):
    values = np.full((1, 6, 6, 1), value, np.float32)
    photo = np.zeros((6, 6, 3), np.uint8)
    volume, sequence = values.reshape(1, 4, 3, 3, 1), values.reshape(1, 36, 1)
    pictures = [ls.heatmap(values), ls.overlay(values, photo=photo), ls.sheet(values, scale="layer")]
    pictures += [ls.montage(volume, layout="bdhwc"), ls.strip(sequence, layout="bnc"), ls.compare({"a": values})]
    assert [picture.bar for picture in pictures] == [None] * 6
    assert ls.heatmap(values, scale=(0, 1)).bar.high == 1
