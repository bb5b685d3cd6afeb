"""Attention weights: one token's map, rollout, and what neither takes."""

from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises, wording
from layerscope.core.note import kind_of
from layerscope.picture.caption import quantity
from layerscope.picture.numbers import number


def weights(seed, grid=(2, 3), prefix=("cls",), heads=2, images=2, axes="bcqk"):
    count = grid[0] * grid[1] + len(prefix)
    raw = np.random.default_rng(seed).random((images, count, count, heads)).astype(np.float32)
    raw /= raw.sum(2, keepdims=True)
    layer = ls.Layer(f"block{seed}", "AttentionMap", axes, (1, heads, count, count), calls=1, grid=grid, prefix=prefix)
    return ls.FeatureMap(raw, layer, tuple(f"image {index}" for index in range(images)), tuple(range(heads)))


def test_a_row_of_the_matrix_lies_on_the_grid():
    fm = weights(0, prefix=("cls", "reg1"))
    from_cls = ls.attention(fm)
    assert from_cls.shape == (2, 2, 3, 2)
    assert (from_cls.values[1, 1, 0] == fm.values[1, 0, 2 + 3]).all()
    assert (from_cls.tokens == fm.values[:, 0, :2]).all()
    assert from_cls.layer.prefix == ("cls", "reg1")
    assert from_cls.channels == (0, 1)
    assert (ls.attention(fm, "reg1").values[0, 0, 0] == fm.values[0, 1, 2]).all()
    assert (ls.attention(fm, (1, 2)).values[0, 0, 1] == fm.values[0, 2 + 5, 3]).all()
    assert (ls.attention(fm, 4).values[0, 0, 1] == fm.values[0, 4, 3]).all()
    by_hand = sum(fm.values[:, row] for row in range(2, 8)) / 6
    np.testing.assert_allclose(ls.attention(fm, "mean").values.reshape(2, 6, 2), by_hand[:, 2:], rtol=1e-6)


def test_the_caption_names_the_query_token():
    from_position = ls.attention(weights(0), (1, 2))
    wording(ls.sheet(from_position).alt(), "1", "2")
    assert len(ls.sheet(from_position).cells) == 2


@pytest.mark.parametrize(("method", "word"), [("mean", "mean"), ("norm", "norm"), ("maximum", "maximum")])
def test_what_is_made_of_heads_says_so_and_is_still_attention(method, word):
    whole = weights(0)
    for fm in (whole, ls.attention(whole)):
        combined = getattr(ls, method)(fm)
        assert combined.rule == f"{word} of 2 heads"
        assert quantity(combined) == ("L2 norm" if word == "norm" else "attention")
    assert quantity(ls.deviation(whole)) == "standard deviation"


@pytest.mark.parametrize(
    ("least", "largest", "words"),
    [
        (0.74, 0.76, "24% to 26% below that"),
        (1.05, 1.2, "5% to 20% above that"),
        (0.9, 1.3, "from 10% below to 30% above that"),
        (1.25, 1.25, "is 25% above that"),
        (1, 1, "within 1% of that"),
        (0, 7, ""),
    ],
)
def test_attention_that_is_nearly_even_says_how_it_lies_beside_even_attention(least, largest, words):
    fm = weights(0)
    even = np.full(fm.shape, least / fm.spatial[1], np.float32)
    even[:, :, 3] = largest / fm.spatial[1]
    notes = [note for note in ls.attention(replace(fm, values=even), 1).notes if kind_of(note) == "even"]
    assert len(notes) == bool(words)
    for note in notes:
        wording(note, "0.143", words)


