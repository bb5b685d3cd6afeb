"""Pages: a sheet cut into several, with nothing lost between them."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope.plots import tiles


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 45),
    st.sampled_from(["index", "mean", "sparsity", "similarity"]),
    st.booleans(),
    st.integers(0, 99),
)
def test_the_pages_together_hold_every_channel_once(channels, per_page, sort, statistics, seed):
    values = noise(1, 4, 5, channels, seed=seed)
    options = {"sort": sort, "statistics": statistics, "layout": "bhwc"}
    pages = list(ls.pages(values, per_page=per_page, **options))
    assert len(pages) == -(-channels // per_page)
    channels_drawn = [cell.channel for picture in pages for cell in picture.cells]
    assert sorted(channels_drawn) == list(range(channels))
    order = [cell.channel for cell in ls.sheet(values, **options).cells]
    assert channels_drawn == order, "the order goes on from page to page"
    for index, picture in enumerate(pages):
        assert (picture.page, picture.pages) == (index, len(pages))
        assert len(picture.cells) == min(per_page, channels - index * per_page)
        assert len({cell.width for cell in picture.cells}) == 1
        if len(pages) > 1:
            shown = [cell.channel for cell in picture.cells]
            ends, of = (shown[0], shown[-1]), []
            if shown != [*range(ends[0], ends[1] + 1)]:  # tiles by their places, where channels aren't in a row
                ends, of = (index * per_page + 1, index * per_page + len(shown)), [channels]
            numbers = [index + 1, len(pages), *dict.fromkeys(ends), *of]
            found = [re.findall(r"\d+", part) for part in picture.alt().split(" · ")]
            assert [*map(str, numbers)] in found
        for cell in picture.cells:
            reach = max(abs(cell.low), abs(cell.high)) / 240
            np.testing.assert_allclose(picture.decode(cell), values[0, ..., cell.channel], atol=reach * 1.01)


def test_tiles_of_all_pages_are_of_one_size():
    values = noise(1, 9, 9, 10)
    sizes = {(cell.width, cell.height) for picture in ls.pages(values, per_page=7) for cell in picture.cells}
    assert len(sizes) == 1


def test_one_page_is_one_picture():
    (only,) = ls.pages(noise(1, 4, 4, 3))
    assert np.array_equal(only.pixels, ls.sheet(noise(1, 4, 4, 3)).pixels)
    (strip,) = ls.pages(noise(64))
    assert len(strip.cells) == 64


def test_pages_come_one_at_a_time_but_errors_at_once():
    assert next(ls.pages(noise(1, 4, 4, 9), per_page=2)).page == 0
    with raises(ls.BadOption, "'mean'"):
        ls.pages(noise(1, 4, 4, 9), sort="meen")
    with raises(ls.BadOption, "'page'"):  # every page is drawn
        ls.pages(noise(1, 4, 4, 9), page=2)


def test_more_tiles_than_a_page_holds_are_refused(monkeypatch):
    monkeypatch.setattr(tiles, "PAGE_PIXELS", 100_000)
    values = noise(1, 16, 16, 60)
    with raises(ls.BadOption, "80×80", "zoom="):
        ls.sheet(values, per_page=50)
    assert len(ls.sheet(values, per_page=50, zoom=1).cells) == 50


@pytest.mark.parametrize(
    "options",
    [
        {"page": 3},
        {"page": -1},
        {"page": 1.0},
        {"page": True},
        {"page": None},
        {"page": 1, "per_page": None},
        {"per_page": 0},
        {"per_page": "4"},
        {"columns": 2.0},
        {"zoom": 0},
        {"image": 1},
    ],
)
def test_what_is_out_of_range_is_named(options):
    with raises(ls.BadOption):
        ls.sheet(noise(1, 4, 4, 10), **{"per_page": 4, **options})


def test_a_strip_has_one_page():
    with raises(ls.BadOption, "page=1", "1"):
        ls.sheet(noise(64), page=1)


def test_maps_of_nothing_and_of_one_pixel_are_drawn():
    for values in (
        np.full((1, 5, 5, 3), np.nan),
        np.full((1, 5, 5, 3), np.inf),
        np.zeros((1, 1, 1, 3)),
        np.ones((1, 1)),
    ):
        tiles = ({"statistics": True}, {"sort": "similarity"}, {"sort": "mean"}) if values.size > 3 else ()
        for options in ({}, {"scale": "layer"}, *tiles):
            picture = ls.sheet(values.astype(np.float32), **options)
            assert len(picture.cells) == values.shape[-1]
    wording(ls.sheet(np.full((1, 5, 5, 3), np.nan)).alt(), "3", "0", "1", "2", "75")
