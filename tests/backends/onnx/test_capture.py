"""Captured values against `onnx.reference`, and the cut of the graph that is run for them."""

from __future__ import annotations

import gc
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.helper import make_node

from helpers.onnx_models import BACKEND, assert_all_equal, cnn, fails_late, model_of, random
from helpers.wording import raises
from layerscope.backends import Backend
from layerscope.backends.onnx.backend import OnnxBackend
from layerscope.backends.onnx.cut import cut
from layerscope.backends.onnx.graph import Graph
from layerscope.errors import ModelNotReadable

# -- values


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

    def add(kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"t{len(nodes)}"
        nodes.append(make_node(kind, inputs, [name], f"node{len(nodes)}", **attributes))
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
    for index in rng.integers(0, len(steps), 8):
        before = list(tensors)
        now = steps[index](now)
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
    with raises(ModelNotReadable):
        BACKEND.capture(fails_late(), random(1, 6), ["late_node"])
    assert model.SerializeToString(deterministic=True) == before


def test_a_changed_model_is_not_answered_from_an_old_session() -> None:
    model, batch = cnn(), random(1, 3, 8, 6)
    first = BACKEND.capture(model, batch, ["conv1"])["conv1"].values
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(2 * random(8, 3, 3, 3, seed=1), "w1"))
    np.testing.assert_allclose(BACKEND.capture(model, batch, ["conv1"])["conv1"].values, 2 * first, rtol=1e-5)


# -- cutting


def test_the_cut_holds_only_what_is_needed() -> None:
    graph = Graph(cnn())
    part = onnx.ModelProto.FromString(cut(graph, ["relu"], None).content)
    assert [node.name for node in part.graph.node] == ["conv1", "bn", "act"]
    assert {tensor.name for tensor in part.graph.initializer} == {"w1", "bn0", "bn1", "bn2", "bn3"}


def test_an_early_layer_of_a_model_that_fails_later() -> None:
    batch = random(1, 6)
    captures = BACKEND.capture(fails_late(), batch, ["early_node"])
    np.testing.assert_array_equal(captures["early_node"].values, np.maximum(batch, 0))
    with raises(ModelNotReadable):
        BACKEND.capture(fails_late(), batch, ["late_node"])


@pytest.mark.slow
def test_repeated_captures_keep_sessions_and_memory_flat(tmp_path: Path) -> None:
    path, batch = tmp_path / "cnn.onnx", random(4, 3, 8, 6)
    onnx.save(cnn(), path)
    backend = OnnxBackend(threads=1)
    model = backend.load(path)
    paths = [layer.path for layer in backend.layers(model, batch)]

    def run() -> int:
        for number in range(40):
            backend.capture(model, batch, [paths[number % len(paths)]])
            backend.capture(model.proto, batch, ["conv1", "fc"])
        gc.collect()
        return int(Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not Path("/proc/self/statm").exists():
        pytest.skip("resident memory is read from /proc")
    # A leak grows in every round; what the rest of a large process does, only in some.
    marks = [run() for _ in range(5)]
    assert min(after - before for before, after in itertools.pairwise(marks)) < 2e6
    assert len(model.sessions) <= 3
    assert len(backend._kept.sessions) == 1


def test_the_number_of_threads_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERSCOPE_ONNX_THREADS", "1")
    model = cnn()
    backend = OnnxBackend()
    backend.capture(model, random(1, 3, 8, 6), ["conv1"])
    (session,) = backend._kept.sessions._kept.values()
    assert session.session.get_session_options().intra_op_num_threads == 1
