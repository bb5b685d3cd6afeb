"""Photos with the map of one channel on each: the four views, against pixels that follow from the values."""

from dataclasses import replace

import numpy as np
import pytest

from layerscope import BadOption
from layerscope.core.feature_map import FeatureMap
from layerscope.core.placement import Placement
from layerscope.core.receptive_field import Field, window
from layerscope.picture.canvas import Frame
from layerscope.picture.scale import Scale
from layerscope.plots.evidence import VIEWS, Example, Style, draw_examples, view_note

SIZE = 44  # of the photos, a quarter of what they are drawn at
ORANGE = (230, 140, 30)


def example(name="a.png", *, peak=(1, 2), value=4.0, field=None):
    """A map of 4 × 4 units, each over a quarter of the photo's sides, with one that isn't 0."""
    values = np.zeros((1, 4, 4, 1), np.float32)
    values[(0, *peak, 0)] = value
    fm = FeatureMap.of_array(values)
    photo = np.full((SIZE, SIZE, 3), ORANGE, np.uint8)
    photo[:, : SIZE // 2] = (20, 60, 200)
    layer = fm.layer if field is None else replace(fm.layer, receptive=(field, field))
    place = Placement.whole((SIZE, SIZE), (SIZE, SIZE))
    return Example(replace(fm, photos=(photo,), placement=(place,), layer=layer, channels=(7,)), name, value)


def draw(*examples, view, level=None, **options):
    rule = Scale.fit(np.concatenate([each.fm.values for each in examples]), "layer")
    return draw_examples(examples, Frame("conv1 · channel 7"), Style(view, rule, level, **options))


def shown(picture, index=0):
    cell = picture.cells[index]
    return picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_has_a_cell_for_each_photo_in_rows(view):
    picture = draw(*[example(f"{index}.png", value=9 - index) for index in range(7)], view=view)
    assert [cell.note for cell in picture.cells] == [f"{index}.png" for index in range(7)]
    assert {cell.channel for cell in picture.cells} == {7}
    assert len({cell.y for cell in picture.cells}) == 2
    texts = [text.text for text in picture.drawing.lines]
    assert texts[:3] == ["1", "9", "0.png"]


def test_an_overlay_is_strong_at_the_peak_and_grey_where_the_map_is_0():
    pixels = shown(draw(example(), view="overlay")).astype(int)
    side = len(pixels)
    peak, far = pixels[3 * side // 8, 5 * side // 8], pixels[7 * side // 8, side // 8]
    assert np.ptp(far) == 0  # the blue of the photo is grey
    assert np.ptp(peak) > 100


def test_a_mask_leaves_the_photo_where_the_channel_is_active():
    pixels = shown(draw(example(), view="masked", level=2.0))
    side = len(pixels)
    assert tuple(pixels[3 * side // 8, 5 * side // 8]) == ORANGE
    bright = (pixels == ORANGE).all(-1)
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    # Half of the peak's value lies halfway to the centres of its neighbours.
    assert rows[[0, -1]] == pytest.approx([side / 4, side / 2], abs=2)
    assert columns[[0, -1]] == pytest.approx([side / 2, 3 * side / 4], abs=2)
    assert np.ptp(pixels[7 * side // 8, side // 8].astype(int)) == 0


def test_a_mask_on_black_has_a_dim_line_around_what_is_active():
    black = example()
    black = black._replace(fm=replace(black.fm, photos=(np.zeros((SIZE, SIZE, 3), np.uint8),)))
    pixels = shown(draw(black, view="masked", level=2.0))
    mask = (shown(draw(example(), view="masked", level=2.0)) == ORANGE).all(-1)
    line = (pixels == 112).all(-1)
    rows, columns = np.flatnonzero(mask.any(1))[[0, -1]], np.flatnonzero(mask.any(0))[[0, -1]]
    assert line[rows, columns.mean().astype(int)].all() and line[rows.mean().astype(int), columns].all()
    assert not line[~mask].any() and line.sum() < mask.sum() / 4


@pytest.mark.parametrize("view", VIEWS)
def test_a_map_that_stops_short_of_an_edge_says_so(view):
    # Units at 11, 22 … of 44 pixels: half of a stride is bare before the first and cut behind the last.
    moved = window(Field((11.0,), (11.0,)), 11, 11)
    said = "stops short of the upper and left edges" in str(view_note(view, "2", [example(field=moved)]))
    assert said == (view in ("overlay", "masked", "contour"))
    assert "stops short" not in str(view_note(view, "2", [example(field=window(Field(), 11, 11))]))


def test_without_a_level_half_of_each_photos_own_largest_value_is_active():
    own = draw(example(value=4.0), example(value=1.0), view="masked")
    np.testing.assert_array_equal(shown(own, 0), shown(own, 1))
    one_level = draw(example(value=4.0), example(value=1.0), view="masked", level=2.0)
    assert not (shown(one_level, 1) == ORANGE).all(-1).any()


def test_a_contour_encloses_what_the_mask_shows():
    example_, level = example(), 2.0
    mask = (shown(draw(example_, view="masked", level=level)) == ORANGE).all(-1)
    pixels = shown(draw(example_, view="contour", level=level))
    lines = (pixels == 255).all(-1) | (pixels == 0).all(-1)
    assert lines.any()
    border = np.zeros_like(mask)
    border[1:] |= mask[1:] != mask[:-1]
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    near = np.argwhere(lines)[:, None] - np.argwhere(border)[None]
    assert np.abs(near).max(-1).min(1).max() <= 2


def test_a_crop_is_what_the_unit_at_the_peak_can_see():
    # A unit sees 11 pixels at a stride of 11: the second row, and of the columns the third, right of the middle.
    field = window(Field(), 11, 11)
    assert (shown(draw(example(field=field), view="crop")) == ORANGE).all()
    wide = shown(draw(example(peak=(0, 1), field=window(Field(), 23, 11, padding=6)), view="crop"))
    assert (wide[0] == 255).all()  # beyond the photo there is paper
    assert {tuple(color) for color in wide[-1].tolist()} == {ORANGE, (20, 60, 200)}


def test_a_crop_without_a_known_field_is_the_whole_photo():
    colors = {tuple(color) for color in shown(draw(example(), view="crop")).reshape(-1, 3).tolist()}
    assert {ORANGE, (20, 60, 200)} <= colors


def test_no_photo_and_no_view_are_refused():
    with pytest.raises(BadOption, match="no photo"):
        draw_examples([], Frame(""), Style("crop", Scale.fit(np.ones((1, 2, 2, 1), np.float32), "layer")))
    with pytest.raises(BadOption, match="overlay"):
        draw(example(), view="overlays")