@pytest.mark.parametrize("query", ["cls", "mean"])
@pytest.mark.parametrize("residual", [True, False])
def test_a_rollout_is_compared_with_what_even_attention_rolls_out_to(query, residual):
    fm = weights(0)
    count = fm.spatial[1]
    even = replace(fm, values=np.full(fm.shape, 1 / count, np.float32))
    step = np.full((count, count), 1 / count)
    if residual:
        step = 0.5 * step + 0.5 * np.eye(count)
    product = np.linalg.matrix_power(step, 3)
    row = product[0] if query == "cls" else product[1:].mean(0)
    rolled = ls.attention_rollout([even] * 3, query=query, residual=residual)
    np.testing.assert_allclose(rolled.values, row[-1], rtol=1e-6)
    (note,) = (note for note in rolled.notes if kind_of(note) == "even")
    wording(note, number(row[-1]), "within 1%")
    assert (f"{row[0]:.1%}" in note) is (residual and query == "cls")


def test_a_rollout_from_a_patch_or_with_weights_left_out_is_compared_with_nothing():
    fm = weights(0)
    even = replace(fm, values=np.full(fm.shape, 1 / fm.spatial[1], np.float32))
    for options in ({"query": (0, 1)}, {"discard": 0.1}):
        assert not [note for note in ls.attention_rollout([even, even], **options).notes if kind_of(note) == "even"]


def test_a_sheet_shows_every_head_as_a_matrix_of_queries_and_keys():
    fm = weights(0)
    picture = ls.sheet(fm, zoom=4)
    assert [(cell.width, cell.height) for cell in picture.cells] == [(28, 28)] * 2
    wording(picture.alt(), "7", "2 × 3")
    with raises(ls.BadOption):
        ls.overlay(ls.mean(fm))


def test_rollout_is_the_product_of_the_layers():
    first, second = weights(1), weights(2)
    first_weights, second_weights = (0.5 * fm.values.mean(-1) + 0.5 * np.eye(7) for fm in (first, second))
    by_hand = np.stack([second_weights[image] @ first_weights[image] for image in range(2)])
    rollout = ls.attention_rollout([first, second])
    assert rollout.shape == (2, 2, 3, 1)
    np.testing.assert_allclose(rollout.values.reshape(2, 6), by_hand[:, 0, 1:], rtol=1e-5)
    wording(ls.heatmap(rollout).title, "cls", "2")
    # Without a class token: the mean over the patches.
    first, second = weights(1, prefix=()), weights(2, prefix=())
    bare = second.values.max(-1) @ first.values.max(-1)
    rows = [fm.values.max(-1) / fm.values.max(-1).sum(-1, keepdims=True) for fm in (first, second)]
    rollout = ls.attention_rollout({"a": first, "b": second}, head="max", residual=False)
    np.testing.assert_allclose(rollout.values.reshape(2, 6), (rows[1] @ rows[0]).mean(1), rtol=1e-5)
    assert not np.allclose(rollout.values.reshape(2, 6), bare.mean(1))


def test_identity_attention_rolls_out_to_itself_and_rows_stay_shares():
    eye = weights(0, prefix=())
    layer = eye.layer
    fm = ls.FeatureMap(np.eye(6, dtype=np.float32)[None, ..., None], layer, ("a",), (0,))
    assert (ls.attention_rollout([fm] * 5, query=(1, 1)).values.ravel() == [0, 0, 0, 0, 1, 0]).all()
    rolled = ls.attention_rollout([weights(1, prefix=()), weights(2, prefix=())])
    np.testing.assert_allclose(rolled.values.sum((1, 2, 3)), 1, rtol=1e-5)


def test_discard_takes_the_smallest_weights():
    fm = weights(3, prefix=(), heads=1, images=1)
    raw = fm.values[0, ..., 0].copy()
    raw[raw < np.sort(raw, axis=None)[18]] = 0
    raw /= raw.sum(1, keepdims=True)
    rollout = ls.attention_rollout([fm], discard=0.5, residual=False, query=2)
    np.testing.assert_allclose(rollout.values.ravel(), raw[2], rtol=1e-5)


