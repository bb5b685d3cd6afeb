"""Batches, number types and control flow of ONNX models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import layerscope as ls
from helpers.onnx_models import BACKEND, FLOAT, assert_all_equal, cnn, model_of, random, reference, table
from helpers.wording import raises, wording
from layerscope.backends.onnx.graph import Graph, needs
from layerscope.backends.onnx.providers import Execution
from layerscope.backends.onnx.run import Session
from layerscope.errors import LayerNotCalled, ModelNotReadable


def test_float16_models_take_float32_batches() -> None:
    weights = {"w": random(4, 3, 3, 3).astype(np.float16)}
    model = model_of(
        [make_node("Conv", ["x", "w"], ["y"], "conv"), make_node("Relu", ["y"], ["z"], "relu")],
        ["n", 3, 6, 6],
        ["z"],
        weights,
        kind=TensorProto.FLOAT16,
    )
    batch = random(2, 3, 6, 6)
    captures = BACKEND.capture(model, batch, ["conv", "relu"])
    expected = reference(model, {"x": batch.astype(np.float16)})
    assert captures["conv"].values.dtype == np.float16
    np.testing.assert_allclose(captures["conv"].values, expected["y"], atol=0.02)
    assert BACKEND.facts(model).inputs[0].dtype == "float16"


def test_bfloat16_comes_as_float32_with_its_name() -> None:
    nodes = [
        make_node("Cast", ["x"], ["half"], "to_half", to=TensorProto.BFLOAT16),
        make_node("Cast", ["half"], ["y"], "back", to=FLOAT),
    ]
    model, batch = model_of(nodes, ["n", 5], ["y"]), random(2, 5)
    captures = BACKEND.capture(model, batch, ["to_half", "back"])
    rounded = (batch.view(np.uint32) + 0x7FFF + (batch.view(np.uint32) >> 16 & 1)) & 0xFFFF0000
    assert captures["to_half"].dtype == "bfloat16"
    assert captures["back"].dtype == ""
    np.testing.assert_array_equal(captures["to_half"].values, rounded.view(np.float32))


def quantised() -> onnx.ModelProto:
    """QDQ: input and weights as 8 bit codes around a convolution and a ReLU."""
    weights = {
        "scale": np.float32(0.05),
        "zero": np.int8(3),
        "codes": np.random.default_rng(5).integers(-90, 90, (4, 3, 3, 3)).astype(np.int8),
        "wscale": np.float32(0.01),
        "wzero": np.int8(0),
    }
    nodes = [
        make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantise"),
        make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], "dequantise"),
        make_node("DequantizeLinear", ["codes", "wscale", "wzero"], ["w"], "weight"),
        make_node("Conv", ["d", "w"], ["y"], "conv"),
        make_node("Relu", ["y"], ["r"], "relu"),
        make_node("QuantizeLinear", ["r", "scale", "zero"], ["q2"], "quantise2"),
        make_node("DequantizeLinear", ["q2", "scale", "zero"], ["out"], "dequantise2"),
    ]
    return model_of(nodes, ["n", 3, 6, 6], ["out"], weights, opset=19)


def test_an_operator_and_the_codes_of_its_output_are_one_layer() -> None:
    batch = random(2, 3, 6, 6)
    layers = table(quantised(), batch)
    assert list(layers) == ["quantise", "conv", "relu", ""]
    assert ["int8" in layer.note for layer in layers.values()] == [True, False, True, True]
    wording(layer.note for layer in layers.values())
    assert_all_equal(quantised(), batch)
    expected = reference(quantised(), {"x": batch})
    for name in ("relu", "quantise2", "q2", "dequantise2", "out", ""):
        captured = BACKEND.capture(quantised(), batch, [name])[name]
        assert captured.dtype == "int8"
        np.testing.assert_allclose(captured.values, expected["out"], rtol=1e-6)
    assert BACKEND.capture(quantised(), batch, ["conv"])["conv"].dtype == ""


def test_an_operator_whose_own_output_the_model_gives_keeps_its_values() -> None:
    model = quantised()
    model.graph.output.append(onnx.ValueInfoProto(name="r"))
    batch = random(2, 3, 6, 6)
    assert list(table(model, batch)) == ["quantise", "conv", "relu", "quantise2", ""]
    captures = BACKEND.capture(model, batch, ["relu", "quantise2"])
    expected = reference(model, {"x": batch})
    np.testing.assert_allclose(captures["relu"].values, expected["r"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(captures["quantise2"].values, expected["out"], rtol=1e-6)
    assert np.abs(expected["r"] - expected["out"]).max() > 0.01


def test_a_quantised_graph_runs_without_fusions_and_a_float_one_with_them() -> None:
    for model, name, level in ((quantised(), "out", "ORT_ENABLE_BASIC"), (cnn(), "logits", "ORT_ENABLE_ALL")):
        session = Session(Graph(model), [name], None, Execution(1)).session
        assert session.get_session_options().graph_optimization_level.name == level


@pytest.mark.parametrize("seed", range(10))
def test_fusing_does_not_move_the_codes_of_a_quantised_graph(seed: int) -> None:
    """With all optimisations on, the last of these layers is off by up to two codes. No sum lies halfway between two codes."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {"wscale": np.float32(0.00413), "scale": np.float32(0.05), "zero": np.uint8(9)}
    nodes = [
        make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantise"),
        make_node("DequantizeLinear", ["q", "scale", "zero"], ["d0"], "dequantise"),
    ]
    for index in range(4):
        weights[f"codes{index}"] = rng.integers(-100, 100, (4, 4, 3, 3)).astype(np.int8)
        nodes += [
            make_node("DequantizeLinear", [f"codes{index}", "wscale"], [f"w{index}"]),
            make_node("Conv", [f"d{index}", f"w{index}"], [f"c{index}"], f"conv{index}", pads=[1, 1, 1, 1]),
            make_node("Relu", [f"c{index}"], [f"r{index}"], f"relu{index}"),
            make_node("QuantizeLinear", [f"r{index}", "scale", "zero"], [f"q{index}"], f"quantise{index}"),
            make_node("DequantizeLinear", [f"q{index}", "scale", "zero"], [f"d{index + 1}"], f"dequantise{index}"),
        ]
    assert_all_equal(model_of(nodes, ["n", 4, 8, 8], ["d4"], weights, opset=19), random(1, 4, 8, 8, seed=seed))


