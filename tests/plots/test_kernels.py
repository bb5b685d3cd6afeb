"""Pictures of the weights of convolutions, read back and compared with the weights."""

from itertools import pairwise

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises, wording
from layerscope.backends import Kernel, turned
from layerscope.inputs.recipe import READY
from layerscope.picture.codes import TOP
from layerscope.plots.kernel_weights import arranged
from layerscope.tiny import Step, TinyBackend, TinyModel, convolution

RANDOM = np.random.default_rng(2)
WEIGHTS = {
    "first": Kernel(RANDOM.normal(size=(5, 3, 4, 3)).astype(np.float32), "oihw"),
    "depth": Kernel(RANDOM.normal(size=(3, 3, 5, 2)).astype(np.float32), "hwim"),
    "grouped": Kernel(RANDOM.normal(size=(8, 5, 3, 3)).astype(np.float32), "oihw", 2),
    "point": Kernel(RANDOM.normal(size=(1, 1, 8, 4)).astype(np.float32), "hwio"),
    "line": Kernel(RANDOM.normal(size=(6, 4, 9)).astype(np.float32), "oin"),
    "volume": Kernel(RANDOM.normal(size=(6, 4, 2, 3, 3)).astype(np.float32), "oidhw"),
}


class Weighing(TinyBackend):
    """A backend whose model has these weights; what the layers compute doesn't matter here."""

    def kernel(self, model, path, batch):
        return WEIGHTS.get(path)


@pytest.fixture(scope="module")
def scope():
    weight = np.zeros((2, 3, 3, 3), np.float32)

    def conv(x):
        return convolution(x, weight, np.zeros(2, np.float32)) if x.shape[1] == 3 else x

    steps = [Step(name, "Conv", "bchw", conv) for name in WEIGHTS]
    model = TinyModel([*steps, Step("act", "Relu", "bchw", lambda x: np.maximum(x, 0))])
    scope = ls.open(ls.demo_model())
    return ls.Scope(
        model, Weighing(), scope.preprocess, plan=scope.plan, facts=model.facts, name="tiny", check_input=False
    )


def test_the_first_layer_is_drawn_in_colours_with_grey_for_zero(scope):
    picture = ls.kernels(scope, "first")
    weights = WEIGHTS["first"].values
    assert [cell.channel for cell in picture.cells] == list(range(5))
    for cell, filter in zip(picture.cells, weights, strict=True):
        box = picture.rgb()[cell.y : cell.y + cell.height : picture.zoom, cell.x : cell.x + cell.width : picture.zoom]
        reach = np.abs(filter).max()
        assert (cell.low, cell.high) == (-reach, reach)
        np.testing.assert_allclose(box / 255 * 2 * reach - reach, filter.transpose(1, 2, 0), atol=reach / 254)
    wording(picture.alt(), "0")
    wording(picture.title, "5")


def test_filters_may_be_stretched_alike(scope):
    picture = ls.kernels(scope, "first", scale="layer")
    assert {cell.high for cell in picture.cells} == {np.abs(WEIGHTS["first"].values).max()}


def test_dead_and_faint_filters_are_named(scope, monkeypatch):
    weights = WEIGHTS["first"].values.copy()
    weights[1], weights[3] = 0, weights[3] * 1e-5
    monkeypatch.setitem(WEIGHTS, "first", Kernel(weights, "oihw"))
    picture = ls.kernels(scope, "first")
    assert picture.cells[1].note == "filter 1: dead"
    assert picture.cells[3].note == "filter 3: ≈ 0"
    cell = picture.cells[3]
    faint = picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width].astype(int)
    assert np.abs(faint - 127.5).max() <= 3, "a filter of next to nothing is drawn as 0"
    wording(picture.alt(), "3")
    folded = ls.kernels(scope, "first", inputs="norm")
    assert [text.text for text in folded.texts if text.tile == 3] == ["3", "≈ 0"]
    assert any("Filter 3 has no weight above 0.1%" in line for line in folded.lines)


