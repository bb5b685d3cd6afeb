"""Quantised ONNX graphs, as ONNX Runtime's own quantiser writes them: layers keep their names and come as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_node, make_opsetid
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

import layerscope as ls
from helpers.onnx_files import FORMATS, quantised
from helpers.onnx_models import BACKEND, cnn, model_of, random, reference, table, unoptimised
from helpers.wording import raises, wording
from layerscope.core.note import kind_of


@pytest.mark.parametrize("code", ["uint8", "int8"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("how", FORMATS)
def test_layers_of_a_quantised_cnn_are_the_float_ones_within_steps(
    how: str, per_channel: bool, code: str, tmp_path: Path
) -> None:
    batches = [random(1, 3, 8, 6, seed=seed) for seed in range(8)]
    plain, batch = cnn(13), batches[0]
    model = quantised(plain, tmp_path, batches, how, per_channel, code)
    rows = table(model, batch)
    assert not [path for path in rows if "Dequantize" in path], "DequantizeLinear is no layer of its own"
    suffix = "" if how == "qdq" else "_quant"
    pairs = {f"conv1{suffix}": "conv1", f"residual{suffix}": "relu2", "pool": "pool", f"fc{suffix}": "fc"}
    if how == "qdq":
        assert set(rows) >= {"conv1", "bn", "conv2", "residual", "pool", "fc", ""}
    captures = BACKEND.capture(model, batch, [*pairs])
    expected = BACKEND.capture(plain, batch, [*pairs.values()])
    for name, other in pairs.items():
        wording(rows[name].note, code)
        assert captures[name].dtype == code
        assert captures[name].values.dtype == np.float32
        span = np.ptp(expected[other].values)
        assert np.abs(captures[name].values - expected[other].values).max() < 0.06 * span, name
        assert len(np.unique(captures[name].values)) <= 256


@pytest.mark.parametrize("how", FORMATS)
def test_every_layer_is_its_codes_dequantised(how: str, tmp_path: Path) -> None:
    """ONNX Runtime gives the codes with all optimisation off; numpy turns them into values."""
    batches = [random(1, 3, 8, 6, seed=seed) for seed in range(4)]
    model = quantised(cnn(13), tmp_path, batches, how, True, "uint8")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scales: dict[str, tuple[str, str]] = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            scales[node.output[0]] = node.input[1], node.input[2]
        elif node.op_type.startswith(("QLinear", "QGemm")):
            where = {"QLinearConv": 6, "QLinearAdd": 6, "QGemm": 7, "QLinearGlobalAveragePool": 3}[node.op_type]
            scales[node.output[0]] = node.input[where], node.input[where + 1]
    codes = _codes(model, list(scales), batches[0])
    aliases = {alias: path for path, layer in table(model, batches[0]).items() for alias in layer.aliases}
    captures = BACKEND.capture(model, batches[0], [aliases[tensor] for tensor in scales if tensor in aliases])
    compared = 0
    for tensor, (scale, zero) in scales.items():
        if tensor in aliases:
            expected = (codes[tensor].astype(np.float32) - np.float32(stored[zero])) * stored[scale]
            captured = captures[aliases[tensor]].values
            # The runtime may compute a layer alone and together with others by other kernels: one step at most.
            assert np.abs(captured - expected).max() <= stored[scale] * 1.001, tensor
            assert (captured != expected).mean() < 0.02, tensor
            compared += 1
    assert compared >= 5


def _codes(model: onnx.ModelProto, tensors: list[str], batch: np.ndarray) -> dict[str, np.ndarray]:
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    proto.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(tensors, session.run(tensors, {"x": batch}), strict=True))


def test_the_output_of_the_model_is_what_the_runtime_gives(tmp_path: Path) -> None:
    batches = [random(1, 3, 8, 6, seed=seed) for seed in range(4)]
    for how in FORMATS:
        model = quantised(cnn(13), tmp_path, batches, how, True, "uint8")
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (expected,) = session.run(None, {"x": batches[1]})
        step = np.min(np.diff(np.unique(expected)))
        np.testing.assert_allclose(BACKEND.capture(model, batches[1], [""])[""].values, expected, atol=1.01 * step)


def test_values_that_are_read_by_others_too_stay_as_they_are() -> None:
    nodes = [
        make_node("Relu", ["x"], ["r"], "relu"),
        make_node("QuantizeLinear", ["r", "scale", "zero"], ["q"], "quantise"),
        make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], "dequantise"),
        make_node("Add", ["d", "r"], ["y"], "add"),
    ]
    weights = {"scale": np.float32(0.1), "zero": np.uint8(7)}
    model, batch = model_of(nodes, ["n", 3, 4, 4], ["y"], weights, opset=19), random(1, 3, 4, 4)
    rows = table(model, batch)
    assert list(rows) == ["relu", "quantise", "add", ""]
    captures = BACKEND.capture(model, batch, ["relu", "quantise", "dequantise"])
    expected = reference(model, {"x": batch})
    np.testing.assert_array_equal(captures["relu"].values, expected["r"])
    for name in ("quantise", "dequantise"):
        np.testing.assert_allclose(captures[name].values, expected["d"], rtol=1e-6)


def test_scales_for_each_channel_of_a_map() -> None:
    nodes = [
        make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantise", axis=1),
        make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], "dequantise", axis=1),
        make_node("Relu", ["d"], ["y"], "relu"),
    ]
    weights = {"scale": np.array([0.1, 0.5, 0.02], np.float32), "zero": np.array([3, -4, 0], np.int8)}
    model, batch = model_of(nodes, ["n", 3, 4, 4], ["y"], weights, opset=19), random(2, 3, 4, 4)
    captured = BACKEND.capture(model, batch, ["quantise"])["quantise"]
    np.testing.assert_allclose(captured.values, reference(model, {"x": batch})["d"], rtol=1e-6)


def test_dynamic_quantisation(tmp_path: Path) -> None:
    """Codes with a scale of their own for each batch, and integer sums that are scaled later."""
    nodes = [
        make_node("Flatten", ["x"], ["flat"], "flatten"),
        make_node("MatMul", ["flat", "w"], ["mm"], "dense"),
        make_node("Relu", ["mm"], ["y"], "relu"),
    ]
    plain, batch = model_of(nodes, ["n", 3, 4], ["y"], {"w": random(12, 5, seed=3)}, opset=13), random(2, 3, 4)
    onnx.save(plain, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "codes.onnx", weight_type=QuantType.QInt8)
    model = onnx.load(tmp_path / "codes.onnx")
    rows = table(model, batch)
    notes = {layer.kind: layer.note for layer in reversed(rows.values())}  # the first of each kind
    wording(notes["DynamicQuantizeLinear"], "uint8")
    wording(notes["MatMulInteger"])
    name = next(path for path, layer in rows.items() if layer.kind == "DynamicQuantizeLinear")
    values = BACKEND.capture(model, batch, [name])[name].values
    np.testing.assert_allclose(values, batch.reshape(2, 12), atol=np.ptp(np.append(batch, 0)) / 255)
    assert (
        np.abs(BACKEND.capture(model, batch, ["relu"])["relu"].values - reference(plain, {"x": batch})["y"]).max() < 0.3
    )


@pytest.mark.parametrize("opset", [10, 12, 13])
def test_quantised_graphs_of_old_opsets(opset: int, tmp_path: Path) -> None:
    """Below 13 DequantizeLinear has no axis."""
    nodes = [make_node("Conv", ["x", "w"], ["y"], "conv"), make_node("Relu", ["y"], ["z"], "relu")]
    model, batch = model_of(nodes, ["n", 3, 6, 6], ["z"], {"w": random(4, 3, 3, 3)}, opset), random(2, 3, 6, 6)
    onnx.save(model, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "codes.onnx", weight_type=QuantType.QUInt8)
    codes = onnx.load(tmp_path / "codes.onnx")
    assert next(entry.version for entry in codes.opset_import if not entry.domain) < 14
    layers = [layer.path for layer in BACKEND.layers(codes, batch)]
    captured = BACKEND.capture(codes, batch, layers)
    np.testing.assert_allclose(captured["relu"].values, unoptimised(model, batch)["z"], atol=0.3)
    quantised = next(output for output in captured.values() if output.dtype == "uint8")
    np.testing.assert_allclose(quantised.values, batch, atol=0.02)


def test_concatenated_codes() -> None:
    nodes = [
        make_node("QuantizeLinear", ["x", "s1", "z1"], ["a"], "first"),
        make_node("QuantizeLinear", ["x", "s2", "z2"], ["b"], "second"),
        make_node(
            "QLinearConcat",
            ["s3", "z3", "a", "s1", "z1", "b", "s2", "z2"],
            ["c"],
            "joined",
            domain="com.microsoft",
            axis=1,
        ),
        make_node("DequantizeLinear", ["c", "s3", "z3"], ["y"], "values"),
    ]
    weights: dict[str, Any] = {}
    for index, (scale, zero) in enumerate([(0.05, 100), (0.04, 120), (0.06, 128)], 1):
        weights[f"s{index}"], weights[f"z{index}"] = np.float32(scale), np.uint8(zero)
    model, batch = model_of(nodes, ["n", 3, 4, 4], ["y"], weights), random(1, 3, 4, 4)
    model.opset_import.append(make_opsetid("com.microsoft", 1))
    rows = table(model, batch)
    assert list(rows) == ["first", "second", "joined", ""]
    assert rows["joined"].shape == (1, 6, 4, 4)
    assert [(axis.size, axis.stride) for axis in rows["joined"].receptive] == [(1, 1)] * 2
    joined = BACKEND.capture(model, batch, ["joined"])["joined"].values
    np.testing.assert_allclose(joined[:, :3], batch, atol=0.06)
    np.testing.assert_allclose(joined[:, 3:], batch, atol=0.06)


@pytest.mark.slow
def test_the_embedded_model_quantised(tmp_path: Path) -> None:
    """EfficientNet-Lite0 with real weights in 8 bits: every stage near the float one, still a tiger cat."""
    model = onnx.load(ls.demo_model())
    wide = _in_float32(model)
    scope = ls.open(ls.demo_model())
    photos = [ls.demo_photo()]
    # The residual sums; of the activations before them, the quantiser leaves none: clipping is what codes do anyway.
    float_maps = scope.capture(photos, ["_blocks.2", "_blocks.4", "_blocks.7", "_blocks.13"])
    batch = _batch(scope)
    codes = quantised(wide, tmp_path, [batch, batch[..., ::-1].copy()], "qdq", True, "uint8")
    onnx.helper.set_model_props(codes, {prop.key: prop.value for prop in model.metadata_props})
    small = ls.open(codes)
    assert small.predict(photos[0])[0][0].label == scope.predict(photos[0])[0][0].label
    rows = small.layers()
    assert len([layer for layer in rows if "uint8" in layer.note]) > 50
    assert not [layer for layer in rows if layer.kind == "DequantizeLinear"]
    for path, fm in float_maps.items():
        other = small.capture(photos, path)[path].values
        assert np.corrcoef(other.ravel(), fm.values.ravel())[0, 1] > 0.85, path


def _in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """The embedded file keeps large weights in float16 behind a Cast; the quantiser wants them plain."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    halves = {tensor.name: tensor for tensor in plain.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    casts = [node for node in plain.graph.node if node.op_type == "Cast" and node.input[0] in halves]
    for node in casts:
        value = numpy_helper.to_array(halves[node.input[0]]).astype(np.float32)
        plain.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        plain.graph.node.remove(node)
    for tensor in halves.values():
        plain.graph.initializer.remove(tensor)
    return plain


