"""Comparisons: every cell in its place, decodable, and a reason where there is no map."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope.picture.codes import ABOVE, BELOW, CONSTANT, GAP, INK, INK_MIDDLE, NAN, OWN, TOP
from layerscope.picture.font import SMALL, font
from layerscope.picture.heading import MARGIN
from layerscope.picture.palette import palette
from layerscope.plots import compare_grid, compare_layout


def dense(*shape):
    return ls.FeatureMap.of_array(noise(*shape), "bc")


def layers(images=3):
    return {
        "stem": noise(images, 16, 16, 5),
        "block/conv_2": noise(images, 8, 12, 7, seed=1) + 4,
        "last": noise(images, 2, 3, 9),
    }


def grid(picture, columns):
    """The cells row by row, without the photos."""
    cells = [cell for cell in picture.cells if cell.note not in ("photo", "no photo")]
    return [cells[start : start + columns] for start in range(0, len(cells), columns)]


def assert_true(picture, cell, expected):
    """The cell decodes to the values, to half a step of its own range."""
    center = picture.scale.center
    reach = (cell.high - cell.low) / 2 if center is None else max(cell.high - center, center - cell.low)
    codes = picture.codes(cell)
    assert codes.shape == expected.shape
    inside = (expected >= cell.low) & (expected <= cell.high)
    assert (codes[inside] <= TOP).all()
    np.testing.assert_allclose(picture.decode(cell)[inside], expected[inside], atol=reach / TOP * 1.02)
    assert (codes[expected > cell.high + 1e-5] == ABOVE).all()
    assert (codes[expected < cell.low - 1e-5] == BELOW).all()


def assert_shown(picture, cell, expected):
    """The same, also for numbers that go on below: what is left of the last row is paper."""
    codes = picture.codes(cell)
    if codes.shape == expected.shape:
        assert_true(picture, cell, expected)
        return
    count = expected.size
    assert (codes.ravel()[count:] == GAP).all()
    step = max(cell.high, -cell.low, cell.high - cell.low) / TOP
    np.testing.assert_allclose(picture.decode(cell).ravel()[:count], expected.ravel(), atol=step * 1.02)


@pytest.mark.parametrize(
    ("scale", "clip"),
    [((-1.0, 3.0), None), *itertools.product(["all", "row", "column", "cell"], [None, (5, 90)])],
)
def test_layers_by_images_decode_in_every_scale(scale, clip):
    maps = layers()
    picture = ls.compare(maps, scale=scale, clip=clip)
    means = {name: values.astype(np.float64).mean(-1) for name, values in maps.items()}
    rows = grid(picture, 3)
    assert len(rows) == 3
    for (name, planes), cells in zip(means.items(), rows, strict=True):
        for image, cell in enumerate(cells):
            assert cell.note.startswith(name)
            assert cell.note.endswith(f"· image {image}")
            assert (cell.image, cell.channel) == (image, 0)
            assert 180 < max(cell.width, cell.height) <= 224, "large enough to see, by a whole number"
            assert_true(picture, cell, planes[image].astype(np.float32))
            group = {
                "all": np.concatenate([planes.ravel() for planes in means.values()]),
                "row": planes,
                "column": np.concatenate([planes[image].ravel() for planes in means.values()]),
                "cell": planes[image],
            }.get(scale if isinstance(scale, str) else "")
            limits = scale if group is None else np.percentile(group, clip or (0, 100))
            if clip and scale != "all" and limits[0] < 0 < limits[1]:  # as far on both sides as on the farther one
                reach = max(-limits[0], limits[1])
                limits = max(group.min(), -reach), min(group.max(), reach)
            np.testing.assert_allclose((cell.low, cell.high), limits, rtol=1e-4, atol=1e-5)
    beyond = any((picture.codes(cell) == ABOVE).any() for cell in picture.cells)
    assert beyond == (clip is not None or not isinstance(scale, str))
    assert (picture.bar is not None) == (scale == "all" or not isinstance(scale, str))
    wording(picture.alt())


def test_rows_read_through_their_own_bars():
    maps = layers()
    picture = ls.compare(maps, scale="row")
    rgb, codes = picture.rgb().astype(int), picture.pixels if picture.indexed else picture.frame
    for cells, values in zip(grid(picture, 3), maps.values(), strict=True):
        top = min(cell.y for cell in cells)
        right = max(cell.x + cell.width for cell in cells) + 4
        strip = codes[top + cells[0].height // 2, right:]
        x = right + int(np.flatnonzero((strip <= TOP) | (strip == OWN))[0])
        inside = (codes[:, x] <= TOP) | (codes[:, x] == OWN)
        ys = np.flatnonzero(
            inside & (np.abs(np.arange(len(inside)) - top - cells[0].height // 2) <= cells[0].height // 2)
        )
        column = rgb[ys, x]
        low, high = cells[0].low, cells[0].high
        value_at_row = high + (np.arange(len(ys)) + 0.5) / len(ys) * (low - high)
        plane = values.astype(np.float64).mean(-1)[1]
        cell, zoom = cells[1], cells[1].width // plane.shape[1]
        tile = rgb[cell.y : cell.y + cell.height : zoom, cell.x : cell.x + cell.width : zoom]
        values_read = value_at_row[np.abs(tile[:, :, None] - column).sum(-1).argmin(-1)]
        step = max((high - low) / len(ys), 2 * max(abs(low), abs(high)) / TOP)
        assert np.abs(values_read - plane).max() <= 2 * step


@pytest.mark.parametrize("scale", ["row", "column"])
def test_what_is_cut_shows_on_the_bars_of_rows_and_columns(scale):
    maps = {name: values + 9 for name, values in layers().items()}
    plain = ls.compare(maps, scale=scale)
    cut = ls.compare(maps, scale=scale, clip=(10, 90))
    for mark in (BELOW, ABOVE):
        cells = np.zeros(cut.pixels.shape, bool)
        for cell in cut.cells:
            cells[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] = True
        assert not (plain.pixels == mark).any()
        count = ((cut.pixels == mark) & ~cells)[100:].sum()
        assert count > 3 * 20, "a cap for each"


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=60), min_size=1, max_size=4, unique=True
    ),
    st.integers(1, 5),
    st.sampled_from(["all", "row", "column", "cell"]),
)
def test_no_name_and_no_number_lies_on_a_map(names, images, scale):
    maps = {name: noise(images, 5, 4, 2, seed=seed) for seed, name in enumerate(names)}
    picture = ls.compare(maps, scale=scale)
    assert len(picture.cells) == len(names) * images
    taken = np.zeros(picture.pixels.shape, int)
    for cell in picture.cells:
        box = picture.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
        assert (box <= TOP).all()
        taken[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] += 1
    assert taken.max() == 1


def test_names_stand_where_they_belong_and_read_from_top_to_bottom():
    fm = ls.FeatureMap.of_array(noise(2, 4, 4, 1))
    picture = ls.compare({"a first name": replace(fm, ids=("one " * 12, "short"))})
    letters, bold = font(SMALL), font(SMALL, bold=True)
    first, second = picture.cells

    def is_written(y, x, text, letters=bold, ink=INK):
        ink = letters.line(text, ink)
        return np.array_equal(picture.pixels[y : y + letters.height, x : x + ink.shape[1]], ink)

    lines = bold.cut_text("one " * 12, first.width, 3)
    assert len(lines) == 2
    top = first.y - 2 - 2 * letters.height
    for row, line in enumerate(lines):
        assert is_written(top + row * letters.height, first.x + (first.width - bold.width(line)) // 2, line)
    assert is_written(second.y - 2 - letters.height, second.x + (second.width - bold.width("short")) // 2, "short")
    assert is_written(first.y, MARGIN, "a first name")
    assert is_written(first.y + letters.height, MARGIN, "4 × 4", letters, INK_MIDDLE)


def test_long_names_break_where_their_parts_end_and_keep_what_tells_them_apart():
    name = "encoder.layers.encoder_layer_{}.self_attention/out_proj_quant_dequant"
    maps = {name.format(number): noise(1, 4, 4, 1) for number in (3, 11)}
    written = [line.text for line in ls.compare(maps).drawing.lines if line.bold]
    first = written[1 : written.index("encoder.layers.encoder_", 2)]
    assert "".join(first) == name.format(3)
    assert all(line[-1] in "._/" for line in first[:-1])
    longer = {f"model_with_a_long_name.stage_of_many.{key}.{'and_more_' * 12}": fm for key, fm in maps.items()}
    written = "".join(line.text for line in ls.compare(longer).drawing.lines if line.bold)
    assert "layer_3." in written
    assert "layer_11." in written


def test_letters_and_cells_grow_with_the_text():
    maps = {"early": noise(2, 16, 16, 1), "late": noise(2, 7, 7, 1)}
    small, large = ls.compare(maps), ls.compare(maps, text=3)
    assert {line.size for line in large.drawing.lines} == {3 * SMALL}
    for one, other in zip(small.cells, large.cells, strict=True):
        assert 2.9 < other.width / one.width < 3.1
        assert_true(large, other, maps[other.note.split()[0]][other.image, ..., 0])
    with raises(ls.BadOption):
        ls.compare(maps, text=9)


@pytest.mark.parametrize(
    ("box", "words", "shown"),
    [
        ((0, 15, 30, 30), "centre crop", lambda photo: photo[:, 15:45]),
        ((-15, 0, 60, 60), "letterboxed", lambda photo: np.pad(photo, ((15, 15), (0, 0), (0, 0)), constant_values=128)),
        ((0, 0, 30, 60), "", lambda photo: photo),
    ],
)
def test_photos_show_what_the_maps_below_span(box, words, shown):
    photo = np.zeros((30, 60, 3), np.uint8)
    photo[:, 15:45] = (200, 0, 0)
    place = ls.Placement((30, 60), (8, 8), box)
    fm = replace(ls.FeatureMap.of_array(noise(1, 8, 8, 1)), photos=(photo,), placement=(place,), ids=("array-0",))
    picture = ls.compare({"conv": fm}, photos=True)
    cell = picture.cells[0]
    expected = Image.fromarray(shown(photo)).resize((cell.width, cell.height), Image.Resampling.LANCZOS)
    drawn = picture.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
    assert np.abs(drawn.astype(int) - np.asarray(expected)).mean() < 1
    written = [line.text for line in picture.drawing.lines]
    assert "photo" in written
    assert "array 0" in written, "an image without a name is called so in words"
    assert (words in written) == bool(words)


def test_models_by_layers_leave_cells_blank_with_the_reason():
    models = {
        "first": {
            "conv": noise(2, 7, 7, 4),
            "fc": dense(2, 1000),
            "tokens": ls.FeatureMap.of_array(noise(2, 9, 3), "bnc"),
        },
        "second": {"conv": noise(2, 14, 14, 6), "extra": noise(2, 7, 7, 2), "volume": noise(2, 3, 4, 5, 2)},
        "third": {"conv": noise(2, 7, 7, 4, seed=3), "extra": noise(2, 7, 7, 2), "pooled": noise(2, 1, 1, 8)},
    }
    picture = ls.compare(models, images=[1])
    columns = ["conv", "fc", "tokens", "extra", "volume", "pooled"]
    reasons = {("second", "conv"): "14 × 14 against 7 × 7"}
    whole = {"fc", "pooled"}
    for (model, maps), cells in zip(models.items(), grid(picture, 6), strict=True):
        for layer, cell in zip(columns, cells, strict=True):
            reason = reasons.get((model, layer), "" if layer in maps else "no layer of this name")
            assert cell.note == f"{model} · {layer}" + (f": {reason}" if reason else "")
            assert cell.image == 1
            if reason:
                assert cell.channel == -1
                assert (picture.codes(cell) > TOP).all(), "no colours of the scale in a blank cell"
                assert (picture.codes(cell) != GAP).any(), "and the reason is written there"
            else:
                values = np.asarray(getattr(maps[layer], "values", maps[layer]))[1].astype(np.float64)
                shown = values if layer in whole else values.mean(-1)
                shown = shown[1] if layer == "volume" else shown
                assert_shown(picture, cell, shown.astype(np.float32))
    wording(picture.alt(), "1", "14 × 14", "7 × 7")
    unequal = ls.compare(models, same_size=False)
    cell = grid(unequal, 6)[1][0]
    assert_true(unequal, cell, models["second"]["conv"][0].astype(np.float64).mean(-1).astype(np.float32))
    wording(unequal.alt(), "0")


def test_channels_by_images():
    fm = ls.FeatureMap.of_array(noise(3, 6, 6, 40))
    picture = ls.compare(fm, channels=[7, 0, 39], images=[2, 0])
    for channel, cells in zip((7, 0, 39), grid(picture, 2), strict=True):
        for image, cell in zip((2, 0), cells, strict=True):
            assert (cell.image, cell.channel) == (image, channel)
            assert_true(picture, cell, fm.values[image, ..., channel])
    wording(picture.alt(), "3", "40")
    assert len(ls.compare({"conv": fm}, channels=slice(0, 4)).cells) == 12


def test_images_are_matched_by_their_names():
    named = ls.FeatureMap.of_array(noise(2, 4, 4, 1))
    other = replace(ls.FeatureMap.of_array(noise(2, 4, 4, 1, seed=2)), ids=("image 1", "cat.jpg"))
    picture = ls.compare([named, other])
    first, second = grid(picture, 3)
    wording((cell.note for cell in first), "image 0", "image 1", "cat.jpg")
    assert second[0].note.startswith("array (2)")
    assert_true(picture, second[1], other.values[0, ..., 0])
    assert_true(picture, second[2], other.values[1, ..., 0])
    assert_true(picture, first[1], named.values[1, ..., 0])


def test_a_function_a_name_and_a_map_that_is_combined_already():
    maps = layers(2)
    named = ls.compare(maps, combine="max")
    called = ls.compare(maps, combine=ls.maximum)
    wording(called.alt())
    assert all(np.array_equal(named.codes(a), called.codes(b)) for a, b in zip(named.cells, called.cells, strict=True))
    wording(named.alt())
    for name, cells in zip(maps, grid(named, 2), strict=True):
        assert_true(named, cells[0], maps[name][0].max(-1))
    done = ls.compare({name: ls.norm(values) for name, values in maps.items()})
    wording(done.title)
    assert "combined" not in done.alt()
    with raises(ls.BadOption, "'mean'"):
        ls.compare(maps, combine="meen")
    several = ls.compare({"a": noise(1, 4, 4, 3), "b": noise(1, 4, 4, 1)}, combine=lambda fm: fm)
    wording(several.cells[0].note, "a", "3")


def test_a_layer_that_the_combination_does_not_suit_is_blank_and_the_others_are_drawn():
    maps = {"seven": noise(2, 4, 4, 7), "five": noise(2, 6, 6, 5), "fc": dense(2, 9)}
    picture = ls.compare(maps, combine=lambda fm: ls.weighted(fm, np.arange(5)))
    seven, five, fc = grid(picture, 2)
    assert [cell.channel for cell in (*seven, *five, *fc)] == [-1, -1, 0, 0, -1, -1]
    assert all(cell.note for cell in (*seven, *fc))
    wording(picture.alt(), "4", "6", "2", "'array'", "7")
    assert_true(picture, five[1], np.sum(maps["five"][1] * np.arange(5), axis=-1))


def test_one_factor_of_several_has_a_scale():
    values = np.abs(noise(2, 4, 4, 6))
    picture = ls.compare({"a": values}, combine=lambda fm: ls.nmf(fm, 3).select([1]))
    assert_true(picture, picture.cells[1], ls.nmf(values, 3).values[1, ..., 1])


def test_colours_say_where_they_can_be_compared():
    wording(ls.compare(layers(), combine="pca").alt())
    models = {"one": layers(), "two": layers()}
    wording(ls.compare(models, combine="pca").alt())


def test_colours_and_photos_make_an_rgb_picture():
    photos = tuple(np.full((30, 60, 3), level, np.uint8) for level in (50, 200))
    fm = replace(ls.FeatureMap.of_array(noise(2, 8, 8, 6)), photos=photos)
    picture = ls.compare({"one": fm, "dense": dense(2, 5)}, combine="pca", photos=True)
    assert not picture.indexed
    assert [cell.note for cell in picture.cells[:2]] == ["photo", "photo"]
    for cell, photo in zip(picture.cells[:2], photos, strict=True):
        assert (picture.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] == photo[0, 0]).all()
        assert cell.width == 2 * cell.height, "in the shape of the photo"
    alone = ls.heatmap(ls.pca(fm), image=1)
    cell, own = picture.cells[3], alone.cells[0]
    zoom, theirs = cell.width // 8, own.width // 8
    assert np.array_equal(
        picture.pixels[cell.y : cell.y + cell.height : zoom, cell.x : cell.x + cell.width : zoom],
        alone.pixels[own.y : own.y + own.height : theirs, own.x : own.x + own.width : theirs],
    )
    wording(picture.alt(), "1", "99")
    scalar = ls.compare({"one": fm}, photos=True)
    bare = ls.compare({"one": fm})
    cell, same = scalar.cells[2], bare.cells[0]
    assert np.array_equal(
        scalar.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width],
        bare.rgb()[same.y : same.y + same.height, same.x : same.x + same.width],
    )
    missing = ls.compare({"m": {"conv": fm}, "n": {"conv": noise(2, 8, 8, 6)}}, photos=True)
    assert [cell.note for cell in missing.cells[:2]] == ["photo", "no photo"]


def test_special_values_keep_their_marks_and_their_count():
    maps = {
        "a": np.full((1, 4, 4, 1), np.nan, np.float32),
        "b": np.zeros((1, 4, 4, 1), np.float32),
        "c": noise(1, 4, 4, 1),
    }
    picture = ls.compare(maps, scale="cell")
    a, b, c = (row[0] for row in grid(picture, 1))
    assert (picture.codes(a) == NAN).all()
    assert (picture.codes(b) == CONSTANT).all(), "a map without a range is not a value"
    assert (picture.codes(c) <= TOP).all()
    assert np.isnan(picture.decode(a)).all()
    assert (picture.decode(b) == 0).all()
    assert ls.compare({"a": maps["a"]}).png()


@pytest.mark.parametrize("scale", ["row", "column"])
def test_a_row_without_a_value_has_no_bar_and_changes_no_other(scale):
    maps = {"nan": np.full((2, 5, 5, 1), np.nan), "x": np.random.default_rng(0).random((2, 5, 5, 1)) + 7}
    if scale == "column":
        maps = {"x": np.where(np.arange(2).reshape(2, 1, 1, 1), maps["x"], np.nan)}
    with pytest.MonkeyPatch.context() as patch:
        reaches = []
        shared_bar = compare_layout.shared_bar
        for module in (compare_grid, compare_layout):
            patch.setattr(module, "shared_bar", lambda *args: reaches.append(shared_bar(*args)) or reaches[-1])
        ls.compare(maps, scale=scale, clip=(5, 95)).png()
    assert reaches
    assert all(scale.limits[0] > 6 and reach[0] > 6 for scale, _, reach in reaches)
    whole = ls.compare({"x": maps["x"], "nan": np.full((2, 5, 5, 1), np.nan)}, clip=(5, 95))
    wording(whole.alt(), "7")


def test_the_file_remembers_what_was_compared(tmp_path):
    path = ls.compare(layers(), scale=ls.shared_scale(*layers().values())).save(tmp_path / "a.png")
    about = json.loads(Image.open(path).text["layerscope"])
    assert about["rows"][0].startswith("stem")
    assert about["columns"] == ["image 0", "image 1", "image 2"]
    wording(about["scale"])


@pytest.mark.parametrize(
    ("maps", "options", "error"),
    [
        ({}, {}, ls.BadOption),
        ({"m": {}}, {}, ls.BadOption),
        ({"a": noise(1, 4, 4, 1), "m": {"b": noise(1, 4, 4, 1)}}, {}, ls.BadOption),
        ({"a": dense(2, 9), "b": noise(2, 1, 1, 5)}, {"combine": "norm"}, ls.BadLayout),
        (noise(1, 1, 1, 9), {"channels": [1]}, ls.BadLayout),
        (layers(), {"images": []}, ls.BadOption),
        (layers(), {"images": [3]}, ls.BadOption),
        (layers(), {"images": [0.5]}, ls.BadOption),
        (layers(), {"images": "0"}, ls.BadOption),
        (layers(), {"combine": lambda fm: fm.values.mean(-1)}, ls.BadOption),
        (layers(), {"combine": "mean", "target": 3}, ls.BadOption),
        (layers(), {"combine": "grad-cam", "target": 3}, ls.BadOption),
        (layers(), {"combine": "grad-cam"}, ls.GradientsUnavailable),
        ({**layers(), "fc": dense(3, 9)}, {"combine": "grad-cam"}, ls.GradientsUnavailable),
        (layers(), {"combine": "nmf"}, ls.BadOption),
        ({"a": np.abs(noise(1, 4, 4, 9))}, {"combine": "nmf"}, ls.BadLayout),
        (layers(), {"channels": [0]}, ls.BadOption),
        ({"m": layers()}, {"channels": [0]}, ls.BadOption),
        ({"m": layers()}, {"images": [0, 1]}, ls.BadOption),
        (noise(2, 4, 4, 3), {"channels": [5]}, ls.BadChannels),
        (noise(2, 4, 4, 3), {"channels": [1], "combine": "mean"}, ls.BadOption),
        (ls.pca(noise(2, 4, 4, 5)), {"channels": [1]}, ls.BadChannels),
        (layers(), {"target": 3}, ls.BadOption),
        (layers(), {"combine": "weights"}, ls.BadOption),
        (layers(), {"scale": "rows"}, ls.BadScale),
        (layers(), {"scale": "channel"}, ls.BadScale),
        (layers(), {"scale": (1, 0)}, ls.BadScale),
        (layers(), {"scale": (0, 1), "clip": (1, 99)}, ls.BadScale),
        (layers(), {"clip": (99, 1)}, ls.BadScale),
        (layers(), {"colors": "virids"}, ls.BadScale),
        ({"a": noise(600, 2, 2, 1), **{str(index): noise(600, 2, 2, 1) for index in range(9)}}, {}, ls.BadOption),
    ],
)
def test_bad_comparisons_are_named(maps, options, error):
    with raises(error):
        ls.compare(maps, **options)


@pytest.mark.parametrize("count", [1, 5, 113, 1000, 25088])
def test_numbers_of_a_dense_layer_are_all_drawn_in_a_low_row(count):
    values = noise(2, count)
    picture = ls.compare({"conv": noise(2, 8, 8, 3), "fc": ls.FeatureMap.of_array(values, "bc")})
    cells = grid(picture, 2)[1]
    for image, cell in enumerate(cells):
        assert cell.width <= 224
        assert cell.height <= (64 if count < 9999 else 112)
        assert_shown(picture, cell, values[image])


def test_a_sequence_and_a_volume_are_combined_as_maps_are():
    tokens, volume = noise(1, 50, 6), noise(1, 5, 6, 7, 4)
    maps = {"tokens": ls.FeatureMap.of_array(tokens, "bnc"), "volume": ls.FeatureMap.of_array(volume, "bdhwc")}
    first, second = (row[0] for row in grid(ls.compare(maps, combine="max"), 1))
    picture = ls.compare(maps, combine="max")
    assert_true(picture, first, tokens[0].max(-1)[None])
    assert_true(picture, second, volume[0, 2].max(-1))
    written = [line.text for line in picture.drawing.lines]
    assert {"50 positions", "7 × 6 × 5", "slice 2 of 5"} <= set(written)
    wording(picture.alt())
    one = ls.compare(maps["volume"], channels=[3])
    assert_true(one, one.cells[0], volume[0, 2, ..., 3])


@pytest.mark.parametrize("scale", ["row", "cell"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_row_has_the_colours_of_its_own_signs(scale, theme):
    maps = {"conv": noise(2, 8, 8, 1), "relu": np.abs(noise(2, 6, 6, 1)) + 1}
    picture = ls.compare(maps, scale=scale).themed(theme)
    viridis, vik = palette("viridis"), palette("vik")
    for (name, values), cells, colors in zip(maps.items(), grid(picture, 2), (vik, viridis), strict=True):
        for image, cell in enumerate(cells):
            drawn = picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
            assert (drawn[:, :, None] == colors[: TOP + 1]).all(-1).any(-1).all(), name
            assert_shown(picture, cell, values[image, ..., 0])
            step = (cell.high - cell.low) / TOP / 2
            if name == "relu":
                np.testing.assert_allclose(picture.decode(cell), values[image, ..., 0], atol=step * 1.02)
    if scale == "row":
        painted = {tuple(box.color) for box in picture.drawing.boxes if isinstance(box.color, tuple)}
        assert len(painted) > 50, "the bar has them as well"
        assert painted <= set(map(tuple, viridis[: TOP + 1].tolist()))
        assert len(picture.drawing.ramps) == 1
    asked = ls.compare(maps, scale=scale, colors="vik")
    assert asked.indexed, "colours that are asked for hold for all rows"


def test_a_map_without_images_is_named():
    fm = ls.FeatureMap.of_array(noise(1, 4, 4, 1))
    empty = replace(fm, values=fm.values[:0], ids=())
    for call in (ls.compare, ls.heatmap, ls.sheet, ls.overlay):
        with raises(ls.BadOption):
            call(empty)


def test_a_capture_compares_as_it_is():
    scope = ls.open(ls.demo_model())
    maps = scope.capture(ls.demo_photo(), ["_blocks.0._swish", "_swish:1", "_fc"])
    picture = ls.compare(maps, scale="row", photos=True)
    wording(picture.title, "3", "1", "mean")
    wording(picture.alt())
    assert [cell.note.partition(" · ")[0] for cell in picture.cells[1:]] == ["_blocks.0._swish", "_swish:1", "_fc"]


def test_each_layer_has_its_own_range_and_maps_of_one_layer_share_one():
    late = {"early": noise(2, 8, 8, 1) * 100, "late": noise(2, 4, 4, 1)}
    assert ls.compare(late).scale.per == "row"
    models = ls.compare({"first": late, "second": late})
    assert models.scale.per == "column"
    for picture, cells in ((ls.compare(late), slice(2, 4)), (models, slice(1, 4, 2))):
        for cell in picture.cells[cells]:
            assert np.ptp(picture.codes(cell).astype(int)) > TOP // 3, "the late layer is seen"
    one = noise(2, 8, 8, 1)
    assert ls.compare({"before": one, "after": one * 100}).scale.per == "all"
    assert ls.compare(noise(2, 8, 8, 3), channels=[0, 1]).scale.per == "all"


@pytest.mark.parametrize("scale", ["all", "row", "column", "cell"])
def test_long_rows_go_on_below_with_their_names_and_bars(scale):
    maps = {"one": noise(7, 8, 8, 1), "two": noise(7, 4, 4, 1)}
    picture = ls.compare(maps, columns=3, scale=scale)
    rows = grid(picture, 7)
    for name, cells in zip(maps, rows, strict=True):
        assert [cell.x for cell in cells] == [cells[0].x, cells[1].x, cells[2].x] * 2 + [cells[0].x]
        assert len({cell.y for cell in cells}) == 3
        for image, cell in enumerate(cells):
            assert_true(picture, cell, maps[name][image, ..., 0])
    written = [line.text for line in picture.drawing.lines]
    assert written.count("one") == written.count("two") == 3
    assert all(written.count(f"image {image}") == 1 for image in range(7))
    bars = {"all": 1, "row": 6, "column": 7, "cell": 0}[scale]
    assert len(picture.drawing.ramps) + (picture.bar is not None) == bars


def test_many_images_are_wrapped_and_letters_are_legible():
    maps = {"one": noise(40, 28, 28, 1), "dense": dense(40, 9), "two": noise(40, 7, 7, 1)}
    picture = ls.compare(maps)
    assert len({cell.y for cell in picture.cells}) > 6
    size = min(line.size for line in picture.drawing.lines)
    assert size * 900 / picture.width >= 10
    heights = [cells[0].height for cells in grid(picture, 40)]
    assert heights[1] <= 64 < min(heights[0], heights[2]), "a row without maps is a line, not a band"
    with raises(ls.BadOption):
        ls.compare(maps, columns=0)


def test_two_maps_are_named_in_the_title():
    wording(ls.compare({"conv1": noise(2, 8, 8, 3), "conv5": noise(2, 4, 4, 3)}).title)


def test_the_shares_of_a_pca_stand_at_its_rows_and_its_colours_have_a_key():
    maps = {f"layer{index}": noise(2, 8, 8, 5, seed=index) for index in range(5)}
    picture = ls.compare(maps, combine="pca", clip=(10, 90))
    texts = [text.text for text in picture.texts]
    shares = [ls.pca(values).provenance["variance"] for values in maps.values()]
    assert [text for text in texts if text.startswith("PC1–3")] == [f"PC1–3: {sum(share):.0%}" for share in shares]
    assert [text for text in texts if text in ("PC1", "PC2", "PC3")] == ["PC1", "PC2", "PC3"]
    assert not any("more" in line for line in picture.lines)
    planes = ls.pca(maps["layer0"]).values
    low = np.percentile(planes.reshape(-1, 3), 10, axis=0)
    cell = picture.cells[0]
    dark = (planes[0] < low).any(-1).repeat(cell.height // 8, 0).repeat(cell.width // 8, 1)
    shown = picture.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
    assert (shown.min(-1) == 0)[dark].all(), "colours end at the percentiles that the caption gives"


def test_the_range_of_a_cell_is_that_of_its_finite_values():
    planes = {"nan": np.nan, "constant": 3.25, "dead": 0.0}
    maps = {name: np.full((1, 5, 5, 1), value, np.float32) for name, value in planes.items()}
    maps["other"] = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1)
    picture = ls.compare(maps, scale="cell")
    texts = [text.text for text in picture.texts]
    assert "3.25" in texts and "0" in texts and "0…24" in texts
    assert not any(text in ("0…0", "3.25…3.25", "NaN…NaN") for text in texts)
