"""Every rank is drawn, or sent to the function that draws it."""

from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import map_of, noise
from helpers.wording import raises, wording
from layerscope.picture.codes import NAN

DRAWN = None
# What each function does with a map of six channels of rank 0 to 3: it draws, or the error names what does.
MANY = {
    "sheet": (DRAWN, DRAWN, DRAWN, DRAWN),
    "strip": (DRAWN, DRAWN, "sheet()", "montage() sheet()"),
    "bars": (DRAWN, "strip()", "sheet()", "sheet()"),
    "montage": ("bars() strip()", "strip()", "sheet() heatmap()", "channel="),
    "heatmap": ("sheet()", "sheet()", "sheet()", "sheet()"),
}
# The same with one channel, as after a combination.
ONE = {
    "sheet": (DRAWN, DRAWN, DRAWN, DRAWN),
    "strip": (DRAWN, DRAWN, "heatmap()", "montage()"),
    "bars": (DRAWN, "strip()", "sheet()", "sheet()"),
    "montage": ("bars() strip()", "strip()", "heatmap()", DRAWN),
    "heatmap": (DRAWN, DRAWN, DRAWN, "montage()"),
}


@pytest.mark.parametrize("rank", range(4))
@pytest.mark.parametrize("channels", [6, 1])
@pytest.mark.parametrize("function", sorted(MANY))
def test_every_rank_is_drawn_or_sent_to_the_function_that_draws_it(function, channels, rank):
    fm = map_of(rank) if channels == 6 else ls.mean(map_of(rank))
    expected = (MANY if channels == 6 else ONE)[function][rank]
    if expected is DRAWN:
        picture = getattr(ls, function)(fm)
        assert picture.cells
        assert picture.png().startswith(b"\x89PNG")
    else:
        with raises(ls.LayerscopeError, *expected.split()):
            getattr(ls, function)(fm)


@pytest.mark.parametrize("rank", range(4))
def test_an_overlay_needs_a_photo_whatever_the_rank(rank):
    with raises(ls.BadOption):
        ls.overlay(ls.mean(map_of(rank)))


@pytest.mark.parametrize("rank", range(4))
def test_values_that_are_all_nan_are_drawn_as_such(rank):
    fm = map_of(rank)
    fm = replace(fm, values=np.full_like(fm.values, np.nan))
    pictures = [ls.sheet(fm)]
    pictures += [ls.bars(fm)] if rank == 0 else []
    pictures += [ls.montage(fm, channel=2)] if rank == 3 else []
    for picture in pictures:
        assert (picture.pixels == NAN).any()


@pytest.mark.parametrize("rank", range(4))
def test_one_number_is_drawn(rank):
    picture = ls.sheet(np.full((1,) * (rank + 2), 2.5, np.float32), layout=map_of(rank).layer.axes)
    assert len(picture.cells) == 1
    assert picture.decode(picture.cells[0]).ravel()[0] == 2.5


def test_empty_maps_and_empty_lists_of_channels_are_refused():
    with raises(ls.BadLayout):
        ls.montage(np.zeros((1, 0, 4, 4, 2), np.float32), channel=0)
    for function in (ls.sheet, ls.strip, ls.bars):
        with raises(ls.BadChannels):
            function(map_of(0), channels=[])


def test_attention_weights_are_of_heads():
    fm = ls.FeatureMap.of_array(np.abs(noise(1, 3, 5, 5)), "bcqk")
    wording(ls.sheet(fm).alt(), "3")
