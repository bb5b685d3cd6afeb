"""Attention weights of Keras's MultiHeadAttention against the scores that the layer itself returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import layerscope as ls
from helpers.keras_models import BACKEND, ON, K, images, keras, same, table, to_numpy, values, vit
from helpers.wording import wording

# Keras's own Variable, when Keras on TensorFlow turns it into an array
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def by_the_layer(layer: Any, x: Any, **options: Any) -> np.ndarray:
    return to_numpy(layer(x, x, return_attention_scores=True, **options)[1])


def test_the_weights_of_a_vision_transformer():
    model, x = vit(64, 32, 1), images(2, 64, 32, 3)
    layer = table(model, x)["mha/attention_map"]
    assert (layer.kind, layer.axes, layer.shape) == ("AttentionMap", "bcqk", (1, 2, 9, 9))
    assert (layer.grid, layer.prefix, layer.calls) == ((4, 2), ("prefix1",), 1)
    wording(layer.note)
    captured = values(model, x, "prefix", "mha/attention_map", "mha")
    expected = by_the_layer(model.get_layer("mha"), captured["prefix"])
    same(captured["mha/attention_map"], expected)
    np.testing.assert_allclose(captured["mha/attention_map"].sum(-1), 1, rtol=1e-5)
    plain = values(model, x, "mha")["mha"]
    same(captured["mha"], plain)


@pytest.mark.each_framework
def test_the_layers_own_softmax_where_it_runs():
    layer = K.MultiHeadAttention(2, 4, dropout=0.3, name="mha")
    inputs = keras.Input((5, 8))
    model, x = keras.Model(inputs, layer(inputs, inputs)), images(2, 5, 8)
    row = table(model, x)["mha/attention_map"]
    wording(row.note)
    same(values(model, x, "mha/attention_map")["mha/attention_map"], by_the_layer(layer, x))


@pytest.mark.each_framework
def test_masks_count():
    layer = K.MultiHeadAttention(2, 4, name="mha")
    inputs = keras.Input((5, 8))
    model, x = keras.Model(inputs, layer(inputs, inputs, use_causal_mask=True)), images(2, 5, 8)
    captured = values(model, x, "mha/attention_map")["mha/attention_map"]
    assert not np.triu(captured[0, 0], 1).any()
    same(captured, by_the_layer(layer, x, use_causal_mask=True))


def test_a_capture_of_other_layers_computes_no_weights(monkeypatch):
    model, x, requests = vit(32, 32, 1), images(1, 32, 32, 3), []
    monkeypatch.setattr("layerscope.backends.keras.watch.attention_weights", lambda *args: requests.append(args))
    values(model, x, "mha", "norm")
    assert not requests
    before = vars(K.MultiHeadAttention)["_compute_attention"]
    assert values(model, x, "head")["head"].shape == (1, 2)
    assert vars(K.MultiHeadAttention)["_compute_attention"] is before


@pytest.mark.each_framework
def test_gradients_reach_the_weights():
    """Against differences: the output is linear in the weights, so moving one of them moves the target by its gradient."""
    if ON == "numpy":
        pytest.skip("numpy has no gradients")
    layer = K.MultiHeadAttention(1, 4, name="mha")
    inputs = keras.Input((3, 8))
    model, x = keras.Model(inputs, K.Flatten()(layer(inputs, inputs))), images(1, 3, 8)
    captured = BACKEND.capture(model, x, ["mha/attention_map", "mha/value"], 5)
    weights, value = captured["mha/attention_map"].values, captured["mha/value"].values
    kernel = to_numpy(layer._output_dense.kernel)
    # Column 5 belongs to the first query alone: d out / d weight[0, key] = value[key] · kernel[:, 5].
    expected = np.zeros_like(weights)
    expected[0, 0, 0] = value[0, :, 0] @ kernel[0, :, 5]
    np.testing.assert_allclose(captured["mha/attention_map"].gradient, expected, rtol=1e-4, atol=1e-6)


def test_through_the_core():
    scope = ls.open(vit(64, 32, 1), preprocess=None)
    fm = scope.capture(images(1, 64, 32, 3), "mha/attention_map")["mha/attention_map"]
    assert fm.layer.attention
    assert fm.shape == (1, 9, 9, 2)


def test_tf_keras_has_the_same():
    if ON != "tensorflow":
        pytest.skip("tf_keras runs on TensorFlow alone")
    import tf_keras

    from layerscope.backends.tf_keras.backend import TfKerasBackend

    layer, inputs = tf_keras.layers.MultiHeadAttention(2, 4, name="mha"), tf_keras.Input((5, 8))
    model, x = tf_keras.Model(inputs, layer(inputs, inputs)), images(2, 5, 8)
    captured = TfKerasBackend().capture(model, x, ["mha/attention_map"])["mha/attention_map"].values
    same(captured, layer(x, x, return_attention_scores=True)[1].numpy())
    rows = {item.path: item for item in TfKerasBackend().layers(model, x)}
    assert rows["mha/attention_map"].axes == "bcqk"
    wording(rows["mha/attention_map"].note)


@pytest.mark.parametrize(
    ("count", "weight", "layer", "names"),
    [
        (1, "class_token", "prefix", ("cls",)),
        (1, "tokens", "class_token", ("cls",)),
        (1, "w", "ClassToken_1", ("cls",)),
        (4, "register_tokens", "prefix", ("reg1", "reg2", "reg3", "reg4")),
        (2, "class_token", "prefix", ("cls1", "cls2")),
        (1, "unnamed", "prefix", ("prefix1",)),  # its head is called `cls`
    ],
)
def test_prefix_tokens_have_the_names_of_their_weights(count, weight, layer, names):
    model = vit(64, 32, count, weight, layer)
    result = table(model, np.zeros((1, 64, 32, 3), np.float32))
    assert result["mha"].grid == (4, 2)
    for path in ("mha", "norm", "mha/attention_map"):
        assert result[path].prefix == names, path
