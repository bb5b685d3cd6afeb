"""Operators that are a whole attention: ONNX's own and ONNX Runtime's, against the same attention written out in `numpy`."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import layerscope as ls
from helpers.onnx_models import BACKEND, random, reference, table
from helpers.wording import wording
from layerscope.backends.onnx.axes import Axes
from layerscope.backends.onnx.cut import cut
from layerscope.backends.onnx.graph import Graph
from layerscope.backends.onnx.model import OnnxModel
from layerscope.core.layer import Layer

WIDTH, HEADS = 16, 2
IMAGE = random(2, 3, 8, 12, seed=1)  # patches of 4 × 4: a grid of 2 × 3, and a class token in front
PATCHES = random(WIDTH, 3, 4, 4, seed=2) / 7
CLASS, POSITIONS = random(1, 1, WIDTH, seed=3), random(1, 7, WIDTH, seed=4) / 3
Q, K, V = (random(WIDTH, WIDTH, seed=seed) / 3 for seed in (5, 6, 7))
MICROSOFT = "com.microsoft"


def vit(attention: list[onnx.NodeProto], weights: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """Patches, a class token, positions, then `attention` from `q`, `k`, `v` or `tokens` to `attended`."""
    nodes = [
        make_node("Conv", ["x", "patches"], ["grid"], strides=[4, 4]),
        make_node("Reshape", ["grid", "flat"], ["row"]),
        make_node("Transpose", ["row"], ["patch_tokens"], perm=[0, 2, 1]),
        make_node("Shape", ["x"], ["images"], start=0, end=1),
        make_node("Concat", ["images", "one_token"], ["size"], axis=0),
        make_node("Expand", ["cls_token", "size"], ["front"]),
        make_node("Concat", ["front", "patch_tokens"], ["joined"], axis=1),
        make_node("Add", ["joined", "positions"], ["tokens"]),
        make_node("MatMul", ["tokens", "wq"], ["q"]),
        make_node("MatMul", ["tokens", "wk"], ["k"]),
        make_node("MatMul", ["tokens", "wv"], ["v"]),
        *attention,
        make_node("Relu", ["attended"], ["out"]),
    ]
    initializers = {
        "patches": PATCHES, "flat": np.array([0, 0, -1]), "one_token": np.array([1, WIDTH]),
        "cls_token": CLASS, "positions": POSITIONS, "wq": Q, "wk": K, "wv": V,
        **(weights or {}),
    }  # fmt: skip
    graph = make_graph(
        nodes,
        "vit",
        [make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 12])],
        [make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 23), make_opsetid(MICROSOFT, 1)], ir_version=11)


def tokens() -> np.ndarray:
    """The tokens that go into the attention, by ONNX's reference implementation."""
    plain = vit([make_node("Identity", ["v"], ["attended"])])
    return reference(plain, {"x": IMAGE})["tokens"]


