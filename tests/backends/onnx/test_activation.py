"""What `predict` makes of an ONNX model's output: by the last operators of its graph."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.helper import make_node

import layerscope as ls
from helpers.onnx_models import model_of, random, reference

IMAGES = random(2, 3, 8, 8)
WEIGHTS = {"w": random(3, 4), "w1": random(3, 1), "two": np.array(2, np.float32), "zero": np.array(0)}


def net(*tail, weights="w", outputs=("y",)):
    """A dense layer, then the operators of `tail` one after another; the last gives `y`."""
    operators = [("GlobalAveragePool", {}), ("Flatten", {}), ("MatMul", {}), *tail]
    nodes, name = [], "x"
    for index, (operator, options) in enumerate(operators):
        after = "y" if index == len(operators) - 1 else f"t{index}"
        further = {"MatMul": [weights], "Mul": ["two"], "Gather": ["zero"]}.get(operator, [])
        nodes.append(make_node(operator, [name, *further], [after], **options))
        name = after
    return model_of(nodes, ["n", 3, 8, 8], list(outputs), WEIGHTS)


def softmax(x):
    raised = np.exp(x - x.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("model", "labels", "kind", "expected"),
    [
        (net(("Sigmoid", {}), weights="w1"), None, "", lambda x: x),
        (net(("Sigmoid", {}), ("Identity", {})), "abcd", "", lambda x: x),
        (net(("HardSigmoid", {}), ("Flatten", {})), "abcd", "", lambda x: x),
        (net(("Softmax", {"axis": 1})), None, "", lambda x: x),
        (net(("LogSoftmax", {"axis": 1})), None, "exponential", np.exp),
        (net(("Tanh", {})), "abcd", "own-numbers", lambda x: x),
        (net(("Sigmoid", {}), ("Mul", {})), "abcd", "own-numbers", lambda x: x),
        (net(("Softmax", {"axis": 0})), "abcd", "own-numbers", lambda x: x),
        (net(("Softmax", {"axis": 1}), ("Mul", {})), "abcd", "own-numbers", lambda x: x),
        (net(("ArgMax", {"axis": 1, "keepdims": 0})), None, "own-numbers", lambda x: x[:, None]),
        (net(("Gather", {"axis": 1}), ("Sigmoid", {})), None, "", lambda x: x[:, None]),
        (net(weights="w1"), None, "own-numbers", lambda x: x),
        (net(), None, "own-numbers", lambda x: x),
        (net(), "abcd", "softmax", softmax),
        (net(("Mul", {})), "abcd", "softmax", softmax),
    ],
)
def test_the_last_operators_decide(model, labels, kind, expected):
    output = reference(model, {"x": IMAGES})["y"]
    scope = ls.open(model, preprocess=None, labels=list(labels) if labels else None)
    for row, numbers in zip(scope.predict(IMAGES), expected(output), strict=True):
        assert [one.probability for one in row] == pytest.approx(sorted(map(float, numbers), reverse=True), abs=1e-5)
        assert getattr(row[0].note, "kind", "") == kind


def test_the_output_that_is_meant_is_named_on_the_maps():
    scope = ls.open(net(("Sigmoid", {}), outputs=("y", "t1")), preprocess=None)
    (fm,) = scope.capture(IMAGES, "output").values()
    (note,) = [note for note in fm.notes if getattr(note, "kind", "") == "main-output"]
    assert note.startswith("y ")
    (single,) = ls.open(net(), preprocess=None).capture(IMAGES, "output").values()
    assert not [note for note in single.notes if getattr(note, "kind", "") == "main-output"]
