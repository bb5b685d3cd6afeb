"""The table of the layers of an ONNX graph: names and axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.helper import make_node, make_opsetid

import layerscope as ls
from helpers.onnx_models import BACKEND, FLOAT, assert_all_equal, cnn, model_of, random, reference, table
from helpers.wording import raises, wording
from layerscope.core.layer_table import LayerTable
from layerscope.errors import GradientsUnavailable, LayerNotCalled, LayerNotFound

# -- names


def test_nodes_and_tensors_find_layers() -> None:
    batch = random(1, 3, 8, 6)
    captures = BACKEND.capture(cnn(), batch, ["getitem_6", "act", "relu2", "logits", "", "bn:0"])
    assert list(captures) == ["getitem_6", "bn:0", "act", "relu2", "logits", ""]
    assert np.array_equal(captures["logits"].values, captures[""].values)
    layers = LayerTable(BACKEND.layers(cnn(), batch))
    assert [layer.path for layer in layers] == [
        *("conv1", "bn", "act", "conv2", "residual", "relu2", "pool", "gap_node", "flatten", "fc", ""),
    ]
    assert layers.choose("getitem_6")[0].path == "conv1"
    assert layers[-1].aliases == ("logits",)
    assert [layer.index for layer in layers] == list(range(11))


def test_tensor_names_with_a_colon_win_over_call_numbers() -> None:
    nodes = [
        make_node("Relu", ["x"], ["net/relu:0"], "net/relu"),
        make_node("Neg", ["net/relu:0"], ["net/relu:1"], "net/neg"),
    ]
    model, batch = model_of(nodes, ["n", 3], ["net/relu:1"]), random(1, 3)
    captures = BACKEND.capture(model, batch, ["net/relu:0", "net/relu:1"])
    np.testing.assert_array_equal(captures["net/relu:0"].values, np.maximum(batch, 0))
    np.testing.assert_array_equal(captures["net/relu:1"].values, -np.maximum(batch, 0))


def test_paths_are_unique_when_names_are_not() -> None:
    nodes = [make_node("Relu", ["x"], ["same"]), make_node("Neg", ["same"], ["b"], "same")]
    model, batch = model_of(nodes, ["n", 3], ["b"]), random(1, 3)
    assert [layer.path for layer in BACKEND.layers(model, batch)] == ["same", "same_2", ""]
    np.testing.assert_array_equal(BACKEND.capture(model, batch, ["b"])["b"].values, -np.maximum(batch, 0))


@pytest.mark.parametrize(
    ("node", "weights", "opset", "name"),
    [
        (make_node("Clip", ["x", "low", "high"], ["y"]), {"low": 0, "high": 6}, 17, "ReLU6"),
        (make_node("Clip", ["x", "low"], ["y"]), {"low": 0}, 17, "ReLU"),
        (make_node("Clip", ["x", "low", "high"], ["y"]), {"low": 0, "high": np.finfo(np.float32).max}, 17, "ReLU"),
        (make_node("Clip", ["x", "low", "high"], ["y"]), {"low": -1, "high": 1}, 17, ""),
        (make_node("Clip", ["x", "", "high"], ["y"]), {"high": 6}, 17, ""),
        (make_node("Clip", ["x"], ["y"], min=0.0, max=6.0), {}, 6, "ReLU6"),
        (make_node("Max", ["x", "low"], ["y"]), {"low": 0}, 17, "ReLU"),
        (make_node("Max", ["x", "low"], ["y"]), {"low": 1}, 17, ""),
        (make_node("Max", ["x", "x"], ["y"]), {}, 17, ""),
    ],
)
def test_a_rectifier_that_is_exported_as_another_operator_has_its_usual_name(
    node: onnx.NodeProto, weights: dict[str, float], opset: int, name: str
) -> None:
    stored = {key: np.array(value, np.float32) for key, value in weights.items()}
    (layer,) = [
        row for row in BACKEND.layers(model_of([node], ["n", 3], ["y"], stored, opset), random(1, 3)) if row.path
    ]
    assert (layer.kind, layer.usual_name) == (node.op_type, name)


def test_unknown_names_are_refused_with_the_reason() -> None:
    batch = random(1, 3, 8, 6)
    with raises(LayerNotFound, "'conv1'"):
        BACKEND.capture(cnn(), batch, ["con1"])
    with raises(LayerNotFound, "1"):
        BACKEND.capture(cnn(), batch, ["conv1:1"])
    with raises(LayerNotCalled):
        BACKEND.capture(cnn(), batch, ["w1"])
    with raises(LayerNotCalled):
        BACKEND.capture(cnn(), batch, ["x"])
    with raises(GradientsUnavailable):
        BACKEND.capture(cnn(), batch, ["conv1"], target=1)


def test_weights_constants_and_arithmetic_on_sizes_are_no_layers() -> None:
    nodes = [
        make_node("Cast", ["half"], ["wide"], "weight_cast", to=FLOAT),
        make_node("Conv", ["x", "wide"], ["y"], "conv"),
        make_node("Shape", ["y"], ["sizes"], "shape"),
        make_node("Gather", ["sizes", "zero"], ["count"], "gather"),
        make_node("Concat", ["count", "rest"], ["to"], "concat", axis=0),
        make_node("Reshape", ["y", "to"], ["z"], "flat"),
    ]
    weights = {
        "half": random(2, 3, 1, 1).astype(np.float16),
        "zero": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
    }
    model, batch = model_of(nodes, ["n", 3, 4, 5], ["z"], weights), random(3, 3, 4, 5)
    rows = table(model, batch)
    assert list(rows) == ["conv", "flat", ""]
    assert (rows["flat"].axes, rows["flat"].shape) == ("bc", (1, 40))
    with raises(LayerNotCalled):
        BACKEND.capture(model, batch, ["shape"])
    expected = reference(model, {"x": batch})
    np.testing.assert_allclose(BACKEND.capture(model, batch, ["flat"])["flat"].values, expected["z"], rtol=1e-5)


def test_a_node_with_several_outputs() -> None:
    nodes = [
        make_node("Split", ["x", "sizes"], ["a", "b", "c"], "split", axis=1),
        make_node("Neg", ["c"], ["y"], "neg"),
    ]
    model = model_of(nodes, ["n", 6], ["y", "a"], {"sizes": np.array([1, 2, 3], np.int64)})
    batch = random(2, 6)
    assert list(table(model, batch)) == ["split", "split[1]", "split[2]", "neg", ""]
    captures = BACKEND.capture(model, batch, ["split", "b", "split[2]"])
    for name, expected in (("split", batch[:, :1]), ("b", batch[:, 1:3]), ("split[2]", batch[:, 3:])):
        np.testing.assert_array_equal(captures[name].values, expected)


def test_fused_operators_show_in_the_kind() -> None:
    node = make_node("FusedConv", ["x", "w"], ["y"], "conv", domain="com.microsoft", activation="Relu")
    model = model_of([node], ["n", 3, 4, 4], ["y"], {"w": random(2, 3, 1, 1)})
    model.opset_import.append(make_opsetid("com.microsoft", 1))
    batch = random(1, 3, 4, 4)
    layer = table(model, batch)["conv"]
    assert (layer.kind, layer.axes, layer.shape) == ("Conv+Relu", "bchw", (1, 2, 4, 4))
    expected = np.maximum(np.einsum("oi,bihw->bohw", random(2, 3, 1, 1)[:, :, 0, 0], batch), 0)
    np.testing.assert_allclose(BACKEND.capture(model, batch, ["conv"])["conv"].values, expected, rtol=1e-5, atol=1e-6)


# -- axes


def test_axes_of_a_channels_last_graph_from_tensorflow() -> None:
    nodes = [
        make_node("Sub", ["x", "mean"], ["centred"], "centre"),
        make_node("Transpose", ["centred"], ["first"], "to_first", perm=[0, 3, 1, 2]),
        make_node("Conv", ["first", "w"], ["conv"], "conv"),
        make_node("Transpose", ["conv"], ["last"], "to_last", perm=[0, 2, 3, 1]),
        make_node("Relu", ["last"], ["relu"], "relu"),
        make_node("ReduceMean", ["relu"], ["mean2"], "pool", axes=[1, 2], keepdims=0),
        make_node("MatMul", ["mean2", "fc"], ["dense"], "dense"),
        make_node("Softmax", ["dense"], ["y"], "softmax"),
    ]
    weights = {"mean": random(3), "w": random(3, 3, 1, 1), "fc": random(3, 2)}
    model, batch = model_of(nodes, ["n", 3, 5, 3], ["y"], weights), random(1, 3, 5, 3)
    axes = {path: layer.axes for path, layer in table(model, batch).items()}
    assert axes == {
        "centre": "bhwc",
        "to_first": "bchw",
        "conv": "bchw",
        "to_last": "bhwc",
        "relu": "bhwc",
        "pool": "bc",
        "dense": "bc",
        "softmax": "bc",
        "": "bc",
    }
    assert BACKEND.facts(model).inputs[0].axes == "bhwc"
    assert not any(layer.note for layer in table(model, batch).values())


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_axes_where_they_are_attributes_and_where_they_are_inputs(opset: int) -> None:
    def with_axes(kind: str, start: int, now: str, to: str, axes: list[int], **attributes: Any) -> onnx.NodeProto:
        if opset < start:
            return make_node(kind, [now], [to], to, axes=axes, **attributes)
        weights[f"{to}.axes"] = np.array(axes, np.int64)
        return make_node(kind, [now, f"{to}.axes"], [to], to, **attributes)

    weights = {"w": random(4, 3, 1, 1), "cls": np.array(0, np.int64)}
    nodes = [
        make_node("Conv", ["x", "w"], ["conv"], "conv"),
        with_axes("ReduceMean", 18, "conv", "kept", [2, 3], keepdims=1),
        with_axes("Squeeze", 13, "kept", "squeezed", [2, 3]),
        with_axes("Unsqueeze", 13, "squeezed", "again", [2, 3]),
        with_axes("ReduceSum", 13, "conv", "rows", [-1], keepdims=0),
        make_node("Gather", ["conv", "cls"], ["first"], "first", axis=2),
        make_node("Mul", ["again", "conv"], ["scaled"], "scaled"),
        make_node("ArgMax", ["conv"], ["best"], "best", axis=1, keepdims=0),
        make_node("Identity", ["scaled"], ["y"], "y"),
    ]
    model = model_of(nodes, ["n", 3, 4, 5], ["y"], weights, opset)
    axes_of = {path: layer.axes for path, layer in table(model, random(1, 3, 4, 5)).items()}
    assert axes_of == {
        "conv": "bchw",
        "kept": "bchw",
        "squeezed": "bc",
        "again": "bchw",
        "rows": "bch",
        "first": "bcw",
        "scaled": "bchw",
        "best": "bhw",
        "y": "bchw",
        "": "bchw",
    }
    assert_all_equal(model, random(2, 3, 4, 5))


@pytest.mark.parametrize(("spatial", "axes"), [((9,), "bcn"), ((4, 5), "bchw"), ((3, 4, 5), "bcdhw")])
def test_axes_of_convolutions_in_one_two_and_three_dimensions(spatial: tuple[int, ...], axes: str) -> None:
    weights = {"w": random(2, 3, *(1 for _ in spatial))}
    model = model_of([make_node("Conv", ["x", "w"], ["y"], "conv")], ["n", 3, *spatial], ["y"], weights)
    layer = table(model, random(1, 3, *spatial))["conv"]
    assert (layer.axes, layer.shape) == (axes, (1, 2, *spatial))


def test_axes_that_nothing_states_are_marked_as_assumed() -> None:
    model = model_of([make_node("Abs", ["x"], ["y"], "abs")], ["n", 3, 4], ["y"])
    nodes = [make_node("Einsum", ["x"], ["y"], "sum", equation="...ij->...ji")]
    assert table(model, random(1, 3, 4))["abs"].axes == "bnc"
    layer = table(model_of(nodes, ["n", 3, 4], ["y"]), random(1, 3, 4))["sum"]
    assert layer.axes == "bnc"
    wording(layer.note)


def test_windows_get_no_grid_of_the_whole_image() -> None:
    """Swin's partition goes through six axes; its windows of 4 × 4 tokens are no picture of 4 × 4 patches."""
    nodes = [
        make_node("Conv", ["x", "w"], ["patches"], "patches", strides=[4, 4]),
        make_node("Transpose", ["patches"], ["last"], "last", perm=[0, 2, 3, 1]),
        make_node("Reshape", ["last", "tokens.to"], ["tokens"], "tokens"),
        make_node("Reshape", ["last", "six.to"], ["six"], "six"),
        make_node("Transpose", ["six"], ["turned"], "turned", perm=[0, 1, 3, 2, 4, 5]),
        make_node("Reshape", ["turned", "windows.to"], ["windows"], "windows"),
        make_node("Softmax", ["windows"], ["soft"], "soft"),
    ]
    weights = {
        "w": random(8, 3, 4, 4),
        "tokens.to": np.array([0, -1, 8]),
        "six.to": np.array([-1, 2, 4, 2, 4, 8]),
        "windows.to": np.array([-1, 16, 8]),
    }
    model = model_of(nodes, ["n", 3, 32, 32], ["soft", "tokens"], weights)
    layers = table(model, random(1, 3, 32, 32))
    assert (layers["tokens"].axes, layers["tokens"].grid) == ("bnc", (8, 8))
    assert (layers["windows"].grid, layers["soft"].grid) == (None, None)
    wording(layers["windows"].note)
    assert not layers["six"].showable
    wording(layers["six"].note, "6")
    assert_all_equal(model, random(2, 3, 32, 32))