def test_the_inputs_are_read_in_the_order_of_the_models_own_input(scope):
    from dataclasses import replace

    swapped = replace(scope, preprocess=replace(scope.preprocess, order="bgr"))
    plain, turned_round = ls.kernels(scope, "first"), ls.kernels(swapped, "first")
    tiles = []
    for picture in (plain, turned_round):
        cell = picture.cells[0]
        tiles.append(picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width])
    assert (tiles[0] == tiles[1][..., ::-1]).all()
    assert (tiles[0] != tiles[1]).any()
    assert "BGR" in turned_round.alt()


def by_hand(name):
    """`[filter, input, *space]` of each layer, written out."""
    values = WEIGHTS[name].values
    if name == "depth":
        return np.stack([values[:, :, index // 2, index % 2][None] for index in range(10)])
    return values.transpose(3, 2, 0, 1) if name == "point" else values


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_every_order_of_axes_is_arranged(name):
    np.testing.assert_array_equal(arranged(WEIGHTS[name]), by_hand(name))


@pytest.mark.parametrize(
    ("name", "inputs", "fold"),
    [
        ("first", "norm", lambda filter: np.sqrt((filter**2).sum(0))),
        ("first", "mean", lambda filter: filter.mean(0)),
        ("grouped", None, lambda filter: np.sqrt((filter**2).sum(0))),
        ("depth", None, lambda filter: filter[0]),
    ],
)
def test_inputs_are_folded_into_one_tile_a_filter(scope, name, inputs, fold):
    picture = ls.kernels(scope, name, inputs=inputs, filters=[4, 0, 2])
    expected = {index: fold(kernel.astype(np.float64)) for index, kernel in enumerate(by_hand(name))}
    assert [cell.channel for cell in picture.cells] == [4, 0, 2]
    whole = np.stack(list(expected.values()))
    assert picture.bar.high == pytest.approx(whole.max()), "one range for all filters, also those not shown"
    assert picture.bar.low == pytest.approx(min(0, whole.min())), "norms from 0"
    for cell in picture.cells:
        np.testing.assert_allclose(picture.decode(cell), expected[cell.channel], atol=np.abs(whole).max() / TOP * 1.01)


def test_one_tile_for_each_input_under_its_true_number(scope):
    picture = ls.kernels(scope, "grouped", filters=[1, 6], inputs=[0, 3])
    # Filters 4 to 7 read the second run of five inputs.
    assert [cell.note for cell in picture.cells] == [
        *("input 0 to filter 1", "input 3 to filter 1", "input 5 to filter 6", "input 8 to filter 6")
    ]
    weights = WEIGHTS["grouped"].values
    for cell, (filter, channel) in zip(picture.cells, [(1, 0), (1, 3), (6, 0), (6, 3)], strict=True):
        values = picture.decode(cell)
        np.testing.assert_allclose(values, weights[filter, channel], atol=np.abs(weights).max() / TOP * 1.01)
    wording(picture.alt(), "2", "5")


@pytest.mark.parametrize("count", [3, 64, 128, 151])
def test_a_grid_of_inputs_has_numbers_that_can_be_read_and_a_page_that_can_be_opened(scope, monkeypatch, count):
    values = RANDOM.normal(size=(count, count, 3, 3)).astype(np.float32)
    monkeypatch.setitem(WEIGHTS, "grouped", Kernel(values, "oihw"))
    picture = ls.kernels(scope, "grouped", inputs=slice(None))
    assert picture.width <= 1800
    assert min(text.size for text in picture.texts) * 900 / max(900, picture.width) >= 10
    columns, rows = {cell.x: cell for cell in picture.cells[:count]}, {cell.y: cell for cell in picture.cells}
    rows_at = sorted((text.y, text.size) for text in picture.texts if text.x < min(columns) and text.text.isdecimal())
    assert all(y + size <= following for (y, size), (following, _) in pairwise(rows_at))
    beside = {text.text for text in picture.texts if text.x < min(columns) and text.text.isdecimal()}
    above = {text.text for text in picture.texts if text.y < min(rows) and text.text.isdecimal()}
    assert {"0"} < beside <= set(map(str, range(count))) and {"0"} < above <= set(map(str, range(count)))
    np.testing.assert_allclose(
        picture.decode(picture.cells[count + 2]), values[1, 2], atol=np.abs(values).max() / TOP * 1.01
    )


def test_a_pointwise_convolution_is_one_table(scope):
    picture = ls.kernels(scope, "point")
    weights = by_hand("point")[:, :, 0, 0]
    assert len(picture.cells) == 4
    for cell in picture.cells:
        values = picture.decode(cell)[0]
        np.testing.assert_allclose(values, weights[cell.channel], atol=np.abs(weights).max() / TOP * 1.01)
    assert {"input", "0"} <= {text.text for text in picture.texts}


def test_kernels_of_one_and_of_three_dimensions(scope):
    line = ls.kernels(scope, "line")
    norm = np.sqrt((WEIGHTS["line"].values.astype(np.float64) ** 2).sum(1))
    for cell in line.cells:
        np.testing.assert_allclose(line.decode(cell)[0], norm[cell.channel], atol=norm.max() / TOP * 1.01)
    volume = ls.kernels(scope, "volume", inputs="mean")
    expected = WEIGHTS["volume"].values.mean(1)
    for cell in volume.cells:
        slices = np.concatenate(list(expected[cell.channel]), 1)
        np.testing.assert_allclose(
            np.delete(volume.decode(cell), 3, 1), slices, atol=np.abs(expected).max() / TOP * 1.01
        )
    with raises(ls.BadOption, "inputs='norm'", "'mean'"):
        ls.kernels(scope, "line", inputs=[0])


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("act", {}),
        ("grouped", {"inputs": "rgb"}),
        ("first", {"inputs": "nrom"}),
        ("first", {"filters": [5]}),
        ("first", {"filters": []}),
        ("first", {"inputs": [3]}),
        ("first", {"inputs": 1.5}),
        ("first", {"scale": (0, 1)}),
        ("first", {"columns": 0}),
        ("first", {"page": 1}),
    ],
)
def test_kernels_refuse(scope, layer, options):
    with raises(ls.BadOption):
        ls.kernels(scope, layer, **options)


def test_a_backend_without_the_verb_says_so(scope):
    from dataclasses import replace

    with raises(ls.BadOption):
        ls.kernels(replace(scope, backend=TinyBackend()), "first")


def test_a_model_whose_input_is_not_known_needs_a_batch(scope):
    ready = ls.Scope(scope.model, scope.backend, READY, plan=scope.plan, facts=scope.facts, check_input=False)
    with raises(ls.BadOption, "images="):
        ls.kernels(ready, "first")
    assert ls.kernels(ready, "first", images=np.zeros((1, 3, 8, 8), np.float32)).cells


def test_weights_of_transposed_convolutions_are_transposed_within_their_groups():
    values = np.arange(4 * 3 * 2).reshape(4, 3, 2)
    kernels = turned(values, 2)
    assert kernels.shape == (6, 2, 2)
    for filter in range(6):
        for channel in range(2):
            assert (kernels[filter, channel] == values[filter // 3 * 2 + channel, filter % 3]).all()


def test_the_embedded_networks_first_layer_is_what_its_file_holds():
    onnx = pytest.importorskip("onnx", reason="reads the embedded model's file")
    graph = onnx.load(str(ls.demo_model())).graph
    stem = next(node for node in graph.node if node.op_type == "Conv")
    (stored,) = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == stem.input[1]]
    scope = ls.open(ls.demo_model())
    kernel = scope.kernel("_conv_stem")
    np.testing.assert_array_equal(kernel.values, stored.astype(np.float32))
    assert len(ls.kernels(scope, "_conv_stem").cells) == 32


@pytest.mark.parametrize("model", ["demo", ls.demo_model()])
def test_a_model_is_opened_as_by_other_pictures(model):
    same = ls.kernels(ls.open("demo"), "_conv_stem")
    np.testing.assert_array_equal(ls.kernels(model, "_conv_stem").pixels, same.pixels)


def test_weights_that_a_batchnorm_is_folded_into_say_so(scope):
    assert "folded" in " ".join(ls.kernels("demo", "_conv_stem").lines)
    assert "folded" not in " ".join(ls.kernels(scope, "first").lines)
