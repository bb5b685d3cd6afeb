"""Maps of every rank through every picture: each draws, or names the function that does."""

import numpy as np
import pytest

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope.picture.codes import ABOVE, NAN, TOP

SHAPES = {0: (1, 6), 1: (1, 9, 6), 2: (1, 7, 5, 6), 3: (1, 4, 7, 5, 6)}
AXES = {0: "bc", 1: "bnc", 2: "bhwc", 3: "bdhwc"}
DRAWN = None

# What each function does with a map of six channels of rank 0 to 3: it draws, or the error names what does.
MANY = {
    "sheet": (DRAWN, DRAWN, DRAWN, DRAWN),
    "strip": (DRAWN, DRAWN, r"sheet\(\)", r"montage\(\).*sheet\(\)"),
    "bars": (DRAWN, r"strip\(\)", r"sheet\(\)", r"sheet\(\)"),
    "montage": (r"bars\(\) or strip\(\)", r"strip\(\)", r"sheet\(\).*heatmap\(\)", "give channel="),
    "heatmap": (r"sheet\(\)", r"sheet\(\)", r"sheet\(\)", r"sheet\(\)"),
}
# The same with one channel, as after a combination.
ONE = {
    "sheet": (DRAWN, DRAWN, DRAWN, DRAWN),
    "strip": (DRAWN, DRAWN, r"heatmap\(\)", r"montage\(\)"),
    "bars": (DRAWN, r"strip\(\)", r"sheet\(\)", r"sheet\(\)"),
    "montage": (r"bars\(\) or strip\(\)", r"strip\(\)", r"heatmap\(\)", DRAWN),
    "heatmap": (DRAWN, DRAWN, DRAWN, r"montage\(\)"),
}


def map_of(rank):
    return ls.FeatureMap.of_array(noise(*SHAPES[rank]), AXES[rank])


@pytest.mark.parametrize("rank", range(4))
@pytest.mark.parametrize("channels", [6, 1])
@pytest.mark.parametrize("function", sorted(MANY))
def test_every_rank_is_drawn_or_sent_to_the_function_that_draws_it(function, channels, rank):
    fm = map_of(rank) if channels == 6 else ls.mean(map_of(rank))
    wanted = (MANY if channels == 6 else ONE)[function][rank]
    if wanted is DRAWN:
        picture = getattr(ls, function)(fm)
        assert picture.cells
        assert picture.png().startswith(b"\x89PNG")
    else:
        with raises(ls.LayerscopeError):
            getattr(ls, function)(fm)


@pytest.mark.parametrize("rank", range(4))
def test_an_overlay_needs_a_photo_whatever_the_rank(rank):
    with raises(ls.BadOption):
        ls.overlay(ls.mean(map_of(rank)))


@pytest.mark.parametrize("rank", range(4))
def test_values_that_are_all_nan_are_drawn_as_such(rank):
    fm = ls.FeatureMap.of_array(np.full(SHAPES[rank], np.nan, np.float32), AXES[rank])
    pictures = [ls.sheet(fm)]
    pictures += [ls.bars(fm)] if rank == 0 else []
    pictures += [ls.montage(fm, channel=2)] if rank == 3 else []
    for picture in pictures:
        assert (picture.pixels == NAN).any()


@pytest.mark.parametrize("rank", range(4))
def test_one_number_is_drawn(rank):
    shape = (1,) * (rank + 2)
    picture = ls.sheet(np.full(shape, 2.5, np.float32), layout=AXES[rank])
    assert len(picture.cells) == 1
    assert picture.decode(picture.cells[0]).ravel()[0] == 2.5


def test_empty_maps_and_empty_lists_of_channels_are_refused():
    with raises(ls.BadLayout):
        ls.montage(np.zeros((1, 0, 4, 4, 2), np.float32), channel=0)
    for function in (ls.sheet, ls.strip, ls.bars):
        with raises(ls.BadChannels):
            function(map_of(0), channels=[])


# Bars


def dense(values, names=()):
    fm = ls.FeatureMap.of_array(np.asarray(values, np.float32))
    return fm if not names else ls.FeatureMap(fm.values, fm.layer, fm.ids, fm.channels, names=tuple(names))


