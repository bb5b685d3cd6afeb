"""How large tiles are and where they lie: one alone, the slices of a volume, the bars of a small dense layer."""

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise


@pytest.mark.parametrize("size", [(7, 7), (14, 28), (60, 20), (224, 224)], ids=str)
def test_a_single_tile_fills_its_picture(size):
    values = noise(1, *size, 1)
    picture = ls.sheet(values, layout="bhwc")
    (cell,) = picture.cells
    assert (cell.height, cell.width) == (size[0] * picture.zoom, size[1] * picture.zoom)
    assert max(cell.height, cell.width) >= 400 or picture.zoom == 480 // max(size)
    assert picture.decode(cell).shape == size


def test_the_slices_of_a_volume_lie_side_by_side_in_their_order():
    depth, height, width, channels = 5, 4, 3, 6
    values = noise(1, depth, height, width, channels)
    picture = ls.sheet(values, layout="bdhwc")
    for cell in picture.cells:
        assert (cell.height, cell.width) == (height * picture.zoom, (depth * (width + 1) - 1) * picture.zoom)
        decoded = np.pad(picture.decode(cell), ((0, 0), (0, 1)), constant_values=np.nan)
        decoded = decoded.reshape(height, depth, width + 1).transpose(1, 0, 2)
        assert np.isnan(decoded[..., width]).all()
        decoded = decoded[..., :width]
        np.testing.assert_allclose(decoded, values[0, ..., cell.channel], atol=(cell.high - cell.low) / 200)


@pytest.mark.parametrize("count", [1, 2, 10, 32])
def test_a_small_dense_layer_is_bars_as_long_as_its_numbers_are_large(count):
    values = np.arange(1, count + 1, dtype=np.float32)
    picture = ls.sheet(values[None], layout="bc")
    assert [cell.channel for cell in picture.cells] == list(range(count))
    tops = [cell.y for cell in picture.cells]
    assert tops == sorted(tops) and len({cell.x for cell in picture.cells}) == 1
    lengths = np.array([cell.width for cell in picture.cells])
    np.testing.assert_allclose(lengths / lengths[-1], values / count, atol=0.02)


def test_a_larger_dense_layer_is_cells_with_the_number_of_each_row():
    values = noise(1, 200)
    picture = ls.sheet(values, layout="bc")
    rows = sorted({cell.y for cell in picture.cells})
    for y in rows:
        first = min((cell for cell in picture.cells if cell.y == y), key=lambda cell: cell.x)
        lines = [line for line in picture.texts if line.text == str(first.channel) and line.x < first.x]
        assert any(line.y <= y + first.height and y <= line.y + 2 * line.size for line in lines), first
    decoded = np.array([picture.decode(cell).item() for cell in picture.cells])
    np.testing.assert_allclose(decoded, values[0], atol=np.abs(values).max() / 200)
