"""docs/limits.md is true: each row of its table is provoked, and the answer is the one that it promises."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import zipfile
from typing import Any

import equinox as eqx
import jax
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
import torch
from flax import linen, nnx
from jax.example_libraries import stax
from onnx.helper import make_graph, make_node, make_opsetid, make_tensor_value_info
from torch import nn
from torch.nn import functional as F

import layerscope as ls
from backends.keras import test_refusals as test_keras_refusals
from backends.onnx import test_attention as test_onnx_attention
from backends.onnx import test_files as test_onnx_files
from backends.onnx import test_inputs as test_onnx_inputs
from backends.tf_keras import test_backend as test_tf_keras
from backends.tflite import test_capture as test_tflite_capture
from backends.tflite import test_files as test_tflite_files
from backends.tflite import test_scores as test_tflite_scores
from backends.torch import test_attention as test_torch_attention
from backends.torch import test_hf as test_torch_hf
from backends.torch import test_tokens as test_torch_tokens
from helpers import (
    keras_models,
    onnx_models,
    tflite_models,
    torchvision_ops,  # noqa: F401  # before timm and torchvision
)
from helpers.keras_models import K, keras
from helpers.limit_rows import Said, found, row, table
from inputs import test_input_check as test_evidence
from layerscope.backends.tflite import cut as tflite_cut
from layerscope.scope import memory
from layerscope.tiny import TinyBackend, tiny_model

torch.set_num_threads(1)
# Keras's own Variable, when Keras on TensorFlow turns it into an array
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
LAST = np.random.default_rng(1).random((1, 8, 8, 3)).astype(np.float32)
FIRST = LAST.transpose(0, 3, 1, 2)


@pytest.fixture
def said(request):
    """What the test hears, checked against its row when it has passed."""
    heard = Said(found(request.function.row))
    yield heard
    heard.check()


def rows(model: Any, batch: Any) -> dict[str, Any]:
    return {each.path: each for each in ls.open(model, preprocess=None).layers(batch)}


def test_every_row_has_a_test_and_every_test_a_row():
    proved = [each.row for each in globals().values() if hasattr(each, "row")]
    missing = [each.what for each in table() if not any(each.what.startswith(start) for start in proved)]
    assert not missing
    assert len(proved) == len(table()), "two tests of one row, or a row without a table"
    assert all(found(start) for start in proved)


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


@row("TorchScript")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch calls its own jit deprecated
def test_torchscript(said, tmp_path):
    script = torch.jit.trace(nn.Conv2d(3, 4, 3), torch.from_numpy(FIRST))
    with said.raises("TorchScript", "give the original nn.Module", "torch.export"):
        ls.open(script)
    torch.jit.save(script, tmp_path / "script.pt")
    with said.raises("script.pt is a TorchScript archive", "torch.export"):
        ls.open(tmp_path / "script.pt")


class Odd(nn.Module):
    """Modules that never run as such."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.ReLU()])
        self.direct = nn.Conv2d(3, 3, 1)
        self.used = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        for each in self.blocks:
            x = each(x)
        return F.conv2d(self.direct.forward(x), self.used.weight)


@row("a module that never runs as one")
def test_modules_that_never_run(said):
    scope = ls.open(Odd(), preprocess=None)
    noted = {each.path: each for each in scope.layers(FIRST)}
    said.notes(noted["blocks"], "a container")
    for path in ("direct", "used"):
        said.notes(noted[path], "did not run", "called through .forward()")
    with said.raises("container", "Inside it ran 'blocks.0', 'blocks.1'"):
        scope.capture(FIRST, "blocks")
    with said.raises("'direct'", "did not run"):
        scope.capture(FIRST, "direct")


class Functional(nn.Module):
    """Functions of every sort in the forward of a module."""

    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return self.block(x)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = F.pad(F.relu(self.conv(x)), (1, 1, 1, 1))[:, :, 1:-1, 1:-1] * (x > 0)
        seen = y.flatten(2)
        return self.norm((seen @ seen.transpose(1, 2)).mean() * x + y)


@row("functions in a PyTorch module's forward")
def test_functions_of_torch(said):
    listed = [path for path in rows(Functional(), FIRST) if path.endswith("()")]
    assert "block.relu()" in listed and "block.add()" in listed
    assert not [path for path in listed if any(name in path for name in ("pad", "flatten", "matmul", "gt"))]
    assert not [path for path in listed if path.startswith(("block.conv", "block.norm"))]
    said.shows(f"{listed} but not pad")


@row("`.pt` files with a whole pickled module")
def test_files_that_run_code(said, tmp_path):
    torch.save(nn.Conv2d(3, 4, 1), tmp_path / "whole.pt")
    keras.Sequential([keras.Input((3,)), K.Lambda(lambda x: x + 1, output_shape=(3,))]).save(tmp_path / "lambda.keras")
    for name in ("whole.pt", "lambda.keras"):
        with said.raises(name, "trust=True"):
            ls.open(tmp_path / name)
        ls.open(tmp_path / name, trust=True, preprocess=None)