def test_files_optimised_by_the_runtime_are_not_misread(tmp_path: Path) -> None:
    """Its blocked layout has the shape of a channels-first map, with the numbers in another order."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    nodes = [
        make_node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1]),
        make_node("Conv", ["a", "v"], ["b"], "conv2", pads=[1, 1, 1, 1]),
        make_node("Sigmoid", ["b"], ["y"], "last"),
    ]
    weights = {"w": random(16, 3, 3, 3), "v": random(16, 16, 3, 3)}
    content = model_of(nodes, ["n", 3, 8, 8], ["y"], weights).SerializeToString()
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    optimised = BACKEND.load(tmp_path / "optimised.onnx")
    blocked = [
        node for node in optimised.graph.nodes if node.domain == "com.microsoft.nchwc" and "Conv" in node.op_type
    ]
    if not blocked:
        pytest.skip("this processor's runtime uses no blocked layout")
    layers = table(optimised, random(1, 3, 8, 8))
    for node in blocked:
        assert not layers[node.name or node.output[0]].showable
        wording(layers[node.name or node.output[0]].note)
    assert (layers[""].axes, layers[""].note) == ("bchw", "")


# -- axes


@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_nodes_may_stand_in_any_order(order: str) -> None:
    model, batch = cnn(), random(2, 3, 8, 6)
    mixed = onnx.ModelProto()
    mixed.CopyFrom(model)
    del mixed.graph.node[:]
    nodes = list(model.graph.node)
    steps = range(len(nodes))[::-1] if order == "reversed" else np.random.default_rng(0).permutation(len(nodes))
    mixed.graph.node.extend(nodes[step] for step in steps)
    assert BACKEND.layers(mixed, batch) == BACKEND.layers(model, batch)
    paths = [layer.path for layer in BACKEND.layers(model, batch)]
    captured, expected = BACKEND.capture(mixed, batch, paths), BACKEND.capture(model, batch, paths)
    assert all(np.array_equal(captured[path].values, expected[path].values) for path in paths)


def test_a_reader_that_states_axes_wins_over_what_a_guess_led_to() -> None:
    """A spectrogram by steps whose axes nothing states, made a picture for a convolution."""
    nodes = [
        make_node("Reshape", ["x", "flat"], ["signal"], "signal"),
        make_node("Log", ["signal"], ["log"], "log"),
        make_node("ReduceMax", ["log"], ["top"], "top", axes=[1, 2], keepdims=1),
        make_node("Sub", ["top", "log"], ["below"], "below"),
        make_node("Unsqueeze", ["below", "last"], ["picture"], "picture"),
        make_node("Transpose", ["picture"], ["first"], "first", perm=[0, 3, 1, 2]),
        make_node("Conv", ["first", "w"], ["y"], "conv"),
    ]
    weights = {"flat": np.array([0, 12, 10]), "last": np.array([3]), "w": random(4, 1, 3, 3)}
    layers = table(model_of(nodes, ["n", 120], ["y"], weights), np.abs(random(2, 120)))
    assert [layers[path].axes for path in ("signal", "below", "picture", "first", "conv")] == [
        *("bhw", "bhw", "bhwc", "bchw", "bchw"),
    ]


@pytest.mark.parametrize(("at", "axes"), [(1, "bchw"), (3, "bhwc"), (-1, "bhwc")])
def test_a_new_axis_of_a_map_without_channels_is_that_of_the_channels(at: int, axes: str) -> None:
    nodes = [
        make_node("Conv", ["x", "w"], ["conv"], "conv"),
        make_node("ReduceMax", ["conv"], ["top"], "top", axes=[1], keepdims=0),
        make_node("Unsqueeze", ["top", "at"], ["one"], "one"),
        make_node("Relu", ["one"], ["y"], "relu"),
    ]
    model = model_of(nodes, ["n", 3, 6, 8], ["y"], {"w": random(4, 3, 1, 1), "at": np.array([at])})
    layers = table(model, random(2, 3, 6, 8))
    assert [layers[path].axes for path in ("top", "one", "relu")] == ["bhw", axes, axes]
    assert layers["relu"].spatial == (6, 8)


@pytest.mark.parametrize(("at", "axes"), [(1, "bchw"), (-1, "bhwc")])
def test_classes_as_ones_and_zeros_are_channels(at: int, axes: str) -> None:
    nodes = [
        make_node("Conv", ["x", "w"], ["conv"], "conv"),
        make_node("ArgMax", ["conv"], ["classes"], "classes", axis=1, keepdims=0),
        make_node("OneHot", ["classes", "depth", "both"], ["y"], "hot", axis=at),
    ]
    weights = {"w": random(4, 3, 1, 1), "depth": np.array(5), "both": np.array([0, 1], np.float32)}
    layer = table(model_of(nodes, ["n", 3, 6, 6], ["y"], weights), random(2, 3, 6, 6))["hot"]
    assert layer.axes == axes and not layer.doubt


def test_a_permutation_of_another_rank_than_is_known_is_no_fault_of_ours() -> None:
    nodes = [make_node("Relu", ["x"], ["y"], "relu"), make_node("Transpose", ["y"], ["z"], "turn", perm=[1, 0, 2])]
    model = model_of(nodes, None, ["z"])  # type: ignore[arg-type] # even the rank is free
    assert table(model, random(2, 3, 4))["turn"].shape == (3, 1, 4)
    shorter = model_of([nodes[0], make_node("Transpose", ["y"], ["z"], "turn", perm=[1, 0])], ["n", 3, 4], ["z"])
    assert "turn" in table(shorter, random(2, 3, 4))  # the runtime takes it


def test_doubt_of_axes_goes_on_to_what_follows_and_into_the_maps() -> None:
    nodes = [
        make_node("Einsum", ["x"], ["y"], "sum", equation="...ij->...ji"),
        make_node("Relu", ["y"], ["z"], "relu"),
        make_node("Transpose", ["z"], ["first"], "turn", perm=[0, 2, 1]),
        make_node("Conv", ["first", "w"], ["seen"], "conv"),
    ]
    model, batch = model_of(nodes[:2], ["n", 3, 4], ["z"]), random(2, 3, 4)
    maps = ls.open(model, preprocess=None).capture(batch, ["sum", "relu"])
    assert [[note.kind for note in fm.notes] for fm in maps.values()] == [["axes"], ["axes"]]
    sure = model_of(nodes, ["n", 3, 4], ["seen"], {"w": random(2, 3, 1)})
    assert table(sure, batch)["relu"].axes == "bnc"
    maps = ls.open(sure, preprocess=None).capture(batch, ["sum", "relu", "conv"])
    assert not any(fm.notes for fm in maps.values())


def test_a_node_of_many_inputs(tmp_path: Path) -> None:
    nodes = [make_node("Relu", ["x"], [f"y{index}"], f"relu{index}") for index in range(12)]
    nodes.append(make_node("Concat", [f"y{index}" for index in range(12)], ["z"], "concat", axis=1))
    onnx.save(model_of(nodes, ["n", 2, 3, 3], ["z"]), tmp_path / "dense.onnx")
    maps = ls.open(tmp_path / "dense.onnx", preprocess=None).capture(random(1, 2, 3, 3), "concat")
    assert maps["concat"].shape == (1, 3, 3, 24)


@pytest.mark.parametrize("counts", [(3, 1, 2), (1, 3)])
def test_a_squeeze_of_all_axes_of_size_one_leaves_the_images_of_a_batch(counts: tuple[int, ...]) -> None:
    nodes = [
        make_node("Conv", ["x", "w"], ["maps"], "conv"),
        make_node("GlobalAveragePool", ["maps"], ["means"], "gap"),
        make_node("Squeeze", ["means"], ["vector"], "squeeze"),
        make_node("Relu", ["vector"], ["out"], "relu"),
    ]
    model = model_of(nodes, ["n", 3, 8, 8], ["out"], {"w": random(4, 3, 3, 3, seed=1)})
    scope, batch = ls.open(model, preprocess=None), random(3, 3, 8, 8)
    for count in counts:
        (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": batch[:count]})
        fm = scope.capture(batch[:count], "relu")["relu"]
        assert (fm.layer.axes, fm.rows) == ("bc" if count > 1 else "c", "image")
        np.testing.assert_allclose(fm.values, expected.reshape(count, 4), rtol=1e-5, atol=1e-6)
