"""Gradients of Keras layers, against differences of the model's own output when a bias is moved."""

from __future__ import annotations

import numpy as np
import pytest

import layerscope as ls
from helpers.keras_models import BACKEND, K, images, keras, to_numpy
from helpers.wording import raises

pytestmark = [
    pytest.mark.each_framework,
    # Keras's own Variable, when Keras on TensorFlow turns it into an array
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


def nested(trainable=True):
    keras.utils.set_random_seed(0)
    base = keras.Sequential(
        [keras.Input((12, 12, 3)), K.Conv2D(4, 3, name="conv"), K.Activation("softplus"), K.Conv2D(5, 3, name="deep")],
        name="base",
    )
    base.trainable = trainable
    inputs = keras.Input((12, 12, 3))
    x = K.Flatten()(K.Activation("softplus")(base(K.Rescaling(0.5)(inputs))))
    return keras.Model(inputs, K.Dense(3, name="head")(x))


def by_differences(model, layer, x, target, step=1e-2):
    """How the score changes with each bias: for a layer without activation, the gradient summed over its positions."""
    kernel, bias = layer.get_weights()
    slopes = []
    for channel in range(len(bias)):
        scores = []
        for move in (step, -step):
            moved = bias.copy()
            moved[channel] += move
            layer.set_weights([kernel, moved])
            scores.append(float(to_numpy(model(x, training=False))[:, target].sum()))
        slopes.append((scores[0] - scores[1]) / (2 * step))
    layer.set_weights([kernel, bias])
    return np.array(slopes)


@pytest.mark.parametrize("trainable", [True, False])
def test_a_nested_base_frozen_or_not(trainable):
    model, x = nested(trainable), images(2, 12, 12, 3)
    captured = BACKEND.capture(model, x, ["base/conv", "base/deep", "head"], 1)
    base = model.get_layer("base")
    for name in ("conv", "deep"):
        expected = by_differences(model, base.get_layer(name), x, 1)
        np.testing.assert_allclose(captured[f"base/{name}"].gradient.sum((0, 1, 2)), expected, rtol=2e-2, atol=2e-3)
    assert captured["head"].gradient.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert [item.trainable for item in base.layers] == [trainable] * len(base.layers)


def test_targets_are_classes_or_functions_and_wrong_ones_are_named():
    model, x = nested(), 100 * images(2, 12, 12, 3)
    number = BACKEND.capture(model, x, ["base/deep"], 2)["base/deep"].gradient
    function = BACKEND.capture(model, x, ["base/deep"], lambda output: output[:, 2])["base/deep"].gradient
    np.testing.assert_allclose(number, function, atol=1e-7)
    scope = ls.open(model, preprocess=None, labels=["a", "b", "c"])
    fm = scope.capture(x, "base/deep", target="c")["base/deep"]
    np.testing.assert_allclose(fm.gradient, number, atol=1e-7)
    with raises(ls.BadOption, "3", "0", "2"):
        scope.capture(x, "base/deep", target=3)
    with raises(ls.GradientsUnavailable):
        scope.capture(x, "base/deep", target=lambda output: 1.0)
    with raises(ls.BadOption):
        scope.capture(x, "base/deep", target=lambda output: output.nothing)


def test_a_layer_that_the_target_does_not_see_has_a_gradient_of_zero():
    inputs = keras.Input((6, 6, 3))
    observed, aside = K.Conv2D(2, 6, name="seen")(inputs), K.Conv2D(2, 6, name="aside")(inputs)
    model = keras.Model(inputs, [K.Flatten()(observed), K.Flatten()(aside)])
    captured = BACKEND.capture(
        model, images(1, 6, 6, 3), ["seen", "aside"], lambda outputs: outputs[0][:, 1]
    )  # fmt: skip
    assert (captured["aside"].gradient == 0).all()
    assert captured["seen"].gradient.ravel().tolist() == [0, 1]


def test_a_shared_layer_has_a_gradient_for_each_call():
    keras.utils.set_random_seed(1)
    shared, inputs = K.Conv2D(3, 3, padding="same", name="shared"), keras.Input((6, 6, 3))
    model = keras.Model(inputs, K.Dense(2, name="head")(K.Flatten()(shared(K.Activation("softplus")(shared(inputs))))))
    x = images(1, 6, 6, 3)
    captured = BACKEND.capture(model, x, ["shared"], 0)
    assert list(captured) == ["shared:0", "shared:1"]
    total = sum(item.gradient.sum((0, 1, 2)) for item in captured.values())
    np.testing.assert_allclose(total, by_differences(model, shared, x, 0), rtol=2e-2, atol=2e-3)
