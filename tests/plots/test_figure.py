"""`figure`: its panels are the photo, the map, the overlay and the strongest channels, aligned, with letters for paper."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope import cli
from layerscope.picture.font import font
from layerscope.plots.figure import FigureOptions
from layerscope.testing import TinyBackend, tiny_model

PHOTO = np.random.default_rng(0).integers(0, 255, (24, 36, 3), dtype=np.uint8)
MM_180, MM_84 = 180 / 25.4 * 72, 84 / 25.4 * 72


@pytest.fixture(scope="module")
def scope():
    return ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", labels=list("abcdef"))


def captured(*shape, photo=PHOTO, seed=0):
    """A map of numbers that lies on the whole photo."""
    fm = ls.FeatureMap.of_array(noise(1, *shape, seed=seed))
    placement = ls.Placement.whole(photo.shape[:2], (64, 64))
    return replace(fm, photos=(photo,), placement=(placement,))


def pixels_of(picture, cell):
    return picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]


def right(cell):
    return cell.x + cell.width


def boxes(picture):
    """The texts with what they cover, bar included."""
    bar = picture.drawing.bar
    for text in (*picture.texts, *(bar.labels if bar else ())):
        letters = font(text.size, text.bold)
        yield text.text, (text.x, text.y, text.x + letters.width(text.text), text.y + letters.height)


def touch_no_others(picture):
    for (one, a), (other, b) in itertools.combinations(boxes(picture), 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (one, other)


def test_the_panels_are_photo_map_overlay_and_the_strongest_channels(scope):
    picture = ls.figure(scope, PHOTO, "conv1", top=3)
    fm = scope.capture(PHOTO, "conv1")["conv1"]
    assert [cell.note for cell in picture.cells[:3]] == ["input", "map", "overlay"]
    assert [cell.channel for cell in picture.cells[3:]] == ls.strongest(fm, top=3)
    wording([picture.title, *picture.lines, *(text.text for text in picture.texts)])
    assert picture.scale.limits == ls.heatmap(ls.mean(fm)).scale.limits


def test_a_tile_has_the_colours_of_the_sheet():
    fm = captured(8, 8, 12)
    picture, sheet = ls.figure(fm, channels=[7, 2]), ls.sheet(fm, channels=[7, 2])
    for cell, other in zip(picture.cells[3:], sheet.cells, strict=True):
        zoom = cell.width // 8
        assert (cell.channel, cell.low, cell.high) == (other.channel, other.low, other.high)
        alone = sheet.tile(cell.channel).rgb()[:: other.width // 8, :: other.width // 8]
        assert np.array_equal(pixels_of(picture, cell), alone.repeat(zoom, 0).repeat(zoom, 1))


def test_the_map_is_the_heat_map_at_the_height_of_the_photo():
    fm = captured(5, 7, 4)
    picture = ls.figure(fm)
    shown = pixels_of(picture, picture.cells[1])
    heat = ls.heatmap(ls.mean(fm), zoom=1, caption=False, bar=False).rgb()
    height, width = shown.shape[:2]
    rows, columns = ((np.arange(count) * 2 + 1) * height // (2 * count) for count, height in ((5, height), (7, width)))
    assert np.array_equal(shown[rows][:, columns], heat)


@pytest.mark.parametrize("columns", [None, 4, 6])
@pytest.mark.parametrize("photo", [(24, 36), (36, 24), (300, 451), (64, 64)])
@pytest.mark.parametrize("size", [7, 14, 28, 56, 112])
def test_panels_are_aligned(columns, photo, size):
    image = np.zeros((*photo, 3), np.uint8)
    picture = ls.figure(captured(size, size, 9, photo=image), columns=columns)
    first, tiles = picture.cells[:3], picture.cells[3:]
    assert len({(cell.y, cell.height) for cell in first}) == 1
    assert first[0].height % 8 == 0
    assert first[0].x == tiles[0].x
    assert len({(cell.width, cell.height) for cell in tiles}) == 1
    assert tiles[0].width % size == 0  # whole pixels
    across = [cell for cell in tiles if cell.y == tiles[0].y]
    assert len({second.x - one.x for one, second in itertools.pairwise(across)}) == 1
    edge = picture.width - first[0].x
    assert max(map(right, (*first, *tiles))) <= edge
    assert edge - max(map(right, across)) < len(across)


@pytest.mark.parametrize(
    "options",
    [{}, {"columns": 4}, {"columns": 4, "text": 2}, {"top": 3}, {"top": 16}, {"columns": 4, "combine": "norm"}],
)
@pytest.mark.parametrize("size", [7, 28, 112, 224])
def test_letters_are_large_enough_on_paper_and_touch_no_others(options, size):
    picture = ls.figure(captured(size, size, 40), **options)
    wide = MM_84 if options.get("columns") == 4 else MM_180
    smallest = min(text.size for text in picture.texts) * wide / picture.width
    assert smallest >= (5.5 if wide == MM_84 else 6)
    touch_no_others(picture)


@pytest.mark.parametrize("size", [7, 56, 224])
@pytest.mark.parametrize("options", [{}, {"text": 2}, {"combine": "norm", "top": 16}])
@pytest.mark.parametrize(("width", "columns"), [(82, 4), (84, 4), (120, 5), (180, 8)])
def test_a_figure_made_for_a_width_on_paper_has_letters_of_six_points_there(width, columns, options, size):
    picture = ls.figure(captured(size, size, 40), width_mm=width, **{"top": 20, **options})
    points = width / 25.4 * 72 / picture.width
    assert min(text.size for text in picture.texts) * points >= 6
    touch_no_others(picture)
    tiles = picture.cells[3:]
    across = sum(cell.y == tiles[0].y for cell in tiles)
    assert columns - 1 <= across <= columns, "rows of equal length, as many in each as there is room for"


def test_columns_that_are_given_stay_where_a_width_is_given_too():
    tiles = ls.figure(captured(8, 8, 12), columns=6, top=12, width_mm=84).cells[3:]
    assert sum(cell.y == tiles[0].y for cell in tiles) == 6


@pytest.mark.parametrize("size", [(70, 70), (256, 16), (200, 2), (16, 256)])
@pytest.mark.parametrize("options", [{}, {"columns": 2, "caption": False}, {"text": 3, "columns": 4}, {"columns": 20}])
def test_ranges_wider_than_their_tiles_and_names_wider_than_the_map_touch_no_others(size, options):
    fm = captured(*size, 24)
    picture = ls.figure(replace(fm, values=1000 + fm.values * 1e-3), **options)
    touch_no_others(picture)
    paper = picture.frame.shape[::-1]
    assert all(right <= paper[0] and bottom <= paper[1] for _, (_, _, right, bottom) in boxes(picture))


def test_what_has_no_room_above_its_tile_is_left_out_and_the_caption_says_so():
    fm = captured(70, 70, 8)
    odd = np.array(fm.values)
    odd[0, :60, :, 3] = np.repeat([np.nan, np.inf, -np.inf], 20)[:, None]
    picture = ls.figure(replace(fm, values=odd))
    touch_no_others(picture)
    assert any("printed above it where there is room" in line for line in picture.lines)
    assert not any("where there is room" in line for line in ls.figure(fm).lines)


def test_a_large_map_is_reduced():
    picture = ls.figure(captured(600, 400, 3))
    assert max(picture.cells[3].width, picture.cells[3].height) == 256
    assert picture.cells[3].width == round(256 * 400 / 600)


def test_a_model_a_scope_and_a_map_give_the_same_figure(scope):
    model = ls.figure(tiny_model(), PHOTO, "conv1", backend=TinyBackend(), preprocess="unit")
    maps = scope.capture(PHOTO, "conv1")
    for other in (ls.figure(scope, PHOTO, "conv1"), ls.figure(maps), ls.figure(maps["conv1"])):
        assert np.array_equal(other.rgb(), model.rgb())


def test_a_combined_map_has_no_channels(scope):
    fm = scope.capture(PHOTO, "conv1")["conv1"]
    assert [cell.note for cell in ls.figure(ls.norm(fm)).cells] == ["input", "map", "overlay"]
    assert "Norm" in ls.figure(ls.norm(fm)).title


def test_colours_of_three_components_have_no_bar():
    picture = ls.figure(captured(8, 8, 6), combine="pca")
    assert picture.bar is None
    assert len(picture.cells) == 3 + 6


def test_which_channels():
    fm = captured(6, 6, 20)
    assert [cell.channel for cell in ls.figure(fm, by="max").cells[3:]] == ls.strongest(fm, by="max", top=8)
    assert [cell.channel for cell in ls.figure(fm, channels=[9, 1, 4]).cells[3:]] == [9, 1, 4]
    strongest = [channel for channel in ls.strongest(fm, top=None) if channel in (9, 1, 4)]
    assert [cell.channel for cell in ls.figure(fm, channels=[9, 1, 4], top=2).cells[3:]] == strongest[:2]


def test_a_dead_channel_is_named():
    fm = captured(6, 6, 2)
    values = fm.values.copy()
    values[..., 1] = 0
    assert "dead" in [text.text for text in ls.figure(replace(fm, values=values)).texts]


@pytest.mark.parametrize(
    "options",
    [
        {"theme": "dark"},
        {"caption": False},
        {"bar": False},
        {"title": "Mine"},
        {"colors": "magma"},
        {"contours": 2},
        {"on": "photo"},
        {"alpha": 0.3},
        {"scale": (0, 1)},
        {"clip": (5, 95)},
        {"norm": "symlog"},
        {"interpolation": "smooth"},
    ],
)
def test_an_option_changes_the_figure(options):
    fm = captured(6, 6, 4)
    picture, plain = ls.figure(fm, **options), ls.figure(fm)
    assert picture.pixels.shape != plain.pixels.shape or not np.array_equal(picture.pixels, plain.pixels)
    assert picture.lines or "caption" in options


def test_without_title_caption_and_bar_nothing_but_the_panels_is_drawn():
    picture = ls.figure(captured(6, 6, 4), caption=False, bar=False)
    assert (picture.cells[0].x, picture.bar, right(picture.cells[-1])) == (0, None, picture.width)
    assert picture.lines  # for the caption of the paper


def test_a_figure_is_exported_with_its_texts():
    picture = ls.figure(captured(6, 6, 4))
    titles = [axes.get_title(loc="left") for axes in picture.to_matplotlib().axes]
    assert titles[:3] == ["(a)", "(b)", "(c)"]
    assert titles[3:7] == [str(cell.channel) for cell in picture.cells[3:]]
    assert picture.svg().count("<image") == 7
    assert picture.pdf().startswith(b"%PDF")
    assert picture.tile(2).width == picture.cells[3].width


def test_what_a_figure_cannot_show_is_named(scope):
    with raises(ls.BadLayout, "bars()"):
        ls.figure(scope, PHOTO, "output")
    with raises(ls.BadLayout, "montage()"):
        ls.figure(ls.FeatureMap.of_array(noise(1, 4, 4, 4, 3)))
    with raises(ls.BadOption, "sheet()"):
        ls.figure(ls.FeatureMap.of_array(noise(1, 4, 4, 3)))
    with raises(ls.BadLayout, "overlay()"):
        ls.figure(captured(6, 6, 8), combine="clusters")
    with raises(ls.BadOption, "'rollout'"):
        ls.figure(scope, PHOTO, "conv1", combine="rollout")
    with raises(ls.BadOption, "image="):
        ls.figure(scope)
    with raises(ls.BadOption, "image=", "ls.sheet(array)"):
        ls.figure(noise(1, 4, 4, 3))
    with raises(ls.BadOption, "image="):
        ls.figure(captured(6, 6, 8), PHOTO)
    with raises(ls.BadOption, "2", "fm.image(0)"):
        ls.figure(scope.capture([PHOTO, PHOTO], "conv1"))
    with raises(ls.BadOption, "zoom=3"):
        FigureOptions(zoom=3)
    for wrong in ({"top": 0}, {"by": "contrast"}, {"top": 2.5}, {"width_mm": 0}):
        with raises(ls.BadOption):
            ls.figure(captured(6, 6, 8), **wrong)


@pytest.mark.parametrize(
    ("height", "width", "bar"), [(8, 900, True), (1, 300, False), (100, 2000, True), (8, 120, True)]
)
def test_panels_of_a_panorama_stand_below_each_other(height, width, bar):
    photo = np.zeros((height, width, 3), np.uint8)
    picture = ls.figure(captured(6, 6, 8, photo=photo), bar=bar)
    first, middle, overlay = picture.cells[:3]
    assert [cell.note for cell in (first, middle, overlay)] == ["input", "map", "overlay"]
    assert first.x == middle.x == overlay.x and first.width == overlay.width > picture.width * 0.9
    for one, second in itertools.pairwise(picture.cells[:4]):
        assert one.y + one.height < second.y
    assert (picture.bar is not None) == bar
    if bar:
        assert picture.bar.x > right(middle) and picture.bar.y + picture.bar.height < overlay.y
    for text in picture.texts:
        assert 0 <= text.tile < 3 or text.y > overlay.y or text.y < first.y or text.x > right(middle)


def test_an_ordinary_photo_above_a_panoramic_map_is_no_higher_than_in_a_row():
    picture = ls.figure(captured(8, 400, 4))
    photo, middle, overlay = picture.cells[:3]
    assert photo.x == middle.x == overlay.x and photo.height < picture.width / 2
    assert abs(photo.width / photo.height - 36 / 24) < 0.01


@pytest.mark.parametrize("photo", [(40, 240), (100, 500), (2000, 40), (300, 1)])
def test_panels_of_any_proportions_touch_no_others(photo):
    picture = ls.figure(captured(6, 6, 8, photo=np.zeros((*photo, 3), np.uint8)))
    for one, second in itertools.pairwise(picture.cells[:3]):
        assert right(one) < second.x
    assert right(picture.cells[2]) <= picture.width


def test_the_command_draws_a_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    usual = ["show", "demo", str(ls.demo_photo()), "-l", "_blocks.2", "--figure"]
    assert cli.main([*usual, "--top", "4", "--by", "max", "--columns", "4", "-o", "fig.png"]) == 0
    expected = ls.figure("demo", ls.demo_photo(), "_blocks.2", top=4, by="max", columns=4)
    assert (tmp_path / "fig.png").read_bytes() == expected.png()
    assert cli.main([*usual, "--channels", "3,1", "-o", "folder", "-l", "_blocks.4"]) == 0
    assert sorted(path.name for path in (tmp_path / "folder").iterdir())[-1].endswith("-mean-figure.png")
    capsys.readouterr()
    for wrong, word in (("--overlay", "--overlay"), ("--statistics", "--statistics")):
        assert cli.main([*usual, wrong, "-o", "x.png"]) == 1
        assert word in capsys.readouterr().err
