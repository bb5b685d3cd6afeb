"""Graphs that resize by themselves are fed photos in their own size."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import layerscope as ls

PHOTOS = [np.random.default_rng(0).integers(0, 255, (h, w, 3), np.uint8) for h, w in ((20, 60), (60, 20), (33, 33))]


def graph(*front):
    """Nodes in front of a convolution of an input of any size."""
    constants = {
        "sizes": np.array([1, 3, 24, 16], np.int64),
        "sides": np.array([24, 24], np.int64),
        "twice": np.array([1, 1, 2, 2], np.float32),
        "kernel": np.random.default_rng(1).normal(size=(2, 3, 3, 3)).astype(np.float32),
    }
    conv = helper.make_node("Conv", [front[-1].output[0] if front else "x", "kernel"], ["y"], name="conv")
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, None, None])
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    body = helper.make_graph([*front, conv], "g", [taken], [given], values)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def resize(*inputs, **options):
    return helper.make_node("Resize", ["x", "", *inputs], ["resized"], **options)


@pytest.mark.parametrize(
    "front",
    [
        [resize("", "sizes", mode="linear")],
        [resize("", "sides", axes=[2, 3], keep_aspect_ratio_policy="not_larger")],
        [resize("", "sides", axes=[2, 3]), helper.make_node("Relu", ["resized"], ["r"])],
    ],
)
def test_photos_are_fed_as_they_are(front):
    model = graph(*front)
    scope = ls.open(model, preprocess="unit")
    assert scope.facts.resizes
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for photo in PHOTOS:
        (fm,) = scope.capture(photo, "conv").values()
        (expected,) = session.run(None, {"x": photo.transpose(2, 0, 1)[None].astype(np.float32) / 255})
        np.testing.assert_allclose(fm.values, expected.transpose(0, 2, 3, 1), atol=1e-4)


def test_a_resize_by_a_factor_leaves_the_size_open():
    for model in (graph(resize("twice")), graph()):
        assert not ls.open(model, preprocess="unit").facts.resizes
