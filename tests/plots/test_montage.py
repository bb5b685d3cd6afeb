"""Montages: each slice of a volume in its place, in one range."""

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import map_of, noise
from helpers.wording import raises, wording
from layerscope.picture.codes import TOP


@pytest.mark.parametrize("axis", "dhw")
def test_a_montage_shows_each_slice_along_an_axis(axis):
    fm = map_of(3)
    picture = ls.montage(fm, channel=4, axis=axis)
    position = "dhw".index(axis)
    volume = fm.values[0, ..., 4]
    assert len(picture.cells) == volume.shape[position]
    for number, cell in enumerate(picture.cells):
        assert (cell.channel, cell.note) == (4, f"slice {number}")
        expected = np.take(volume, number, axis=position)
        np.testing.assert_allclose(picture.decode(cell), expected, atol=np.abs(volume).max() / TOP * 1.01)
    assert (picture.bar.low, picture.bar.high) == (volume.min(), volume.max()), "the whole channel, one range"


def test_frames_are_the_slices_of_a_clip():
    picture = ls.montage(map_of(3), channel=0, axis="t", slices=[3, 1])
    assert [cell.note for cell in picture.cells] == ["frame 3", "frame 1"]
    wording(picture.alt(), "2", "4")


def test_the_range_of_a_montage_is_that_of_the_channel_of_the_layer_or_as_given():
    fm = map_of(3)
    ranges = {scale: ls.montage(fm, channel=1, scale=scale).bar for scale in ("channel", "layer", (-1, 1))}
    assert ranges["channel"].high == fm.values[..., 1].max()
    assert ranges["layer"].high == fm.values.max()
    assert (ranges[-1, 1].low, ranges[-1, 1].high) == (-1, 1)
    few = ls.montage(fm, channel=1, slices=[0])
    assert few.bar.high == fm.values[..., 1].max(), "slices that aren't shown count"


def test_a_large_volume_has_pages():
    fm = ls.FeatureMap.of_array(noise(1, 40, 8, 8, 1), "bdhwc")
    pages = [ls.montage(fm, zoom=200, page=page) for page in range(ls.montage(fm, zoom=200).pages)]
    assert len(pages) > 1
    assert [cell.note for page in pages for cell in page.cells] == [f"slice {index}" for index in range(40)]
    with raises(ls.BadOption):
        ls.montage(fm, zoom=200, page=len(pages))


def test_show_makes_a_montage_of_a_combined_volume():
    from layerscope.plots.show import draw

    for combined in (ls.mean(map_of(3)), ls.pca(map_of(3))):
        assert [cell.note for cell in draw(combined).cells] == [f"slice {index}" for index in range(4)]
    assert len(draw(ls.nmf(ls.FeatureMap.of_array(np.abs(map_of(3).values), "bdhwc"), 2)).cells) == 2


def test_a_volume_of_three_colours_has_slices_in_colours():
    fm = ls.pca(map_of(3))
    picture = ls.montage(fm, axis="h")
    assert [cell.note for cell in picture.cells] == [f"slice {index}" for index in range(7)]
    low, high = np.percentile(fm.values.reshape(-1, 3), (1, 99), axis=0)
    for row, cell in enumerate(picture.cells):
        box = picture.rgb()[cell.y : cell.y + cell.height : picture.zoom, cell.x : cell.x + cell.width : picture.zoom]
        expected = np.clip((fm.values[0, :, row] - low) / (high - low), 0, 1) * 255
        np.testing.assert_allclose(box, expected, atol=0.51)
    wording(picture.alt(), "7")
    # Its frame can change its theme, its tiles don't.
    dark, cell = picture.dark().rgb(), picture.cells[0]
    here = slice(cell.y, cell.y + cell.height), slice(cell.x, cell.x + cell.width)
    assert (dark[here] == picture.rgb()[here]).all()
    assert (dark[0, 0] != picture.rgb()[0, 0]).any()
    assert ls.montage(fm, channel=1).bar is not None


def test_a_montage_of_clusters_says_that_they_are_numbers():
    wording(ls.montage(ls.clusters(map_of(3), 2)).alt())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"axis": "z"}, ls.BadOption),
        ({"channel": 6}, ls.BadChannels),
        ({"channel": 1.5}, ls.BadChannels),
        ({"channel": 0, "slices": []}, ls.BadOption),
        ({"channel": 0, "slices": [4]}, ls.BadOption),
        ({"channel": 0, "slices": slice(9, 12)}, ls.BadOption),
        ({"channel": 0, "columns": 0}, ls.BadOption),
        ({"channel": 0, "zoom": 1.5}, ls.BadOption),
        ({"channel": 0, "scale": "slice"}, ls.BadScale),
    ],
)
def test_montages_refuse(options, error):
    with raises(error):
        ls.montage(map_of(3), **options)