def _batch(scope: Any) -> np.ndarray:
    batches = []
    keep = scope.backend.capture

    class Recording:
        name, gradients, picks = scope.backend.name, scope.backend.gradients, False

        def __getattr__(self, name: str) -> Any:
            return getattr(scope.backend, name)

        def capture(self, model: Any, batch: Any, paths: Any, target: Any = None) -> Any:
            batches.append(batch)
            return keep(model, batch, paths, target)

    from dataclasses import replace

    replace(scope, backend=Recording()).capture(ls.demo_photo(), "_conv_stem")
    return np.asarray(batches[-1])


def model_of_codes(reader: str, kind: str, scale: float, zero: int, second: float | None = None) -> onnx.ModelProto:
    """A model that takes codes; the operator that reads them has their scale. `second`: another reader, of that scale."""
    type_ = TensorProto.INT8 if kind == "int8" else TensorProto.UINT8
    weights = {
        "scale": np.float32(scale), "zero": np.array(zero, kind), "wscale": np.float32(0.01), "wzero": np.array(0, np.int8),
        "w": np.random.default_rng(0).integers(-127, 128, (4, 3, 2, 2), np.int8), "oscale": np.float32(0.1),
        "ozero": np.array(3, kind), "other": np.float32(second or 1),
    }  # fmt: skip
    weights = {name: np.asarray(value) for name, value in weights.items()}
    if reader == "DequantizeLinear":
        nodes = [make_node(reader, ["x", "scale", "zero"], ["y"], name="first")]
    else:
        inputs = ["x", "scale", "zero", "w", "wscale", "wzero", "oscale", "ozero"]
        nodes = [make_node(reader, inputs, ["y"], name="first")]
    outputs = ["y"]
    if second is not None:
        nodes.append(make_node("DequantizeLinear", ["x", "other", "zero"], ["z"], name="again"))
        outputs.append("z")
    return model_of(nodes, [1, 3, 8, 6], outputs, weights, opset=13, kind=type_)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("reader", ["DequantizeLinear", "QLinearConv"])
