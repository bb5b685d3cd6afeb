"""Sheets: every channel, its true number, its true values."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, warns, wording
from layerscope.core.note import kind_of
from layerscope.picture.codes import ABOVE, BELOW, CONSTANT, GAP, INK, NAN, POS_INF, TOP
from layerscope.plots.tiles import PAGE_PIXELS, even_columns


def assert_tiles_are_true(picture, values):
    """Each tile decodes to its channel's values, to half a step of its own range."""
    for cell in picture.cells:
        expected = values[..., cell.channel]
        reach = max(abs(cell.low), abs(cell.high)) if picture.scale.center is not None else (cell.high - cell.low) / 2
        np.testing.assert_allclose(picture.decode(cell), expected, atol=reach / TOP * 1.01, err_msg=str(cell))


@pytest.mark.parametrize(
    ("shape", "cells"),
    [
        ((1, 224, 224, 64), 64),
        ((7, 7), 1),
        ((1, 1, 1, 512), 512),
        ((64,), 64),
        ((8, 8, 16), 16),
        ((2, 5, 8, 8, 16), 16),
        ((25_088,), 25_088),
    ],
)
def test_arrays_of_any_rank_give_a_picture(shape, cells):
    picture = ls.sheet(noise(*shape))
    assert len(picture.cells) == cells
    assert picture.pixels.dtype == np.uint8
    assert [cell.channel for cell in picture.cells] == list(range(cells))


def test_64_channels_lie_8_in_a_row_at_their_own_resolution():
    values = noise(1, 224, 224, 64)
    picture = ls.sheet(values)
    assert len({cell.x for cell in picture.cells}) == len({cell.y for cell in picture.cells}) == 8
    assert {(cell.width, cell.height) for cell in picture.cells} == {(224, 224)}
    assert_tiles_are_true(picture, values[0])
    assert ls.sheet(values, columns=16).cells[15].y == ls.sheet(values, columns=16).cells[0].y


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 17),
    st.integers(2, 9),
    st.integers(1, 9),
    st.sampled_from(["channel", "layer", (-1.5, 1.5)]),
    st.integers(0, 1000),
)
def test_no_channel_is_dropped_reordered_or_changed(channels, height, width, scale, seed):
    values = noise(1, height, width, channels, seed=seed)
    picture = ls.sheet(values, scale=scale, layout="bhwc")
    assert sorted(cell.channel for cell in picture.cells) == list(range(channels))
    for cell in picture.cells:
        decoded = picture.decode(cell)
        expected = np.clip(values[0, ..., cell.channel], cell.low, cell.high)
        codes = picture.codes(cell)
        inside = codes <= TOP
        reach = max(abs(cell.low), abs(cell.high), (cell.high - cell.low) / 2)
        np.testing.assert_allclose(decoded[inside], expected[inside], atol=reach / TOP * 1.01)
        assert (np.isin(codes[~inside], (BELOW, ABOVE, CONSTANT))).all()


def test_nothing_is_interpolated():
    picture = ls.sheet(noise(1, 14, 14, 8))
    cell = picture.cells[3]
    box = picture.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
    assert picture.zoom > 1
    assert np.array_equal(box, picture.codes(cell).repeat(picture.zoom, 0).repeat(picture.zoom, 1))


def test_cells_never_overlap_each_other_or_their_labels():
    picture = ls.sheet(noise(1, 20, 33, 23), bar=False)
    taken = np.zeros(picture.pixels.shape, int)
    for cell in picture.cells:
        taken[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] += 1
    assert taken.max() == 1
    outside = picture.pixels[taken == 0]
    assert (outside > TOP).all(), "outside the tiles there is paper and ink only"


def test_channels_that_are_dead_in_every_image_are_listed_once():
    values = noise(3, 4, 4, 6)
    values[..., [1, 4]] = 0
    (dead,) = (line for line in ls.sheet(values).lines if "dead" in line)
    assert dead == "2 channels are dead (0 everywhere in this image): 1, 4; the same in all 3 images."


@pytest.mark.parametrize(("low", "words"), [(-1, "0 in the middle"), (0, "highest value of each tile")])
def test_a_key_tells_what_the_colours_of_each_tile_mean(low, words):
    values = np.random.default_rng(0).uniform(low, 1, (1, 9, 9, 4))
    picture, bare = ls.sheet(values), ls.sheet(values, bar=False)
    assert any(words in text.text for text in picture.texts)
    codes = [box.color for box in picture.drawing.foot.boxes() if box.color <= TOP]
    assert codes[0] == 0 and codes[-1] == TOP and codes == sorted(codes)
    below = slice(picture.cells[-1].y + picture.cells[-1].height, None)
    assert set(codes) <= set(picture.pixels[below].ravel().tolist())
    assert not any(words in text.text for text in bare.texts)
    assert any(text.text.startswith("Each tile has its own range") for text in bare.texts)


