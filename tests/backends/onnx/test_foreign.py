"""Operators of other domains, versions that are too new, and what exporters write into a file's metadata."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.helper import make_node, make_opsetid

from helpers.onnx_models import BACKEND, cnn, model_of, random, table
from helpers.wording import raises, wording
from layerscope.errors import ModelNotReadable


def test_layers_before_an_operator_that_the_runtime_does_not_have() -> None:
    nodes = [
        make_node("Relu", ["x"], ["a"], "early"),
        make_node("Fancy", ["a"], ["b"], "fancy", domain="acme"),
        make_node("Relu", ["b"], ["y"], "late"),
    ]
    model, batch = model_of(nodes, ["n", 3], ["y"]), random(2, 3)
    model.opset_import.append(make_opsetid("acme", 1))
    layers = table(model, batch)
    assert (layers["early"].axes, layers["early"].note) == ("bc", layers["early"].doubt)
    for path in ("fancy", "late", ""):
        assert not layers[path].showable
        wording(layers[path].note, "acme:Fancy")
    np.testing.assert_array_equal(BACKEND.capture(model, batch, ["early"])["early"].values, np.maximum(batch, 0))
    with raises(ModelNotReadable):
        BACKEND.capture(model, batch, ["late"])


def test_a_version_that_is_too_new_is_reported_with_the_newest_that_runs() -> None:
    batch = random(1, 3, 8, 6)
    model = cnn()
    model.opset_import[0].version = 99
    with raises(ModelNotReadable, "ai.onnx"):
        BACKEND.capture(model, batch, ["conv1"])
    model = cnn()
    model.ir_version = 99
    with raises(ModelNotReadable, "99"):
        BACKEND.capture(model, batch, ["conv1"])


@pytest.mark.parametrize(
    ("key", "text", "labels"),
    [
        ("names", "{0: 'cat', 1: 'dog'}", ("cat", "dog")),
        ("names", '{"0": "cat"}', None),
        ("labels", '["cat", "dog"]', ("cat", "dog")),
        ("classes", "['cat']", ("cat",)),
        ("names", "{0: 'cat', 2: 'dog'}", None),
        ("names", "__import__('os').abort()", None),
        ("names", "(" * 100_000, None),
        ("names", "[" * 100_000, None),  # too deep for JSON
        ("names", "['" + "a" * (1 << 20) + "']", None),
        ("names", "{1: 'dog', 0: 'cat'}", ("cat", "dog")),
        ("labels", '["cat\\/dog"]', ("cat/dog",)),  # an escape of JSON's alone
        ("classes", "[1, 2]", None),
        ("layerscope.labels", '["cat", "dog"]', ("cat", "dog")),
    ],
)
def test_class_names_of_other_exporters(key: str, text: str, labels: Any) -> None:
    model = cnn()
    model.metadata_props.add(key=key, value=text)
    assert BACKEND.facts(model).labels == labels


@pytest.mark.parametrize(
    ("text", "size"),
    [("[640, 480]", (640, 480)), ("320", (320, 320)), ("[0, 3]", (None, None)), ("[1, 2, 3]", (None, None))],
)
def test_the_size_of_ultralytics_where_the_model_leaves_it_free(text: str, size: Any) -> None:
    conv = make_node("Conv", ["x", "w"], ["y"], "conv")
    model = model_of([conv], ["n", 3, "h", "w"], ["y"], {"w": random(4, 3, 1, 1)})
    model.metadata_props.add(key="imgsz", value=text)
    assert BACKEND.facts(model).inputs[0].shape == (None, 3, *size)
    turned = make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])
    last = model_of([turned, make_node("Conv", ["t", "w"], ["y"])], [*"nhwc"], ["y"], {"w": random(4, 3, 1, 1)})
    last.metadata_props.add(key="imgsz", value=text)
    assert (BACKEND.facts(last).inputs[0].axes, BACKEND.facts(last).inputs[0].shape) == ("bhwc", (None,) * 4)
    fixed = cnn()
    fixed.metadata_props.add(key="imgsz", value=text)
    assert BACKEND.facts(fixed).inputs[0].shape == (None, 3, 8, 6)