def test_a_photo_is_quantised_into_an_input_of_codes(reader: str, kind: str) -> None:
    scale, zero = 0.02, 5 if kind == "int8" else 117
    model = model_of_codes(reader, kind, scale, zero)
    scope = ls.open(model, preprocess={"divide": 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})
    wording(scope.plan.note, kind, "0.02", zero)
    photo = np.random.default_rng(1).integers(0, 256, (8, 6, 3), np.uint8)
    model_input = ((photo / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)[None]
    limits = np.iinfo(kind)
    codes = np.clip(np.round(model_input / np.float32(scale)) + zero, limits.min, limits.max).astype(kind)
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], {"x": codes})
    if reader == "QLinearConv":
        expected = (expected.astype(np.float32) - 3) * np.float32(0.1)
    assert len(np.unique(expected)) > 20
    fm_values = scope.capture(photo, "first")["first"].values
    np.testing.assert_allclose(fm_values, expected.transpose(0, 2, 3, 1), rtol=1e-6)
    ready = ls.open(model, preprocess=None).capture(codes, "first")["first"].values
    np.testing.assert_array_equal(fm_values, ready)


@pytest.mark.parametrize(
    ("scale", "zero", "recipe"),
    [(1 / 255, -128, "unit"), (2 / 255, 0, "tf"), (1.0, -128, "raw"), (0.02, 5, None)],
)
def test_the_range_of_an_input_of_codes_shows_what_it_takes(scale: float, zero: int, recipe: str | None) -> None:
    facts = BACKEND.facts(model_of_codes("DequantizeLinear", "int8", scale, zero))
    assert (facts.recipe, bool(facts.source), facts.inputs[0].dtype) == (recipe, bool(recipe), "float32")