def test_a_model_for_one_image_gets_three() -> None:
    model, batch = cnn(), random(3, 3, 8, 6)
    expected = reference(model, {"x": batch})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    captures = BACKEND.capture(model, batch, ["conv1", "fc"])
    np.testing.assert_allclose(captures["conv1"].values, expected["getitem_6"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(captures["fc"].values, expected["logits"], rtol=1e-5, atol=1e-5)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    with raises(ModelNotReadable, "2"):
        BACKEND.capture(model, batch, ["conv1"])


@pytest.mark.limit("several images for an ONNX or TFLite file")
def test_three_images_need_a_batch_axis_to_join_on(limit) -> None:
    squeeze = make_node("Squeeze", ["y", "zero"], ["z"], "squeeze")
    weights = {"zero": np.array([0]), "w": random(2, 3, 1, 1)}
    sure = model_of([make_node("Conv", ["x", "w"], ["y"]), squeeze], [1, 3, 4, 5], ["z"], weights)
    assert table(sure, random(1, 3, 4, 5))["squeeze"].axes == "chw"  # known, and without a batch axis
    guessed = model_of([make_node("Relu", ["x"], ["y"], "relu")], [1, 4, 5], ["y"])
    assert table(guessed, random(1, 4, 5))["relu"].axes == "bnc"  # by its rank alone
    for model, batch, path in ((sure, random(3, 3, 4, 5), "squeeze"), (guessed, random(3, 4, 5), "relu")):
        with limit.raises("3"):
            BACKEND.capture(model, batch, [path])


def two(left: Any, right: Any) -> onnx.ModelProto:
    """The sum of two images, for so many of each."""
    graph = make_graph(
        [make_node("Conv", ["left", "w"], ["seen"], "conv"), make_node("Add", ["seen", "right"], ["sum"], "add")],
        "two",
        [make_tensor_value_info(name, FLOAT, [n, 3, 2, 2]) for name, n in (("left", left), ("right", right))],
        [make_tensor_value_info("sum", FLOAT, None)],
        [onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "w")],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


def test_one_image_at_a_time_takes_the_other_inputs_along() -> None:
    left, right = random(3, 3, 2, 2, seed=1), random(3, 3, 2, 2, seed=2)
    for model in (two(1, 1), two(1, "n"), two("n", 1)):
        total = BACKEND.capture(model, (left, right), ["add"])["add"].values
        np.testing.assert_allclose(total, left + right, rtol=1e-6)
    with raises(ModelNotReadable, "1", "3"):
        BACKEND.capture(two(1, "n"), (left, right[:2]), ["add"])


def test_the_table_of_a_model_for_two_images_is_of_two() -> None:
    layers = table(two(2, 2), (random(2, 3, 2, 2), random(2, 3, 2, 2)))
    assert layers["add"].shape == (2, 3, 2, 2)
    assert table(two("n", "n"), (random(2, 3, 2, 2), random(2, 3, 2, 2)))["add"].shape == (1, 3, 2, 2)


def test_several_inputs_by_order_and_by_name() -> None:
    graph = make_graph(
        [make_node("Add", ["left", "right"], ["sum"], "add")],
        "two",
        [make_tensor_value_info(name, FLOAT, ["n", 4]) for name in ("left", "right")],
        [make_tensor_value_info("sum", FLOAT, ["n", 4])],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)
    left, right = random(2, 4, seed=1), random(2, 4, seed=2)
    for batch in ((left, right), {"right": right, "left": left}):
        np.testing.assert_array_equal(BACKEND.capture(model, batch, ["add"])["add"].values, left + right)
    for wrong in (left, (left,), {"left": left, "rigth": right}, {"left": left, "right": right, "rigth": right}):
        with raises(ModelNotReadable, "2", "'left'"):
            BACKEND.capture(model, wrong, ["add"])


def test_a_batch_that_does_not_fit_is_refused_with_the_shape_that_does() -> None:
    with raises(ModelNotReadable, "3", "8", "6", "1"):
        BACKEND.capture(cnn(), random(1, 8, 6, 3), ["conv1"])
    with raises(ModelNotReadable):
        BACKEND.capture(cnn(), np.zeros((1, 3, 8, 6), np.uint8), ["conv1"])


def test_bodies_of_control_flow_are_run_but_not_looked_into() -> None:
    def branch(kind: str) -> onnx.GraphProto:
        return make_graph([make_node(kind, ["a"], [f"{kind}_y"])], kind, [], [onnx.ValueInfoProto(name=f"{kind}_y")])

    nodes = [
        make_node("Mul", ["x", "x"], ["a"], "square"),
        make_node("ReduceSum", ["x"], ["s"], "sum", keepdims=0),
        make_node("Greater", ["s", "limit"], ["large"], "greater"),
        make_node("If", ["large"], ["y"], "choice", then_branch=branch("Neg"), else_branch=branch("Sqrt")),
    ]
    model = model_of(nodes, ["n", 3], ["y"], {"limit": np.float32(0)})
    batch = np.abs(random(1, 3))
    layers = table(model, batch)
    assert list(layers) == ["square", "sum", "greater", "choice", ""]
    wording(layers["choice"].note)
    wording(layers["sum"].note)
    for sign, expected in ((1, -(batch**2)), (-1, batch)):
        values = BACKEND.capture(model, sign * batch, ["choice"])["choice"].values
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_a_body_needs_what_it_hands_on_from_outside() -> None:
    """A branch without nodes, that gives a tensor of the graph around it."""
    through = make_graph([], "given", [], [onnx.ValueInfoProto(name="a")])
    negated = make_graph([make_node("Neg", ["b"], ["c"])], "made", [], [onnx.ValueInfoProto(name="c")])
    node = make_node("If", ["large"], ["y"], "choice", then_branch=through, else_branch=negated)
    assert sorted(needs(node)) == ["a", "b", "large"]


def test_a_sequence_is_no_layer_with_a_picture() -> None:
    nodes = [
        make_node("SplitToSequence", ["x"], ["parts"], "cutting", axis=1),
        make_node("ConcatFromSequence", ["parts"], ["y"], "joining", axis=1),
    ]
    model, batch = model_of(nodes, ["n", 3], ["y"]), random(2, 3)
    layers = table(model, batch)
    assert not layers["cutting"].showable
    wording(layers["cutting"].note)
    with raises(LayerNotCalled):
        BACKEND.capture(model, batch, ["cutting"])
    np.testing.assert_array_equal(BACKEND.capture(model, batch, ["joining"])["joining"].values, batch)


def test_quantised_graphs_run_without_fusions(monkeypatch):
    model, batch, levels = quantised(), random(1, 3, 6, 6), []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        "layerscope.backends.onnx.run.onnxruntime.InferenceSession",
        lambda content, options, **more: (
            levels.append(options.graph_optimization_level) or session(content, options, **more)
        ),
    )
    backend = type(BACKEND)(threads=1)
    together = backend.capture(model, batch, ["quantise", "conv", "relu"])
    for path, captured in together.items():
        np.testing.assert_array_equal(captured.values, backend.capture(model, batch, [path])[path].values)
    fused = session(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": batch})[0]
    assert np.abs(backend.capture(model, batch, [""])[""].values - fused).max() < 0.05 * 1.001, "one step of the codes"
    assert set(levels) == {onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC}


def found(values: str, picked: str) -> list[onnx.NodeProto]:
    """Those numbers of a tensor that are over a threshold."""
    return [
        make_node("Greater", [values, "least"], ["over"]),
        make_node("NonZero", ["over"], ["indices"]),
        make_node("Transpose", ["indices"], ["pairs"], perm=[1, 0]),
        make_node("GatherND", [values, "pairs"], [picked], "picked"),
    ]


def test_a_layer_whose_size_depends_on_the_values(tmp_path: Path) -> None:
    nodes = [make_node("Conv", ["x", "w"], ["y"], "conv"), make_node("Flatten", ["y"], ["flat"]), *found("flat", "z")]
    weights = {"w": random(4, 3, 3, 3), "least": np.float32(1)}
    onnx.save(model_of(nodes, ["n", 3, 6, 6], ["z"], weights), tmp_path / "model.onnx")
    scope, counts = ls.open(tmp_path / "model.onnx", preprocess=None), set()
    for seed in range(5):
        batch = random(1 + seed % 2, 3, 6, 6, seed=seed)
        maps = scope.capture(batch, ["conv", "picked"])
        values = maps["conv"].values.transpose(0, 3, 1, 2).reshape(-1)
        np.testing.assert_allclose(np.ravel(maps["picked"].values), values[values > 1], rtol=1e-6)
        counts.add(maps["picked"].shape[-1])
    assert len(counts) > 2


def test_a_branch_that_depends_on_the_image() -> None:
    pooled = make_node("MaxPool", ["y"], ["small"], kernel_shape=[2, 2], strides=[2, 2])
    branches = [
        make_graph([node], name, [], [onnx.ValueInfoProto(name=node.output[0])])
        for name, node in (("smaller", pooled), ("same", make_node("Identity", ["y"], ["kept"])))
    ]
    nodes = [
        make_node("Conv", ["x", "w"], ["y"], "conv"),
        make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        make_node("Greater", ["mean", "zero"], ["bright"]),
        make_node("If", ["bright"], ["branch"], "branch", then_branch=branches[0], else_branch=branches[1]),
        make_node("Relu", ["branch"], ["z"], "relu"),
    ]
    scope = ls.open(
        model_of(nodes, ["n", 3, 6, 6], ["z"], {"w": random(4, 3, 3, 3), "zero": np.float32(0)}), preprocess=None
    )
    for sign, size in ((1, 2), (-1, 4), (1, 2)):
        maps = scope.capture(sign * np.abs(random(2, 3, 6, 6)), ["conv", "relu"])
        assert maps["relu"].shape == (2, size, size, 4)
        if size == 4:
            np.testing.assert_array_equal(maps["relu"].values, np.maximum(maps["conv"].values, 0))