def test_bars_are_in_the_order_of_their_rank_and_as_long_as_their_values():
    values = noise(200)
    picture = ls.bars(values, top=12)
    order = np.sort(values)[::-1][:12]
    assert [cell.channel for cell in picture.cells] == np.argsort(-values)[:12].tolist()
    lengths = np.array([cell.width for cell in picture.cells])
    np.testing.assert_allclose(lengths, order / order[0] * lengths[0], atol=1.01)
    assert len({cell.x for cell in picture.cells}) == 1, "all begin at 0"
    for cell, value in zip(picture.cells, order, strict=True):
        np.testing.assert_allclose(picture.decode(cell), value, atol=order[0] / TOP)
        assert float(cell.note) == pytest.approx(value, rel=5e-3)


def test_bars_of_both_signs_begin_at_the_same_zero():
    picture = ls.bars([3.0, -1.0, 0.5, -3.0], by="magnitude")
    right = {cell.channel: cell for cell in picture.cells}
    zero = right[0].x
    assert [cell.channel for cell in picture.cells] == [0, 3, 1, 2]
    assert right[2].x == zero
    for channel in (1, 3):
        left = right[channel]
        assert left.x + left.width - 1 == zero
    assert right[3].width == right[0].width == pytest.approx(3 * right[1].width, abs=3)
    assert picture.scale.center == 0


def test_bars_of_several_images_may_share_their_scale():
    fm = ls.FeatureMap.of_array(np.array([[1.0, 2.0], [8.0, 4.0]], np.float32), "bc")
    first, second = ls.bars(fm, scale="images"), ls.bars(fm, image=1, scale="images")
    widths = {(cell.image, cell.channel): cell.width for each in (first, second) for cell in each.cells}
    assert widths[1, 0] == pytest.approx(4 * widths[0, 1], abs=4)
    assert first.scale.limits == second.scale.limits == (0, 8)
    assert ls.bars(fm).cells[0].width == widths[1, 0], "by itself a picture is filled"


def test_negative_bars_end_at_zero():
    picture = ls.bars([-1.0, -4.0])
    assert {cell.x + cell.width for cell in picture.cells} == {picture.cells[0].x + picture.cells[0].width}
    assert picture.cells[1].width > 3 * picture.cells[0].width


def test_bars_say_what_the_numbers_are_and_change_none():
    names = [f"class {at}" for at in range(4)]
    shares = np.array([0.1, 0.6, 0.25, 0.05])
    wording(ls.bars(dense(shares, names)).alt(), "1", "4")
    logits = ls.bars(dense([4.0, -2.0, 1.0, 0.5], names))
    wording(logits.alt(), "3.5")
    assert [cell.note for cell in logits.cells] == ["class 0: 4", "class 2: 1", "class 3: 0.5", "class 1: −2"]
    # Of some channels alone nobody can tell.
    assert "sum to" not in ls.bars(dense(shares, names).select([1, 2])).alt()


def test_bars_of_special_values():
    picture = ls.bars([1.0, np.nan, np.inf, -np.inf, 5.0], scale=(0, 2))
    assert [cell.channel for cell in picture.cells] == [2, 4, 0, 3, 1], "NaN ranks last"
    codes = {cell.channel: set(picture.codes(cell).ravel().tolist()) for cell in picture.cells}
    assert codes[1] == {NAN}
    assert codes[4] == {ABOVE}
    assert "1 NaN, 1 +inf, 1 −inf" in picture.alt()
    wording(ls.bars(np.zeros(5)).alt(), "0")


def test_values_that_differ_read_differently():
    assert [cell.note for cell in ls.bars([1.00012, 1.00034, 0.2]).cells] == ["1.0003", "1.0001", "0.2"]


def test_labels_are_those_of_the_channels_also_when_some_are_chosen():
    labels = ["a", "b", "c", "d"]
    picture = ls.bars([1.0, 2.0, 3.0, 4.0], labels=labels, channels=[0, 2])
    assert [cell.note for cell in picture.cells] == ["c: 3", "a: 1"]
    with raises(ls.BadOption, "3", "4"):
        ls.bars([1.0, 2.0, 3.0, 4.0], labels=labels[:3])
    with raises(ls.BadOption):
        ls.bars([1.0, 2.0], labels="ab")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"by": "size"}, ls.BadOption),
        ({"top": 0}, ls.BadOption),
        ({"top": True}, ls.BadOption),
        ({"image": 3}, ls.BadOption),
        ({"scale": "chanel"}, ls.BadScale),
        ({"channels": [9]}, ls.BadChannels),
    ],
)
def test_bars_refuse(options, error):
    with raises(error):
        ls.bars(map_of(0), **options)


