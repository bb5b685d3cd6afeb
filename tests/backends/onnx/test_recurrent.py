"""Recurrent operators: axes by ONNX's text, images along the axis that it gives them, and what follows from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnxruntime.quantization import quantize_dynamic

import layerscope as ls
from helpers.limits import Limit
from helpers.onnx_models import BACKEND, FLOAT, model_of, random, table
from layerscope.core.layer import Layer
from layerscope.scope.batches import count_images

STEPS, IMAGES, HIDDEN = 20, 3, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(kind: str, layout: int, directions: int) -> onnx.ModelProto:
    """An operator with all its outputs, and a Linear on its sequence as PyTorch's exporter writes it."""
    names = ["y", "state", "cell"][: 3 if kind == "LSTM" else 2]
    direction = "bidirectional" if directions == 2 else "forward"
    attributes: dict[str, Any] = {"hidden_size": HIDDEN, "layout": layout, "direction": direction}
    weights = {
        "w": random(directions, GATES[kind] * HIDDEN, 7, seed=1),
        "r": random(directions, GATES[kind] * HIDDEN, HIDDEN, seed=2),
        "sizes": np.array([0, 0, directions * HIDDEN]),
        "linear": random(directions * HIDDEN, 4, seed=3),
    }
    nodes = [
        make_node(kind, ["x", "w", "r"], names, "rnn", **attributes),
        make_node("Transpose", ["y"], ["turned"], "turn", perm=[0, 1, 2, 3] if layout else [0, 2, 1, 3]),
        make_node("Reshape", ["turned", "sizes"], ["joined"], "join"),
        make_node("MatMul", ["joined", "linear"], ["out"], "linear"),
    ]
    return model_of(nodes, ["b", "t", 7] if layout else ["t", "b", 7], ["out"], weights)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("directions", [1, 2])
def test_axes_are_those_of_the_standard(kind: str, directions: int) -> None:
    model = recurrent(kind, 0, directions)
    layers = table(model, random(STEPS, IMAGES, 7))
    assert (layers["rnn"].axes, layers["rnn"].shape) == ("nhbc", (STEPS, directions, 1, HIDDEN))
    assert (layers["rnn[1]"].axes, layers["rnn[1]"].shape) == ("hbc", (directions, 1, HIDDEN))
    assert [layers[path].axes for path in ("turn", "join", "linear", "")] == ["nbhc", "nbc", "nbc", "nbc"]
    assert not any(layer.note for layer in layers.values())


@pytest.mark.parametrize("kind", GATES)
def test_with_images_first_where_the_layout_says_so(kind: str) -> None:
    layers = table(recurrent(kind, 1, 2), random(IMAGES, STEPS, 7))
    assert [layers[path].axes for path in ("rnn", "rnn[1]", "join", "linear")] == ["bnhc", "bhc", "bnc", "bnc"]


def test_a_map_for_each_image_and_not_for_each_step() -> None:
    model, batch = recurrent("LSTM", 0, 1), random(STEPS, IMAGES, 7)
    fm = ls.open(model, preprocess=None).capture(batch, "rnn")["rnn"]
    (expected,) = onnxruntime.InferenceSession(with_output(model, "y")).run(["y"], {"x": batch})
    assert fm.shape == (IMAGES, 1, STEPS, HIDDEN)
    assert fm.ids == ("image 0", "image 1", "image 2")
    one_by_one = ls.open(model, preprocess=None).capture(batch, "rnn", batch=1)["rnn"]
    np.testing.assert_allclose(one_by_one.values, fm.values, atol=1e-6)
    np.testing.assert_allclose(fm.values[:, 0], expected[:, 0].transpose(1, 0, 2), atol=1e-6)


def with_output(model: onnx.ModelProto, name: str) -> bytes:
    model = onnx.ModelProto.FromString(model.SerializeToString())
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    return model.SerializeToString()


