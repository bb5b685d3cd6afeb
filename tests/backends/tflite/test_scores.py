"""Other values in place of what operators of a TFLite file make, against the Keras model behind it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import layerscope as ls
from helpers.tflite_models import BACKEND, Interpreter, K, changed, converted, keras, schema, tf
from helpers.wording import raises

IMAGES = np.random.default_rng(0).random((3, 12, 10, 3)).astype(np.float32)


@functools.cache
def net() -> Any:
    """A layer in the middle, and what comes after it as a model of its own."""
    keras.utils.set_random_seed(5)
    inputs, inner = keras.Input((12, 10, 3)), keras.Input((12, 10, 8))
    middle = K.Conv2D(8, 3, padding="same", activation="relu", name="middle")(inputs)
    x = K.Conv2D(6, 3, bias_initializer="random_normal", name="narrow")(inner)
    rest = keras.Model(inner, K.Dense(4, name="scores")(K.Flatten()(K.MaxPooling2D()(x))), name="rest")
    return keras.Model(inputs, rest(middle), name="net"), keras.Model(inputs, middle), rest


@functools.cache
def file(quantise: str = "") -> bytes:
    draw = np.random.default_rng(1)
    return converted(net()[0], quantise, lambda: ([draw.random((1, 12, 10, 3)).astype(np.float32)] for _ in range(20)))


def one_at_a_time(model: Any) -> None:
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = None


def without(values: np.ndarray, channels: list[int]) -> np.ndarray:
    cut = np.array(values)
    cut[np.arange(len(cut)), ..., channels] = 0
    return cut


@pytest.mark.parametrize("fixed", [False, True], ids=["free", "one image"])
def test_what_comes_after_a_changed_layer_is_that_of_keras(fixed: bool) -> None:
    _, middle, rest = net()
    content = changed(file(), one_at_a_time) if fixed else file()
    expected = np.asarray(rest(without(np.asarray(middle(IMAGES)), [1, 5, 2])))
    for target, numbers in ((2, expected[:, 2]), (lambda output: output[:, 1:].sum(), expected[:, 1:].sum(1))):
        scores = BACKEND.scores(content, IMAGES, target, {"net/middle": lambda values: without(values, [1, 5, 2])})
        np.testing.assert_allclose(scores, numbers, rtol=1e-4, atol=1e-5)
    # Only the layer decides what comes after it.
    scores = BACKEND.scores(content, IMAGES, 2, {"net/middle": np.zeros_like})
    np.testing.assert_allclose(scores, np.asarray(rest(np.zeros((3, 12, 10, 8))))[:, 2], rtol=1e-4, atol=1e-5)


def test_two_layers_are_changed_in_the_order_of_the_file() -> None:
    _, middle, rest = net()
    narrow = keras.Model(rest.input, rest.get_layer("narrow").output)
    received = {}

    def change(values: np.ndarray) -> np.ndarray:
        received["narrow"] = values
        return values * 0.5

    path = next(layer.path for layer in BACKEND.layers(file(), IMAGES) if layer.path.endswith("narrow"))
    changes = {path: change, "net/middle": lambda values: values * 2, "": lambda values: values + 1}
    scores = BACKEND.scores(file(), IMAGES, 0, changes)
    doubled = np.asarray(narrow(np.asarray(middle(IMAGES)) * 2))
    np.testing.assert_allclose(received["narrow"], doubled, rtol=1e-4, atol=1e-5)
    after = doubled * 0.5
    for layer in rest.layers[2:]:
        after = layer(after)
    np.testing.assert_allclose(scores, np.asarray(after)[:, 0] + 1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16"])
def test_codes_are_changed_as_what_they_stand_for(kind: str) -> None:
    content, path = file(kind), "net/middle"
    plain = BACKEND.scores(content, IMAGES, 2, {})
    np.testing.assert_array_equal(BACKEND.scores(content, IMAGES, 2, {path: lambda values: values}), plain)
    _, middle, rest = net()
    expected = np.asarray(rest(without(np.asarray(middle(IMAGES)), [1, 5, 2])))[:, 2]
    scores = BACKEND.scores(content, IMAGES, 2, {path: lambda values: without(values, [1, 5, 2])})
    reach = 0.02 if kind == "int16" else 0.1
    assert np.abs(scores - expected).max() < reach * np.ptp(expected) + reach * np.abs(expected).max()
    assert np.abs(plain - expected).max() > 0.1
    # Beyond the codes there are only their ends.
    details = Interpreter(model_content=content).get_tensor_details()
    scale, zero = next(
        tensor["quantization"] for tensor in details if "middle" in tensor["name"] and tensor["shape"][-1] == 8
    )
    end = (np.iinfo("int8" if kind == "uint8" else kind).max - zero) * scale
    high, top = (
        BACKEND.scores(content, IMAGES, 2, {path: lambda values, level=level: np.full_like(values, level)})
        for level in (1e6, end)
    )
    np.testing.assert_array_equal(high, top)
    with raises(ls.BadOption, "'net/middle'"):
        BACKEND.scores(content, IMAGES, 2, {path: lambda values: values * np.nan})


def spread(model: Any) -> None:
    """A scale for each channel of the layer in the middle."""
    tensor = next(tensor for tensor in model.subgraphs[0].tensors if list(tensor.shape) == [1, 12, 10, 8])
    tensor.quantization.scale = [tensor.quantization.scale[0]] * 8
    tensor.quantization.zeroPoint = [tensor.quantization.zeroPoint[0]] * 8
    tensor.quantization.quantizedDimension = 3


def test_a_scale_for_each_channel_is_refused() -> None:
    with raises(ls.BadOption, "'net/middle'"):
        BACKEND.scores(changed(file("int8"), spread), IMAGES[:1], 2, {"net/middle": lambda values: values})


def test_one_part_of_an_operator_is_changed_and_the_others_stay() -> None:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4, 4, 6))
    first, second = keras.ops.split(K.ReLU()(inputs), 2, axis=-1)
    out = keras.ops.concatenate([first * 2.0, second], axis=-1)
    content = converted(keras.Model(inputs, K.GlobalAveragePooling2D()(out)))
    batch = np.random.default_rng(2).standard_normal((2, 4, 4, 6)).astype(np.float32)
    parts = [layer.path for layer in BACKEND.layers(content, batch) if layer.kind.startswith("Split")]
    assert len(parts) == 2
    plain = np.maximum(batch, 0).mean((1, 2))
    for index, path in enumerate(parts):
        for target, expected in ((0, plain[:, 0] * 2), (5, plain[:, 5])):
            scores = BACKEND.scores(content, batch, target, {path: np.zeros_like})
            np.testing.assert_allclose(scores, expected * ((target < 3) != (index == 0)), rtol=1e-5, atol=1e-6)


def test_nothing_of_the_image_runs_again_behind_the_layer() -> None:
    from layerscope.backends.tflite.graph import Graph
    from layerscope.backends.tflite.run import cut

    graph = Graph(file())
    outputs = graph.operators[0].outputs
    content, operators = cut(graph, graph.outputs, outputs)
    assert operators == list(range(1, len(graph.operators)))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    assert list(model.subgraphs[0].inputs) == [*graph.inputs, *outputs]
    assert list(model.subgraphs[0].outputs) == list(graph.outputs)


def test_what_a_branch_gives_is_changed() -> None:
    def function(x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.nn.relu(x) * 2.0, lambda: x - tf.reduce_max(x)) + x

    traced = tf.function(function, input_signature=[tf.TensorSpec([1, 4], tf.float32)]).get_concrete_function()
    content = tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()
    images = np.array([[1, -2, 3, 0.5]], np.float32)
    (branch,) = (layer.path for layer in BACKEND.layers(content, images) if layer.kind == "If")
    assert BACKEND.scores(content, images, 2, {}) == 9
    assert BACKEND.scores(content, images, 2, {branch: lambda values: values - 1}) == 8


def test_maps_by_ablation_are_those_of_keras() -> None:
    model = net()[0]
    lite, own = ls.open(file(), preprocess=None), ls.open(model, preprocess=None)
    cam = ls.ablation_cam(lite.capture(IMAGES, "net/middle")["net/middle"], 2)
    expected = ls.ablation_cam(own.capture(IMAGES, "middle")["middle"], 2)
    np.testing.assert_allclose(cam.values, expected.values, rtol=1e-3, atol=1e-5)
    single = ls.open(changed(file(), one_at_a_time), preprocess=None)
    again = ls.ablation_cam(single.capture(IMAGES, "net/middle")["net/middle"], 2)
    np.testing.assert_allclose(again.values, expected.values, rtol=1e-3, atol=1e-5)


@pytest.mark.limit("replacing values (`ablation_cam`)")
def test_codes_with_a_scale_for_each_channel_cannot_be_changed(limit):
    scope = ls.open(changed(file("int8"), spread), preprocess=None)
    with limit.raises("net/middle"):
        scope.backend.scores(scope.model, IMAGES[:1], lambda out: 1.0, {"net/middle": np.copy})