def test_the_models_output_becomes_bars_with_its_labels_and_a_strip_where_asked(tmp_path):
    scope = ls.open(ls.demo_model())
    (output,) = scope.capture(ls.demo_photo(), "output").values()
    assert output.names == scope.labels
    picture = ls.show(scope, ls.demo_photo(), "output")
    top = scope.predict(ls.demo_photo(), 10)[0]
    assert [cell.channel for cell in picture.cells] == [each.index for each in top]
    assert [cell.note.partition(":")[0] for cell in picture.cells] == [each.label for each in top]
    assert len(ls.strip(output).cells) == 1000
    # Names go with their channels, into a file and back, and not into what is made of them.
    assert output.select([281, 7]).names == (scope.labels[281], scope.labels[7])
    assert ls.load(output.save(tmp_path / "o.npz")).names == scope.labels
    assert not ls.mean(output).names
    (few,) = scope.capture(ls.demo_photo(), "output", channels=[281, 7]).values()
    assert few.names == (scope.labels[281], scope.labels[7])
    # Another layer with a thousand channels would be no classes.
    assert not scope.capture(ls.demo_photo(), "_conv_stem")["_conv_stem"].names


def test_the_command_line_draws_bars_of_the_output(tmp_path):
    from PIL import Image

    from layerscope.cli import main

    assert main(["show", "demo", str(ls.demo_photo()), "-l", "output", "-o", str(tmp_path / "o.png")]) == 0
    with Image.open(tmp_path / "o.png") as image:
        wording(image.info["Description"], "10", "1000")


# Strips


def test_a_sequence_has_round_positions_below_and_decodes_row_by_row():
    values = noise(1, 300, 5)
    picture = ls.strip(values, layout="bnc", axis="seconds", step=0.01)
    wording(picture.alt(), "0", "2.99")
    for cell in picture.cells:
        shown = picture.decode(cell)
        assert shown.shape == (1, 300)
        np.testing.assert_allclose(shown[0], values[0, :, cell.channel], atol=np.abs(values).max() / TOP * 1.01)


def test_flip_has_the_first_channel_at_the_bottom():
    values = noise(1, 30, 5)
    cells = ls.strip(values, layout="bnc", flip=True).cells
    assert [cell.channel for cell in cells] == [4, 3, 2, 1, 0]
    assert [cell.y for cell in cells] == sorted(cell.y for cell in cells)
    picture = ls.strip(values, layout="bnc", flip=True, scale="channel")
    for cell in picture.cells:
        np.testing.assert_allclose(picture.decode(cell)[0], values[0, :, cell.channel], atol=0.05)


def test_a_long_sequence_has_pages_and_loses_no_position():
    values = noise(1, 10_000, 3)
    pages = [ls.strip(values, layout="bnc", page=page) for page in range(3)]
    assert {page.pages for page in pages} == {3}
    shown = np.concatenate([page.decode(page.cells[1])[0] for page in pages])
    np.testing.assert_allclose(shown, values[0, :, 1], atol=np.abs(values).max() / TOP * 1.01)
    wording(pages[1].alt(), "4096", "8191", "0", "9999", "2", "3")
    with raises(ls.BadOption, "3", "0", "2"):
        ls.strip(values, layout="bnc", page=3)


@pytest.mark.parametrize("pool", ["max", "min"])
def test_a_pooled_strip_shows_the_extremes_of_whole_numbers_of_positions(pool):
    values = noise(1, 10_000, 3)
    values[0, 77, 0] = 30
    picture = ls.strip(values, layout="bnc", pool=pool)
    word = {"max": "largest", "min": "smallest"}[pool]
    wording(picture.alt(), word, "14", "4")
    for cell in picture.cells:
        padded = np.append(values[0, :, cell.channel], np.full(10, -np.inf if pool == "max" else np.inf))
        wanted = getattr(padded.reshape(-1, 14), pool)(1)
        np.testing.assert_allclose(picture.decode(cell)[0], wanted, atol=30 / TOP * 1.01)