def test_steps_that_come_from_the_columns_of_a_picture() -> None:
    """A CRNN: columns of a feature map become steps, without a word on images in between."""
    nodes = [
        make_node("Conv", ["x", "kernel"], ["seen"], "conv"),
        make_node("Squeeze", ["seen", "two"], ["row"], "squeeze"),
        make_node("Transpose", ["row"], ["steps"], "turn", perm=[2, 0, 1]),
        make_node("GRU", ["steps", "w", "r"], ["y"], "rnn", hidden_size=HIDDEN),
        make_node("Squeeze", ["y", "one"], ["z"], "last"),
    ]
    weights = {
        "kernel": random(7, 3, 4, 1),
        "two": np.array([2]),
        "one": np.array([1]),
        "w": random(1, 3 * HIDDEN, 7),
        "r": random(1, 3 * HIDDEN, HIDDEN),
    }
    layers = table(model_of(nodes, ["n", 3, 4, 9], ["z"], weights), random(2, 3, 4, 9))
    assert [layers[path].axes for path in ("squeeze", "turn", "rnn", "last")] == ["bcw", "wbc", "nhbc", "nbc"]


def stateful(images: Any) -> onnx.ModelProto:
    """A GRU that is given its state."""
    graph = make_graph(
        [make_node("GRU", ["x", "w", "r", "", "", "h"], ["y", "next"], "rnn", hidden_size=HIDDEN)],
        "stateful",
        [make_tensor_value_info("x", FLOAT, ["t", images, 7]), make_tensor_value_info("h", FLOAT, [1, images, HIDDEN])],
        [onnx.ValueInfoProto(name="y"), onnx.ValueInfoProto(name="next")],
        [onnx.numpy_helper.from_array(random(1, 3 * HIDDEN, size), name) for name, size in (("w", 7), ("r", HIDDEN))],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("images", ["b", 1])
def test_states_belong_to_their_images(images: Any) -> None:
    batch = random(STEPS, IMAGES, 7, seed=4), random(1, IMAGES, HIDDEN, seed=5)
    session = onnxruntime.InferenceSession(stateful("b").SerializeToString())
    expected = session.run(["y", "next"], dict(zip("xh", batch, strict=True)))
    captured = BACKEND.capture(stateful(images), batch, ["rnn", "rnn[1]"])
    for path, values in zip(("rnn", "rnn[1]"), expected, strict=True):
        np.testing.assert_allclose(captured[path].values, values, atol=1e-6)
    scope = ls.open(stateful(images), preprocess=None)
    assert count_images(batch, scope.preprocess, scope.facts.inputs) == IMAGES
    maps = scope.capture(batch, "rnn", batch=1)
    np.testing.assert_allclose(maps["rnn"].values[:, 0], expected[0][:, 0].transpose(1, 0, 2), atol=1e-6)
    rows: dict[str, Layer] = {layer.path: layer for layer in BACKEND.layers(stateful(images), batch)}
    assert rows["rnn"].shape == (STEPS, 1, 1, HIDDEN)


def classes(images: Any, count: Any) -> onnx.ModelProto:
    """Similarities of the pixels of each image to vectors that aren't of any image."""
    graph = make_graph(
        [
            make_node("Conv", ["image", "w"], ["seen"], "conv", strides=[4, 4]),
            make_node("Einsum", ["seen", "classes"], ["similar"], "similar", equation="bdhw,kd->bkhw"),
        ],
        "classes",
        [
            make_tensor_value_info("image", FLOAT, [images, 3, 16, 16]),
            make_tensor_value_info("classes", FLOAT, [count, 8]),
        ],
        [onnx.ValueInfoProto(name="similar")],
        [onnx.numpy_helper.from_array(random(8, 3, 4, 4), "w")],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("images", "count", "rows"), [("n", "k", 5), ("n", "k", 2), ("n", "n", 2), (1, "k", 5), (1, "k", 2), (1, 2, 2)]
)
def test_an_input_that_is_not_of_the_images_stays_whole(images: Any, count: Any, rows: int) -> None:
    batch = random(2, 3, 16, 16), random(rows, 8, seed=1)
    whole = onnxruntime.InferenceSession(classes("n", "k").SerializeToString())
    (expected,) = whole.run(None, {"image": batch[0], "classes": batch[1]})
    layers = {layer.path: layer for layer in BACKEND.layers(classes(images, count), batch)}
    assert (layers["similar"].axes, layers["similar"].shape) == ("bchw", (1, rows, 4, 4))
    captured = BACKEND.capture(classes(images, count), batch, ["similar"])["similar"].values
    np.testing.assert_allclose(captured, expected, atol=1e-5)


def test_a_state_that_is_picked_apart_on_the_way() -> None:
    """As exporters write a cell: the state and the cell's memory are one input."""
    nodes = [
        make_node("Gather", ["state", "first"], ["h"], axis=0),
        make_node("Unsqueeze", ["h", "zero"], ["wide"]),
        make_node("GRU", ["x", "w", "r", "", "", "wide"], ["y"], "rnn", hidden_size=HIDDEN),
    ]
    graph = make_graph(
        nodes,
        "picked",
        [make_tensor_value_info("x", FLOAT, ["t", "b", 7]), make_tensor_value_info("state", FLOAT, [2, "b", HIDDEN])],
        [onnx.ValueInfoProto(name="y")],
        [
            *(
                onnx.numpy_helper.from_array(random(1, 3 * HIDDEN, size), name)
                for name, size in (("w", 7), ("r", HIDDEN))
            ),
            *(onnx.numpy_helper.from_array(np.array(value), name) for name, value in (("first", 0), ("zero", [0]))),
        ],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)
    assert [taken.axes for taken in BACKEND.facts(model).inputs] == ["nbc", "dbc"]
    batch = random(STEPS, 2, 7), random(2, 2, HIDDEN)
    assert {layer.path: layer.shape for layer in BACKEND.layers(model, batch)}["rnn"] == (STEPS, 1, 1, HIDDEN)


def test_a_signal_without_an_axis_of_images_is_not_cut() -> None:
    nodes = [make_node("Unsqueeze", ["x", "front"], ["wide"]), make_node("Conv", ["wide", "w"], ["y"], "conv")]
    model = model_of(nodes, ["t"], ["y"], {"front": np.array([0, 1]), "w": random(4, 1, 5)})
    assert table(model, random(64))["conv"].shape == (1, 4, 60)
    assert BACKEND.facts(model).inputs[0].axes == "n"
    fm = ls.open(model, preprocess=None).capture(random(64), "conv")["conv"]
    np.testing.assert_allclose(
        fm.values[0].T, BACKEND.capture(model, random(64), ["conv"])["conv"].values[0], atol=1e-6
    )


def test_steps_that_the_exporter_wrote_out() -> None:
    """A state of zeros, whose axes nothing states, takes those of the step that is added to it."""
    nodes = [
        make_node("Transpose", ["x"], ["steps"], "turn", perm=[2, 0, 1]),
        make_node("Gather", ["steps", "first"], ["step"], "step", axis=0),
        make_node("Abs", ["state"], ["before"], "before"),
        make_node("Add", ["before", "step"], ["sum"], "add"),
        make_node("Tanh", ["sum"], ["now"], "now"),
    ]
    seen = make_node("Conv", ["image", "kernel"], ["x"], "conv")
    graph = make_graph(
        [seen, *nodes],
        "unrolled",
        [make_tensor_value_info("image", FLOAT, ["b", 2, 9]), make_tensor_value_info("state", FLOAT, [1, "b", 4])],
        [onnx.ValueInfoProto(name="now")],
        [
            onnx.numpy_helper.from_array(random(4, 2, 3), "kernel"),
            onnx.numpy_helper.from_array(np.array(0), "first"),
        ],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)
    layers = {layer.path: layer for layer in BACKEND.layers(model, (random(3, 2, 9), random(1, 3, 4)))}
    assert [layers[path].axes for path in ("turn", "step", "add", "now")] == ["nbc", "bc", "nbc", "nbc"]


def test_the_last_state_of_each_image_reshaped_to_a_row() -> None:
    model = recurrent("GRU", 0, 1)
    model.graph.node.append(make_node("Reshape", ["state", "rows"], ["row"], "row"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, HIDDEN]), "rows"))
    fm = ls.open(model, preprocess=None).capture(random(STEPS, IMAGES, 7), "row")["row"]
    assert (fm.layer.axes, fm.shape) == ("bc", (IMAGES, HIDDEN))


