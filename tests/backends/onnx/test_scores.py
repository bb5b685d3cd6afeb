"""Other values in place of what nodes of an ONNX graph make, against ONNX's own reference and ONNX's own way to cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_node

import layerscope as ls
from helpers.onnx_files import FORMATS, quantised
from helpers.onnx_models import BACKEND, cnn, model_of, random, reference, table
from helpers.wording import raises

BATCH = random(3, 3, 8, 6)


def without(values: np.ndarray, channels: list[int]) -> np.ndarray:
    cut = values.copy()
    cut[np.arange(len(cut)), channels] = 0
    return cut


def rest_of(model: onnx.ModelProto, tensor: str, values: np.ndarray) -> np.ndarray:
    """The output where `tensor` has these values: cut by ONNX's own tool, run by its reference."""
    (output,) = (value.name for value in model.graph.output)
    return reference(onnx.utils.Extractor(model).extract_model([tensor], [output]), {tensor: values})[output]


@pytest.fixture(scope="module")
def plain() -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(cnn())


def test_several_layers_are_changed_in_the_order_of_the_graph(plain: onnx.ModelProto) -> None:
    received = {}

    def second(values: np.ndarray) -> np.ndarray:
        received["pool"] = values
        return values - 1

    changes = {"pool": second, "act": lambda values: without(values, [1, 5, 2])}
    scores = BACKEND.scores(plain, BATCH, 4, changes)
    expected = reference(plain, {"x": BATCH})
    cut = onnx.utils.Extractor(plain).extract_model(["relu"], ["pooled"])
    pooled = reference(cut, {"relu": without(expected["relu"], [1, 5, 2])})["pooled"]
    np.testing.assert_allclose(received["pool"], pooled, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores, rest_of(plain, "pooled", pooled - 1)[:, 4], rtol=1e-4, atol=1e-5)


def test_the_output_itself_is_changed(plain: onnx.ModelProto) -> None:
    scores = BACKEND.scores(plain, BATCH, 4, {"fc": lambda values: values * 3})
    np.testing.assert_allclose(scores, reference(plain, {"x": BATCH})["logits"][:, 4] * 3, rtol=1e-4)


@pytest.mark.parametrize("saved", [False, True], ids=["proto", "file"])
def test_a_model_that_takes_one_image(saved: bool, plain: onnx.ModelProto, tmp_path: Path) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    source = model
    if saved:
        onnx.save(model, tmp_path / "one.onnx")
        source = BACKEND.load(tmp_path / "one.onnx")
    scores = BACKEND.scores(source, BATCH, 4, {"act": lambda values: without(values, [1, 5, 2])})
    relu = without(reference(plain, {"x": BATCH})["relu"], [1, 5, 2])
    np.testing.assert_allclose(scores, rest_of(plain, "relu", relu)[:, 4], rtol=1e-4, atol=1e-5)


def test_one_part_of_a_node_is_changed_and_the_others_stay() -> None:
    nodes = [
        make_node("Split", ["x"], ["a", "b"], "split", axis=1),
        make_node("Add", ["a", "a"], ["twice"], "twice"),
        make_node("Concat", ["twice", "b"], ["y"], "concat", axis=1),
    ]
    model, batch = model_of(nodes, ["n", 4], ["y"]), random(2, 4)
    for path, row in (("split", 0), ("split[1]", 2)):
        for target in range(4):
            scores = BACKEND.scores(model, batch, target, {path: lambda values: values + 1})
            added = (1 if row == target // 2 * 2 else 0) * (2 if target < 2 else 1)
            np.testing.assert_allclose(scores, batch[:, target] * (2 if target < 2 else 1) + added, rtol=1e-6)


def test_a_layer_in_a_type_that_numpy_does_not_have() -> None:
    nodes = [
        make_node("Cast", ["x"], ["narrow"], "narrow", to=TensorProto.BFLOAT16),
        make_node("Cast", ["narrow"], ["y"], "wide", to=TensorProto.FLOAT),
    ]
    model, batch = model_of(nodes, ["n", 4], ["y"]), random(2, 4)
    assert BACKEND.capture(model, batch, ["narrow"])["narrow"].dtype == "bfloat16"
    scores = BACKEND.scores(model, batch, 1, {"narrow": lambda values: values * 0 + 1.001})
    assert scores.tolist() == [1.0, 1.0], "1.001 is 1 in eight bits of mantissa"


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("how", FORMATS)
def test_codes_are_changed_as_what_they_stand_for(how: str, per_channel: bool, tmp_path: Path) -> None:
    batches = [random(1, 3, 8, 6, seed=seed) for seed in range(8)]
    model = quantised(cnn(13), tmp_path, batches, how, per_channel, "uint8")
    path = "conv1" if how == "qdq" else "conv1_quant"
    row = table(model, BATCH)[path]
    whole = BACKEND.scores(model, BATCH, 4, {})
    np.testing.assert_array_equal(BACKEND.scores(model, BATCH, 4, {path: lambda values: values}), whole)
    # The same by hand: ONNX's own tool cuts at the codes, whose zero point stands for 0.
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    writer = next(
        node
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "QLinearConv") and node.output[0] in (*row.aliases, path)
    )
    zero = stored[writer.input[2] if how == "qdq" else writer.input[7]]
    codes, (output,) = writer.output[0], (value.name for value in model.graph.output)
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    wide.graph.value_info.append(onnx.helper.make_tensor_value_info(codes, TensorProto.UINT8, ["n", 8, 8, 6]))
    wide.graph.output.append(wide.graph.value_info[-1])
    changed_codes = without(_ran(wide, [codes], {"x": BATCH})[0].astype(int) - int(zero), [1, 5, 2]) + int(zero)
    rest = onnx.utils.Extractor(wide).extract_model([codes], [output])
    expected = _ran(rest, [output], {codes: changed_codes.astype(np.uint8)})[0]
    scores = BACKEND.scores(model, BATCH, 4, {path: lambda values: without(values, [1, 5, 2])})
    np.testing.assert_allclose(scores, expected[:, 4], rtol=1e-5)
    assert np.abs(scores - whole).max() > 0.01
    with raises(ls.BadOption):
        BACKEND.scores(model, BATCH, 4, {path: lambda values: values * np.nan})


def _ran(model: onnx.ModelProto, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(outputs, feeds)
