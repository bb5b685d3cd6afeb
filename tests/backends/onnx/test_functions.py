"""Local functions of an ONNX model, whose layers are those inside, against ONNX's own reference implementation."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import (
    make_function,
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
)  # fmt: skip
from onnx.reference import ReferenceEvaluator

from helpers.onnx_models import BACKEND, random, table
from helpers.wording import wording
from layerscope.backends.onnx import functions

OURS = "ours"
IMAGE = random(2, 3, 8, 8, seed=1)
W1, W2 = random(4, 3, 3, 3, seed=2) / 5, random(4, 4, 3, 3, seed=3) / 5


def function(
    name: str, nodes: list[onnx.NodeProto], inputs: list[str], opset: int = 18, attributes: tuple[str, ...] = ()
) -> onnx.FunctionProto:
    imports = [make_opsetid("", opset), make_opsetid(OURS, 1)]
    return make_function(OURS, name, inputs, ["y"], nodes, imports, list(attributes))


def leaky() -> onnx.NodeProto:
    """A node whose slope is an attribute of the function that it is in."""
    node = make_node("LeakyRelu", ["c"], ["y"], name="act")
    slope = node.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT)
    slope.ref_attr_name = "slope"
    return node


def model(opset: int = 18) -> onnx.ModelProto:
    """`stage` calls a block twice, with slopes and weights of their own; then a pooling."""
    conv = make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1])
    block = function("Block", [conv, leaky()], ["x", "w"], opset, ("slope",))
    calls = [
        make_node("Block", ["x", "w1"], ["a"], "first", domain=OURS, slope=0.5),
        make_node("Block", ["a", "w2"], ["y"], domain=OURS, slope=0.125),
    ]
    stage = function("Stage", calls, ["x", "w1", "w2"], opset)
    graph = make_graph(
        [make_node("Stage", ["x", "w1", "w2"], ["o"], "stage", domain=OURS), make_node("GlobalMaxPool", ["o"], ["p"], "pool")],
        "functions",
        [make_tensor_value_info("x", TensorProto.FLOAT, ["images", 3, 8, 8])],
        [make_tensor_value_info("p", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(W1, "w1"), numpy_helper.from_array(W2, "w2")],
    )  # fmt: skip
    imports = [make_opsetid("", 18), make_opsetid(OURS, 1)]
    return make_model(graph, opset_imports=imports, functions=[block, stage], ir_version=9)


def by_reference() -> list[np.ndarray]:
    """conv, act, conv, act, pool, one after the other."""
    values, outputs = IMAGE, []
    for weights, slope in ((W1, 0.5), (W2, 0.125)):
        for node, more in (
            (make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]), {"w": weights}),
            (make_node("LeakyRelu", ["x"], ["y"], alpha=slope), {}),
        ):
            (values,) = ReferenceEvaluator(node).run(None, {"x": values, **more})
            outputs.append(values)
    return [*outputs, values.max((2, 3), keepdims=True)]


def test_layers_inside_a_function_are_listed_under_its_calls() -> None:
    layers = table(model(), IMAGE)
    assert [(path, layer.kind) for path, layer in layers.items()] == [
        ("stage/first/conv", "Conv"),
        ("stage/first", "LeakyRelu"),
        ("stage/y/conv", "Conv"),  # the second call has no name but its output's
        ("stage/y", "LeakyRelu"),
        ("pool", "GlobalMaxPool"),
        ("", "Model"),
    ]
    assert [(layer.axes, layer.shape) for layer in layers.values()][:4] == [("bchw", (1, 4, 8, 8))] * 4
    assert [layer.parameters for layer in layers.values()] == [W1.size, 0, W2.size, 0, 0, W1.size + W2.size]
    assert [[field.size for field in layer.receptive or ()] for layer in layers.values()][:4] == [
        [3, 3],
        [3, 3],
        [5, 5],
        [5, 5],
    ]
    assert not any(layer.note for layer in layers.values())


def test_what_is_inside_a_function_is_what_it_computes() -> None:
    every = [path for path in table(model(), IMAGE) if path]
    together = BACKEND.capture(model(), IMAGE, every)
    assert list(together) == every
    for path, expected in zip(every, by_reference(), strict=True):
        for values in (together[path].values, BACKEND.capture(model(), IMAGE, [path])[path].values):
            np.testing.assert_allclose(values, expected, atol=1e-5, err_msg=path)


def test_the_name_of_a_call_finds_what_the_function_returns() -> None:
    (captured,) = BACKEND.capture(model(), IMAGE, ["stage"]).values()
    np.testing.assert_allclose(captured.values, by_reference()[3], atol=1e-5)


def test_a_function_of_another_opset_stays_one_layer_with_a_note() -> None:
    layers = table(model(opset=17), IMAGE)
    assert [(path, layer.kind) for path, layer in layers.items()] == [
        ("stage", "Stage"),
        ("pool", "GlobalMaxPool"),
        ("", "Model"),
    ]
    wording(layers["stage"].note)
    np.testing.assert_allclose(
        BACKEND.capture(model(17), IMAGE, ["stage"])["stage"].values, by_reference()[3], atol=1e-5
    )


def test_a_model_that_cannot_be_inlined_keeps_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(model: onnx.ModelProto) -> onnx.ModelProto:
        raise RuntimeError("not this one")

    monkeypatch.setattr(functions.inliner, "inline_local_functions", refuses)
    assert list(table(model(), IMAGE)) == ["stage", "pool", ""]
    np.testing.assert_allclose(BACKEND.capture(model(), IMAGE, ["stage"])["stage"].values, by_reference()[3], atol=1e-5)


def test_a_model_with_functions_is_left_as_it_was() -> None:
    original = model()
    before = original.SerializeToString()
    table(original, IMAGE)
    BACKEND.capture(original, IMAGE, ["stage/first/conv"])
    assert original.SerializeToString() == before
    plain = onnx.helper.make_model(original.graph)
    assert functions.inline_functions(plain) is plain  # nothing is copied where there are no functions
