"""The ONNX backend against `onnx.reference`, torch hooks and numpy."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.reference import ReferenceEvaluator

from layerscope.backends import Backend
from layerscope.backends import onnx_graph as graph_module
from layerscope.backends.onnx import OnnxBackend
from layerscope.backends.onnx_graph import Graph, cut
from layerscope.errors import GradientsUnavailable, LayerNotCalled, LayerNotFound, ModelNotReadable
from layerscope.layer import Layer, LayerTable

FLOAT = TensorProto.FLOAT
BACKEND = OnnxBackend(threads=1)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model_of(
    nodes: list[onnx.NodeProto],
    shape: list[Any],
    outputs: list[str],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    kind: int = FLOAT,
) -> onnx.ModelProto:
    """A model with one input `x`."""
    graph = make_graph(
        nodes,
        "tiny",
        [make_tensor_value_info("x", kind, shape)],
        [onnx.ValueInfoProto(name=each) for each in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    return make_model(graph, opset_imports=[make_opsetid("", opset)], ir_version=8 if opset < 19 else 10)


def table(model: Any, batch: Any) -> dict[str, Layer]:
    return {each.path: each for each in BACKEND.layers(model, batch)}


def reference(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of a graph, by ONNX's own reference implementation."""
    return ReferenceEvaluator(model).run(None, feeds, intermediate=True)


def assert_all_equal(
    model: onnx.ModelProto, batch: np.ndarray, tolerance: float = 1e-5, twin: onnx.ModelProto | None = None
) -> None:
    """Each layer, captured alone and together with all others, equals the reference on `twin` or the model itself."""
    layers = [each for each in BACKEND.layers(model, batch) if each.path]
    expected = reference(twin or model, {"x": batch})
    together = BACKEND.capture(model, batch, [each.path for each in layers])
    assert list(together) == [each.path for each in layers]
    for each in layers:
        wanted = next(expected[name] for name in (each.path, *each.aliases) if name in expected)
        alone = BACKEND.capture(model, batch, [each.path])[each.path].values
        for values in (alone, together[each.path].values):
            assert values.dtype == wanted.dtype
            np.testing.assert_allclose(values, wanted, rtol=tolerance, atol=tolerance, err_msg=each.path)


def cnn(opset: int = 17) -> onnx.ModelProto:
    """Conv-BN-ReLU, a residual, pooling, Flatten, Gemm."""
    weights = {
        "w1": random(8, 3, 3, 3, seed=1),
        "w2": random(8, 8, 3, 3, seed=2) * 0.2,
        "w3": random(8, 5, seed=3),
        "b3": random(5, seed=9),
        **{f"bn{at}": np.abs(random(8, seed=4 + at)) + 0.1 for at in range(4)},
    }
    nodes = [
        make_node("Conv", ["x", "w1"], ["getitem_6"], "conv1", pads=[1, 1, 1, 1]),
        make_node("BatchNormalization", ["getitem_6", "bn0", "bn1", "bn2", "bn3"], ["norm"], "bn"),
        make_node("Relu", ["norm"], ["relu"], "act"),
        make_node("Conv", ["relu", "w2"], ["conv2_out"], "conv2", pads=[1, 1, 1, 1]),
        make_node("Add", ["conv2_out", "relu"], ["sum"], "residual"),
        make_node("Relu", ["sum"], ["relu2"], ""),
        make_node("MaxPool", ["relu2"], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        make_node("GlobalAveragePool", ["pooled"], ["gap"], "gap_node"),
        make_node("Flatten", ["gap"], ["flat"], "flatten"),
        make_node("Gemm", ["flat", "w3", "b3"], ["logits"], "fc"),
    ]
    return model_of(nodes, ["n", 3, 8, 6], ["logits"], weights, opset)


def fails_late() -> onnx.ModelProto:
    """A model whose last node can't run: it reshapes 6 numbers into 4."""
    nodes = [
        make_node("Relu", ["x"], ["early"], "early_node"),
        make_node("Reshape", ["early", "four"], ["late"], "late_node"),
    ]
    return model_of(nodes, ["n", 6], ["late"], {"four": np.array([4], np.int64)})


# -- values -----------------------------------------------------------------------------------------------------------


def test_it_is_a_backend() -> None:
    assert isinstance(BACKEND, Backend)
    assert BACKEND.owns(cnn())
    assert not BACKEND.owns("cnn.onnx")


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 21])
def test_every_node_of_a_cnn_equals_the_reference(opset: int) -> None:
    # up to opset 13 the reference takes BatchNormalization for training; the operators here mean the same in all opsets
    assert_all_equal(cnn(opset), random(2, 3, 8, 6), twin=cnn(max(opset, 15)))


