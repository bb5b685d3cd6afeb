"""A tile alone: the same values without what is around it, and a file for each."""

import json

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises

VALUES = noise(2, 6, 7, 12)


@pytest.mark.parametrize("scale", ["channel", "layer"])
def test_a_tile_is_the_pixels_of_its_cell_and_decodes_to_the_same_values(scale):
    picture = ls.sheet(VALUES, scale=scale, zoom=3)
    tile = picture.tile(5)
    assert tile.pixels.shape == (18, 21) and tile.texts == () and tile.bar is None
    (cell,) = tile.cells
    assert np.array_equal(tile.decode(cell), picture.decode(picture.cells[5]))
    assert np.array_equal(tile.dark().decode(cell), tile.decode(cell))
    assert f"{tile.scale.limits}" == f"{tile.scale.range()}" == f"{(cell.low, cell.high)}"


def test_a_tile_of_colours_keeps_them_in_another_theme():
    picture = ls.heatmap(ls.pca(VALUES), zoom=4)
    tile = picture.tile(0)
    assert tile.pixels.shape == (24, 28, 3)
    assert np.array_equal(tile.dark().rgb(), tile.rgb())


def test_each_tile_becomes_a_file_with_what_it_shows(tmp_path):
    picture = ls.sheet(VALUES, channels=[11, 3], zoom=2)
    paths = picture.save_tiles(tmp_path / "new", dpi=300)
    assert [path.name for path in paths] == ["channel-11.png", "channel-03.png"]
    for path, cell in zip(paths, picture.cells, strict=True):
        with Image.open(path) as image:
            assert image.size == (14, 12) and image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
            about = json.loads(image.text["layerscope"])
            assert about["limits"] == [cell.low, cell.high]
            assert np.array_equal(np.asarray(image)[::2, ::2], picture.codes(cell))
    assert picture.save_tiles(tmp_path, ".svg", width_mm=2)[0].read_text().count("<image") == 1


def test_the_file_of_a_channel_has_one_name_whatever_else_is_drawn(tmp_path):
    (alone,) = ls.sheet(noise(5, 6, 64), channels=[3]).save_tiles(tmp_path)
    assert alone in ls.sheet(noise(5, 6, 64)).save_tiles(tmp_path) and alone.name == "channel-03.png"


def test_tiles_of_one_channel_are_told_apart(tmp_path):
    picture = ls.compare({"a": VALUES, "b": VALUES}, channels=None)
    assert [path.name for path in picture.save_tiles(tmp_path)] == [f"tile-{index}.png" for index in range(4)]
    with raises(ls.BadOption, "image="):
        picture.tile(picture.cells[0].channel)
    two = ls.compare(VALUES, channels=[4])
    assert np.array_equal(two.tile(4, image=1).decode(two.tile(4, 1).cells[0]), two.decode(two.cells[1]))


def test_a_tile_that_is_not_there_is_named_with_those_that_are():
    with raises(ls.BadOption, "channel 9", "3, 11"):
        ls.sheet(VALUES, channels=[11, 3]).tile(9)
    with raises(ls.BadOption, "image 7"):
        ls.sheet(VALUES).tile(3, image=7)


def test_files_are_counted_and_whole_where_it_ends(tmp_path):
    picture, events = ls.sheet(VALUES), []
    with ls.progress(events.append):
        paths = picture.save_tiles(tmp_path / "all")
    assert events == [ls.Progress(done, 12, "files") for done in range(13)]

    def interrupt(event):
        if event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ls.progress(interrupt):
        picture.save_tiles(tmp_path / "part")
    written = sorted((tmp_path / "part").iterdir())
    assert [path.name for path in written] == [path.name for path in paths[:3]]
    assert all(path.read_bytes() == whole.read_bytes() for path, whole in zip(written, paths, strict=False))
