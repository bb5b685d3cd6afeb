"""Rows of docs/limits.md on Keras: each is provoked, and the answer is the one that it promises."""

import numpy as np
import pytest

import layerscope as ls
from helpers import keras_models
from helpers.keras_models import ON, K, keras, to_numpy
from helpers.limits import LAST
from helpers.wording import raises

# Keras's own Variable, when Keras on TensorFlow turns it into an array
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.mark.limit("`hub.KerasLayer`")
def test_black_boxes(limit):
    for name in ("KerasLayer", "TFSMLayer"):
        box = type(name, (keras.Layer,), {"call": lambda self, x: x * 3})(name="box")
        model = keras.Sequential([K.ReLU(name="before"), box, K.ReLU(name="after")])
        limit.notes(keras_models.table(model, LAST)["box"])
        captured = keras_models.values(model, LAST, "before", "after")
        np.testing.assert_allclose(captured["after"], 3 * captured["before"], rtol=1e-6)


@pytest.mark.each_framework
@pytest.mark.limit("cells of LSTM and GRU in Keras on torch")  # which runs these tests, too
def test_cells_of_recurrent_layers():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2, 3)), K.LSTM(2, name="lstm"), K.Dense(2, name="last")])
    x = np.random.default_rng(0).random((2, 2, 3)).astype(np.float32)
    scope = ls.open(model, preprocess=None)
    if ON == "torch":  # which runs the whole layer in one call
        with raises(ls.LayerNotCalled):
            scope.capture(x, "lstm/cell")
        return
    cells = [fm.values for fm in scope.capture(x, "lstm/cell").values()]
    if ON == "tensorflow":
        np.testing.assert_allclose(cells[0], cells[1], err_msg="a trial of the first step")
        cells = cells[1:]
    cell, state, expected = model.get_layer("lstm").cell, [np.zeros((2, 2), np.float32)] * 2, []
    for step in range(2):
        output, state = cell(x[:, step], state)
        expected.append(to_numpy(output))
    np.testing.assert_allclose(cells, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scope.capture(x, "last")["last"].values, to_numpy(model(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.limit("a SavedModel without Keras layers")
def test_a_plain_saved_model(limit, tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.call = tf.function(lambda x: x * 2, input_signature=[tf.TensorSpec((None, 3))])
    tf.saved_model.save(module, str(tmp_path / "plain"))
    model = keras.Sequential([keras.Input((3,)), K.Dense(2)])
    model.export(tmp_path / "exported", verbose=False)
    for name in ("plain", "exported"):
        with limit.raises("ONNX", "TFLite"):
            ls.open(tmp_path / name)


@pytest.mark.limit("models with several inputs")
def test_several_inputs(limit):
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    model = keras.Model([left, right], K.Add(name="sum")([left, right]))
    words = keras.Input((7,), dtype="int32")
    numbers = keras.Model(words, K.Embedding(10, 4, name="embedded")(words))
    for inputs in (model, numbers):
        with limit.raises("preprocess=None"):
            ls.open(inputs)
    fm = ls.open(model, preprocess=None).capture((LAST, 2 * LAST), "sum")["sum"]
    np.testing.assert_allclose(fm.values, 3 * LAST, rtol=1e-6)
    assert ls.open(numbers, preprocess=None).capture(np.ones((1, 7), np.int32), "embedded")["embedded"].shape[-1] == 4


def test_a_cut_efficientnet():
    inputs = {"weights": None, "include_top": False, "input_shape": (64, 64, 3), "include_preprocessing": False}
    model = keras.applications.EfficientNetV2B0(**inputs)
    cut = keras.Model(model.inputs, model.layers[40].output)
    assert (ls.open(model).facts.recipe, ls.open(cut).facts.recipe) == ("torch", "tf")
    assert ls.open(cut, preprocess="torch").preprocess == ls.open(model).preprocess


@pytest.mark.limit("`.pt` files with a whole pickled module, Keras Lambda layers")
def test_a_lambda_layer(limit, tmp_path):
    keras.Sequential([keras.Input((3,)), K.Lambda(lambda x: x + 1, output_shape=(3,))]).save(tmp_path / "lambda.keras")
    with limit.raises("lambda.keras", "trust=True"):
        ls.open(tmp_path / "lambda.keras")
    ls.open(tmp_path / "lambda.keras", trust=True, preprocess=None)