def random_model(seed: int) -> onnx.ModelProto:
    """A chain of steps that ONNX Runtime likes to fuse, in random order, with residuals."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {"half": np.float32(0.5), "one": np.float32(1), "root": np.float32(2**0.5)}
    nodes: list[onnx.NodeProto] = []
    tensors = ["x"]

    def add(kind: str, inputs: list[str], **said: Any) -> str:
        name = f"t{len(nodes)}"
        nodes.append(make_node(kind, inputs, [name], f"node{len(nodes)}", **said))
        tensors.append(name)
        return name

    def weight(*shape: int) -> str:
        name = f"w{len(weights)}"
        weights[name] = rng.standard_normal(shape).astype(np.float32) * 0.3
        return name

    def norm(now: str) -> str:
        scale, shift, mean, spread = (weight(4) for _ in range(4))
        weights[spread] = np.abs(weights[spread]) + 0.5
        return add("BatchNormalization", [now, scale, shift, mean, spread])

    def gelu(now: str) -> str:
        inner = add("Add", [add("Erf", [add("Div", [now, "root"])]), "one"])
        return add("Mul", [add("Mul", [now, inner]), "half"])

    weights["pads"] = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    steps = [
        lambda now: add("Conv", [now, weight(4, 4, 3, 3), weight(4)], pads=[1, 1, 1, 1]),
        lambda now: add("Conv", [add("Pad", [now, "pads"]), weight(4, 4, 3, 3)]),
        lambda now: add("Conv", [now, weight(4, 1, 3, 3)], pads=[1, 1, 1, 1], group=4),
        norm,
        gelu,
        lambda now: add("Relu", [now]),
        lambda now: add("Clip", [now, "", "one"]),
        lambda now: add("LeakyRelu", [now], alpha=0.1),
        lambda now: add("Mul", [now, add("Sigmoid", [now])]),
        lambda now: add("Mul", [now, weight(4, 1, 1)]),
        lambda now: add("Add", [now, weight(1, 4, 1, 1)]),
        lambda now: add("Add", [now, str(rng.choice(tensors))]),
        lambda now: add("MatMul", [now, weight(6, 6)]),
        lambda now: add("Transpose", [add("Transpose", [now], perm=[0, 2, 3, 1])], perm=[0, 3, 1, 2]),
        lambda now: add("Identity", [now]),
        lambda now: add("AveragePool", [now], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ]
    now = "x"
    for at in rng.integers(0, len(steps), 8):
        before = list(tensors)
        now = steps[at](now)
        tensors[:] = [*before, now]  # inner tensors may have another shape
    return model_of(nodes, ["n", 4, 6, 6], [now], weights)


@pytest.mark.parametrize("seed", range(40))
def test_optimisation_changes_no_captured_value(seed: int) -> None:
    assert_all_equal(random_model(seed), random(2, 4, 6, 6, seed=seed), tolerance=3e-5)


def test_input_is_left_as_it_was_and_the_result_is_a_copy() -> None:
    model = model_of([make_node("Identity", ["x"], ["y"], "same")], ["n", 3], ["y"])
    batch = random(2, 3)
    before = batch.copy()
    BACKEND.capture(model, batch, ["same"])["same"].values[:] = 7
    assert np.array_equal(batch, before)


def test_the_users_model_is_not_changed() -> None:
    model = cnn()
    before = model.SerializeToString(deterministic=True)
    BACKEND.layers(model, random(1, 3, 8, 6))
    BACKEND.capture(model, random(1, 3, 8, 6), ["conv1", "fc"])
    BACKEND.facts(model)
    with pytest.raises(ModelNotReadable):
        BACKEND.capture(fails_late(), random(1, 6), ["late_node"])
    assert model.SerializeToString(deterministic=True) == before


def test_a_changed_model_is_not_answered_from_an_old_session() -> None:
    model, batch = cnn(), random(1, 3, 8, 6)
    first = BACKEND.capture(model, batch, ["conv1"])["conv1"].values
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(2 * random(8, 3, 3, 3, seed=1), "w1"))
    np.testing.assert_allclose(BACKEND.capture(model, batch, ["conv1"])["conv1"].values, 2 * first, rtol=1e-5)


# -- names ------------------------------------------------------------------------------------------------------------


def test_nodes_and_tensors_find_layers() -> None:
    batch = random(1, 3, 8, 6)
    found = BACKEND.capture(cnn(), batch, ["getitem_6", "act", "relu2", "logits", "", "bn:0"])
    assert list(found) == ["getitem_6", "bn:0", "act", "relu2", "logits", ""]
    assert np.array_equal(found["logits"].values, found[""].values)
    layers = LayerTable(BACKEND.layers(cnn(), batch))
    assert [each.path for each in layers] == [
        *("conv1", "bn", "act", "conv2", "residual", "relu2", "pool", "gap_node", "flatten", "fc", ""),
    ]
    assert layers.choose("getitem_6")[0].path == "conv1"
    assert layers[-1].aliases == ("logits",)
    assert [each.index for each in layers] == list(range(11))


def test_tensor_names_with_a_colon_win_over_call_numbers() -> None:
    nodes = [
        make_node("Relu", ["x"], ["net/relu:0"], "net/relu"),
        make_node("Neg", ["net/relu:0"], ["net/relu:1"], "net/neg"),
    ]
    model, batch = model_of(nodes, ["n", 3], ["net/relu:1"]), random(1, 3)
    found = BACKEND.capture(model, batch, ["net/relu:0", "net/relu:1"])
    np.testing.assert_array_equal(found["net/relu:0"].values, np.maximum(batch, 0))
    np.testing.assert_array_equal(found["net/relu:1"].values, -np.maximum(batch, 0))


def test_paths_are_unique_when_names_are_not() -> None:
    nodes = [make_node("Relu", ["x"], ["same"]), make_node("Neg", ["same"], ["b"], "same")]
    model, batch = model_of(nodes, ["n", 3], ["b"]), random(1, 3)
    assert [each.path for each in BACKEND.layers(model, batch)] == ["same", "same_2", ""]
    np.testing.assert_array_equal(BACKEND.capture(model, batch, ["b"])["b"].values, -np.maximum(batch, 0))


def test_unknown_names_are_refused_with_the_reason() -> None:
    batch = random(1, 3, 8, 6)
    with pytest.raises(LayerNotFound, match="'conv1'"):
        BACKEND.capture(cnn(), batch, ["con1"])
    with pytest.raises(LayerNotFound, match="ran 1 times"):
        BACKEND.capture(cnn(), batch, ["conv1:1"])
    with pytest.raises(LayerNotCalled, match="a weight"):
        BACKEND.capture(cnn(), batch, ["w1"])
    with pytest.raises(LayerNotCalled, match="input"):
        BACKEND.capture(cnn(), batch, ["x"])
    with pytest.raises(GradientsUnavailable, match="eigen_cam"):
        BACKEND.capture(cnn(), batch, ["conv1"], target=1)


def test_weights_constants_and_arithmetic_on_sizes_are_no_layers() -> None:
    nodes = [
        make_node("Cast", ["half"], ["wide"], "weight_cast", to=FLOAT),
        make_node("Conv", ["x", "wide"], ["y"], "conv"),
        make_node("Shape", ["y"], ["sizes"], "shape"),
        make_node("Gather", ["sizes", "zero"], ["count"], "gather"),
        make_node("Concat", ["count", "rest"], ["to"], "concat", axis=0),
        make_node("Reshape", ["y", "to"], ["z"], "flat"),
    ]
    weights = {
        "half": random(2, 3, 1, 1).astype(np.float16),
        "zero": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
    }
    model, batch = model_of(nodes, ["n", 3, 4, 5], ["z"], weights), random(3, 3, 4, 5)
    found = table(model, batch)
    assert list(found) == ["conv", "flat", ""]
    assert (found["flat"].axes, found["flat"].shape) == ("bc", (1, 40))
    with pytest.raises(LayerNotCalled, match="arithmetic on sizes"):
        BACKEND.capture(model, batch, ["shape"])
    wanted = reference(model, {"x": batch})
    np.testing.assert_allclose(BACKEND.capture(model, batch, ["flat"])["flat"].values, wanted["z"], rtol=1e-5)


def test_a_node_with_several_outputs() -> None:
    nodes = [
        make_node("Split", ["x", "sizes"], ["a", "b", "c"], "split", axis=1),
        make_node("Neg", ["c"], ["y"], "neg"),
    ]
    model = model_of(nodes, ["n", 6], ["y", "a"], {"sizes": np.array([1, 2, 3], np.int64)})
    batch = random(2, 6)
    assert list(table(model, batch)) == ["split", "split[1]", "split[2]", "neg", ""]
    found = BACKEND.capture(model, batch, ["split", "b", "split[2]"])
    for name, wanted in (("split", batch[:, :1]), ("b", batch[:, 1:3]), ("split[2]", batch[:, 3:])):
        np.testing.assert_array_equal(found[name].values, wanted)


def test_fused_operators_say_so() -> None:
    node = make_node("FusedConv", ["x", "w"], ["y"], "conv", domain="com.microsoft", activation="Relu")
    model = model_of([node], ["n", 3, 4, 4], ["y"], {"w": random(2, 3, 1, 1)})
    model.opset_import.append(make_opsetid("com.microsoft", 1))
    batch = random(1, 3, 4, 4)
    found = table(model, batch)["conv"]
    assert (found.kind, found.axes, found.shape) == ("Conv+Relu", "bchw", (1, 2, 4, 4))
    wanted = np.maximum(np.einsum("oi,bihw->bohw", random(2, 3, 1, 1)[:, :, 0, 0], batch), 0)
    np.testing.assert_allclose(BACKEND.capture(model, batch, ["conv"])["conv"].values, wanted, rtol=1e-5, atol=1e-6)


# -- cutting ----------------------------------------------------------------------------------------------------------


def test_the_cut_holds_only_what_is_needed() -> None:
    graph = Graph(cnn())
    part = onnx.ModelProto.FromString(cut(graph, ["relu"], None).content)
    assert [each.name for each in part.graph.node] == ["conv1", "bn", "act"]
    assert {each.name for each in part.graph.initializer} == {"w1", "bn0", "bn1", "bn2", "bn3"}


def test_an_early_layer_of_a_model_that_fails_later() -> None:
    batch = random(1, 6)
    found = BACKEND.capture(fails_late(), batch, ["early_node"])
    np.testing.assert_array_equal(found["early_node"].values, np.maximum(batch, 0))
    with pytest.raises(ModelNotReadable, match="could not run the model"):
        BACKEND.capture(fails_late(), batch, ["late_node"])


def save_with_side_file(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save(cnn(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (folder / "weights.bin").exists()
    return path


def test_weights_in_a_side_file_of_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_with_side_file(tmp_path / "there")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    model, batch = BACKEND.load(Path("../there/model.onnx")), random(2, 3, 8, 6)
    wanted = reference(cnn(), {"x": batch})
    found = BACKEND.capture(model, batch, ["conv2", "fc"])
    np.testing.assert_allclose(found["conv2"].values, wanted["conv2_out"], rtol=1e-5, atol=1e-5)
    assert table(model, batch)["fc"].shape == (1, 5)
    digest = BACKEND.facts(BACKEND.load(path)).digest
    content = bytearray((tmp_path / "there" / "weights.bin").read_bytes())
    content[5] ^= 1
    (tmp_path / "there" / "weights.bin").write_bytes(content)
    assert BACKEND.facts(BACKEND.load(path)).digest != digest
    (tmp_path / "there" / "weights.bin").unlink()
    with pytest.raises(ModelNotReadable, match="side file"):
        BACKEND.capture(BACKEND.load(path), batch, ["fc"])


def test_a_proto_whose_side_files_were_not_loaded(tmp_path: Path) -> None:
    path = save_with_side_file(tmp_path / "there")
    with pytest.raises(ModelNotReadable, match=r"weights\.bin.*give the path"):
        BACKEND.capture(onnx.load(path, load_external_data=False), random(1, 3, 8, 6), ["conv1"])


def test_the_two_gigabyte_limit_counts_only_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "PROTOBUF_LIMIT", 2000)
    batch = random(1, 3, 8, 6)
    assert BACKEND.capture(cnn(), batch, ["conv1"])["conv1"].values.shape == (1, 8, 8, 6)
    with pytest.raises(ModelNotReadable, match="ask for earlier layers"):
        BACKEND.capture(cnn(), batch, ["conv2"])


@pytest.mark.parametrize("saved", [False, True])
def test_large_weights_are_given_beside_the_graph(saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "PROTOBUF_LIMIT", 200)
    monkeypatch.setattr(graph_module, "LARGE", 100)
    model = BACKEND.load(save_with_side_file(tmp_path / "there")) if saved else cnn()
    part = cut(Graph(cnn()), ["logits"], None)
    assert set(part.weights) == {"w1", "w2", "w3"}
    assert len(part.content) < 2000
    batch = random(2, 3, 8, 6)
    wanted = reference(cnn(), {"x": batch})
    found = BACKEND.capture(model, batch, ["conv1", "conv2", "fc"])
    gc.collect()
    for values in (found, BACKEND.capture(model, batch, ["conv1", "conv2", "fc"])):
        np.testing.assert_allclose(values["conv2"].values, wanted["conv2_out"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(values["fc"].values, wanted["logits"], rtol=1e-5, atol=1e-5)


def test_a_hundred_captures_keep_sessions_and_memory_flat(tmp_path: Path) -> None:
    path, batch = tmp_path / "cnn.onnx", random(4, 3, 8, 6)
    onnx.save(cnn(), path)
    backend = OnnxBackend(threads=1)
    model = backend.load(path)
    paths = [each.path for each in backend.layers(model, batch)]

    def run() -> int:
        for at in range(100):
            backend.capture(model, batch, [paths[at % len(paths)]])
            backend.capture(model.proto, batch, ["conv1", "fc"])
        gc.collect()
        return int(Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not Path("/proc/self/statm").exists():
        pytest.skip("resident memory is read from /proc")
    run()
    before = run()
    assert run() - before < 4e6
    assert len(model.sessions) <= 3
    assert len(backend._sessions) == 1


def test_the_number_of_threads_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERSCOPE_ONNX_THREADS", "1")
    model = cnn()
    backend = OnnxBackend()
    backend.capture(model, random(1, 3, 8, 6), ["conv1"])
    (session,) = backend._sessions._kept.values()
    assert session.session.get_session_options().intra_op_num_threads == 1


# -- inputs and types -------------------------------------------------------------------------------------------------


def test_float16_models_take_float32_batches() -> None:
    weights = {"w": random(4, 3, 3, 3).astype(np.float16)}
    model = model_of(
        [make_node("Conv", ["x", "w"], ["y"], "conv"), make_node("Relu", ["y"], ["z"], "relu")],
        ["n", 3, 6, 6],
        ["z"],
        weights,
        kind=TensorProto.FLOAT16,
    )
    batch = random(2, 3, 6, 6)
    found = BACKEND.capture(model, batch, ["conv", "relu"])
    wanted = reference(model, {"x": batch.astype(np.float16)})
    assert found["conv"].values.dtype == np.float16
    np.testing.assert_allclose(found["conv"].values, wanted["y"], atol=0.02)
    assert BACKEND.facts(model).inputs[0].dtype == "float16"


def test_bfloat16_comes_as_float32_with_its_name() -> None:
    nodes = [
        make_node("Cast", ["x"], ["half"], "to_half", to=TensorProto.BFLOAT16),
        make_node("Cast", ["half"], ["y"], "back", to=FLOAT),
    ]
    model, batch = model_of(nodes, ["n", 5], ["y"]), random(2, 5)
    found = BACKEND.capture(model, batch, ["to_half", "back"])
    rounded = (batch.view(np.uint32) + 0x7FFF + (batch.view(np.uint32) >> 16 & 1)) & 0xFFFF0000
    assert found["to_half"].dtype == "bfloat16"
    assert found["back"].dtype == ""
    np.testing.assert_array_equal(found["to_half"].values, rounded.view(np.float32))


def quantised() -> onnx.ModelProto:
    """QDQ: input and weights as 8 bit codes around a convolution and a ReLU."""
    weights = {
        "scale": np.float32(0.05),
        "zero": np.int8(3),
        "codes": np.random.default_rng(5).integers(-90, 90, (4, 3, 3, 3)).astype(np.int8),
        "wscale": np.float32(0.01),
        "wzero": np.int8(0),
    }
    nodes = [
        make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantise"),
        make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], "dequantise"),
        make_node("DequantizeLinear", ["codes", "wscale", "wzero"], ["w"], "weight"),
        make_node("Conv", ["d", "w"], ["y"], "conv"),
        make_node("Relu", ["y"], ["r"], "relu"),
        make_node("QuantizeLinear", ["r", "scale", "zero"], ["q2"], "quantise2"),
        make_node("DequantizeLinear", ["q2", "scale", "zero"], ["out"], "dequantise2"),
    ]
    return model_of(nodes, ["n", 3, 6, 6], ["out"], weights, opset=19)


def test_int8_codes_and_what_they_stand_for() -> None:
    batch = random(2, 3, 6, 6)
    found = table(quantised(), batch)
    assert list(found) == ["quantise", "dequantise", "conv", "relu", "quantise2", "dequantise2", ""]
    assert "codes" in found["quantise"].note
    assert_all_equal(quantised(), batch)
    assert BACKEND.capture(quantised(), batch, ["quantise2"])["quantise2"].values.dtype == np.int8


@pytest.mark.parametrize("seed", range(10))
def test_fusing_does_not_move_the_codes_of_a_quantised_graph(seed: int) -> None:
    """With all optimisations on, the last of these layers is off by up to two codes."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {"wscale": np.float32(0.004), "scale": np.float32(0.05), "zero": np.uint8(9)}
    nodes = [
        make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantise"),
        make_node("DequantizeLinear", ["q", "scale", "zero"], ["d0"], "dequantise"),
    ]
    for at in range(4):
        weights[f"codes{at}"] = rng.integers(-100, 100, (4, 4, 3, 3)).astype(np.int8)
        nodes += [
            make_node("DequantizeLinear", [f"codes{at}", "wscale"], [f"w{at}"]),
            make_node("Conv", [f"d{at}", f"w{at}"], [f"c{at}"], f"conv{at}", pads=[1, 1, 1, 1]),
            make_node("Relu", [f"c{at}"], [f"r{at}"], f"relu{at}"),
            make_node("QuantizeLinear", [f"r{at}", "scale", "zero"], [f"q{at}"], f"quantise{at}"),
            make_node("DequantizeLinear", [f"q{at}", "scale", "zero"], [f"d{at + 1}"], f"dequantise{at}"),
        ]
    assert_all_equal(model_of(nodes, ["n", 4, 8, 8], ["d4"], weights, opset=19), random(1, 4, 8, 8, seed=seed))