def by_hand(causal: bool = False, key_heads: int = HEADS) -> tuple[np.ndarray, np.ndarray]:
    """(what the tokens become, the weights) in float64; fewer key heads than heads serve several each."""
    read = tokens().astype(np.float64)
    size = WIDTH // HEADS
    q, k, v = (read @ weights for weights in (Q, K[:, : key_heads * size], V[:, : key_heads * size]))
    out, maps = [], []
    for head in range(HEADS):
        own, shared = (slice(index * size, (index + 1) * size) for index in (head, head * key_heads // HEADS))
        scores = q[..., own] @ k[..., shared].swapaxes(1, 2) / np.sqrt(size)
        if causal:
            scores = np.where(np.tri(7, dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        maps.append(weights / weights.sum(-1, keepdims=True))
        out.append(maps[-1] @ v[..., shared])
    return np.concatenate(out, -1), np.stack(maps, 1)


def standard(**attributes: Any) -> list[onnx.NodeProto]:
    heads = {"q_num_heads": HEADS, "kv_num_heads": HEADS}
    return [make_node("Attention", ["q", "k", "v"], ["attended"], name="attn", **heads, **attributes)]


def grouped() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """One head of keys for two of queries; always causal."""
    size = WIDTH // HEADS
    inputs = ["q", "k1", "v1", "", "", "lengths", "total"]
    outputs = ["attended", "keys", "values"]
    nodes = [
        make_node("MatMul", ["tokens", "wk1"], ["k1"]),
        make_node("MatMul", ["tokens", "wv1"], ["v1"]),
        make_node("GroupQueryAttention", inputs, outputs, "attn", domain=MICROSOFT, num_heads=HEADS, kv_num_heads=1),
    ]
    lengths = {"lengths": np.array([6, 6], np.int32), "total": np.array(7, np.int32)}
    return nodes, {"wk1": K[:, :size], "wv1": V[:, :size], **lengths}


def multihead(**attributes: Any) -> list[onnx.NodeProto]:
    return [
        make_node(
            "MultiHeadAttention", ["q", "k", "v"], ["attended"], "attn", domain=MICROSOFT, num_heads=HEADS, **attributes
        )
    ]


def packed() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    node = make_node(
        "Attention", ["tokens", "wqkv", "bqkv"], ["attended", "kept"], "attn", domain=MICROSOFT, num_heads=HEADS
    )
    return [node], {"wqkv": np.concatenate([Q, K, V], 1), "bqkv": np.zeros(3 * WIDTH, np.float32)}


CASES: dict[str, tuple[onnx.ModelProto, dict[str, Any]]] = {
    "standard": (vit(standard()), {}),
    "standard causal": (vit(standard(is_causal=1)), {"causal": True}),
    "MultiHeadAttention": (vit(multihead()), {}),
    "MultiHeadAttention causal": (vit(multihead(unidirectional=1)), {"causal": True}),
    "GroupQueryAttention": (vit(*grouped()), {"causal": True, "key_heads": 1}),
}


def assert_tokens(layer: Layer) -> None:
    assert (layer.axes, layer.shape, layer.grid, layer.prefix) == ("bnc", (1, 7, WIDTH), (2, 3), ("cls",))


@pytest.mark.parametrize("case", CASES)
def test_tokens_and_weights_of_an_attention_operator(case: str) -> None:
    model, how = CASES[case]
    # The lengths that GroupQueryAttention reads are those of two images, so it is asked about two.
    layers = table(model, IMAGE) if case != "GroupQueryAttention" else {}
    if layers:
        assert_tokens(layers["attn"])
        weights = layers["attn/attention_map"]
        assert (weights.kind, weights.axes, weights.shape) == ("AttentionMap", "bcqk", (1, HEADS, 7, 7))
        assert (weights.grid, weights.prefix, weights.parameters) == ((2, 3), ("cls",), 0)
    out, maps = by_hand(**how)
    alone = BACKEND.capture(model, IMAGE, ["attn/attention_map"])["attn/attention_map"].values
    together = BACKEND.capture(model, IMAGE, ["attn", "attn/attention_map"])
    assert list(together) == ["attn", "attn/attention_map"]
    np.testing.assert_allclose(together["attn"].values, out, atol=2e-6)
    for values in (alone, together["attn/attention_map"].values):
        np.testing.assert_allclose(values, maps, atol=2e-6)
    np.testing.assert_allclose(BACKEND.capture(model, IMAGE, ["attn"])["attn"].values, out, atol=2e-6)


def test_an_attention_that_cannot_return_its_weights_has_a_note() -> None:
    model = vit(*packed())
    layers = table(model, IMAGE)
    assert_tokens(layers["attn"])
    wording(layers["attn"].note)
    assert layers["attn"].parameters == 3 * WIDTH * WIDTH + 3 * WIDTH
    assert "attn/attention_map" not in layers
    # Keys and values in one tensor: [both, image, head, token, channel].
    assert (layers["attn[1]"].axes, layers["attn[1]"].shape) == ("dbhnc", (2, 1, HEADS, 7, WIDTH // HEADS))
    np.testing.assert_allclose(BACKEND.capture(model, IMAGE, ["attn"])["attn"].values, by_hand()[0], atol=2e-6)


def test_queries_with_heads_of_their_own_come_out_so() -> None:
    split = [
        make_node("Reshape", [name, "heads"], [f"{name}_split"]) for name in "qkv"
    ] + [make_node("Transpose", [f"{name}_split"], [f"{name}4"], perm=[0, 2, 1, 3]) for name in "qkv"]  # fmt: skip
    node = make_node("Attention", ["q4", "k4", "v4"], ["y4"], "attn")
    back = [
        make_node("Transpose", ["y4"], ["y_back"], perm=[0, 2, 1, 3]),
        make_node("Reshape", ["y_back", "merge"], ["attended"]),
    ]
    heads = {"heads": np.array([0, 0, HEADS, WIDTH // HEADS]), "merge": np.array([0, 0, WIDTH])}
    model = vit([*split, node, *back], heads)
    layers = table(model, IMAGE)
    assert (layers["attn"].axes, layers["attn"].shape) == ("bhnc", (1, HEADS, 7, WIDTH // HEADS))
    assert (layers["attn/attention_map"].axes, layers["attn/attention_map"].grid) == ("bcqk", (2, 3))
    assert [axis.whole for axis in layers["attn/attention_map"].receptive or ()] == [True, True]
    assert [axis.whole for axis in layers["attn"].receptive or ()] == [True, True]
    assert_tokens(layers["attended"])
    out, maps = by_hand()
    got = BACKEND.capture(model, IMAGE, ["attn/attention_map", "attended"])
    np.testing.assert_allclose(got["attn/attention_map"].values, maps, atol=2e-6)
    np.testing.assert_allclose(got["attended"].values, out, atol=2e-6)


def test_an_operator_that_returns_scores_already_keeps_to_them() -> None:
    node = standard()[0]
    node.output.extend(["", "", "scores"])
    model = vit([node])
    layers = table(model, IMAGE)
    assert "attn/attention_map" not in layers
    assert (layers["attn[1]"].axes, layers["attn[1]"].shape) == ("bcqk", (1, HEADS, 7, 7))
    expected = reference(model, {"x": IMAGE})["scores"]
    np.testing.assert_allclose(BACKEND.capture(model, IMAGE, ["scores"])["scores"].values, expected, atol=2e-6)
    assert np.abs(expected.sum(-1) - 1).max() > 0.1  # scores, no weights


def test_the_operator_is_changed_only_where_its_weights_are_requested() -> None:
    model = CASES["standard"][0]
    before = model.SerializeToString()
    graph = Graph(model)
    for tensors, outputs in ((["attended"], 1), (["out"], 1), (["attended:attention_map"], 4)):
        part = onnx.ModelProto.FromString(cut(graph, tensors, None).content)
        (node,) = [candidate for candidate in part.graph.node if candidate.op_type == "Attention"]
        assert len(node.output) == outputs
    table(model, IMAGE)
    BACKEND.capture(model, IMAGE, ["attn", "attn/attention_map"])
    assert model.SerializeToString() == before


def test_the_table_makes_no_weights_for_their_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a picture of 64 × 64 patches take a GB a layer."""
    tensors_run: list[str] = []
    session = OnnxModel.session

    def watched(self: OnnxModel, tensors: tuple[str, ...], beside: Any = ()) -> Any:
        tensors_run.extend(tensors)
        return session(self, tensors, beside)

    monkeypatch.setattr(OnnxModel, "session", watched)
    layers = table(CASES["MultiHeadAttention"][0], IMAGE)
    assert layers["attn/attention_map"].shape == (1, HEADS, 7, 7)
    assert "attended" in tensors_run and not [tensor for tensor in tensors_run if "attention_map" in tensor]


def test_tokens_see_the_whole_image_behind_an_attention_and_not_before() -> None:
    for case in ("standard", "MultiHeadAttention"):
        layers = table(CASES[case][0], IMAGE)
        assert [axis.size for axis in layers["patch_tokens"].receptive or ()] == [4, 4]
        assert [axis.whole for axis in layers["attn"].receptive or ()] == [True, True]
        assert [axis.whole for axis in layers["out"].receptive or ()] == [True, True]


def test_readers_show_that_their_tokens_are_tokens() -> None:
    """A model that takes tokens: nothing but the operator states what their axes are."""
    node = make_node("Attention", ["y", "y", "y"], ["out"], "attn", q_num_heads=2, kv_num_heads=2)
    graph = make_graph(
        [make_node("Relu", ["x"], ["y"]), node],
        "tokens",
        [make_tensor_value_info("x", TensorProto.FLOAT, [1, 6, 8])],
        [make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 23)], ir_version=11)
    flow = Axes(Graph(model), {"x": (1, 6, 8), "y": (1, 6, 8), "out": (1, 6, 8)})
    assert {name: flow.axes[name] for name in ("x", "y", "out")} == dict.fromkeys(("x", "y", "out"), "bnc")
    assert flow.certain("x") and flow.certain("y") and flow.certain("out")


def test_where_the_class_token_looks_in_a_picture() -> None:
    scope = ls.open(CASES["standard"][0], preprocess=None)
    (weights,) = scope.capture(IMAGE, "kind:AttentionMap").values()
    np.testing.assert_allclose(
        ls.attention(weights).values[..., 0], by_hand()[1][:, 0, 0, 1:].reshape(2, 2, 3), atol=2e-6
    )


def test_a_norm_of_onnx_runtime_shows_where_the_channels_are() -> None:
    """SkipLayerNormalization, which ONNX Runtime makes of a sum and a norm: of each token, over its channels."""
    node = make_node("SkipLayerNormalization", ["q", "v", "scale", "offset"], ["attended"], "norm", domain=MICROSOFT)
    model = vit([node], {"scale": np.full(WIDTH, 2, np.float32), "offset": np.full(WIDTH, 0.5, np.float32)})
    layer = table(model, IMAGE)["norm"]
    assert_tokens(layer)
    assert [axis.size for axis in layer.receptive or ()] == [4, 4]
    added = tokens().astype(np.float64) @ (Q + V)
    expected = 2 * (added - added.mean(-1, keepdims=True)) / np.sqrt(added.var(-1, keepdims=True) + 1e-12) + 0.5
    np.testing.assert_allclose(BACKEND.capture(model, IMAGE, ["norm"])["norm"].values, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "domain", "inputs", "sure"),
    [
        ("SkipLayerNormalization", MICROSOFT, ["x", "x", "scale", "offset"], True),
        ("SkipSimplifiedLayerNormalization", MICROSOFT, ["x", "x", "scale"], True),
        ("RMSNormalization", "", ["x", "scale"], True),
        ("SkipLayerNormalization", MICROSOFT, ["x", "x", "wide", "offset"], False),
    ],
)
def test_only_a_norm_over_the_channels_alone_shows_their_axis(
    kind: str, domain: str, inputs: list[str], sure: bool
) -> None:
    graph = make_graph(
        [make_node(kind, inputs, ["out"], "norm", domain=domain)],
        "tokens",
        [make_tensor_value_info("x", TensorProto.FLOAT, [1, 6, 8])],
        [make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.ones(shape, np.float32), name)
            for name, shape in (("scale", 8), ("offset", 8), ("wide", (6, 8)))
        ],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 23), make_opsetid(MICROSOFT, 1)], ir_version=11)
    flow = Axes(Graph(model), {"x": (1, 6, 8), "out": (1, 6, 8)})
    assert (flow.axes["out"], flow.certain("out")) == ("bnc", sure)


@pytest.mark.limit("attention weights inside ONNX Runtime's own `Attention`")
def test_attention_inside_an_operator(limit):
    own = vit(*packed())
    layers = table(own, IMAGE)
    limit.notes(layers["attn"])
    assert not [layer for layer in layers.values() if layer.kind == "AttentionMap"]
    for operator in ("standard", "MultiHeadAttention", "GroupQueryAttention"):
        model, _ = CASES[operator]
        path = "attn/attention_map"
        assert path in BACKEND.capture(model, IMAGE, [path])
    for word in ("attention_map", "Attention", "MultiHeadAttention", "GroupQueryAttention"):
        limit.shows(word)


@pytest.mark.limit("replacing values (`ablation_cam`)")
def test_weights_inside_an_operator_cannot_be_changed(limit):
    scope = ls.open(vit(standard()), preprocess=None)
    with limit.raises("attn/attention_map"):
        scope.backend.scores(scope.model, IMAGE, lambda out: 1.0, {"attn/attention_map": np.copy})
