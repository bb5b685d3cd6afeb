"""Files of onnxruntime.quantization, operators of other domains, and what exporters say in a file's metadata."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.helper import make_node, make_opsetid
from onnx_models import BACKEND, cnn, model_of, random, reference, table
from onnxruntime import quantization

from layerscope.errors import ModelNotReadable

QDQ, QOPERATOR = quantization.QuantFormat.QDQ, quantization.QuantFormat.QOperator


class Batches(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self) -> None:
        self.left: Iterator[Any] = iter([{"x": random(4, 3, 8, 6, seed=seed)} for seed in range(3)])

    def get_next(self) -> Any:
        return next(self.left, None)


def quantised(folder: Path, form: Any, per_channel: bool, unsigned: bool) -> Any:
    logging.getLogger().setLevel(logging.ERROR)
    onnx.save(cnn(), folder / "float.onnx")
    kinds = quantization.QuantType
    quantization.quantize_static(
        *(folder / "float.onnx", folder / "quantised.onnx", Batches()),
        quant_format=form,
        per_channel=per_channel,
        activation_type=kinds.QUInt8 if unsigned else kinds.QInt8,
        weight_type=kinds.QInt8,
    )
    return BACKEND.load(folder / "quantised.onnx")


def unoptimised(proto: onnx.ModelProto, batch: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor of a file by ONNX Runtime with all optimisations off."""
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(None, {"x": batch}), strict=True))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("form", [QDQ, QOPERATOR])
def test_quantised_files_show_values(form: Any, unsigned: bool, per_channel: bool, tmp_path: Path) -> None:
    before = logging.getLogger().level
    try:
        model = quantised(tmp_path, form, per_channel, unsigned)
    finally:
        logging.getLogger().setLevel(before)
    batch = random(2, 3, 8, 6, seed=7)
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in model.proto.graph.initializer}
    raw = unoptimised(model.proto, batch)
    rows = [each for each in BACKEND.layers(model, batch) if each.path]
    together = BACKEND.capture(model, batch, [each.path for each in rows])
    shown = 0
    for each in rows:
        output = next(one for one in model.outputs if one.address.path == each.path)
        expected, step = raw[output.tensor], 0.0
        if "shown as the values" in each.note:
            shown += 1
            coding = model.graph.codings[output.tensor]
            scale, zero = float(weights[coding.scale]), int(weights[coding.zero])
            expected, step = (expected.astype(np.float32) - zero) * np.float32(scale), scale
            assert together[each.path].dtype == ("uint8" if unsigned else "int8")
        alone = BACKEND.capture(model, batch, [each.path])[each.path].values
        for values in (alone, together[each.path].values):
            assert values.dtype == expected.dtype
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1.01 * step + 1e-5, err_msg=each.path)
    assert shown == (7 if form is QOPERATOR else 0)
    true = reference(cnn(), {"x": batch})
    for path, tensor in (("conv1", "getitem_6"), ("conv2", "conv2_out"), ("fc", "logits")):
        values = BACKEND.capture(model, batch, [path])[path].values
        assert np.abs(values - true[tensor]).max() < 0.06 * np.abs(true[tensor]).max(), path


def test_layers_before_an_operator_that_the_runtime_does_not_have() -> None:
    nodes = [
        make_node("Relu", ["x"], ["a"], "early"),
        make_node("Fancy", ["a"], ["b"], "fancy", domain="acme"),
        make_node("Relu", ["b"], ["y"], "late"),
    ]
    model, batch = model_of(nodes, ["n", 3], ["y"]), random(2, 3)
    model.opset_import.append(make_opsetid("acme", 1))
    found = table(model, batch)
    assert (found["early"].axes, found["early"].note) == ("bc", "")
    for path in ("fancy", "late", ""):
        assert not found[path].showable
        assert found[path].note == "behind acme:Fancy, an operator that ONNX Runtime doesn't have"
    np.testing.assert_array_equal(BACKEND.capture(model, batch, ["early"])["early"].values, np.maximum(batch, 0))
    with pytest.raises(ModelNotReadable, match="acme:Fancy"):
        BACKEND.capture(model, batch, ["late"])


def test_a_version_that_is_too_new_is_told_with_the_newest_that_runs() -> None:
    batch = random(1, 3, 8, 6)
    model = cnn()
    model.opset_import[0].version = 99
    with pytest.raises(ModelNotReadable, match=r"official support for domain ai\.onnx is till opset \d+"):
        BACKEND.capture(model, batch, ["conv1"])
    model = cnn()
    model.ir_version = 99
    with pytest.raises(ModelNotReadable, match=r"IR version: 99, max supported IR version: \d+"):
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
        ("names", "'" + "a" * (1 << 20) + "'", None),
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
    fixed = cnn()
    fixed.metadata_props.add(key="imgsz", value=text)
    assert BACKEND.facts(fixed).inputs[0].shape == (None, 3, 8, 6)