@pytest.mark.parametrize("images", [1, IMAGES])
def test_steps_and_images_that_become_rows(images: int) -> None:
    model = recurrent("LSTM", 0, 1)
    model.graph.node.append(make_node("Reshape", ["joined", "rows"], ["row"], "row"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, HIDDEN]), "rows"))
    fm = ls.open(model, preprocess=None).capture(random(STEPS, images, 7), "row")["row"]
    assert (fm.layer.axes, fm.shape) == ("bc", (STEPS * images, HIDDEN))


def test_a_dynamically_quantised_lstm_has_the_axes_of_an_lstm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERSCOPE_ONNX_THREADS", "1")  # its threads each quantise a share of the images
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    batch, (plain, quantised) = random(STEPS, IMAGES, 7), (tmp_path / name for name in ("plain.onnx", "quantised.onnx"))
    onnx.save(recurrent("LSTM", 0, 2), plain)
    quantize_dynamic(plain, quantised)
    scope = ls.open(quantised, preprocess=None)
    assert [row.axes for row in scope.layers(batch) if row.kind == "DynamicQuantizeLSTM"] == ["nhbc", "hbc", "hbc"]
    (expected,) = onnxruntime.InferenceSession(quantised, options).run(None, {"x": batch})
    assert scope.capture(batch, "output")["output"].values == pytest.approx(expected.transpose(1, 0, 2), abs=1e-5)