@row("a state dict")
def test_a_state_dict(said, tmp_path):
    torch.save(nn.Conv2d(3, 4, 1).state_dict(), tmp_path / "weights.pth")
    with said.raises("state dict", "package.module:factory", "weights="):
        ls.open(tmp_path / "weights.pth")


class Unmarked(nn.Module):
    """Attention by hand, in a module of another name, over three axes."""

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return torch.softmax(tokens @ tokens.transpose(1, 2), -1) @ tokens


@row("attention that isn't torch's own")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's unflatten trips over its own deprecation
def test_attention_by_hand(said):
    model = nn.Sequential(nn.Conv2d(3, 4, 2, 2), Unmarked())
    assert not [each for each in rows(model, FIRST).values() if each.kind == "AttentionMap"]
    own = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    exported = torch.export.export(own, (torch.ones(1, 5, 4),))
    for given in (own, exported):
        found = rows(given, np.ones((1, 5, 4), np.float32)).values()
        (listed,) = (each for each in found if each.kind == "AttentionMap")
        assert listed.path.endswith("attention_map")
    said.shows("attention_map")


@row("attention in windows")
def test_attention_without_a_grid(said):
    given = {"image_size": 64, "patch_size": 4, "embed_dim": 8, "depths": [1], "num_heads": [2], "window_size": 4}
    masked = {"image_size": 64, "patch_size": 16, "decoder_num_hidden_layers": 1, **test_torch_tokens.SIZES}
    transformers = test_torch_attention.transformers
    swin = transformers.SwinModel(transformers.SwinConfig(**given)).eval()
    mae = transformers.ViTMAEModel(transformers.ViTMAEConfig(**masked)).eval()
    for model in (swin, mae):
        maps = ls.open(model, preprocess=None).capture(test_torch_attention.pixels(64, 64), "kind:AttentionMap")
        for fm in maps.values():
            assert len(ls.sheet(fm).cells) == fm.shape[-1]
        with said.raises("no grid of the whole image"):
            ls.attention(fm)
        with said.raises("no grid of the whole image"):
            ls.attention_rollout(maps)
    sizes = {"depths": [1], "sr_ratios": [2], "hidden_sizes": [8], "num_attention_heads": [2], "mlp_ratios": [2]}
    segformer = transformers.SegformerConfig(num_encoder_blocks=1, patch_sizes=[3], strides=[4], **sizes)
    model = transformers.SegformerModel(segformer).eval()
    pooled = ls.open(model, preprocess=None).capture(test_torch_attention.pixels(64, 64), "kind:AttentionMap")
    (fm,) = pooled.values()
    assert fm.shape[1:3] == (256, 64), "queries, and a quarter as many keys"
    assert ls.attention(fm, "mean").shape[1:3] == (8, 8)
    with said.raises("pooled tokens"):
        ls.attention_rollout(pooled)
    said.shows("sheet attention attention_rollout")


@row("gradients of `nn.MultiheadAttention`")
def test_gradients_of_torchs_attention(said):
    scope = ls.open(test_torch_attention.Encoder().eval(), preprocess=None)
    with said.raises("MultiheadAttention"):
        scope.capture(test_torch_attention.pixels(), "kind:AttentionMap", target=lambda out: out.sum())


