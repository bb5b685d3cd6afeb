"""Rows of docs/limits.md on TFLite: each is provoked, and the answer is the one that it promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import layerscope as ls
from helpers import tflite_models
from helpers.limits import LAST
from helpers.tflite_models import K, keras, of_function, tiny, with_a_determinant
from layerscope.backends.tflite import run


@pytest.mark.limit("TFLite operators that the interpreter lacks")
def test_operators_that_the_interpreter_lacks(limit):
    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        last = graph.operators[-1]
        graph.operators[-1] = tflite_models.operator(model, "CUSTOM", last.inputs[:1], last.outputs)
        model.operatorCodes[-1].customCode = "Sparkle"

    custom = tflite_models.changed(tiny(), change)
    scope = ls.open(custom, preprocess=None)
    assert scope.capture(LAST, "conv2")["tiny/conv2"].shape == (1, 3, 3, 5)
    with limit.raises("'tiny/head'", "'Sparkle'"):
        scope.capture(LAST, "head")
    spec = tf.TensorSpec([1, 3, 3], tf.float32)
    select = of_function(with_a_determinant, spec, flex=True)
    with limit.raises("TFLITE_BUILTINS"):
        tflite_models.captured(select, LAST[:, :3, :3, 0], "")


class Two(tf.Module):
    """Two functions: a file made of it has two signatures."""

    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
    def first(self, x):
        return {"a": tf.nn.relu(x) + 1.0}

    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
    def second(self, x):
        return {"b": tf.nn.relu(x) * 3.0}


@pytest.mark.limit("layers inside `If`, `While` and calls of TFLite")
def test_bodies_and_signatures_of_tflite(limit):
    spec = tf.TensorSpec([1, 4], tf.float32)

    def function(x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.nn.relu(x) * 2.0, lambda: x - tf.reduce_max(x)) + 1.0

    layers = tflite_models.rows(of_function(function, spec), np.ones((1, 4), np.float32))
    (branch,) = (layer for layer in layers.values() if layer.kind == "If")
    limit.notes(branch)

    def loop(x: Any) -> Any:
        return (
            tf.while_loop(lambda count, y: count < 3, lambda count, y: (count + 1, y * y), [tf.constant(0), x])[1] + 1.0
        )

    layers = tflite_models.rows(of_function(loop, spec), np.ones((1, 4), np.float32))
    loops = [layer for layer in layers.values() if layer.kind == "While"]
    assert loops and not [layer for layer in layers.values() if layer.kind == "Mul"]
    for layer in loops:
        limit.notes(layer)
    module = Two()
    functions = [module.first.get_concrete_function(), module.second.get_concrete_function()]
    content = tf.lite.TFLiteConverter.from_concrete_functions(functions, module).convert()
    limit.notes(tflite_models.rows(content, np.ones((1, 4), np.float32))[""])


def test_a_batchnorm_without_a_trace():
    inputs = keras.Input((8, 8, 3))
    conv = K.Conv2D(4, 3, name="conv")(inputs)
    norm = K.BatchNormalization(name="norm", moving_mean_initializer="random_normal")(conv)
    model = keras.Model(inputs, K.MaxPooling2D(name="pool")(norm), name="net")

    content = tflite_models.converted(model)
    assert "net/norm" in tflite_models.rows(content, LAST)

    def forget(file: Any) -> None:
        for tensor in file.subgraphs[0].tensors:
            tensor.name = b"net/conv/Conv2D" if b"norm" in tensor.name else tensor.name

    plain = tflite_models.changed(content, forget)
    layers = tflite_models.rows(plain, LAST)
    assert "net/norm" not in layers and layers["net/conv"].note == ""
    values = tflite_models.captured(plain, LAST, "net/conv")[0]
    np.testing.assert_allclose(values, np.asarray(keras.Model(inputs, norm)(LAST)), rtol=1e-5, atol=1e-5)


def dilated() -> bytes:
    inputs = keras.Input((8, 8, 3))
    wide = K.Conv2D(4, 3, padding="same", dilation_rate=2, name="wide", bias_initializer="random_normal")(inputs)
    return tflite_models.converted(keras.Model(inputs, K.Dense(2, name="dense")(wide), name="far"))


@pytest.mark.limit("receptive fields in TFLite")
def test_fields_that_tflite_hides(limit):
    spec = tf.TensorSpec([1, 8, 8, 3], tf.float32)
    functions = {
        "tile": lambda x: tf.tile(tf.nn.relu(x), [1, 2, 1, 1]) + 1.0,
        "sum": lambda x: tf.cumsum(tf.nn.relu(x), 1) + 1.0,
        "gather": lambda x: tf.gather(tf.nn.relu(x), [0, 2, 1], axis=1) + 1.0,
    }
    contents = [of_function(build, spec) for build in functions.values()]
    for content in contents:
        lost = [axis.unknown for axis in tflite_models.rows(content, LAST)[""].receptive]
        assert any(lost), "without a reason"


@pytest.mark.limit("pixels moved into the batch axis")
def test_pixels_in_the_batch_axis(limit):
    inputs = keras.Input((8, 8, 3))
    dense = K.Dense(5, name="dense", bias_initializer="random_normal")(inputs)
    on_pixels = tflite_models.converted(keras.Model(inputs, K.Conv2D(2, 3, name="conv")(dense), name="net"))
    for content, back, channels in ((dilated(), "far/wide", 4), (on_pixels, "net/dense", 5)):
        layers = tflite_models.rows(content, LAST)
        hidden = [layer for layer in layers.values() if layer.shape[0] != 1]
        assert hidden and not any(layer.showable for layer in hidden)
        for layer in hidden:
            limit.notes(layer)
        assert layers[back].showable and layers[back].shape == (1, 8, 8, channels)


@pytest.mark.limit("a `tf.lite.Interpreter`")
def test_an_interpreter_on_a_file(limit, tmp_path):
    (tmp_path / "tiny.tflite").write_bytes(tiny())
    with limit.raises():
        ls.open(tflite_models.Interpreter(model_path=str(tmp_path / "tiny.tflite")))


@pytest.mark.limit("TFLite files over 2 GB")
def test_large_tflite_files(limit, monkeypatch):
    monkeypatch.setattr(run, "LIMIT", len(tiny()) // 2)
    with limit.raises("2"):
        tflite_models.captured(tiny(), LAST, "tiny/conv1")


@pytest.mark.limit("gradients in ONNX and TFLite")
def test_a_runtime_without_gradients(limit):
    with limit.raises():
        ls.open(tiny(), preprocess=None).capture(LAST, "conv1", target=1)
