"""Which channels react most: over the whole map, and in a box of the photo."""

from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises
from layerscope.core.placement import Placement


def on_photo(values, photo=(80, 60), box=None):
    """A map `[row, column, channel]` whose units share the model's input evenly, on a photo of (height, width)."""
    rows, columns = values.shape[:2]
    size = (rows * 10, columns * 10)
    whole = Placement.whole(photo, size)
    placement = whole if box is None else Placement(photo, size, box)
    return replace(ls.FeatureMap.of_array(values[None]), placement=(placement,))


def test_without_a_region_all_places_and_images_count():
    fm = ls.FeatureMap.of_array(noise(2, 3, 4, 6))
    for by in ("mean", "max"):
        figure = getattr(fm.values, by)((0, 1, 2))
        assert ls.strongest(fm, by=by, top=None) == np.argsort(-figure).tolist()
        assert ls.strongest(fm, by=by, image=1, top=2) == np.argsort(-getattr(fm.values[1], by)((0, 1)))[:2].tolist()
    assert ls.strongest(fm.select([5, 2]), top=None) in ([5, 2], [2, 5])


@pytest.mark.parametrize("by", ["mean", "max", "contrast"])
def test_a_region_is_the_box_of_the_photo_as_the_map_lies_on_it(by):
    """Against the map laid on the photo pixel by pixel, where every pixel has the value of its unit."""
    values = noise(4, 3, 9, seed=2)
    fm = on_photo(values)
    painted = values.repeat(20, 0).repeat(20, 1)
    for top, left, height, width in [(0, 0, 80, 60), (13, 7, 31, 22), (20, 40, 20, 20), (79, 59, 1, 1), (0, 0, 1, 60)]:
        inside = np.zeros((80, 60), bool)
        inside[top : top + height, left : left + width] = True
        figure = painted[inside].max(0) if by == "max" else painted[inside].mean(0, dtype=float)
        if by == "contrast":
            if inside.all():
                continue
            figure = figure - painted[~inside].mean(0, dtype=float)
        found = ls.strongest(fm, (top, left, height, width), by=by, top=None)
        assert found == np.argsort(-figure, kind="stable").tolist()


def test_a_turned_about_region_of_a_crop_and_fractions():
    values = np.zeros((2, 2, 3), np.float32)
    values[0, 1, 2] = values[1, 0, 1] = 1
    fm = on_photo(values, (40, 80), (0.0, 20.0, 40.0, 40.0))
    assert ls.strongest(fm, (5, 45, 5.5, 5.5), top=1) == [2]
    assert ls.strongest(fm, [25, 20, 10, 10], top=1) == [1]
    assert ls.strongest(fm, (0, 0, 40, 80), top=1) == [1], "equal ones keep their order"


def test_contrast_finds_what_is_nowhere_else():
    values = np.ones((4, 4, 2), np.float32) * (5, 0)
    values[0, 0, 1] = 3
    fm = on_photo(values, (40, 40))
    assert ls.strongest(fm, (0, 0, 10, 10), top=1) == [0]
    assert ls.strongest(fm, (0, 0, 10, 10), by="contrast", top=1) == [1]


def test_what_is_not_finite_is_left_out():
    values = np.zeros((2, 2, 4), np.float32)
    values[..., 0], values[0, 0] = np.nan, (np.nan, np.inf, 2, -np.inf)
    values[0, 1, 1] = 3
    fm = on_photo(values, (20, 20))
    for by in ("mean", "max"):
        assert ls.strongest(fm, (0, 0, 10, 20), by=by, top=None) == [1, 2, 3, 0]


def test_wrong_regions_are_named():
    fm = on_photo(noise(4, 3, 2))
    for region in ((0, 0, 81, 10), (-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, float("nan"), 5), (1, 2, 3), 7, "0,0,5,5"):
        with raises(ls.BadOption, "region="):
            ls.strongest(fm, region)
    crop = on_photo(noise(2, 2, 3), (40, 80), (0.0, 20.0, 40.0, 40.0))
    with raises(ls.BadOption, "20 to 59"):
        ls.strongest(crop, (0, 0, 40, 20))
    with raises(ls.BadOption):
        ls.strongest(ls.FeatureMap.of_array(noise(4, 3, 2)), (0, 0, 1, 1))
    with raises(ls.BadOption, "contrast"):
        ls.strongest(fm, by="contrast")
    with raises(ls.BadOption, "energy"):
        ls.strongest(fm, by="energy")
    with raises(ls.BadOption, "top=0"):
        ls.strongest(fm, top=0)


def test_one_photo_of_several_is_named():
    scope = ls.open("demo")
    fm = scope.capture([ls.demo_photo()] * 2, "_blocks.4")["_blocks.4"]
    with raises(ls.BadOption, "image="):
        ls.strongest(fm, (0, 0, 50, 50))
    eye = (95, 170, 30, 40)
    assert ls.strongest(fm, eye, image=1) == ls.strongest(fm.image(0), eye)


def test_images_are_counted_and_change_no_digit():
    values, events = noise(4, 5, 6, 7), []
    plain = [ls.strongest(values, by=by, top=None) for by in ("mean", "max")], ls.statistics(values)["energy"]
    with ls.progress(events.append):
        counted = [ls.strongest(values, by=by, top=None) for by in ("mean", "max")], ls.statistics(values)["energy"]
    assert counted[0] == plain[0] and np.array_equal(counted[1], plain[1])
    assert events == [ls.Progress(done, 4, "images") for done in range(5)] * 3


@pytest.mark.parametrize("by", ["mean", "max"])
def test_the_order_in_memory_and_values_that_are_not_finite_change_nothing(by):
    values = noise(3, 5, 6, 7)
    values[0, :2, 1, 3], values[1, 1, 1, 4], values[:, :, :, 6] = np.inf, np.nan, np.nan
    finite = np.where(np.isfinite(values), values, np.nan)[..., :6].astype(float)
    figure = getattr(np, f"nan{by}")(finite, (0, 1, 2))
    planes = np.ascontiguousarray(values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    for memory in (values, planes):
        assert ls.strongest(memory, by=by, top=None) == [*np.argsort(-figure).tolist(), 6]