@row("other values (`ablation_cam`)")
def test_values_that_cannot_be_changed(said):
    class Multihead(nn.Module):
        def __init__(self):
            super().__init__()
            self.mha = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            return self.mha(x, x, x)[0].mean(1)

    class Traced(nnx.Module):
        def __init__(self):
            self.inner = nnx.Linear(4, 4, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return jax.checkpoint(lambda x: self.inner(x))(x)

    tokens = np.ones((1, 3, 4), np.float32)
    attending = test_onnx_attention.vit(test_onnx_attention.standard())
    codes = tflite_models.changed(test_tflite_scores.file("int8"), test_tflite_scores.spread)
    for model, batch, path, reason in (
        (Multihead().eval(), tokens, "mha.attention_map", "change the module itself"),
        (attending, test_onnx_attention.IMAGE, "attn/attention_map", "change the operator itself"),
        (Traced(), tokens[0], "inner", "change the module around it"),
        (codes, test_tflite_scores.IMAGES[:1], "net/middle", "change the layer before it or behind it"),
    ):
        scope = ls.open(model, preprocess=None)
        with said.raises(path, "change", reason):
            scope.backend.scores(scope.model, batch, lambda out: 1.0, {path: np.copy})


# ---- ONNX ------------------------------------------------------------------------------------------------------------


@row("gradients in ONNX and TFLite")
def test_runtimes_without_gradients(said):
    for model, batch in ((onnx_models.cnn(), onnx_models.random(1, 3, 8, 6)), (test_tflite_files.tiny(), LAST)):
        with said.raises("gives no gradients", "open the model that the file was made from"):
            ls.open(model, preprocess=None).capture(batch, "conv1", target=1)


@row("attention weights inside ONNX Runtime's own `Attention`")
def test_attention_inside_an_operator(said):
    own = test_onnx_attention.vit(*test_onnx_attention.packed())
    listed = onnx_models.table(own, test_onnx_attention.IMAGE)
    said.notes(listed["attn"], "its attention weights stay inside the operator")
    assert not [each for each in listed.values() if each.kind == "AttentionMap"]
    for operator in ("standard", "MultiHeadAttention", "GroupQueryAttention"):
        model, _ = test_onnx_attention.CASES[operator]
        path = "attn/attention_map"
        assert path in test_onnx_attention.BACKEND.capture(model, test_onnx_attention.IMAGE, [path])
    for word in ("attention_map", "Attention", "MultiHeadAttention", "GroupQueryAttention"):
        said.shows(word)


@row("layers inside `If`, `Loop` and `Scan` of ONNX")
def test_control_flow_of_onnx(said):
    def branch(kind: str) -> onnx.GraphProto:
        return make_graph([make_node(kind, ["x"], [f"{kind}_y"])], kind, [], [onnx.ValueInfoProto(name=f"{kind}_y")])

    nodes = [make_node("If", ["large"], ["y"], "choice", then_branch=branch("Neg"), else_branch=branch("Relu"))]
    model = onnx_models.model_of(nodes, ["n", 3], ["y"], {"large": np.array(True)})
    listed = rows(model, np.ones((1, 3), np.float32))
    assert not [each for each in listed.values() if each.kind in ("Neg", "Relu")]
    said.notes(listed.get("choice", listed[""]), "can't be looked into")
    flag, number = onnx.TensorProto.BOOL, onnx.TensorProto.INT64
    given = [("i", number, []), ("on", flag, []), ("value", onnx_models.FLOAT, [1, 3])]
    loop = [make_node("Identity", ["on"], ["still"]), make_node("Relu", ["value"], ["new"], "inside")]
    made = [make_tensor_value_info("still", flag, []), make_tensor_value_info("new", onnx_models.FLOAT, [1, 3])]
    body = make_graph(loop, "round", [make_tensor_value_info(*each) for each in given], made)
    nodes = [make_node("Loop", ["count", "", "x"], ["y"], "again", body=body), make_node("Neg", ["y"], ["z"], "after")]
    model = onnx_models.model_of(nodes, ["n", 3], ["z"], {"count": np.array(2)})
    listed = onnx_models.table(model, np.ones((1, 3), np.float32))
    assert list(listed) == ["again", "after", ""]
    said.notes(listed["again"], "can't be looked into")


@row("ONNX operators of other domains")
def test_operators_that_the_runtime_lacks(said):
    nodes = [make_node("Relu", ["x"], ["a"], "early"), make_node("Fancy", ["a"], ["b"], "fancy", domain="acme")]
    model = onnx_models.model_of([*nodes, make_node("Relu", ["b"], ["y"], "late")], ["n", 3], ["y"])
    model.opset_import.append(make_opsetid("acme", 1))
    batch = onnx_models.random(2, 3)
    np.testing.assert_array_equal(onnx_models.BACKEND.capture(model, batch, ["early"])["early"].values, batch.clip(0))
    said.notes(onnx_models.table(model, batch)["late"], "acme:Fancy", "ONNX Runtime doesn't have")
    with said.raises("acme:Fancy"):
        onnx_models.BACKEND.capture(model, batch, ["late"])


@row("an ONNX opset or IR version")
def test_versions_of_onnx_that_are_too_new(said):
    opset, version = onnx_models.cnn(), onnx_models.cnn()
    opset.opset_import[0].version = version.ir_version = 99
    newest = ("support for domain ai.onnx is till opset ", "max supported IR version: ")
    for model, words in zip((opset, version), newest, strict=True):
        with said.raises(words, "upgrade onnxruntime", "export the model for an older opset"):
            onnx_models.BACKEND.capture(model, onnx_models.random(1, 3, 8, 6), ["conv1"])


@row("sums of `ConvInteger`")
def test_integer_sums(said):
    weights = {"w": np.arange(-6, 6, dtype=np.int8).reshape(4, 3)}
    nodes = [
        make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "quantise"),
        make_node("MatMulInteger", ["q", "w", "z"], ["sum"], "dense"),
        make_node("Cast", ["sum"], ["y"], "values", to=1),
    ]
    batch = onnx_models.random(2, 4)
    model = onnx_models.model_of(nodes, ["n", 4], ["y"], weights)
    said.notes(onnx_models.table(model, batch)["dense"], "sums of codes, scaled later")
    whole = onnx_models.BACKEND.capture(model, batch, ["dense"])["dense"].values
    np.testing.assert_array_equal(whole, onnx_models.reference(model, {"x": batch})["sum"])


