"""The forms that operators had from opset 7 to the newest that ONNX Runtime runs, and inputs of free or unknown shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_node

from helpers.onnx_models import BACKEND, model_of, random, table, unoptimised

OPSETS = [7, 8, 9, 10, 11, 13, 15, 18, 21, 22, 24]


def forms(opset: int) -> onnx.ModelProto:
    """A network of operators whose attributes became inputs, or whose names changed, with the forms of `opset`."""
    weights: dict[str, np.ndarray] = {
        "w": random(4, 3, 3, 3),
        **{f"n{index}": np.abs(random(4, seed=index)) for index in range(4)},
    }
    nodes: list[onnx.NodeProto] = []

    def add(kind: str, now: str, to: str, more: dict[str, Any] | None = None, **attributes: Any) -> str:
        inputs = [now]
        for name, value in (more or {}).items():
            inputs.append(f"{to}.{name}" if value is not None else "")
            if value is not None:
                weights[f"{to}.{name}"] = value
        nodes.append(make_node(kind, inputs, [to], to, **attributes))
        return to

    def either(kind: str, since: int, now: str, to: str, **attributes: Any) -> str:
        """Attributes before the opset `since`, inputs from then on."""
        as_inputs = {name: np.array(value) for name, value in attributes.items()}
        return add(kind, now, to, as_inputs) if opset >= since else add(kind, now, to, **attributes)

    nodes.append(make_node("Conv", ["x", "w"], ["conv"], "conv", pads=[1, 1, 1, 1]))
    old = {"spatial": 1} if opset < 9 else {}
    nodes.append(make_node("BatchNormalization", ["conv", "n0", "n1", "n2", "n3"], ["norm"], "norm", **old))
    limits = {"min": np.float32(0), "max": np.float32(6)}
    now = add("Clip", "norm", "clip", limits) if opset >= 11 else add("Clip", "norm", "clip", min=0.0, max=6.0)
    pads = [0, 0, 1, 1, 0, 0, 1, 1]
    now = add("Pad", now, "pad", {"pads": np.array(pads)}) if opset >= 11 else add("Pad", now, "pad", pads=pads)
    if opset >= 10:
        cuts = {"starts": [1], "ends": [9], "axes": [2]}
        now = add("Slice", now, "cut", {name: np.array(value) for name, value in cuts.items()})
    else:
        now = add("Slice", now, "cut", starts=[1], ends=[9], axes=[2])
    scales = np.array([1, 1, 2, 2], np.float32)
    if opset >= 11:
        weights |= {"scales": scales, "roi": np.zeros(0, np.float32)}  # the region became optional with opset 13
        nodes.append(make_node("Resize", [now, "roi", "scales"], ["up"], "up", mode="nearest"))
    elif opset >= 9:
        add("Resize" if opset == 10 else "Upsample", now, "up", {"scales": scales}, mode="nearest")
    else:
        add("Upsample", now, "up", scales=scales.tolist(), mode="nearest")
    drop = make_node("Dropout", ["up"], ["dropped", "mask"] if opset >= 10 else ["dropped"], "drop")
    nodes.append(drop)
    nodes.append(make_node("Cast", ["dropped"], ["cast"], "cast", to=onnx.TensorProto.FLOAT))
    either("ReduceMean", 18, "cast", "mean", axes=[2, 3])
    either("Squeeze", 13, "mean", "flat", axes=[2, 3])
    either("Unsqueeze", 13, "flat", "y", axes=[2])
    model = model_of(nodes, ["n", 3, 8, 6], ["y"], weights, opset)
    model.ir_version = 3 if opset < 9 else 8 if opset < 19 else 10
    if opset < 9:  # until IR version 4, weights stood among the inputs as well
        model.graph.input.extend(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            for tensor in model.graph.initializer
        )
    return model


@pytest.mark.parametrize("opset", OPSETS)
def test_each_form_of_an_operator(opset: int) -> None:
    model, batch = forms(opset), random(2, 3, 8, 6)
    expected = unoptimised(model, batch)
    rows = [layer for layer in BACKEND.layers(model, batch) if layer.path]
    axes = {row.path: row.axes for row in rows}
    pictures = dict.fromkeys(("conv", "norm", "clip", "pad", "cut", "up", "drop", "cast", "mean"), "bchw")
    assert {path: axes[path] for path in pictures} == pictures
    assert axes["flat"] == "bc"
    assert not any("assumed" in row.note for row in rows)
    assert [value.name for value in BACKEND.facts(model).inputs] == ["x"]
    captures = BACKEND.capture(model, batch, [row.path for row in rows])
    for row in rows:
        tensor = {"drop": "dropped", "drop[1]": "mask"}.get(row.path, row.path)
        alone = BACKEND.capture(model, batch, [row.path])[row.path].values
        for values in (alone, captures[row.path].values):
            np.testing.assert_allclose(values, expected[tensor], rtol=1e-5, atol=1e-5, err_msg=row.path)


def without_shape(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


def test_inputs_of_free_and_unknown_shape() -> None:
    conv = [
        make_node("Conv", ["x", "w"], ["c"], "conv"),
        make_node("NonZero", ["c"], ["found"], "where"),
        make_node("Relu", ["c"], ["y"], "relu"),
    ]
    weights = {"w": random(4, 3, 3, 3)}
    free = model_of(conv, ["n", 3, "h", "w"], ["y", "found"], weights)
    for model in (free, without_shape(model_of(conv, [], ["y", "found"], weights))):
        for size in ((8, 6), (5, 9)):
            batch = random(2, 3, *size)
            rows = table(model, batch)
            assert (rows["conv"].axes, rows["conv"].shape) == ("bchw", (1, 4, size[0] - 2, size[1] - 2))
            expected = unoptimised(model, batch)
            values = BACKEND.capture(model, batch, ["where", "relu"])
            np.testing.assert_allclose(values["relu"].values, expected["y"], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(values["where"].values, expected["found"])
