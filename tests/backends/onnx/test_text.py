"""Tensors of an ONNX model that hold text: class names as outputs, text as inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_sequence_value_info,
    make_tensor_value_info,
)

import layerscope as ls
from helpers.onnx_models import BACKEND, random, table
from helpers.wording import raises, wording

ROWS = random(2, 3, seed=1)


def model(nodes: list[onnx.NodeProto], outputs: list[str], words: bool = False) -> onnx.ModelProto:
    graph = make_graph(
        nodes,
        "text",
        [make_tensor_value_info("x", TensorProto.STRING if words else TensorProto.FLOAT, ["images", 3])],
        [onnx.ValueInfoProto(name=name) for name in outputs],
    )
    imports = [make_opsetid("", 18), make_opsetid("ai.onnx.ml", 2), make_opsetid("com.microsoft", 1)]
    return make_model(graph, opset_imports=imports, ir_version=9)


def classifier() -> onnx.ModelProto:
    """Gives the name of the class as text, and the scores as a sequence of maps, as scikit-learn's converter does."""
    names = {"keys_int64s": [0, 1, 2], "values_strings": ["cat", "dog", "owl"]}
    return model(
        [
            make_node("Relu", ["x"], ["scores"]),
            make_node("ArgMax", ["scores"], ["number"], axis=1, keepdims=0),
            make_node("LabelEncoder", ["number"], ["name"], domain="ai.onnx.ml", **names),
            make_node("Identity", ["name"], ["said"]),
            make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", classlabels_strings=names["values_strings"]),
        ],
        ["said", "maps"],
    )


def test_text_is_listed_with_a_note_that_it_has_no_picture() -> None:
    layers = table(classifier(), ROWS)
    noted = {path: (layer.axes, layer.shape, layer.note) for path, layer in layers.items()}
    text, other = layers["name"].note, layers["maps"].note
    assert noted == {
        "scores": ("bc", (1, 3), layers["scores"].doubt),
        "number": ("b", (1,), layers["number"].doubt),
        "name": ("", None, text),
        "said": ("", None, text),
        "maps": ("", None, other),
        "": ("", None, text),
    }
    wording([text, other])
    assert text in str(ls.open(classifier(), preprocess=None).layers(ROWS))


def test_text_that_only_a_run_shows_has_the_same_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> onnx.ModelProto:
        raise onnx.shape_inference.InferenceError("a graph that ONNX can't follow")

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", refuses)
    layers = table(classifier(), ROWS)
    notes = {path: layer.note for path, layer in layers.items() if path}
    wording([notes["name"], notes["maps"]])
    assert [path for path, layer in layers.items() if layer.shape is not None] == ["scores", "number"]


@pytest.mark.parametrize("path", ["name", "said", "maps"])
def test_asking_for_text_is_a_named_error(path: str) -> None:
    with raises(ls.LayerNotCalled):
        BACKEND.capture(classifier(), ROWS, [path])
    scope = ls.open(classifier(), preprocess=None)
    with raises(ls.LayerNotCalled):
        scope.capture(ROWS, path)
    np.testing.assert_array_equal(scope.capture(ROWS, "scores")["scores"].values, np.maximum(ROWS, 0))


def test_text_can_be_a_model_input() -> None:
    from_text = model(
        [make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT), make_node("Relu", ["y"], ["z"])], ["z"], words=True
    )
    scope = ls.open(from_text, preprocess=None)
    assert scope.facts.inputs[0].dtype == "string"
    words = np.array([["1", "-2", "3.5"]])
    for batch in (words, words.astype(object)):
        np.testing.assert_array_equal(scope.capture(batch, "z")["z"].values, [[1, 0, 3.5]])
    with raises(ls.ModelNotReadable, "3", "2"):
        scope.capture(ROWS, "z")


@pytest.mark.limit("sequences, optionals and text in ONNX")
def test_an_input_that_is_a_sequence_is_a_named_error(limit) -> None:
    graph = make_graph(
        [make_node("SequenceLength", ["x"], ["y"])],
        "sequence",
        [make_tensor_sequence_value_info("x", TensorProto.FLOAT, ["images", 3])],
        [onnx.ValueInfoProto(name="y")],
    )
    proto = make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=9)
    with limit.raises("'x'"):
        ls.open(proto, preprocess=None)
    with limit.raises("'output'", "'number'"):
        ls.open(classifier(), preprocess=None).capture(ROWS, "output")


def test_no_other_layer_is_taken_for_an_output_of_text() -> None:
    scope = ls.open(classifier(), preprocess=None)
    fm = scope.capture(ROWS, "scores")["scores"]
    with raises(ls.LayerNotCalled):
        ls.ablation_cam(fm)