@row("a quantised ONNX graph")
def test_quantised_graphs_run_without_fusions(said, monkeypatch):
    model, batch, levels = test_onnx_inputs.quantised(), onnx_models.random(1, 3, 6, 6), []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        "layerscope.backends.onnx.run.onnxruntime.InferenceSession",
        lambda content, options, **more: (
            levels.append(options.graph_optimization_level) or session(content, options, **more)
        ),
    )
    backend = type(onnx_models.BACKEND)(threads=1)
    together = backend.capture(model, batch, ["quantise", "conv", "relu"])
    for path, each in together.items():
        np.testing.assert_array_equal(each.values, backend.capture(model, batch, [path])[path].values)
    fused = session(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": batch})[0]
    assert np.abs(backend.capture(model, batch, [""])[""].values - fused).max() < 0.05 * 1.001, "one step of the codes"
    assert set(levels) == {onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC}


@row("ONNX side files")
def test_side_files(said, tmp_path):
    batch, load = onnx_models.random(1, 3, 8, 6), onnx_models.BACKEND.load
    path = test_onnx_files.save_with_side_file(tmp_path / "there")
    beside = tmp_path / "there" / "weights.bin"
    content = beside.read_bytes()
    beside.write_bytes(content[:1000])
    assert onnx_models.BACKEND.capture(load(path), batch, ["conv1"])["conv1"].values.shape == (1, 8, 8, 6)
    with said.raises("'weights.bin' is cut short"):
        onnx_models.BACKEND.capture(load(path), batch, ["fc"])
    beside.unlink()
    with said.raises("weights.bin"):
        onnx_models.BACKEND.capture(load(path), batch, ["fc"])
    (tmp_path / "outside.bin").write_bytes(content)
    beside.symlink_to(tmp_path / "outside.bin")
    with said.raises("'weights.bin'", "must lie where the .onnx file is"):
        onnx_models.BACKEND.capture(load(path), batch, ["fc"])


@row("ONNX files that ONNX Runtime has optimised")
def test_blocked_layouts(said):
    node = make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1], domain="com.microsoft.nchwc")
    last = make_node("Sigmoid", ["y"], ["z"], "last")
    model = onnx_models.model_of([node, last], ["n", 3, 8, 8], ["z"], {"w": onnx_models.random(16, 3, 3, 3)})
    model.opset_import.append(make_opsetid("com.microsoft.nchwc", 1))
    listed = onnx_models.table(model, onnx_models.random(1, 3, 8, 8))["conv"]
    assert not listed.showable
    said.notes(listed, "optimised")


# ---- Keras -----------------------------------------------------------------------------------------------------------


@row("files of tf.keras 2")
@test_tf_keras.OLD_FORMAT
def test_files_of_tf_keras_2(said, tmp_path, monkeypatch):
    test_tf_keras.nested().save(tmp_path / "old.h5")
    test_tf_keras.nested().save(tmp_path / "saved", save_format="tf")
    monkeypatch.setattr(
        "layerscope.backends.importlib.util.find_spec", lambda name: None if name == "tf_keras" else True
    )
    for name in ("old.h5", "saved"):
        with said.raises("pip install tf_keras"):
            ls.open(tmp_path / name)


@row("`hub.KerasLayer`")
def test_black_boxes(said):
    for name in ("KerasLayer", "TFSMLayer"):
        box = type(name, (keras.Layer,), {"call": lambda self, x: x * 3})(name="box")
        model = keras.Sequential([K.ReLU(name="before"), box, K.ReLU(name="after")])
        said.notes(keras_models.table(model, LAST)["box"], "a black box: its inside can't be seen")
        found = keras_models.values(model, LAST, "before", "after")
        np.testing.assert_allclose(found["after"], 3 * found["before"], rtol=1e-6)


@row("a `.keras` file of a newer Keras")
def test_a_newer_keras(said, tmp_path):
    keras.Sequential([keras.Input((3,)), K.Dense(2)]).save(tmp_path / "now.keras")
    with zipfile.ZipFile(tmp_path / "now.keras") as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][1]["class_name"] = "LayerOfTomorrow"
    newer = {"metadata": b'{"keras_version": "9.1.0"}', "config": json.dumps(config).encode()}
    with said.raises("Keras 9.1.0", keras.__version__, "pip install -U keras"):
        ls.open(test_keras_refusals.changed(tmp_path / "now.keras", tmp_path / "newer.keras", **newer))