def test_both_memory_orders_give_the_same_picture():
    values = noise(1, 56, 56, 64)
    planes = np.ascontiguousarray(values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    assert not planes.flags.c_contiguous
    assert np.array_equal(ls.sheet(values).pixels, ls.sheet(planes).pixels)


def test_torch_arrays_are_channels_first_and_layout_overrides():
    torch = pytest.importorskip("torch", reason="torch is the other convention")
    values = noise(1, 5, 20, 30)
    assert len(ls.sheet(torch.from_numpy(values)).cells) == 5
    assert len(ls.sheet(values, layout="bchw").cells) == 5
    first = ls.sheet(torch.from_numpy(values))
    assert np.array_equal(first.codes(first.cells[2]), ls.sheet(values, layout="bchw").codes(first.cells[2]))
    wording(first.alt())
    wording(ls.sheet(values, layout="bchw").alt())
    bf16 = torch.from_numpy(values).bfloat16().requires_grad_()
    assert len(ls.sheet(bf16).cells) == 5


def test_sizes_that_contradict_the_convention_warn_and_change_nothing():
    values = noise(64, 224, 224)
    with warns(ls.LayoutWarning, "layout='chw'") as caught:
        picture = ls.sheet(values[:, :16, :16])
    assert caught[0].filename == __file__
    assert len(picture.cells) == 16, "still read as height, width, channel"
    with warns(ls.LayoutWarning, "'bchw'"):
        ls.sheet(noise(1, 3, 32, 20))
    assert len(ls.sheet(values, layout="chw").cells) == 64


@pytest.mark.parametrize(
    ("array", "layout"),
    [
        (np.zeros((2, 2, 2, 2, 2, 2)), None),
        (np.zeros((2, 2)), "hwc"),
        (np.zeros((2, 2)), "hh"),
        (np.zeros((2, 2)), "hx"),
        (np.zeros((0, 2)), None),
        (np.array(["a", "b"]), None),
        ([[None]], None),
    ],
)
def test_bad_arrays_are_named(array, layout):
    with raises(ls.BadLayout):
        ls.sheet(array, layout=layout)


def test_the_scale_is_a_setting_and_stands_on_the_picture():
    """Channels a and 1000·a: alike by channel, not alike by layer."""
    a = np.abs(noise(1, 12, 12, 1))
    values = np.concatenate([a, 1000 * a], -1)
    own, shared = ls.sheet(values), ls.sheet(values, scale="layer")
    assert np.abs(own.codes(own.cells[0]).astype(int) - own.codes(own.cells[1])).max() <= 1
    assert shared.codes(shared.cells[0]).max() <= 1
    wording(own.alt())
    assert own.bar is None
    wording(shared.alt())
    assert shared.bar is not None
    assert own.cells[1].high == pytest.approx(1000 * own.cells[0].high)


def test_images_share_a_range_when_asked():
    values = np.abs(noise(2, 8, 8, 3))
    values[1] *= 10
    alone, shared = ls.sheet(values, scale="layer"), ls.sheet(values, scale="images")
    assert alone.scale.limits[1] == pytest.approx(values[0].max())
    assert shared.scale.limits[1] == pytest.approx(values.max())
    assert ls.sheet(values, image=1, scale="images").scale.limits == shared.scale.limits


def test_limits_and_scales_of_ones_own():
    values = noise(1, 8, 8, 2)
    picture = ls.sheet(values, scale=(-0.5, 0.5))
    assert (picture.pixels == BELOW).any()
    assert (picture.pixels == ABOVE).any()
    assert picture.scale.center == 0
    mine = ls.Scale((0.0, 5.0), "magma")
    assert ls.sheet(values, scale=mine).scale is mine
    with raises(ls.BadScale):
        ls.sheet(values, scale=(1, 1))
    with raises(ls.BadScale, "'channel'", "'layer'"):
        ls.sheet(values, scale="chanel")
    with raises(ls.BadScale):
        ls.sheet(values, colors="virids")


def test_dead_constant_and_broken_channels_are_drawn_and_listed():
    values = np.abs(noise(1, 10, 10, 64)) + 0.1
    values[..., 7:18] = 0
    values[..., 20] = 0.5
    values[0, 0, 0, 30] = np.nan
    values[0, 0, 1, 31] = np.inf
    values[0, 0, 1, 32] = -np.inf
    values[..., 33] = np.nan
    picture = ls.sheet(values)
    text = picture.alt()
    wording(text, "0", "11", "64", "7", "8", "9")
    wording(text, "1", "64", "20")
    wording(text, "4", "64", "30", "31", "32", "33")
    wording(text, "101 NaN", "1 +inf", "1 −inf")
    by_channel = {cell.channel: cell for cell in picture.cells}
    assert by_channel[7].note == "dead"
    assert by_channel[20].note == "all 0.5"
    assert (picture.codes(by_channel[7]) == CONSTANT).all()
    codes = picture.codes(by_channel[30])
    assert codes[0, 0] == NAN
    assert (codes.ravel()[1:] <= TOP).all(), "the rest of the channel keeps its range"
    assert picture.codes(by_channel[31])[0, 1] == POS_INF
    assert (picture.codes(by_channel[33]) == NAN).all()
    layer = ls.sheet(values, scale="layer")
    assert (layer.codes(layer.cells[7]) == 0).all(), "with one range, 0 has its true colour"


def test_signed_layers_have_zero_in_the_middle_of_every_tile():
    values = noise(1, 8, 8, 4)
    values[0, 0, 0] = 0
    picture = ls.sheet(values)
    assert picture.scale.colors == "vik"
    for cell in picture.cells:
        assert picture.codes(cell)[0, 0] == TOP // 2


def test_sorted_and_chosen_tiles_keep_their_true_numbers():
    values = np.zeros((1, 6, 6, 5), np.float32)
    for channel, top in enumerate((3, 9, 1, 7, 5)):
        values[0, 0, 0, channel] = top
    values[0, 1, 1, 2] = 100
    assert [cell.channel for cell in ls.sheet(values, sort="max").cells] == [2, 1, 3, 4, 0]
    assert [cell.channel for cell in ls.sheet(values, sort="energy").cells] == [2, 1, 3, 4, 0]
    assert [cell.channel for cell in ls.sheet(values, channels=[4, 1]).cells] == [4, 1]
    picture = ls.sheet(values, channels=[4, 1, 3], sort="mean")
    assert [cell.channel for cell in picture.cells] == [1, 3, 4]
    assert_tiles_are_true(picture, values[0])
    wording(picture.alt(), "3", "5")
    fm = ls.FeatureMap.of_array(values).select([3, 4])
    assert [cell.channel for cell in ls.sheet(fm).cells] == [3, 4]
    with raises(ls.BadChannels, "5", "0", "4"):
        ls.sheet(values, channels=[5])
    with raises(ls.BadChannels):
        ls.sheet(values, channels=[])
    with raises(ls.BadOption, "'index'", "'mean'"):
        ls.sheet(values, sort="maxx")


def test_2048_channels_come_whole_and_large_ones_in_pages():
    picture = ls.sheet(noise(1, 7, 7, 2048))
    assert (len(picture.cells), picture.pages) == (2048, 1)
    values = noise(1, 112, 112, 2048)
    first = ls.sheet(values)
    assert first.pages > 1
    assert first.pixels.size <= PAGE_PIXELS * 1.1
    channels_drawn = [cell.channel for page in range(first.pages) for cell in ls.sheet(values, page=page).cells]
    assert channels_drawn == list(range(2048)), "no channel is lost between pages"
    wording(first.alt(), "1", first.pages)
    with raises(ls.BadOption, "0", first.pages - 1):
        ls.sheet(values, page=first.pages)


@pytest.mark.parametrize(
    ("channels", "options"), [(8, {"statistics": True}), (300, {"statistics": True}), (300, {"sort": "mean"})]
)
def test_high_and_narrow_maps_are_not_enlarged_to_the_width_of_their_words(channels, options):
    first = ls.sheet(noise(1, 3000, 1, channels), layout="bhwc", **options)
    assert first.zoom == 1
    assert first.pixels.size <= PAGE_PIXELS


def test_a_prime_number_of_channels_leaves_blank_slots():
    picture = ls.sheet(noise(1, 16, 16, 101))
    assert len(picture.cells) == 101
    last = picture.cells[-1]
    beside = picture.pixels[last.y : last.y + last.height, last.x + last.width + 6 : last.x + 2 * last.width]
    assert (beside == GAP).all()


@given(st.integers(1, 4096), st.floats(0.1, 10))
def test_columns_never_exceed_the_tiles(count, aspect):
    assert 1 <= even_columns(count, aspect) <= count


def test_a_sheet_takes_little_more_memory_than_its_pixels():
    values = noise(1, 224, 224, 64)
    ls.sheet(values)
    tracemalloc.start()
    picture = ls.sheet(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * picture.pixels.nbytes, "no float copy of the map"


def test_the_array_is_not_written_to():
    values = noise(1, 8, 8, 4)
    before = values.copy()
    ls.sheet(values)
    assert np.array_equal(values, before)
    assert values.flags.writeable


def test_the_slices_of_a_volume_stand_side_by_side():
    values = noise(2, 5, 8, 9, 16)
    picture = ls.sheet(values, image=1)
    cell = picture.cells[3]
    assert picture.codes(cell).shape == (8, 49)
    bare = np.full((8, 1), np.nan)
    expected = np.concatenate([part for depth in range(5) for part in (values[1, depth, :, :, 3], bare)], 1)[:, :-1]
    np.testing.assert_allclose(picture.decode(cell), expected, atol=np.nanmax(np.abs(expected)) / TOP * 1.01)
    np.testing.assert_array_equal(picture.tile(3).decode(picture.tile(3).cells[0]), picture.decode(cell))


def test_dense_layers_and_sequences_are_strips():
    vector = noise(512)
    picture = ls.sheet(vector[None, None, None])
    assert picture.bar is not None
    decoded = np.array([picture.decode(cell)[0, 0] for cell in picture.cells])
    np.testing.assert_allclose(decoded, vector, atol=np.abs(vector).max() / TOP * 1.01)
    wording(picture.alt())
    sequence = noise(2, 30, 12)
    picture = ls.sheet(sequence, layout="bnc", scale="channel")
    assert len(picture.cells) == 12
    for cell in picture.cells:
        decoded = picture.decode(cell)[0]
        reach = max(abs(cell.low), abs(cell.high))
        np.testing.assert_allclose(decoded, sequence[0, :, cell.channel], atol=reach / TOP * 1.01)
    with raises(ls.BadLayout):
        ls.strip(noise(1, 4, 4, 2))


def test_the_caption_answers_what_each_of_the_pictures_is():
    fm = ls.FeatureMap(
        noise(1, 8, 8, 4),
        ls.Layer("vgg16/block1_conv2", "Conv2D+relu", "bhwc", (1, 8, 8, 64), 0, 1),
        ("cat.jpg",),
        (3, 5, 6, 9),
        of=64,
        dtype="float16",
        provenance={"model": "my_model", "model_digest": "sha256:ab"},
    )
    text = ls.sheet(fm).alt()
    for part in (
        "vgg16/block1_conv2",
        "Conv2D+relu",
        "my_model",
        "cat.jpg",
        "channels 3, 5, 6 and 9 of 64, each 8 × 8",
        "float16",
    ):
        assert part in text


def test_the_file_remembers_where_it_comes_from(tmp_path):
    fm = ls.FeatureMap(
        noise(1, 8, 8, 4),
        ls.Layer("größe/conv", "Conv2D", "bhwc", (1, 8, 8, 4), 0, 1),
        ("cat.jpg",),
        (0, 1, 2, 3),
        provenance={"model": "m", "model_digest": "sha256:ab", "preprocess": "unit"},
    )
    path = ls.sheet(fm, scale="layer").save(tmp_path / "a.png")
    with Image.open(path) as image:
        assert image.mode == "P"
        about = json.loads(image.text["layerscope"])
        assert image.text["Title"].startswith("größe/conv")
    assert about["model_digest"] == "sha256:ab"
    assert about["preprocess"] == "unit"
    assert about["layer"] == "größe/conv"
    assert about["layerscope"] == ls.__version__
    assert about["limits"] == list(ls.sheet(fm, scale="layer").scale.limits)
    assert about["scale"].startswith("scale: one range")


def test_a_saved_sheet_is_the_picture_pixel_for_pixel(tmp_path):
    picture = ls.sheet(noise(1, 28, 28, 32))
    with Image.open(picture.save(tmp_path / "a.png")) as image:
        assert np.array_equal(np.asarray(image), picture.pixels)
        assert np.array_equal(np.asarray(image.convert("RGB")), picture.rgb())
    assert np.array_equal(np.asarray(picture.to_pil()), picture.pixels)
    with Image.open(picture.save(tmp_path / "a.webp")) as image:
        assert image.size == (picture.width, picture.height)


def test_a_smaller_picture_leaves_nothing_of_the_larger_one_it_replaces(tmp_path):
    small, large = ls.sheet(noise(1, 8, 8, 4)), ls.sheet(noise(1, 64, 64, 64))
    path = large.save(tmp_path / "a.png")
    assert small.save(path).read_bytes() == small.png()


def test_ink_is_readable_on_paper():
    colors = ls.sheet(noise(1, 8, 8, 4)).palette().astype(float)

    def luminance(color):
        linear = np.where(color / 255 <= 0.04045, color / 255 / 12.92, ((color / 255 + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    paper, ink = luminance(colors[GAP]), luminance(colors[INK])
    assert (paper + 0.05) / (ink + 0.05) > 7, "WCAG AAA"


def test_sheets_raise_no_warnings_on_bad_values():
    values = np.zeros((1, 4, 4, 6), np.float32)
    values[..., 1] = np.nan
    values[..., 2] = np.inf
    values[0, 0, 0, 3] = 3e38
    values[0, 0, 1, 3] = -3e38
    values[..., 4] = 1e-45
    for scale in ("channel", "layer", "images", (0, 1)):
        assert len(ls.sheet(values, scale=scale).cells) == 6


def test_an_image_counted_from_the_end_has_its_own_number():
    values = np.random.default_rng(0).random((3, 4, 4, 2))
    combined = ls.mean(ls.FeatureMap.of_array(values))
    pictures = [
        ls.sheet(values, image=-1),
        ls.heatmap(combined, image=-1),
        ls.strip(values[:, 0], layout="bnc", image=-1),
    ]
    pictures += [
        ls.bars(values[:, 0, 0], layout="bc", image=-1),
        ls.montage(values[..., None], layout="bdhwc", image=-1),
    ]
    assert {cell.image for picture in pictures for cell in picture.cells} == {2}
    for wrong in (1.0, 3, -4):
        with raises(ls.BadOption, "3", "0", "2"):
            ls.sheet(values, image=wrong)


def test_a_dense_layer_says_which_options_of_tiles_it_leaves_out():
    values = np.random.default_rng(0).random((1, 20))
    with warns(ls.LayerscopeWarning, "sort=", "statistics="):
        picture = ls.sheet(values, layout="bc", sort="max", statistics=True)
    assert "=" not in picture.alt()


def test_the_only_tile_has_its_number_in_the_title_and_a_bar():
    values = noise(8, 8, 32)
    values[..., 7:] = 0
    picture = ls.sheet(values, channels=[5])
    assert "channel 5 of 32" in picture.title
    assert (picture.bar.low, picture.bar.high) == (values[..., 5].min(), values[..., 5].max())
    assert_tiles_are_true(picture, values)
    wording(picture.alt())
    assert ls.sheet(values, channels=[9]).bar is None  # dead: there is no range


def test_notes_on_channels_are_those_of_the_channels_drawn():
    values = noise(8, 8, 32)
    values[..., 20:] = 0
    values[..., 3] = 1
    assert not any(kind_of(line) in ("dead", "constant") for line in ls.sheet(values, channels=[5, 6]).lines)
    (line,) = (line for line in ls.sheet(values, channels=[5, 21, 22], per_page=1).lines if kind_of(line) == "dead")
    assert line.rstrip(".").endswith(": 21, 22")


def test_a_constant_tile_is_in_the_legend_and_its_word_beside_its_number():
    values = np.zeros((1, 8, 8, 3), np.float32)
    values[..., 2] = np.arange(64).reshape(8, 8)
    values[..., 1] = 0.5
    for scale in ("channel", "layer"):
        picture = ls.sheet(values, layout="bhwc", scale=scale, zoom=20)
        words = {text.text: picture.cells[text.tile].y - text.y for text in picture.texts if text.tile in (0, 1)}
        assert words.keys() == {"0", "1", "dead", "all 0.5"} and len({*words.values()}) == 1
        assert (CONSTANT in picture.drawing.foot.names) == (scale == "channel")
    values[0, 0, 0, 1] = np.nan
    assert CONSTANT in ls.sheet(values, layout="bhwc").drawing.foot.names


def test_a_channel_of_nan_does_not_hide_how_far_the_others_go():
    values = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    values[..., 0] = np.nan
    texts = [text.text for text in ls.sheet(values, layout="bhwc", scale=(2, 5)).texts]
    assert "max 7" in texts and "min 1" in texts