def test_positions_stand_at_their_columns():
    values = np.zeros((1, 40, 2), np.float32)
    values[0, 20] = 1
    picture = ls.strip(values, layout="bnc")
    cell = picture.cells[0]
    below = picture.pixels[picture.cells[-1].y + picture.cells[-1].height + 1, cell.x :]
    ticks = np.flatnonzero(below != below[1 + picture.zoom]) // picture.zoom
    assert 20 in ticks.tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"pool": "mean"},
        {"axis": ""},
        {"step": 0},
        {"step": float("nan")},
        {"page": "1"},
    ],
)
def test_strips_refuse(options):
    with raises(ls.BadOption):
        ls.strip(map_of(1), **options)


# Montages


@pytest.mark.parametrize("axis", "dhw")
def test_a_montage_shows_each_slice_along_an_axis(axis):
    fm = map_of(3)
    picture = ls.montage(fm, channel=4, axis=axis)
    at = "dhw".index(axis)
    volume = fm.values[0, ..., 4]
    assert len(picture.cells) == volume.shape[at]
    for number, cell in enumerate(picture.cells):
        assert (cell.channel, cell.note) == (4, f"slice {number}")
        wanted = np.take(volume, number, axis=at)
        np.testing.assert_allclose(picture.decode(cell), wanted, atol=np.abs(volume).max() / TOP * 1.01)
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
    assert [cell.note for page in pages for cell in page.cells] == [f"slice {at}" for at in range(40)]
    with raises(ls.BadOption):
        ls.montage(fm, zoom=200, page=len(pages))


def test_show_makes_a_montage_of_a_combined_volume():
    from layerscope.plots.show import draw

    for combined in (ls.mean(map_of(3)), ls.pca(map_of(3))):
        assert [cell.note for cell in draw(combined).cells] == [f"slice {at}" for at in range(4)]
    assert len(draw(ls.nmf(ls.FeatureMap.of_array(np.abs(noise(*SHAPES[3])), "bdhwc"), 2)).cells) == 2


def test_a_volume_of_three_colours_has_slices_in_colours():
    fm = ls.pca(map_of(3))
    picture = ls.montage(fm, axis="h")
    assert [cell.note for cell in picture.cells] == [f"slice {at}" for at in range(7)]
    low, high = np.percentile(fm.values.reshape(-1, 3), (1, 99), axis=0)
    for at, cell in enumerate(picture.cells):
        box = picture.rgb()[cell.y : cell.y + cell.height : picture.zoom, cell.x : cell.x + cell.width : picture.zoom]
        wanted = np.clip((fm.values[0, :, at] - low) / (high - low), 0, 1) * 255
        np.testing.assert_allclose(box, wanted, atol=0.51)
    wording(picture.alt(), "7")
    # Its frame can change its theme, its tiles don't.
    dark, cell = picture.dark().rgb(), picture.cells[0]
    here = slice(cell.y, cell.y + cell.height), slice(cell.x, cell.x + cell.width)
    assert (dark[here] == picture.rgb()[here]).all()
    assert (dark[0, 0] != picture.rgb()[0, 0]).any()
    assert ls.montage(fm, channel=1).bar is not None


def test_a_montage_of_clusters_says_that_they_are_numbers():
    wording(ls.montage(ls.clusters(map_of(3), 2)).alt())


def test_every_page_of_a_long_sequence_is_drawn():
    from layerscope.plots.show import draw

    fm = ls.FeatureMap.of_array(noise(1, 5000, 3), "bnc")
    for each in (fm, ls.mean(fm)):
        pages = [draw(each, page=page) for page in range(draw(each).pages)]
        assert [page.provenance["positions"] for page in pages] == [[0, 4095], [4096, 4999]]


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


def test_attention_weights_are_of_heads():
    fm = ls.FeatureMap.of_array(np.abs(noise(1, 3, 5, 5)), "bcqk")
    wording(ls.sheet(fm).alt(), "3")