STEPS = """
import json, keras, numpy as np, layerscope as ls
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(2, name="lstm"), keras.layers.Dense(2, name="last")])
x = np.random.default_rng(0).random((2, 4, 3)).astype("float32")
scope = ls.open(model, preprocess=None)
cells = [fm.values.tolist() for fm in scope.capture(x, "lstm/cell").values()]
cell = model.get_layer("lstm").cell
state, wanted = [np.zeros((2, 2), "float32")] * 2, []
for step in range(4):
    out, state = cell(x[:, step], state)
    wanted.append(np.asarray(out).tolist())
print(json.dumps([cells, wanted, scope.capture(x, "last")["last"].values.tolist(), np.asarray(model(x)).tolist()]))
"""


@row("cells of recurrent layers on JAX")
@pytest.mark.frameworks
@pytest.mark.parametrize("framework", ["jax", "tensorflow"])
def test_cells_of_recurrent_layers(said, framework):
    given = {**os.environ, "KERAS_BACKEND": framework}
    ran = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, env=given, check=False)
    assert ran.returncode == 0, ran.stderr
    cells, wanted, last, own = json.loads(ran.stdout.splitlines()[-1])
    if framework == "tensorflow":
        np.testing.assert_allclose(cells[0], cells[1], err_msg="a trial of the first step")
        cells = cells[1:]
    np.testing.assert_allclose(cells, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, own, rtol=1e-5, atol=1e-6)


@row("layers of a restored SavedModel")
def test_a_class_that_is_not_registered(said, tmp_path):
    model, x = test_tf_keras.Unregistered(), test_tf_keras.images(2, 8, 8, 3)
    model.predict(x, verbose=0)
    model.save(tmp_path / "saved")
    with said.raises("inside the graph of a SavedModel", "register"):
        ls.open(tmp_path / "saved", preprocess=None).capture(x, "conv")


@row("a SavedModel without Keras layers")
def test_a_plain_saved_model(said, tmp_path):
    module = tf.Module()
    module.call = tf.function(lambda x: x * 2, input_signature=[tf.TensorSpec((None, 3))])
    tf.saved_model.save(module, str(tmp_path / "plain"))
    model = keras.Sequential([keras.Input((3,)), K.Dense(2)])
    model.export(tmp_path / "exported", verbose=False)
    for name in ("plain", "exported"):
        with said.raises("without Keras layers", "compiled graph", "ONNX", "TFLite"):
            ls.open(tmp_path / name)


# ---- JAX -------------------------------------------------------------------------------------------------------------


class Small(eqx.Module):
    """A convolution, and whatever a test does with it."""

    conv: eqx.nn.Conv2d
    act: Any
    then: Any = eqx.field(static=True)

    def __init__(self, then, act=None):
        self.conv, self.act, self.then = eqx.nn.Conv2d(3, 4, 3, key=jax.random.PRNGKey(0)), act, then

    def __call__(self, x):
        return self.then(self, self.conv(x))


class Unnamed(nnx.Module):
    """A submodule by another method than `__call__`, a function, and an addition."""

    def __init__(self):
        self.sub = Sub()

    def __call__(self, x):
        return nnx.relu(self.sub.encode(x)) + x


class Sub(nnx.Module):
    def __init__(self):
        self.dense = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

    def encode(self, x):
        return self.dense(x)


class LinenUnnamed(linen.Module):
    def setup(self):
        self.sub = LinenSub()

    def __call__(self, x):
        return self.sub.encode(x)


class LinenSub(linen.Module):
    def setup(self):
        self.dense = linen.Dense(3)

    def encode(self, x):
        return self.dense(x)


@row("functions in a Flax or Equinox call")
def test_functions_of_jax(said):
    assert [path for path, each in rows(Unnamed(), LAST).items() if each.calls] == ["sub.dense", ""]
    assert list(rows(Small(lambda model, x: jax.nn.relu(x) + 1), FIRST)) == ["conv", ""]
    made = Small(lambda model, x: model.act(x), eqx.nn.Lambda(jax.nn.relu))
    fm = ls.open(made, preprocess=None).capture(FIRST, "act")["act"]
    assert (fm.layer.kind, fm.values.min()) == ("Lambda", 0)
    said.shows("eqx.nn.Lambda")


@row("a plain function of (parameters, input)")
def test_models_without_modules(said):
    for model in (lambda parameters, x: x, stax.Dense(3)[1]):
        with said.raises("is not a model that layerscope reads", "Flax or Equinox"):
            ls.open(model)


@row("a linen module without variables")
def test_linen_without_variables(said):
    with said.raises("has no variables", "(module, variables)", "module.bind(variables)", "TrainState"):
        ls.open(LinenUnnamed())


@row("methods of linen and NNX submodules")
def test_other_methods(said):
    model = LinenUnnamed()
    for given in ((model, model.init(jax.random.key(0), LAST)), Unnamed()):
        scope = ls.open(given, preprocess=None)
        assert not [each for each in scope.layers(LAST) if "encode" in each.path]
        with said.raises("'sub'", "has no output"):
            scope.capture(LAST, "sub")