@pytest.mark.parametrize(
    "query",
    [
        "dist",
        (2, 0),
        7,
        None,
    ],
)
def test_an_unknown_query_lists_the_known_ones(query):
    with raises(ls.BadOption):
        ls.attention(weights(0), query)


def test_windows_and_other_maps_are_refused():
    window = weights(0)
    window = ls.FeatureMap(
        window.values, ls.Layer("w", "AttentionMap", "bcqk", (4, 2, 7, 7), note="windows"), window.ids, (0, 1)
    )
    with raises(ls.BadLayout):
        ls.attention(window)
    with raises(ls.BadLayout):
        ls.attention(ls.FeatureMap.of_array(np.zeros((1, 4, 4, 2))))
    with raises(ls.BadLayout, "7", "'block1'", "5"):
        ls.attention_rollout([weights(0), weights(1, grid=(2, 2))])
    for wrong in ({"head": "sum"}, {"discard": 1.0}):
        with raises(ls.BadOption, next(iter(wrong))):
            ls.attention_rollout([weights(0)], **wrong)
    with raises(ls.BadOption):
        ls.attention_rollout([])


def test_rollout_takes_a_capture_with_other_layers_too():
    first, second = weights(0), weights(1)
    tokens = ls.FeatureMap.of_array(np.zeros((2, 6, 8)), "bnc")
    expected = ls.attention_rollout([first, second])
    rollout = ls.attention_rollout(ls.Maps({"blocks.1": tokens, "a": first, "b": second}))
    assert np.array_equal(rollout.values, expected.values)
    assert rollout.notes == expected.notes
    assert np.array_equal(ls.attention_rollout(first).values, ls.attention_rollout([first]).values)
    with raises(ls.BadLayout):  # what is given one by one is meant
        ls.attention_rollout([tokens, first])
    with raises(ls.BadLayout):
        ls.attention_rollout(ls.Maps({"blocks.1": tokens}))


def test_it_is_no_picture_of_the_photo():
    fm = weights(0)
    photos = tuple(np.zeros((20, 30, 3), np.uint8) for _ in fm.ids)
    placement = tuple(ls.Placement.whole((20, 30), (16, 16)) for _ in fm.ids)
    placed = ls.FeatureMap(fm.values, fm.layer, fm.ids, fm.channels, photos, placement)
    with raises(ls.BadLayout):
        ls.overlay(ls.mean(placed))
    assert ls.overlay(ls.mean(ls.attention(placed)), zoom=1).cells[0].width == 30
    table = ls.LayerTable([ls.Layer("conv", "Conv", "bchw", (1, 2, 8, 8), 0, 1), placed.layer])
    assert [layer.path for layer in table.choose("last")] == ["conv"]
    assert [layer.path for layer in table.choose("kind:AttentionMap")] == ["block0"]


def test_it_is_saved_and_exported_with_its_tokens(tmp_path):
    fm = ls.attention(weights(0))
    back = ls.load(fm.save(tmp_path / "a.npz"))
    assert back.layer == fm.layer
    assert (back.tokens == fm.tokens).all()
    assert back.prefix().layer.prefix == ("cls",)
    xarray = pytest.importorskip("xarray")
    assert isinstance(fm.to_xarray(), xarray.DataArray)
    assert weights(0).to_xarray().dims == ("image", "q", "k", "channel")
    assert fm.prefix().to_xarray().n.values.tolist() == ["cls"]
    wording(ls.mean(fm).notes)


def test_prefix_tokens_stand_under_their_names():
    fm = ls.attention(weights(0, prefix=("cls", "reg1")))
    picture = ls.strip(fm.prefix())
    assert [(cell.note, cell.channel) for cell in picture.cells] == [("cls", 0), ("cls", 1), ("reg1", 0), ("reg1", 1)]
    wording(picture.title)
    codes = [picture.pixels[cell.y + 1, cell.x + 1] for cell in picture.cells]
    assert codes == picture.scale.codes(fm.tokens[0].ravel()).tolist()