def test_pixels_go_into_an_input_of_uint8_as_they_are() -> None:
    scope = ls.open(model_of_codes("DequantizeLinear", "uint8", 0.02, 117))
    assert (scope.preprocess.name, scope.plan.dtype) == ("raw", "uint8")
    photo = np.random.default_rng(1).integers(0, 256, (8, 6, 3), np.uint8)
    fm_values = scope.capture(photo, "first")["first"].values
    np.testing.assert_allclose(fm_values[0], (photo.astype(np.float32) - 117) * np.float32(0.02), rtol=1e-6)


def test_codes_that_nothing_explains_are_refused() -> None:
    plain = model_of(
        [make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], [1, 3, 8, 6], ["y"], kind=TensorProto.INT8
    )
    for model in (plain, model_of_codes("DequantizeLinear", "int8", 0.02, 5, second=0.5)):
        assert BACKEND.facts(model).inputs[0].codes == ""
        with raises(ls.PreprocessUnknown):
            ls.open(model)
        with raises(ls.ModelNotReadable, "1", "3", "8", "6"):
            BACKEND.capture(model, random(1, 3, 8, 6), ["y"])


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded network quantised by ONNX Runtime's own steps, calibrated with the embedded photo."""
    folder = tmp_path_factory.mktemp("twin")
    photo = np.asarray(Image.open(ls.demo_photo()).convert("RGB").resize((224, 224)), np.float32)
    batch = ((photo - 127) / 128).transpose(2, 0, 1)[None]
    quant_pre_process(ls.demo_model(), folder / "folded.onnx", skip_symbolic_shape=True)
    quantised(onnx.load(folder / "folded.onnx"), folder, [batch], "qdq", True, "int8")
    return folder / "codes.onnx"


