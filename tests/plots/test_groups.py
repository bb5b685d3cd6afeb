"""Pictures of factors and clusters: the colours are those of the legend, nothing is hidden."""

from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises, wording
from layerscope.core.note import kind_of
from layerscope.core.placement import Placement
from layerscope.plots.groups import MORE, SAFE

NAN = (255, 0, 255)


def of(values, role, groups):
    fm = ls.FeatureMap.of_array(np.asarray(values, np.float32)[None])
    return replace(fm, role=role, rule="test", provenance={"groups": groups})


def rgb(name):
    return tuple(int(name[start : start + 2], 16) for start in (1, 3, 5))


def labels(values):
    numbers = [{"number": number, "share": 0.0} for number in range(3)]
    return of(np.asarray(values)[..., None], "labels", numbers)


def factors(values):
    groups = [{"number": number, "share": share, "channels": [number, 9]} for number, share in enumerate((0.5, 0.25))]
    return of(values, "factors", groups)


def color_at(picture, cell, y, x, size):
    """The colour of unit (y, x) of a map of so many units in a cell."""
    step = cell.height // size
    return tuple(picture.rgb()[cell.y + y * step + step // 2, cell.x + x * step + step // 2].tolist())


def test_a_cluster_has_its_colour_and_its_share_of_this_image():
    picture = ls.heatmap(labels([[0, 0, 0], [1, np.nan, 0], [0, 0, 0]]))
    cell, *legend = picture.cells
    assert color_at(picture, cell, 0, 0, 3) == rgb(SAFE[0])
    assert color_at(picture, cell, 1, 0, 3) == rgb(SAFE[1])
    assert color_at(picture, cell, 1, 1, 3) == NAN
    assert [(entry.channel, entry.note.split(" · ")[1].strip()) for entry in legend] == [
        (0, "78% of positions"),
        (1, "11% of positions"),
        (2, "0% of positions"),
    ]
    for entry, color in zip(legend, SAFE, strict=False):
        assert color_at(picture, entry, 0, 0, 1) == rgb(color)


def test_a_factor_is_as_bright_as_it_is_strong_and_its_tile_shows_it_alone():
    values = np.zeros((2, 2, 2))
    values[0, 0], values[0, 1], values[1, 0] = (4, 0), (1, 2), (2, 1)
    picture = ls.heatmap(factors(values))
    cell, first, second = picture.cells
    scaled = lambda name, share: tuple(np.round(np.array(rgb(name)) * share).astype(int).tolist())  # noqa: E731 # named once
    assert color_at(picture, cell, 0, 0, 2) == rgb(SAFE[0])
    assert color_at(picture, cell, 0, 1, 2) == scaled(SAFE[1], 0.5**0.5), "by the square root"
    assert color_at(picture, cell, 1, 0, 2) == scaled(SAFE[0], 0.5**0.5)
    assert color_at(picture, cell, 1, 1, 2) == (0, 0, 0)
    assert color_at(picture, first, 0, 1, 2) == scaled(SAFE[0], 0.5), (
        "shown alone, also where another is stronger: 1 of 4"
    )
    assert color_at(picture, second, 1, 0, 2) == scaled(SAFE[1], 0.5**0.5), "its own range, 0…2, by the square root"
    assert color_at(picture, second, 0, 1, 2) == rgb(SAFE[1])
    assert first.note == "factor 0 · 50% of energy · channels 0, 9 · 0…4"
    assert second.note == "factor 1 · 25% of energy · channels 1, 9 · 0…2"
    assert [(one.low, one.high) for one in picture.cells] == [(0, 4), (0, 4), (0, 2)]
    assert "0…4" in picture.alt()
    own = ls.heatmap(factors(values), scale="channel")
    assert color_at(own, own.cells[0], 0, 1, 2) == rgb(SAFE[1])
    fixed = ls.heatmap(factors(values), scale=(0, 8))
    assert color_at(fixed, fixed.cells[0], 0, 0, 2) == scaled(SAFE[0], 0.5**0.5)
    assert color_at(fixed, fixed.cells[1], 0, 0, 2) == rgb(SAFE[0])
    assert [one.high for one in fixed.cells] == [8, 4, 2]
    with raises(ls.BadScale, "0"):
        ls.heatmap(factors(values), scale=(1, 8))


@pytest.mark.parametrize("fm", [labels([[0, 1], [2, 0]]), factors(np.ones((2, 2, 2)))])
def test_without_caption_and_bar_the_map_stands_alone(fm):
    bare = ls.heatmap(fm, caption=False, bar=False)
    (cell,) = bare.cells
    assert bare.pixels.shape[:2] == (cell.height, cell.width)
    legend = ls.heatmap(fm, caption=False)
    assert len(legend.cells) == 1 + len(fm.provenance["groups"][: len(legend.cells) - 1]) > 1
    assert min(entry.x for entry in legend.cells) > 0


def test_broken_places_of_factors_are_marked():
    values = np.ones((3, 3, 2))
    values[1, 1] = np.nan
    picture = ls.heatmap(factors(values))
    assert color_at(picture, picture.cells[0], 1, 1, 3) == NAN
    assert color_at(picture, picture.cells[1], 1, 1, 3) == NAN


def test_a_number_has_its_colour_whichever_others_there_are():
    few, many = labels([[0, 1], [2, 0]]), labels(np.arange(12).reshape(3, 4))
    first, second = ls.heatmap(few), ls.heatmap(many)
    assert color_at(first, first.cells[0], 1, 0, 2) == color_at(second, second.cells[0], 0, 2, 3) == rgb(SAFE[2])
    wording(first.lines)
    wording(second.lines, "8")
    assert len({rgb(color) for color in (*SAFE, *MORE)} | {NAN, (0, 0, 0)}) == 22
    again = ls.heatmap(labels(np.arange(25).reshape(5, 5)))
    wording(again.alt(), "20")
    assert len(again.cells) == 26


def test_selected_factors_keep_number_colour_and_share():
    fm = factors(np.ones((2, 2, 2))).select([1])
    picture = ls.heatmap(fm)
    assert picture.cells[1].channel == 1 and picture.cells[1].note == "factor 1 · 25% of energy · channels 1, 9 · 0…1"
    assert color_at(picture, picture.cells[0], 0, 0, 2) == rgb(SAFE[1])


def test_an_overlay_covers_by_strength_and_leaves_bare_what_was_cropped():
    values = np.zeros((2, 2, 2))
    values[0, 0] = (4, 0)
    photo = np.full((20, 40, 3), 100, np.uint8)
    placement = Placement(photo=(20, 40), input=(20, 20), box=(0.0, 10.0, 20.0, 20.0))
    fm = replace(factors(values), photos=(photo,), placement=(placement,))
    picture = ls.overlay(fm, alpha=0.5, zoom=1)
    cell = picture.cells[0]
    body = picture.rgb()[cell.y : cell.y + 20, cell.x : cell.x + 40]
    under = body[2, 2].tolist()
    assert under == body[15, 25].tolist() and len(set(under)) == 1
    np.testing.assert_allclose(body[2, 12], (under + np.array(rgb(SAFE[0]))) / 2, atol=1)
    assert body[2, 9].tolist() == [255, 255, 255], "the frame"
    with raises(ls.BadOption, "interpolation"):
        ls.overlay(fm, interpolation="smooth")
    assert (photo == 100).all()


@pytest.mark.parametrize("name", ["tol:muted", "viridis", "okabe_ito"])
def test_colours_of_the_catalogue_can_be_had(name):
    picture = ls.heatmap(labels([[0, 1], [2, 0]]), colors=name)
    colors = {color_at(picture, picture.cells[0], *where, 2) for where in ((0, 0), (0, 1), (1, 0))}
    assert len(colors) == 3
    with raises(ls.BadScale, "'nothing'"):
        ls.heatmap(labels([[0, 1], [2, 0]]), colors="nothing")


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (3, 40), (150, 120)])
def test_every_size_of_map_is_drawn_with_its_legend_inside(size):
    random = np.random.default_rng(0)
    for picture in (
        ls.heatmap(of(random.random((*size, 9)), "factors", [])),
        ls.heatmap(labels(random.integers(0, 3, size))),
    ):
        for cell in picture.cells:
            assert cell.x + cell.width <= picture.width and cell.y + cell.height <= picture.height
        assert picture.png()


def test_what_the_rules_make_is_drawn_in_every_way():
    values = np.random.default_rng(0).random((2, 6, 6, 8), dtype=np.float32)
    factors_map = ls.nmf(values, 3)
    assert "group" in map(kind_of, factors_map.notes)
    caption = ls.heatmap(factors_map, image=1).alt()
    assert not any(note in caption for note in factors_map.notes if kind_of(note) == "group"), (
        "they stand in the legend"
    )
    assert len(ls.sheet(factors_map).cells) == 3
    assert ls.sheet(ls.clusters(values, 3)).cells
    sequence = ls.FeatureMap.of_array(values[:, 0], "bnc")
    assert ls.heatmap(ls.nmf(sequence, 2)).cells and ls.heatmap(ls.clusters(sequence, 2)).cells