class Mixed(nnx.Module):
    def __init__(self):
        self.mix = nnx.Linear(64, 5, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return jax.vmap(self.mix, 1, 1)(x.reshape(-1, 64, 3).transpose(0, 2, 1))


class LinenMixed(linen.Module):
    @linen.compact
    def __call__(self, x):
        settings = {"in_axes": 1, "out_axes": 1, "axis_size": 3, "variable_axes": {"params": None}}
        dense = linen.vmap(linen.Dense, split_rngs={"params": False}, **settings)(5, name="mix")
        return dense(x.reshape(-1, 64, 3).transpose(0, 2, 1))


class EquinoxMixed(eqx.Module):
    mix: eqx.nn.Linear

    def __call__(self, x):
        return jax.vmap(self.mix)(x.reshape(3, 64))


@row("an Equinox or NNX module that `vmap` maps over channels")
def test_modules_that_are_mapped(said):
    model = LinenMixed()
    for given in (Mixed(), (model, model.init(jax.random.key(0), LAST))):
        listed = rows(given, LAST)["mix"]
        assert (listed.axes, listed.shape) == ("nbc", (3, 1, 5))
        said.notes(listed, "inside vmap: the mapped axis stands first")
    listed = rows(EquinoxMixed(eqx.nn.Linear(64, 5, key=jax.random.PRNGKey(0))), FIRST)["mix"]
    assert (listed.axes, listed.shape, listed.note) == ("bnc", (1, 3, 5), "")


@row("Equinox models that only run on a whole batch")
def test_collectives(said):
    model = Small(lambda model, x: jax.lax.pmean(x, "devices"))
    with said.raises("NameError", "unbound axis name: devices"):
        ls.open(model, preprocess=None).layers(FIRST)


@row("files of weights for JAX models")
def test_weights_of_jax(said, tmp_path, monkeypatch):
    (tmp_path / "limit_factory.py").write_text(
        "from flax import nnx\ndef build():\n    return nnx.Linear(3, 3, rngs=nnx.Rngs(0))\n"
    )
    (tmp_path / "weights.msgpack").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with said.raises("jax backend reads no files of weights", "leave weights= out", "load them in the factory"):
        ls.open("limit_factory:build", weights="weights.msgpack")


# ---- TFLite ----------------------------------------------------------------------------------------------------------


@row("TFLite operators that the interpreter doesn't have")
def test_operators_that_the_interpreter_lacks(said):
    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        last = graph.operators[-1]
        graph.operators[-1] = tflite_models.operator(model, "CUSTOM", last.inputs[:1], last.outputs)
        model.operatorCodes[-1].customCode = "Sparkle"

    custom = tflite_models.changed(test_tflite_files.tiny(), change)
    scope = ls.open(custom, preprocess=None)
    assert scope.capture(LAST, "conv2")["tiny/conv2"].shape == (1, 3, 3, 5)
    with said.raises("'tiny/head'", "'Sparkle'"):
        scope.capture(LAST, "head")
    spec = tf.TensorSpec([1, 3, 3], tf.float32)
    select = test_tflite_files.of_function(test_tflite_files._with_a_determinant, spec, flex=True)
    with said.raises("Select TF ops", "TFLITE_BUILTINS"):
        tflite_models.captured(select, LAST[:, :3, :3, 0], "")


class Two(tf.Module):
    """Two functions: a file made of it has two signatures."""

    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
    def first(self, x):
        return {"a": tf.nn.relu(x) + 1.0}

    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
    def second(self, x):
        return {"b": tf.nn.relu(x) * 3.0}


@row("layers inside `If`, `While` and calls of TFLite")
def test_bodies_and_signatures_of_tflite(said):
    spec = tf.TensorSpec([1, 4], tf.float32)

    def function(x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.nn.relu(x) * 2.0, lambda: x - tf.reduce_max(x)) + 1.0

    listed = tflite_models.rows(test_tflite_files.of_function(function, spec), np.ones((1, 4), np.float32))
    (branch,) = (each for each in listed.values() if each.kind == "If")
    said.notes(branch, "its body can't be looked into")

    def loop(x: Any) -> Any:
        return tf.while_loop(lambda at, y: at < 3, lambda at, y: (at + 1, y * y), [tf.constant(0), x])[1] + 1.0

    listed = tflite_models.rows(test_tflite_files.of_function(loop, spec), np.ones((1, 4), np.float32))
    loops = [each for each in listed.values() if each.kind == "While"]
    assert loops and not [each for each in listed.values() if each.kind == "Mul"]
    for each in loops:
        said.notes(each, "its body can't be looked into")
    module = Two()
    functions = [module.first.get_concrete_function(), module.second.get_concrete_function()]
    content = tf.lite.TFLiteConverter.from_concrete_functions(functions, module).convert()
    said.notes(tflite_models.rows(content, np.ones((1, 4), np.float32))[""], "of the signature", "are not listed")


@row("a layer that TFLite's converter fused")
def test_fused_layers(said):
    scope = ls.open(test_tflite_capture.file(), preprocess=None)
    batch = np.ones((1, 12, 10, 3), np.float32)
    listed = {each.path for each in scope.layers(batch)}
    assert not [path for path in listed if path.endswith(("stem", "norm"))]
    (fm,) = scope.capture(batch, "stem").values()
    assert fm.layer.path == "net/clipped"
    said.notes(fm.layer, "values are after 'clipped'")


@row("a BatchNorm folded without a trace")
def test_a_batchnorm_without_a_trace(said):
    given = keras.Input((8, 8, 3))
    conv = K.Conv2D(4, 3, name="conv")(given)
    norm = K.BatchNormalization(name="norm", moving_mean_initializer="random_normal")(conv)
    model = keras.Model(given, K.MaxPooling2D(name="pool")(norm), name="net")

    content = tflite_models.converted(model)
    assert "net/norm" in tflite_models.rows(content, LAST)

    def forget(file: Any) -> None:
        for each in file.subgraphs[0].tensors:
            each.name = b"net/conv/Conv2D" if b"norm" in each.name else each.name

    plain = tflite_models.changed(content, forget)
    listed = tflite_models.rows(plain, LAST)
    assert "net/norm" not in listed and listed["net/conv"].note == ""
    values = tflite_models.captured(plain, LAST, "net/conv")[0]
    np.testing.assert_allclose(values, np.asarray(keras.Model(given, norm)(LAST)), rtol=1e-5, atol=1e-5)


def dilated() -> bytes:
    given = keras.Input((8, 8, 3))
    wide = K.Conv2D(4, 3, padding="same", dilation_rate=2, name="wide", bias_initializer="random_normal")(given)
    return tflite_models.converted(keras.Model(given, K.Dense(2, name="dense")(wide), name="far"))


@row("receptive fields in TFLite")
def test_fields_that_tflite_hides(said):
    spec = tf.TensorSpec([1, 8, 8, 3], tf.float32)
    functions = {
        "slice": lambda x: tf.nn.relu(x[:, 1:5, 1:5]) + 1.0,
        "gather": lambda x: tf.gather(tf.nn.relu(x), [0, 2, 1], axis=1) + 1.0,
        "tile": lambda x: tf.tile(tf.nn.relu(x), [1, 2, 1, 1]) + 1.0,
    }
    contents = [dilated(), *(test_tflite_files.of_function(each, spec) for each in functions.values())]
    for content in contents:
        lost = [axis.unknown for axis in tflite_models.rows(content, LAST)[""].receptive]
        assert any(lost), "without a reason"


@row("pixels moved into the batch axis")
def test_pixels_in_the_batch_axis(said):
    given = keras.Input((8, 8, 3))
    dense = K.Dense(5, name="dense", bias_initializer="random_normal")(given)
    on_pixels = tflite_models.converted(keras.Model(given, K.Conv2D(2, 3, name="conv")(dense), name="net"))
    for content, back, channels in ((dilated(), "far/wide", 4), (on_pixels, "net/dense", 5)):
        listed = tflite_models.rows(content, LAST)
        hidden = [each for each in listed.values() if each.shape[0] != 1]
        assert hidden and not any(each.showable for each in hidden)
        for each in hidden:
            said.notes(each, "pixels in the batch axis")
        assert listed[back].showable and listed[back].shape == (1, 8, 8, channels)


@row("a `tf.lite.Interpreter`")
def test_an_interpreter_on_a_file(said, tmp_path):
    (tmp_path / "tiny.tflite").write_bytes(test_tflite_files.tiny())
    with said.raises("give the path of the .tflite file"):
        ls.open(tflite_models.Interpreter(model_path=str(tmp_path / "tiny.tflite")))


@row("TFLite files over 2 GB")
def test_large_tflite_files(said, monkeypatch):
    monkeypatch.setattr(tflite_cut, "LIMIT", len(test_tflite_files.tiny()) // 2)
    with said.raises("over 2 GB", "smaller weights"):
        tflite_models.captured(test_tflite_files.tiny(), LAST, "tiny/conv1")


# ---- inputs and preprocessing ----------------------------------------------------------------------------------------


@row("image processors with steps")
def test_processors_with_other_steps(said, tmp_path):
    transformers = test_torch_hf.transformers
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 64}, do_center_crop=False)
    padding = transformers.ViTImageProcessor(size={"height": 64, "width": 64})
    for name, kind, given in (("edge", "CLIPVisionModel", processor), ("padded", "ViTModel", padding)):
        test_torch_hf.saved(tmp_path / name, kind, given, **test_torch_hf.VIT)
    config = tmp_path / "padded" / "preprocessor_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "do_pad": True}))
    for name in ("edge", "padded"):
        with said.warns("doesn't say how to preprocess", "preprocess="):
            ls.open(f"hf:{tmp_path / name}").capture(ls.demo_photo())


