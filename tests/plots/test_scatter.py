"""Images as points: where they lie, which are photos, and the colours of classes."""

import numpy as np
import pytest

from layerscope import BadOption
from layerscope.picture.canvas import Frame
from layerscope.plots.scatter import COLORS, Points, draw_scatter

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


def test_the_frame_reaches_as_far_as_the_points():
    flat = draw([(0, 0), (10, 0), (0, 2), (10, 2)])
    places = np.array([middle(cell) for cell in flat.cells])
    across, up = np.ptp(places, axis=0)
    assert up == pytest.approx(across / 5, abs=2)
    wide, high = flat.rgb().shape[1], flat.rgb().shape[0]
    assert high < wide / 2
    tall = draw([(0, 0), (0.1, 10)])
    assert tall.rgb().shape[1] < 0.7 * tall.rgb().shape[0]
    assert "→ PC1 · 60% of the variance" in [text.text for text in tall.drawing.lines]


def test_the_colours_of_ten_classes_are_told_apart_with_any_colour_vision():
    assert len(set(COLORS)) == 10
    seen = np.stack([_in_oklab(np.array([*COLORS, (255, 255, 255), (22, 24, 28)]) / 255, vision) for vision in VISIONS])
    apart = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=-1).min(0)
    assert apart[np.triu_indices(len(apart), 1)].min() > 0.07


def _in_oklab(colors, vision):
    """Colours as people with this vision see them, in Oklab, where distances are alike (Björn Ottosson 2020)."""
    light = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4) @ np.transpose(vision)
    return np.cbrt(light.clip(0, 1) @ np.transpose(LMS)) @ np.transpose(OKLAB)


LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
OKLAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
# Of people who see all colours, and of those without green, red or blue cones: Machado, Oliveira and Fernandes 2009.
VISIONS = (
    np.eye(3),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
)


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
    assert middle(cell)[0] > 100
    with pytest.raises(BadOption, match="no image"):
        draw(np.empty((0, 2)))
