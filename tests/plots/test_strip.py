"""Strips: positions at their columns, none lost."""

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import map_of, noise
from helpers.wording import raises, wording
from layerscope.core.note import kind_of
from layerscope.picture.codes import TOP
from layerscope.picture.font import SMALL, font


def test_a_sequence_has_round_positions_below_and_decodes_row_by_row():
    values = noise(1, 300, 5)
    picture = ls.strip(values, layout="bnc", axis="seconds", step=0.01)
    wording(picture.alt())
    assert {"seconds", "0", "1", "2"} <= {text.text for text in picture.texts}
    for cell in picture.cells:
        decoded = picture.decode(cell)
        assert decoded.shape == (1, 300)
        np.testing.assert_allclose(decoded[0], values[0, :, cell.channel], atol=np.abs(values).max() / TOP * 1.01)


def test_flip_has_the_first_channel_at_the_bottom():
    values = noise(1, 30, 5)
    cells = ls.strip(values, layout="bnc", flip=True).cells
    assert [cell.channel for cell in cells] == [4, 3, 2, 1, 0]
    assert [cell.y for cell in cells] == sorted(cell.y for cell in cells)
    picture = ls.strip(values, layout="bnc", flip=True, scale="channel")
    for cell in picture.cells:
        np.testing.assert_allclose(picture.decode(cell)[0], values[0, :, cell.channel], atol=0.05)


def test_a_long_sequence_has_pages_and_loses_no_position():
    values = noise(1, 10_000, 3)
    pages = [ls.strip(values, layout="bnc", page=page) for page in range(3)]
    assert {page.pages for page in pages} == {3}
    decoded = np.concatenate([page.decode(page.cells[1])[0] for page in pages])
    np.testing.assert_allclose(decoded, values[0, :, 1], atol=np.abs(values).max() / TOP * 1.01)
    wording(pages[1].alt(), "4096", "8191", "0", "9999", "2", "3")
    with raises(ls.BadOption, "3", "0", "2"):
        ls.strip(values, layout="bnc", page=3)


@pytest.mark.parametrize("pool", ["max", "min"])
def test_a_pooled_strip_shows_the_extremes_of_whole_numbers_of_positions(pool):
    values = noise(1, 10_000, 3)
    values[0, 77, 0] = 30
    picture = ls.strip(values, layout="bnc", pool=pool)
    word = {"max": "largest", "min": "smallest"}[pool]
    wording(picture.alt(), word, "14", "4")
    for cell in picture.cells:
        padded = np.append(values[0, :, cell.channel], np.full(10, -np.inf if pool == "max" else np.inf))
        expected = getattr(padded.reshape(-1, 14), pool)(1)
        np.testing.assert_allclose(picture.decode(cell)[0], expected, atol=30 / TOP * 1.01)


def test_positions_stand_at_their_columns():
    values = np.zeros((1, 40, 2), np.float32)
    values[0, 20] = 1
    picture = ls.strip(values, layout="bnc")
    cell = picture.cells[0]
    below = picture.pixels[picture.cells[-1].y + picture.cells[-1].height + 1, cell.x :]
    ticks = np.flatnonzero(below != below[1 + picture.zoom]) // picture.zoom
    assert 20 in ticks.tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"pool": "mean"},
        {"axis": ""},
        {"step": 0},
        {"step": float("nan")},
        {"page": "1"},
    ],
)
def test_strips_refuse(options):
    with raises(ls.BadOption):
        ls.strip(map_of(1), **options)


def test_every_page_of_a_long_sequence_is_drawn():
    from layerscope.plots.show import DrawOptions, draw

    fm = ls.FeatureMap.of_array(noise(1, 5000, 3), "bnc")
    for sequence in (fm, ls.mean(fm)):
        pages = [draw(sequence, DrawOptions(page=page)) for page in range(draw(sequence).pages)]
        assert [page.provenance["positions"] for page in pages] == [[0, 4095], [4096, 4999]]


@pytest.mark.parametrize(("channels", "stated"), [(100, True), (10, True), ([3, 4, 7], False)])
def test_the_columns_of_cells_are_numbered_so_that_each_channel_can_be_found(channels, stated):
    fm = ls.FeatureMap.of_array(np.arange(100.0)[None], "bc")
    picture = ls.strip(fm, channels=range(channels) if isinstance(channels, int) else channels)
    top, left = (min(getattr(cell, side) for cell in picture.cells) for side in "yx")
    above = [text for text in picture.texts if text.y + 10 < top <= text.y + 20 and text.x >= left - 20]
    columns = {int(text.text): text for text in above if text.text.lstrip("+").isdigit()}
    assert bool(columns) is stated
    assert any(kind_of(line) == "numbers" for line in picture.lines) is (channels == 100)
    letters = font(SMALL)
    for column, text in columns.items():
        cell = picture.cells[column]
        assert cell.channel == column
        assert abs(text.x + letters.width(text.text) / 2 - (cell.x + cell.width / 2)) <= 1


def test_rows_that_are_far_apart_have_high_cells_which_read_back():
    values = np.random.default_rng(0).random((1, 1280)).astype(np.float32)
    picture = ls.strip(values, layout="bc")
    first, below = picture.cells[0], picture.cells[128]
    assert first.height > 2 * first.width and below.y - first.y - first.height <= 2
    read = np.array([picture.decode(cell)[0, 0] for cell in picture.cells])
    np.testing.assert_allclose(read, values[0], atol=1 / 400)
    assert picture.decode(first).shape == (1, 1)