@pytest.mark.limit("recurrent operators of ONNX with `layout=1`")
def test_images_first_is_what_the_runtime_cannot_run(limit: Limit) -> None:
    with limit.raises("layout=0"):
        ls.open(recurrent("GRU", 1, 1), preprocess=None).capture(random(IMAGES, STEPS, 7), "rnn")


@pytest.mark.parametrize("images", [1, 3])
def test_steps_and_images_that_were_one_axis_are_told_apart_by_two_images(images: int) -> None:
    """As PyTorch's exporter writes `linear(y.reshape(t * b, -1)).reshape(t, b, -1)`."""
    weights = {
        "w": random(1, 4 * HIDDEN, 7, seed=1),
        "r": random(1, 4 * HIDDEN, HIDDEN, seed=2),
        "flat": np.array([-1, HIDDEN]),
        "linear": random(HIDDEN, 4, seed=3),
        "first": np.array([0]),
        "second": np.array([2]),
        "features": np.array([4]),
        "direction": np.array([1]),
    }
    nodes = [
        make_node("LSTM", ["x", "w", "r"], ["y"], "rnn", hidden_size=HIDDEN),
        make_node("Squeeze", ["y", "direction"], ["steps"], "steps"),
        make_node("Reshape", ["steps", "flat"], ["rows"], "rows"),
        make_node("MatMul", ["rows", "linear"], ["each"], "each"),
        make_node("Shape", ["x"], ["sizes"], "sizes"),
        make_node("Slice", ["sizes", "first", "second", "first"], ["both"], "both"),
        make_node("Concat", ["both", "features"], ["shape"], "shape", axis=0),
        make_node("Reshape", ["each", "shape"], ["apart"], "apart"),
        make_node("Relu", ["apart"], ["out"], "relu"),
    ]
    model = model_of(nodes, ["t", "b", 7], ["out"], weights)
    batch = random(STEPS, images, 7)
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": batch})
    fm = ls.open(model, preprocess=None).capture(batch, "relu")["relu"]
    assert (fm.layer.axes, fm.rows) == ("nbc", "image")
    np.testing.assert_allclose(fm.values, expected.transpose(1, 0, 2), rtol=1e-5, atol=1e-6)
