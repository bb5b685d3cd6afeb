"""Other values in place of what Keras layers return: calls, parts, masks, attention; and heads of adapted layers."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.keras_models import BACKEND, K, images, keras, to_numpy

pytestmark = [
    pytest.mark.each_framework,
    # Keras's own Variable, when Keras on TensorFlow turns it into an array
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def test_one_part_of_what_a_layer_returns():
    class Two(K.Layer):
        def call(self, x):
            return {"left": x, "right": 2 * x}

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.two = Two(name="two")

        def call(self, x):
            scores = self.two(x)
            return scores["left"] + 10 * scores["right"]

    x = images(3, 4)
    for path, factor in (("two", 1), ("two.right", 10)):
        scores = BACKEND.scores(Model(), x, 1, {path: lambda values: values + 1})
        np.testing.assert_allclose(scores, x[:, 1] * 21 + factor, rtol=1e-5)


def masked():
    """A subclassed model: a functional one carries its masks in the graph, this one at the tensors."""

    class Masked(keras.Model):
        def __init__(self):
            super().__init__()
            self.skip, self.dense = K.Masking(0.0), K.Dense(4, bias_initializer="ones", name="dense")
            self.act, self.pool, self.out = K.Activation("relu", name="act"), K.GlobalAveragePooling1D(), K.Dense(2)

        def call(self, x):
            return self.out(self.pool(self.act(self.dense(self.skip(x)))))

    return Masked()


def test_what_is_masked_stays_masked_behind_a_changed_layer():
    x = images(2, 5, 3)
    x[:, 3:] = 0
    model = masked()
    plain = to_numpy(model(x))[:, 1]
    np.testing.assert_allclose(BACKEND.scores(model, x, 1, {"act": lambda values: values.copy()}), plain, rtol=1e-5)
    captured = BACKEND.capture(model, x, ["act"], 1)["act"].gradient
    weights = to_numpy(model.out.kernel)[:, 1]
    expected = np.broadcast_to(weights / 3, (2, 5, 4)) * np.array([1, 1, 1, 0, 0])[:, None]
    np.testing.assert_allclose(captured, expected, rtol=1e-5, atol=1e-7)


def test_attention_weights_are_what_the_model_goes_on_with():
    inputs = keras.Input((5, 8))
    attention = K.MultiHeadAttention(2, 4, name="attention")
    model = keras.Model(inputs, K.GlobalAveragePooling1D()(attention(inputs, inputs)))
    x = images(2, 5, 8)
    # Each query sees the first token only: its value, through the output's weights.
    first = np.broadcast_to(x[:, :1], x.shape)
    expected = to_numpy(attention(x, first))[:, 0, 3]

    def change(values):
        values[:] = 0
        values[..., 0] = 1
        return values

    scores = BACKEND.scores(model, x, 3, {"attention/attention_map": change})
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)


def test_the_head_of_an_adapted_model_holds_what_was_added():
    inputs = keras.Input((4,))
    dense = K.Dense(3, name="dense")
    model = keras.Model(inputs, dense(inputs))
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.ones((2, 3), np.float32))
    x = np.eye(4, dtype=np.float32)
    head = BACKEND.head(model, x)
    np.testing.assert_allclose(head.weights.T + head.bias, to_numpy(model(x)), rtol=1e-5)
    assert not np.allclose(head.weights.T, to_numpy(dense._kernel))
