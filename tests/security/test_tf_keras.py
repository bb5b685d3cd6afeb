"""Files for tf_keras that name code: TensorFlow operations, modules to import, Python, graphs; and those that name none."""

from __future__ import annotations

import codecs
import json
import marshal
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import layerscope as ls
from layerscope.backends.tf_keras.backend import TfKerasBackend
from layerscope.backends.tf_keras.operations import is_pure

K = tf_keras.layers
BACKEND = TfKerasBackend()
EVIL = "module_of_the_file"
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")


def functional(*layers: dict[str, Any]) -> dict[str, Any]:
    """A model whose layers run one after the other."""
    first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "name": "x", "dtype": "float32"}}
    placed, before = [{**first, "name": "x", "inbound_nodes": []}], "x"
    for index, layer in enumerate(layers):
        name = f"layer{index}"
        nodes = layer.pop("inbound_nodes", [[[before, 0, 0, {}]]])
        placed.append({**layer, "config": {**layer["config"], "name": name}, "name": name, "inbound_nodes": nodes})
        before = name
    config = {"name": "m", "layers": placed, "input_layers": [["x", 0, 0]], "output_layers": [[before, 0, 0]]}
    return {"module": "keras.src.engine.functional", "class_name": "Functional", "config": config}


def op(symbol: str, constant: Any, **arguments: Any) -> dict[str, Any]:
    """A layer that calls a function of TensorFlow on constants."""
    node = ["_CONSTANT_VALUE", -1, constant, arguments]
    return {"class_name": "TFOpLambda", "config": {"function": symbol}, "inbound_nodes": [node]}


