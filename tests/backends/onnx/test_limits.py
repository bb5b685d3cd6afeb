"""Rows of docs/limits.md on ONNX: each is provoked, and the answer is the one that it promises."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.helper import make_graph, make_node, make_opsetid, make_tensor_value_info
from torch import nn

import layerscope as ls
from helpers import onnx_models
from helpers.limits import rows
from helpers.wording import wording


@pytest.mark.limit("layers inside `If`, `Loop` and `Scan` of ONNX")
def test_control_flow_of_onnx(limit):
    def branch(kind: str) -> onnx.GraphProto:
        return make_graph([make_node(kind, ["x"], [f"{kind}_y"])], kind, [], [onnx.ValueInfoProto(name=f"{kind}_y")])

    nodes = [make_node("If", ["large"], ["y"], "choice", then_branch=branch("Neg"), else_branch=branch("Relu"))]
    model = onnx_models.model_of(nodes, ["n", 3], ["y"], {"large": np.array(True)})
    layers = rows(model, np.ones((1, 3), np.float32))
    assert not [layer for layer in layers.values() if layer.kind in ("Neg", "Relu")]
    limit.notes(layers.get("choice", layers[""]))
    flag, number = onnx.TensorProto.BOOL, onnx.TensorProto.INT64
    inputs = [("i", number, []), ("on", flag, []), ("value", onnx_models.FLOAT, [1, 3])]
    loop = [make_node("Identity", ["on"], ["still"]), make_node("Relu", ["value"], ["new"], "inside")]
    outputs = [make_tensor_value_info("still", flag, []), make_tensor_value_info("new", onnx_models.FLOAT, [1, 3])]
    body = make_graph(loop, "round", [make_tensor_value_info(*spec) for spec in inputs], outputs)
    nodes = [make_node("Loop", ["count", "", "x"], ["y"], "again", body=body), make_node("Neg", ["y"], ["z"], "after")]
    model = onnx_models.model_of(nodes, ["n", 3], ["z"], {"count": np.array(2)})
    layers = onnx_models.table(model, np.ones((1, 3), np.float32))
    assert list(layers) == ["again", "after", ""]
    limit.notes(layers["again"])


@pytest.mark.limit("ONNX operators from domains")
def test_operators_that_the_runtime_lacks(limit):
    nodes = [make_node("Relu", ["x"], ["a"], "early"), make_node("Fancy", ["a"], ["b"], "fancy", domain="acme")]
    model = onnx_models.model_of([*nodes, make_node("Relu", ["b"], ["y"], "late")], ["n", 3], ["y"])
    model.opset_import.append(make_opsetid("acme", 1))
    batch = onnx_models.random(2, 3)
    np.testing.assert_array_equal(onnx_models.BACKEND.capture(model, batch, ["early"])["early"].values, batch.clip(0))
    limit.notes(onnx_models.table(model, batch)["late"], "acme:Fancy")
    with limit.raises("acme:Fancy"):
        onnx_models.BACKEND.capture(model, batch, ["late"])


@pytest.mark.limit("an ONNX opset or IR version")
def test_versions_of_onnx_that_are_too_new(limit):
    opset, version = onnx_models.cnn(), onnx_models.cnn()
    opset.opset_import[0].version = version.ir_version = 99
    newest = ("support for domain ai.onnx is till opset ", "max supported IR version: ")
    for model, words in zip((opset, version), newest, strict=True):
        with limit.raises(words):
            onnx_models.BACKEND.capture(model, onnx_models.random(1, 3, 8, 6), ["conv1"])


def test_integer_sums():
    weights = {"w": np.arange(-6, 6, dtype=np.int8).reshape(4, 3)}
    nodes = [
        make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "quantise"),
        make_node("MatMulInteger", ["q", "w", "z"], ["sum"], "dense"),
        make_node("Cast", ["sum"], ["y"], "values", to=1),
    ]
    batch = onnx_models.random(2, 4)
    model = onnx_models.model_of(nodes, ["n", 4], ["y"], weights)
    wording(onnx_models.table(model, batch)["dense"].note)
    whole = onnx_models.BACKEND.capture(model, batch, ["dense"])["dense"].values
    np.testing.assert_array_equal(whole, onnx_models.reference(model, {"x": batch})["sum"])


@pytest.mark.limit("ONNX files that ONNX Runtime has optimised")
def test_blocked_layouts(limit):
    node = make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1], domain="com.microsoft.nchwc")
    last = make_node("Sigmoid", ["y"], ["z"], "last")
    model = onnx_models.model_of([node, last], ["n", 3, 8, 8], ["z"], {"w": onnx_models.random(16, 3, 3, 3)})
    model.opset_import.append(make_opsetid("com.microsoft.nchwc", 1))
    layer = onnx_models.table(model, onnx_models.random(1, 3, 8, 8))["conv"]
    assert not layer.showable
    limit.notes(layer)


@pytest.mark.limit("inputs of 2 or 4 channels")
def test_inputs_that_no_photo_gives(limit):
    for channels in (2, 4):
        with limit.raises(channels, "preprocess=None"):
            ls.open(nn.Conv2d(channels, 4, 3))
        assert ls.open(nn.Conv2d(channels, 4, 3), preprocess=None).layers(np.ones((1, channels, 8, 8), np.float32))
    model = onnx_models.model_of([make_node("Relu", ["x"], ["y"])], ["n", 3, 8, 8], ["y"], kind=onnx.TensorProto.INT8)
    with limit.raises("preprocess=None"):
        ls.open(model)


@pytest.mark.limit("`weights=` for ONNX and TFLite files")
def test_weights_beside_a_file_that_holds_its_own(limit, tmp_path):
    onnx.save(onnx_models.cnn(), tmp_path / "model.onnx")
    with limit.raises("weights="):
        ls.open(tmp_path / "model.onnx", weights="other.npz")


@pytest.mark.limit("gradients in ONNX and TFLite")
def test_a_runtime_without_gradients(limit):
    with limit.raises():
        ls.open(onnx_models.cnn(), preprocess=None).capture(onnx_models.random(1, 3, 8, 6), "conv1", target=1)