@pytest.mark.slow
def test_a_network_and_its_quantised_twin_differ_by_what_quantising_changed(twin: Path) -> None:
    layer = "_blocks.0._project_conv"
    a = ls.open("demo").capture(ls.demo_photo(), layer)[layer]
    b = ls.open(twin).capture(ls.demo_photo(), layer)[layer]
    change = ls.difference(a, b)
    np.testing.assert_array_equal(change.values, a.values - b.values)
    assert len(np.unique(b.values)) <= 256 < len(np.unique(a.values))
    by_kind = {kind_of(note): note for note in change.notes}
    a_is, b_is = by_kind["sides"].split(", b is ")
    assert "efficientnet-lite0" in a_is and "codes" in b_is and "int8" in b_is
    share = np.linalg.norm(change.values.ravel()) / np.linalg.norm(b.values.ravel())
    assert f"{share:.3g}" in by_kind["overall"] and 0.001 < share < 0.3
    rms = np.sqrt(np.square(change.values, dtype=np.float64).mean((0, 1, 2)))
    assert f"{rms.argmax()} ({rms.max():.3g})," in by_kind["most-changed"]
    assert "one-signed" not in by_kind, "both have both signs"
    picture = ls.sheet(change, sort="energy")
    assert [cell.channel for cell in picture.cells] == np.argsort(-rms, kind="stable").tolist()
    assert "int8" in picture.alt()
    ls.overlay(ls.norm(change), contours=2)  # one photo, one placement on it


@pytest.mark.slow
def test_a_quantised_layer_that_holds_its_activation_is_not_taken_for_the_one_before_it(twin: Path) -> None:
    """The quantiser drops Clip: the range of the convolution begins at 0, under the convolution's own name."""
    a = ls.open("demo").capture(ls.demo_photo(), ["_conv_stem", "_swish:0"])
    b = ls.open(twin).capture(ls.demo_photo(), "_conv_stem")["_conv_stem"]
    before, after = ls.difference(a["_conv_stem"], b), ls.difference(a["_swish:0"], b)
    below = float((a["_conv_stem"].values < 0).mean())
    for difference, negative in ((before, "a"), (ls.difference(b, a["_conv_stem"]), "b")):
        (note,) = [note for note in difference.notes if kind_of(note) == "one-signed"]
        assert note.split()[:3] == [f"{below:.0%}", "of", negative]
    assert "one-signed" not in map(kind_of, after.notes)
    size = np.linalg.norm(b.values)
    assert np.linalg.norm(after.values) / size < 0.1 < np.linalg.norm(before.values) / size