def activation(function: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": "Activation", "config": {"activation": function}}


def write(path: Path, config: Any) -> Path:
    """A file whose model has this configuration and no weights."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
            archive.writestr("config.json", json.dumps(config))
            with h5py.File(path.with_suffix(".tmp"), "w"):
                pass
            archive.write(path.with_suffix(".tmp"), "model.weights.h5")
        return path
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
        file.create_group("model_weights").attrs["layer_names"] = np.zeros(0, "S1")
    return path


def lambda_layer(code: str) -> dict[str, Any]:
    """A layer with Python in it, as TensorFlow 2 wrote it."""
    body = codecs.encode(marshal.dumps(eval(f"lambda x: {code} or x").__code__), "base64").decode()
    config = {"function": [body, None, None], "function_type": "lambda", "output_shape": None}
    more = {"output_shape_type": "raw", "output_shape_module": None, "module": "__main__", "arguments": {}}
    return {"class_name": "Lambda", "config": {**config, **more}}


def write_node(path: Path) -> dict[str, Any]:
    """A layer with an operation as TensorFlow 2.0 wrote it, `WriteFile`, called on a constant and the input."""
    node = {"name": "w", "op": "WriteFile", "input": ["f", "c"]}
    config = {"node_def": node, "constants": {"0": str(path), "1": "x"}, "dtype": "float32", "trainable": False}
    return {"class_name": "TensorFlowOpLayer", "config": config}


ATTACKS = {
    "operation": lambda canary: functional(op("io.write_file", str(canary.path), contents="x")),
    "old operation": lambda canary: functional(op("compat.v1.write_file", str(canary.path), contents="x")),
    "function": lambda _: functional(
        activation({"module": EVIL, "class_name": "function", "config": "evil", "registered_name": "relu"})
    ),
    "Lambda": lambda canary: functional(lambda_layer(canary.code)),
    "model": lambda _: {"module": EVIL, "class_name": "Evil", "config": {}},
    "model by a function": lambda _: {"module": EVIL, "class_name": "function", "config": "evil"},
    "model by a type": lambda _: {
        "module": EVIL, "class_name": "__typespec__", "spec_name": "TensorSpec", "config": [], "registered_name": None
    },
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("name", ATTACKS)
def test_code_that_a_configuration_names(canary, tmp_path, monkeypatch, name, suffix):
    (tmp_path / f"{EVIL}.py").write_text(f"{canary.code}\nclass Evil: ...\ndef evil(x): return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    file = write(tmp_path / f"evil{suffix}", ATTACKS[name](canary))
    with canary.refused():
        ls.open(file)
    with canary.refused():
        BACKEND.load(file, None, False)
    if suffix == ".keras" or name in ("operation", "old operation", "Lambda"):  # from .h5, tf_keras imports nothing
        with canary.sung():
            BACKEND.load(file, None, True)
        sys.modules.pop(EVIL, None)


DENSE = {"module": "keras.layers", "class_name": "Dense"}
OTHER = {"module": "antigravity", "class_name": "Evil", "config": {}}
REFUSED = {
    "layer": lambda path: functional(OTHER),
    "initializer": lambda path: functional({**DENSE, "config": {"units": 2, "kernel_initializer": OTHER}}),
    "build": lambda path: functional({**DENSE, "config": {"units": 2}, "build_config": {"input_shape": OTHER}}),
    "compilation": lambda path: functional({**functional(), "compile_config": {"loss": OTHER}}),
    "wrapped": lambda path: functional(
        {"class_name": "TimeDistributed", "config": {"layer": {"class_name": "Lambda", "config": {}}}}
    ),
    "argument": lambda path: functional(op("math.add", 1.0, y=OTHER)),
    "code as a value": lambda path: functional(activation({"class_name": "__lambda__", "config": {"value": "x"}})),
    "raw operation": lambda path: functional(op("raw_ops.WriteFile", str(path), contents="x")),
    "old operation layer": lambda path: functional(write_node(path)),
    "method": lambda path: functional({"class_name": "InstanceMethod", "config": {"attr_name": "numpy"}}),
    "class method": lambda path: functional(
        {"class_name": "ClassMethod", "config": {"cls_symbol": "io.TFRecordWriter"}}
    ),
    "saved model": lambda path: functional({"class_name": "ReloadedLayer", "config": {"filepath": str(path)}}),
    "unknown symbol": lambda path: functional(op("load_op_library", str(path))),
    "classes of TensorFlow": lambda path: functional(op("io.TFRecordWriter", str(path))),
    "reading of keras": lambda path: functional(op("keras.activations.deserialize", str(path))),
    "class without a name": lambda path: functional({"class_name": ["Dense"], "config": {}}),
    "hidden by a registered name": lambda path: functional(
        {"class_name": "Lambda", "registered_name": "Tests>Mine", "config": {}, "module": "keras.layers"}
    ),
    "registered name beside another": lambda path: functional(
        {"class_name": "Mine", "registered_name": "other", "config": {}, "module": "antigravity"}
    ),
    "function behind another": lambda path: functional(
        activation({"class_name": "function", "config": "relu", "registered_name": "deserialize", "module": "builtins"})
    ),
}


@tf_keras.saving.register_keras_serializable("Tests")
class Mine(K.Layer):
    """Registered, as users do."""

    def call(self, x: Any) -> Any:
        return x * 2


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_may_run_code_is_refused(canary, tmp_path, name, suffix):
    file = write(tmp_path / f"evil{suffix}", REFUSED[name](canary.path))
    with canary.refused():
        BACKEND.load(file, None, False)


def test_a_vocabulary_is_no_file(canary, tmp_path):
    (canary.secret / "words").write_text("secret\n")
    layer = {"class_name": "StringLookup", "config": {"vocabulary": str(canary.secret / "words"), "dtype": "string"}}
    file = write(tmp_path / "words.h5", functional({**layer, "module": "keras.layers"}))
    with canary.refused():
        BACKEND.load(file, None, False)
    model = tf_keras.layers.StringLookup(vocabulary=str(canary.secret / "words"))
    assert "secret" in model.get_vocabulary()


class Writes(tf.Module):
    """What a graph can do: write a file when it is restored, and when it is called."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @tf.function(input_signature=[tf.TensorSpec((None, 4))])
    def __call__(self, x: Any) -> Any:
        tf.io.write_file(self.path, "x")
        return x


def test_a_saved_model(canary, tmp_path):
    writes = Writes(str(canary.path))

    class Graph(tf_keras.Model):
        def call(self, x: Any) -> Any:
            return writes(x)

    model = Graph()
    model(np.zeros((1, 4), np.float32))
    model.save(tmp_path / "saved", save_format="tf")
    canary.hush()
    with canary.refused():
        ls.open(tmp_path / "saved", preprocess=None)
    with canary.sung():
        ls.open(tmp_path / "saved", preprocess=None, trust=True).layers(np.zeros((1, 4), np.float32))


def test_ordinary_files_need_no_trust(tmp_path, sealed):
    """Whatever models are made of, functions of TensorFlow, registered and nested layers, dtypes, initializers."""
    inputs = K.Input((8, 8, 3))
    x = tf.nn.relu(tf.math.add(inputs * 2.0 - 1.0, 0.5))
    x = tf.concat([x, tf.image.flip_left_right(x)[:, ::1]], -1)
    conv = K.Conv2D(
        4, 3, kernel_initializer="he_normal", kernel_regularizer="l2", kernel_constraint="max_norm", name="conv"
    )
    x = tf_keras.Sequential([conv, K.BatchNormalization(dtype="mixed_float16"), K.Activation(tf.nn.swish)])(x)
    x = tf.cast(tf_keras.backend.mean(Mine()(x), axis=(1, 2), keepdims=True), tf.float32)
    x = K.TimeDistributed(K.Dense(2))(K.Reshape((1, -1))(x))
    model = tf_keras.Model(inputs, K.Dense(2, activation=tf_keras.activations.gelu)(x))
    model.compile(loss=tf_keras.losses.MeanSquaredError())
    batch = np.ones((1, 8, 8, 3), np.float32)
    for name in ("old.h5", "old.keras"):
        model.save(tmp_path / name)
        opened = ls.open(tmp_path / name, preprocess=None)
        assert opened.backend.name == "tf_keras"
        np.testing.assert_allclose(opened.model(batch), model(batch), rtol=1e-5)


def test_only_arithmetic_is_pure():
    assert all(map(is_pure, ["math.add", "compat.v1.nn.relu", "__operators__.getitem", "concat", "keras.backend.mean"]))
    for name in (
        *(
            "io.write_file",
            "raw_ops.Add",
            "raw_ops.WriteFile",
            "load_op_library",
            "py_function",
            "numpy_function",
            "map_fn",
        ),
        *("compat.v1.py_func", "data.Dataset", "saved_model.load", "keras.backend.function", "keras.models.load_model"),
        *("print", "io.math.add", "nn.RNNCellDeviceWrapper", "math", "", "keras.activations.get", "mathXadd"),
    ):
        assert not is_pure(name), name
