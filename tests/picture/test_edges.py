"""A photo or a map as light as its paper ends at a hairline; others have none."""

from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from layerscope.picture.codes import GAP, INK_LIGHT
from layerscope.picture.palette import palette


def on_photo(level):
    """A map on a photo of one level."""
    photo = np.full((96, 120, 3), level, np.uint8)
    fm = ls.FeatureMap.of_array(noise(1, 4, 4, 1))
    return replace(fm, photos=(photo,), placement=(ls.Placement.whole((96, 120), (96, 120)),))


def around(picture, cell):
    """The colours of the four lines around a cell."""
    pixels = picture.rgb()
    top, left = pixels[cell.y - 1], pixels[:, cell.x - 1]
    bottom, right = pixels[cell.y + cell.height], pixels[:, cell.x + cell.width]
    rows, columns = slice(cell.y, cell.y + cell.height), slice(cell.x, cell.x + cell.width)
    return {
        tuple(color) for line in (top[columns], bottom[columns], left[rows], right[rows]) for color in line.tolist()
    }


@pytest.mark.parametrize("theme", ["light", "dark", "transparent"])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_photo_of_the_papers_colour_has_an_edge(theme, level):
    picture = ls.beside(on_photo(level), theme=theme)
    photo = picture.cells[0]
    line, bare = (tuple(palette(None, theme)[code].tolist()) for code in (INK_LIGHT, GAP))
    assert around(picture, photo) == {bare if level == 128 else line}


def test_a_white_map_has_an_edge_in_files_of_shapes_too():
    white = ls.heatmap(np.array([[0.0, 1.0], [1.0, 1.0]]), colors="gray")
    (cell,) = white.cells
    lines = [box for box in white.drawing.boxes if box.color == INK_LIGHT]
    assert {(box.x, box.y) for box in lines} >= {(cell.x - 1, cell.y - 1), (cell.x + cell.width, cell.y)}
    assert white.decode(cell).min() == 0 and white.decode(cell).max() == 1
    plain = ls.heatmap(np.array([[0.0, 1.0], [1.0, 1.0]]))
    assert not [box for box in plain.drawing.boxes if box.color == INK_LIGHT]
    assert ls.heatmap(np.ones((2, 2)), colors="gray", scale=(0, 1), caption=False, bar=False).pixels.shape == (448, 448)


def test_where_one_tile_needs_an_edge_all_of_its_size_have_one():
    values = np.ones((1, 6, 6, 3))
    values[0, 0, 0], values[..., 1] = 0, 0.5
    picture = ls.sheet(values, colors="gray", scale=(0, 1))
    line = tuple(palette(None)[INK_LIGHT].tolist())
    assert all(around(picture, cell) == {line} for cell in picture.cells)