def test_a_model_for_one_image_gets_three() -> None:
    model, batch = cnn(), random(3, 3, 8, 6)
    wanted = reference(model, {"x": batch})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    found = BACKEND.capture(model, batch, ["conv1", "fc"])
    np.testing.assert_allclose(found["conv1"].values, wanted["getitem_6"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["fc"].values, wanted["logits"], rtol=1e-5, atol=1e-5)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    with pytest.raises(ModelNotReadable, match="exactly 2 images"):
        BACKEND.capture(model, batch, ["conv1"])


def test_three_images_need_a_batch_axis_to_join_on() -> None:
    model = model_of([make_node("Squeeze", ["x", "zero"], ["y"], "squeeze")], [1, 4, 5], ["y"], {"zero": np.array([0])})
    with pytest.raises(ModelNotReadable, match="no known batch axis"):
        BACKEND.capture(model, random(3, 4, 5), ["squeeze"])


def test_several_inputs_by_order_and_by_name() -> None:
    graph = make_graph(
        [make_node("Add", ["left", "right"], ["sum"], "add")],
        "two",
        [make_tensor_value_info(each, FLOAT, ["n", 4]) for each in ("left", "right")],
        [make_tensor_value_info("sum", FLOAT, ["n", 4])],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)
    left, right = random(2, 4, seed=1), random(2, 4, seed=2)
    for batch in ((left, right), {"right": right, "left": left}):
        np.testing.assert_array_equal(BACKEND.capture(model, batch, ["add"])["add"].values, left + right)
    for wrong in (left, (left,), {"left": left, "rigth": right}):
        with pytest.raises(ModelNotReadable, match="2 inputs: 'left'"):
            BACKEND.capture(model, wrong, ["add"])


def test_a_batch_that_does_not_fit_says_what_does() -> None:
    with pytest.raises(ModelNotReadable, match=r"takes float32\[any, 3, 8, 6\]; the batch is float32\[1, 8, 6, 3\]"):
        BACKEND.capture(cnn(), random(1, 8, 6, 3), ["conv1"])
    with pytest.raises(ModelNotReadable, match="the batch is uint8"):
        BACKEND.capture(cnn(), np.zeros((1, 3, 8, 6), np.uint8), ["conv1"])


def test_bodies_of_control_flow_are_run_but_not_looked_into() -> None:
    def branch(kind: str) -> onnx.GraphProto:
        return make_graph([make_node(kind, ["a"], [f"{kind}_y"])], kind, [], [onnx.ValueInfoProto(name=f"{kind}_y")])

    nodes = [
        make_node("Mul", ["x", "x"], ["a"], "square"),
        make_node("ReduceSum", ["x"], ["s"], "sum", keepdims=0),
        make_node("Greater", ["s", "limit"], ["large"], "greater"),
        make_node("If", ["large"], ["y"], "choice", then_branch=branch("Neg"), else_branch=branch("Sqrt")),
    ]
    model = model_of(nodes, ["n", 3], ["y"], {"limit": np.float32(0)})
    batch = np.abs(random(1, 3))
    found = table(model, batch)
    assert list(found) == ["square", "sum", "greater", "choice", ""]
    assert "can't be looked into" in found["choice"].note
    assert "single number" in found["sum"].note
    for sign, wanted in ((1, -(batch**2)), (-1, batch)):
        values = BACKEND.capture(model, sign * batch, ["choice"])["choice"].values
        np.testing.assert_allclose(values, wanted, rtol=1e-6)


def test_a_sequence_is_no_layer_with_a_picture() -> None:
    nodes = [
        make_node("SplitToSequence", ["x"], ["parts"], "cutting", axis=1),
        make_node("ConcatFromSequence", ["parts"], ["y"], "joining", axis=1),
    ]
    model, batch = model_of(nodes, ["n", 3], ["y"]), random(2, 3)
    found = table(model, batch)
    assert not found["cutting"].showable
    assert "sequence" in found["cutting"].note
    with pytest.raises(LayerNotCalled, match="no tensor"):
        BACKEND.capture(model, batch, ["cutting"])
    np.testing.assert_array_equal(BACKEND.capture(model, batch, ["joining"])["joining"].values, batch)


# -- files and facts --------------------------------------------------------------------------------------------------


def test_files_that_are_no_models(tmp_path: Path) -> None:
    for name, content in (("text.onnx", b"not a model at all"), ("empty.onnx", b""), ("half.onnx", None)):
        path = tmp_path / name
        path.write_bytes(cnn().SerializeToString()[:200] if content is None else content)
        with pytest.raises(ModelNotReadable, match=rf"{name} is no ONNX model, or a damaged one"):
            BACKEND.load(path)
    with pytest.raises(ModelNotReadable, match="there is no file"):
        BACKEND.load(tmp_path / "absent.onnx")
    good = tmp_path / "good.onnx"
    onnx.save(cnn(), good)
    with pytest.raises(ModelNotReadable, match="leave weights out"):
        BACKEND.load(good, weights=good)


def test_facts(tmp_path: Path) -> None:
    model = cnn()
    model.metadata_props.add(key="layerscope.labels", value="cat\ndog")
    model.metadata_props.add(key="layerscope.preprocess", value='{"divide": 255.0}')
    path = tmp_path / "a.onnx"
    onnx.save(model, path)
    facts = BACKEND.facts(BACKEND.load(path))
    assert (facts.name, facts.labels, facts.recipe) == ("tiny", ("cat", "dog"), {"divide": 255.0})
    assert (facts.inputs[0].name, facts.inputs[0].axes, facts.inputs[0].shape) == ("x", "bchw", (None, 3, 8, 6))
    assert facts.framework.startswith("onnxruntime ")
    assert facts.source == "the model's metadata"
    assert facts.digest == BACKEND.facts(BACKEND.load(path)).digest != BACKEND.facts(cnn()).digest
    plain = BACKEND.facts(cnn())
    assert (plain.labels, plain.recipe, plain.source) == (None, None, "")


def test_broken_metadata_is_named() -> None:
    model = cnn()
    model.metadata_props.add(key="layerscope.preprocess", value="{")
    with pytest.raises(ModelNotReadable, match=r"layerscope\.preprocess"):
        BACKEND.facts(model)


# -- axes -------------------------------------------------------------------------------------------------------------


def test_axes_of_a_channels_last_graph_from_tensorflow() -> None:
    nodes = [
        make_node("Sub", ["x", "mean"], ["centred"], "centre"),
        make_node("Transpose", ["centred"], ["first"], "to_first", perm=[0, 3, 1, 2]),
        make_node("Conv", ["first", "w"], ["conv"], "conv"),
        make_node("Transpose", ["conv"], ["last"], "to_last", perm=[0, 2, 3, 1]),
        make_node("Relu", ["last"], ["relu"], "relu"),
        make_node("ReduceMean", ["relu"], ["mean2"], "pool", axes=[1, 2], keepdims=0),
        make_node("MatMul", ["mean2", "fc"], ["dense"], "dense"),
        make_node("Softmax", ["dense"], ["y"], "softmax"),
    ]
    weights = {"mean": random(3), "w": random(3, 3, 1, 1), "fc": random(3, 2)}
    model, batch = model_of(nodes, ["n", 3, 5, 3], ["y"], weights), random(1, 3, 5, 3)
    axes = {path: layer.axes for path, layer in table(model, batch).items()}
    assert axes == {
        "centre": "bhwc",
        "to_first": "bchw",
        "conv": "bchw",
        "to_last": "bhwc",
        "relu": "bhwc",
        "pool": "bc",
        "dense": "bc",
        "softmax": "bc",
        "": "bc",
    }
    assert BACKEND.facts(model).inputs[0].axes == "bhwc"
    assert not any(layer.note for layer in table(model, batch).values())


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_axes_where_they_are_attributes_and_where_they_are_inputs(opset: int) -> None:
    def listed(kind: str, start: int, now: str, to: str, axes: list[int], **said: Any) -> onnx.NodeProto:
        if opset < start:
            return make_node(kind, [now], [to], to, axes=axes, **said)
        weights[f"{to}.axes"] = np.array(axes, np.int64)
        return make_node(kind, [now, f"{to}.axes"], [to], to, **said)

    weights = {"w": random(4, 3, 1, 1), "cls": np.array(0, np.int64)}
    nodes = [
        make_node("Conv", ["x", "w"], ["conv"], "conv"),
        listed("ReduceMean", 18, "conv", "kept", [2, 3], keepdims=1),
        listed("Squeeze", 13, "kept", "squeezed", [2, 3]),
        listed("Unsqueeze", 13, "squeezed", "again", [2, 3]),
        listed("ReduceSum", 13, "conv", "rows", [-1], keepdims=0),
        make_node("Gather", ["conv", "cls"], ["first"], "first", axis=2),
        make_node("Mul", ["again", "conv"], ["scaled"], "scaled"),
        make_node("ArgMax", ["conv"], ["best"], "best", axis=1, keepdims=0),
        make_node("Identity", ["scaled"], ["y"], "y"),
    ]
    model = model_of(nodes, ["n", 3, 4, 5], ["y"], weights, opset)
    found = {path: layer.axes for path, layer in table(model, random(1, 3, 4, 5)).items()}
    assert found == {
        "conv": "bchw",
        "kept": "bchw",
        "squeezed": "bc",
        "again": "bchw",
        "rows": "bch",
        "first": "bcw",
        "scaled": "bchw",
        "best": "bhw",
        "y": "bchw",
        "": "bchw",
    }
    assert_all_equal(model, random(2, 3, 4, 5))


@pytest.mark.parametrize(("spatial", "axes"), [((9,), "bcn"), ((4, 5), "bchw"), ((3, 4, 5), "bcdhw")])
def test_axes_of_convolutions_in_one_two_and_three_dimensions(spatial: tuple[int, ...], axes: str) -> None:
    weights = {"w": random(2, 3, *(1 for _ in spatial))}
    model = model_of([make_node("Conv", ["x", "w"], ["y"], "conv")], ["n", 3, *spatial], ["y"], weights)
    found = table(model, random(1, 3, *spatial))["conv"]
    assert (found.axes, found.shape) == (axes, (1, 2, *spatial))


def test_axes_that_nothing_states_are_marked_as_assumed() -> None:
    model = model_of([make_node("Abs", ["x"], ["y"], "abs")], ["n", 3, 4], ["y"])
    nodes = [make_node("Einsum", ["x"], ["y"], "sum", equation="bij->bji")]
    assert table(model, random(1, 3, 4))["abs"].axes == "bnc"
    found = table(model_of(nodes, ["n", 3, 4], ["y"]), random(1, 3, 4))["sum"]
    assert (found.axes, found.note) == ("bnc", "axes assumed from the rank")


def test_windows_get_no_grid_of_the_whole_image() -> None:
    """Swin's partition goes through six axes; its windows of 4 × 4 tokens are no picture of 4 × 4 patches."""
    nodes = [
        make_node("Conv", ["x", "w"], ["patches"], "patches", strides=[4, 4]),
        make_node("Transpose", ["patches"], ["last"], "last", perm=[0, 2, 3, 1]),
        make_node("Reshape", ["last", "tokens.to"], ["tokens"], "tokens"),
        make_node("Reshape", ["last", "six.to"], ["six"], "six"),
        make_node("Transpose", ["six"], ["turned"], "turned", perm=[0, 1, 3, 2, 4, 5]),
        make_node("Reshape", ["turned", "windows.to"], ["windows"], "windows"),
        make_node("Softmax", ["windows"], ["soft"], "soft"),
    ]
    weights = {
        "w": random(8, 3, 4, 4),
        "tokens.to": np.array([0, -1, 8]),
        "six.to": np.array([-1, 2, 4, 2, 4, 8]),
        "windows.to": np.array([-1, 16, 8]),
    }
    model = model_of(nodes, ["n", 3, 32, 32], ["soft", "tokens"], weights)
    found = table(model, random(1, 3, 32, 32))
    assert (found["tokens"].axes, found["tokens"].grid) == ("bnc", (8, 8))
    assert (found["windows"].grid, found["soft"].grid) == (None, None)
    assert "assumed" in found["windows"].note
    assert (found["six"].showable, found["six"].note) == (False, "6 axes, more than a picture can show")
    assert_all_equal(model, random(2, 3, 32, 32))


def test_files_optimised_by_the_runtime_are_not_misread(tmp_path: Path) -> None:
    """Its blocked layout has the shape of a channels-first map, with the numbers in another order."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    nodes = [
        make_node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1]),
        make_node("Conv", ["a", "v"], ["b"], "conv2", pads=[1, 1, 1, 1]),
        make_node("Sigmoid", ["b"], ["y"], "last"),
    ]
    weights = {"w": random(16, 3, 3, 3), "v": random(16, 16, 3, 3)}
    content = model_of(nodes, ["n", 3, 8, 8], ["y"], weights).SerializeToString()
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    optimised = BACKEND.load(tmp_path / "optimised.onnx")
    blocked = [
        node for node in optimised.graph.nodes if node.domain == "com.microsoft.nchwc" and "Conv" in node.op_type
    ]
    if not blocked:
        pytest.skip("this processor's runtime uses no blocked layout")
    found = table(optimised, random(1, 3, 8, 8))
    for node in blocked:
        assert not found[node.name or node.output[0]].showable
        assert "optimised" in found[node.name or node.output[0]].note
    assert (found[""].axes, found[""].note) == ("bchw", "")


# -- torch's two exporters --------------------------------------------------------------------------------------------


def export(torch: Any, model: Any, images: Any, path: Path, dynamo: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch's exporters, which no user of ours can change
        if dynamo:
            free = {"dynamic_shapes": ({0: torch.export.Dim("n")},), "opset_version": 18, "verbose": False}
        else:
            free = {"dynamic_axes": {"x": {0: "n"}}, "opset_version": 17}
        torch.onnx.export(model, (images,), path, dynamo=dynamo, input_names=["x"], output_names=["y"], **free)
    return BACKEND.load(path)


def hooked(torch: Any, model: Any, images: Any) -> dict[str, list[np.ndarray]]:
    """What each module returns at each of its calls, by forward hooks."""
    found: dict[str, list[np.ndarray]] = {}
    handles = [
        module.register_forward_hook(
            lambda _m, _i, out, name=name: found.setdefault(name, []).append(out.detach().numpy().copy())
        )
        for name, module in model.named_modules()
    ]
    with torch.no_grad():
        model(images)
    for each in handles:
        each.remove()
    return found


def torch_cnn(torch: Any) -> Any:
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc,name-defined]  # torch is only known when the test runs
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)
            self.bn = nn.BatchNorm2d(8)
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.relu(self.bn(self.conv(x))) * 0.5 + x)

    torch.manual_seed(0)
    model = nn.Sequential()
    model.features = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Sequential(Block(), nn.MaxPool2d(2))
    )
    model.head = nn.Sequential(nn.Conv2d(8, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d):
            for tensor in (each.weight, each.bias, each.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(each.running_var, 0.5, 2)
    return model.eval()


@pytest.mark.parametrize("dynamo", [False, True])
def test_module_scopes_of_both_torch_exporters(dynamo: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    network = torch_cnn(torch)
    images = torch.from_numpy(random(2, 3, 10, 12))
    model = export(torch, network, images, tmp_path / "cnn.onnx", dynamo)
    batch = images.numpy()
    found, wanted = table(model, batch), hooked(torch, network, images)
    modules = ["features.2", "features.3.0.conv", "features.3.1", "head.0", "head.1", "head.3", ""]
    assert ["features.0", *modules] == [path for path in found if path in ("features.0", *modules)]
    values = BACKEND.capture(model, batch, modules)
    for path in modules:
        # a folded convolution gives what its BatchNorm gave
        module = path.replace("conv", "bn")
        np.testing.assert_allclose(values[path].values, wanted[module][0], rtol=1e-4, atol=1e-5, err_msg=path)
    for path in ("features.0", "features.3.0.conv"):
        assert found[path].kind == "Conv"
        assert found[path].note.startswith("BatchNorm folded")
    folded = BACKEND.capture(model, batch, ["features.0"])["features.0"].values
    np.testing.assert_allclose(folded, wanted["features.1"][0], rtol=1e-4, atol=1e-5)
    assert found["head.0"].note == ""
    for outer in ("features", "head", "features.3"):
        inner = BACKEND.capture(model, batch, [outer])[outer].values
        np.testing.assert_allclose(inner, wanted[outer][0], rtol=1e-4, atol=1e-5)


def test_a_module_that_runs_twice_has_two_calls(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    network = torch_cnn(torch)
    images = torch.from_numpy(random(2, 3, 10, 12))
    model = export(torch, network, images, tmp_path / "cnn.onnx", dynamo=True)
    path = "features.3.0.relu"
    layer = table(model, images.numpy())[path]
    assert (layer.calls, [each.path for each in layer.per_call]) == (2, [f"{path}:0", f"{path}:1"])
    wanted = hooked(torch, network, images)[path]
    both = BACKEND.capture(model, images.numpy(), [path])
    assert list(both) == [f"{path}:0", f"{path}:1"]
    for call in range(2):
        one = BACKEND.capture(model, images.numpy(), [f"{path}:{call}"])[f"{path}:{call}"].values
        np.testing.assert_allclose(one, wanted[call], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(one, both[f"{path}:{call}"].values)
    assert BACKEND.capture(model, images.numpy(), ["features.3.0.bn"])["features.3.0.bn"].values.shape[1] == 8


def test_a_computed_weight_is_not_called_batchnorm(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(3, 4, 3))
    network = torch.nn.Sequential(normed, torch.nn.ReLU()).eval()
    for dynamo in (False, True):
        images = torch.from_numpy(random(2, 3, 6, 6))
        model = export(torch, network, images, tmp_path / f"{dynamo}.onnx", dynamo)
        assert not any("BatchNorm" in each.note for each in BACKEND.layers(model, images.numpy()))


def torch_vit(torch: Any) -> Any:
    nn = torch.nn

    class Vit(nn.Module):  # type: ignore[misc,name-defined]  # torch is only known when the test runs
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, 16, 8, 8)
            self.cls = nn.Parameter(torch.zeros(1, 1, 16))
            self.norm = nn.LayerNorm(16)
            self.qkv = nn.Linear(16, 48)
            self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
            self.head = nn.Linear(16, 4)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1)
            q, k, v = self.qkv(self.norm(x)).reshape(-1, 13, 3, 4, 4).permute(2, 0, 3, 1, 4).unbind(0)
            a = (q @ k.transpose(-2, -1)).softmax(-1) @ v
            x = x + a.transpose(1, 2).reshape(-1, 13, 16)
            return self.head((x + self.mlp(x))[:, 0])

    torch.manual_seed(0)
    return Vit().eval()


@pytest.mark.parametrize("dynamo", [False, True])
def test_tokens_of_a_vision_transformer_lie_on_their_grid(dynamo: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    network = torch_vit(torch)
    images = torch.from_numpy(random(2, 3, 24, 32))
    model = export(torch, network, images, tmp_path / "vit.onnx", dynamo)
    found, wanted = table(model, images.numpy()), hooked(torch, network, images)
    for path in ("norm", "qkv", "mlp.0", "mlp.1", "mlp.2"):
        assert (found[path].axes, found[path].grid) == ("bnc", (3, 4)), path
        values = BACKEND.capture(model, images.numpy(), [path])[path].values
        np.testing.assert_allclose(values, wanted[path][0], rtol=1e-4, atol=1e-5)
    assert (found["patch"].axes, found["patch"].spatial) == ("bchw", (3, 4))
    assert found["head"].axes == "bc"
    attention = next(each for each in found.values() if each.kind == "Softmax")
    assert (attention.axes, attention.shape) == ("bchw", (1, 4, 13, 13))
    assert not any("assumed" in each.note for each in found.values())