@row("`hf:` and `timm:` models")
def test_models_that_are_not_here(said, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with said.raises("nothing is downloaded", "hf download nobody/nothing"):
        ls.open("hf:nobody/nothing")
    with said.warns("weights="):
        ls.open("timm:resnet10t")


@row("models with several inputs")
def test_several_inputs(said):
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    model = keras.Model([left, right], K.Add(name="sum")([left, right]))
    words = keras.Input((7,), dtype="int32")
    numbers = keras.Model(words, K.Embedding(10, 4, name="embedded")(words))
    for given in (model, numbers):
        with said.raises("preprocess=None"):
            ls.open(given)
    fm = ls.open(model, preprocess=None).capture((LAST, 2 * LAST), "sum")["sum"]
    np.testing.assert_allclose(fm.values, 3 * LAST, rtol=1e-6)
    assert ls.open(numbers, preprocess=None).capture(np.ones((1, 7), np.int32), "embedded")["embedded"].shape[-1] == 4


@row("inputs of 2 or 4 channels")
def test_inputs_that_no_photo_gives(said):
    for channels in (2, 4):
        with said.raises(f"{channels} channels", "preprocess=None"):
            ls.open(nn.Conv2d(channels, 4, 3))
        assert ls.open(nn.Conv2d(channels, 4, 3), preprocess=None).layers(np.ones((1, channels, 8, 8), np.float32))
    model = onnx_models.model_of([make_node("Relu", ["x"], ["y"])], ["n", 3, 8, 8], ["y"], kind=onnx.TensorProto.INT8)
    with said.raises("is int8", "preprocess=None"):
        ls.open(model)


@row("an EfficientNetV2 B0 to B3")
def test_a_cut_efficientnet(said):
    given = {"weights": None, "include_top": False, "input_shape": (64, 64, 3), "include_preprocessing": False}
    model = keras.applications.EfficientNetV2B0(**given)
    cut = keras.Model(model.inputs, model.layers[40].output)
    assert (ls.open(model).facts.recipe, ls.open(cut).facts.recipe) == ("torch", "tf")
    assert ls.open(cut, preprocess="torch").preprocess == ls.open(model).preprocess
    said.shows('tf preprocess="torch"')


@row("steps of a torchvision transform")
def test_steps_of_a_transform(said):
    transforms = pytest.importorskip("torchvision.transforms", reason="the transform is torchvision's")
    steps = [transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor(), transforms.Grayscale(3)]
    scope = ls.open(nn.Conv2d(3, 4, 3), preprocess=transforms.Compose(steps))
    assert "step 3, Grayscale" in scope.preprocess.describe()
    (fm,) = scope.capture(ls.demo_photo(), "output").values()
    assert fm.placement[0].box == (0.0, 0.0, 300.0, 451.0), "the whole photo"


@row("RGB where the model was trained on BGR")
def test_what_the_evidence_does_not_tell(said):
    right = dataclasses.replace(ls.open(ls.demo_model()).preprocess, size=(224, 224))
    network, photos = test_evidence.efficientnet_lite(), [ls.demo_photo(), test_evidence.photo("astronaut")]
    swapped = dataclasses.replace(right, order="bgr")
    wide = dataclasses.replace(right, std=tuple(each / 2 for each in right.std))
    for recipe in (swapped, wide):
        for given in (photos[0], photos):
            ls.open(network, preprocess=recipe).capture(given, "_conv_stem")  # a warning would be an error
    scope = ls.open(network, preprocess=dataclasses.replace(right, mean=(0.0,), std=(1.0,)))
    with pytest.warns(ls.PreprocessWarning, match="BatchNorm"):  # what is far off is told by the same network
        scope.capture(ls.demo_photo(), "_conv_stem")


class Full(TinyBackend):
    """A backend that has no memory left when it runs."""

    def capture(self, *_: Any) -> Any:
        raise MemoryError


@row("a capture that doesn't fit into memory")
def test_captures_that_are_too_large(said, monkeypatch):
    monkeypatch.setattr("layerscope.scope.capture.UNASKED_BYTES", 0)
    monkeypatch.setattr(memory, "available", lambda: 10_240)
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    batch = onnx_models.random(32, 3, 8, 8)
    with said.raises("fewer layers", "channels=", "stream()", "LAYERSCOPE_MAX_MEMORY"):
        scope.capture(batch, "conv1", batch=4)
    with said.raises("batch="):
        list(scope.stream(batch, "conv1", batch=16))
    with said.raises("memory ran out in the forward pass", "smaller batch="):
        ls.open(tiny_model(), backend=Full(), preprocess=None).capture(batch[:1], "conv1")
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "80GB")
    assert scope.capture(batch, "conv1")["conv1"].shape[0] == 32
    said.shows("LAYERSCOPE_MAX_MEMORY=80GB")
