"""Images as points: where they lie, which are photos, and the colours of classes."""

import numpy as np
import pytest

from layerscope import BadOption
from layerscope.picture.canvas import Frame
from layerscope.plots.scatter import Points, draw_scatter

AXES = ("PC1 · 60% of the variance", "PC2 · 20%")


def draw(points, **more):
    points = np.asarray(points, float)
    names = [f"{index}.png" for index in range(len(points))]
    return draw_scatter(Points(points, names, AXES, **more), Frame("conv1"))


def middle(cell):
    return cell.x + cell.width / 2, cell.y + cell.height / 2


def test_points_lie_in_proportion_with_one_unit_for_both_axes():
    picture = draw([(0, 0), (4, 0), (0, 2), (4, 2)])
    places = np.array([middle(cell) for cell in picture.cells])
    across, up = places[1] - places[0], places[2] - places[0]
    assert across[0] > 400
    assert abs(across[1]) <= 1
    assert up == pytest.approx((0, -across[0] / 2), abs=2)
    for cell in picture.cells:
        assert tuple(picture.rgb()[int(middle(cell)[1]), int(middle(cell)[0])]) == (0x3D, 0x6D, 0xB5)
    assert [cell.note for cell in picture.cells] == ["0.png", "1.png", "2.png", "3.png"]


def test_photos_cover_no_other_and_the_rest_are_dots():
    random = np.random.default_rng(0)
    photos = [np.full((20, 30, 3), 7 * index % 255, np.uint8) for index in range(300)]
    photos[5] = None
    picture = draw(random.standard_normal((300, 2)), photo=photos.__getitem__)
    large = [cell for cell in picture.cells if cell.width > 10]
    assert 20 < len(large) < 200
    assert picture.cells[5].width < 10
    for index, cell in enumerate(large):
        for other in large[index + 1 :]:
            apart = abs(cell.x - other.x) >= cell.width or abs(cell.y - other.y) >= cell.height
            assert apart
    cell = large[0]
    number = next(index for index, each in enumerate(picture.cells) if each == cell)
    assert (picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] == 7 * number % 255).all()


def test_classes_have_colours_and_the_key_names_them():
    picture = draw([(0, 0), (1, 0), (2, 1)], groups=["cat", "dog", None])
    texts = [text.text for text in picture.drawing.lines]
    assert {"cat", "dog", "no class"} <= set(texts)
    colors = [tuple(picture.rgb()[int(y), int(x)]) for x, y in map(middle, picture.cells)]
    assert len(set(colors)) == 3


def test_of_many_classes_the_largest_have_colours():
    groups = [str(index % 15) for index in range(40)]
    picture = draw(np.random.default_rng(0).random((40, 2)), groups=groups)
    texts = [text.text for text in picture.drawing.lines]
    assert "6 other classes" in texts
    assert any("largest classes" in note for note in picture.lines)


def test_one_image_lies_in_the_middle_and_none_is_refused():
    (cell,) = draw([(3.0, 4.0)]).cells
    assert middle(cell)[0] > 300
    with pytest.raises(BadOption, match="no image"):
        draw(np.empty((0, 2)))
