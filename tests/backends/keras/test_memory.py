"""A Keras model with memory of any kind: every capture is a fresh run, and everything is left as found, unbuilt layers too."""

from __future__ import annotations

import collections
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import layerscope as ls
from helpers.keras_models import BACKEND, K, images, keras, same, to_numpy, values

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


class Plain:
    """An object of the user's own."""

    __slots__ = ("__dict__", "steps")

    def __init__(self) -> None:
        self.steps, self.seen = 0, []

    def value(self) -> float:
        self.steps += 1
        self.seen.append(self.steps)
        return float(self.steps + len(self.seen))


def number(layer: Any) -> float:
    layer.memory += 1
    return float(layer.memory)


def member(layer: Any) -> float:
    layer.memory.append(1)
    return float(len(layer.memory))


def entry(layer: Any) -> float:
    layer.memory["inner"]["count"] = layer.memory["inner"].get("count", 0) + 1
    return float(layer.memory["inner"]["count"])


def array(layer: Any) -> float:
    layer.memory += 1
    return float(layer.memory[0])


def unique(layer: Any) -> float:
    layer.memory.add(len(layer.memory))
    return float(len(layer.memory))


def drawn(layer: Any) -> float:
    return float(layer.memory.random())


def attribute_of_its_own(layer: Any) -> float:
    layer.later = getattr(layer, "later", 0) + 1
    return float(layer.later)


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], float]]] = {
    "number": (lambda: 0, number),
    "list": (list, member),
    "queue": (lambda: collections.deque(maxlen=50), member),
    "dict in dict": (lambda: {"inner": {}}, entry),
    "array": (lambda: np.zeros(2), array),
    "set": (set, unique),
    "object": (Plain, lambda layer: layer.memory.value()),
    "objects in a tuple": (lambda: (Plain(),), lambda layer: layer.memory[0].value()),
    "python's generator": (lambda: random.Random(1), drawn),
    "numpy's generator": (lambda: np.random.default_rng(1), drawn),
    "new attribute": (lambda: None, attribute_of_its_own),
}


class Remembers(keras.Layer):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.memory, self.step = KINDS[kind][0](), KINDS[kind][1]

    def call(self, x: Any) -> Any:
        return x if isinstance(x, keras.KerasTensor) else x * self.step(self)


class Net(keras.Model):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.remembers = K.Conv2D(2, 3), Remembers(kind)

    def call(self, x: Any) -> Any:
        return self.remembers(self.conv(x))


# the containers are Python's, whichever framework runs
@pytest.mark.parametrize("kind", [pytest.param("number", marks=pytest.mark.each_framework), *list(KINDS)[1:]])
def test_every_capture_equals_a_fresh_run(kind):
    model, x = Net(kind), images(2, 6, 6, 3)
    model.conv(x)
    BACKEND.layers(model, x)
    first, second = (values(model, x, "remembers")["remembers"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    same(first, model(x))  # the user's next call is the first that the model remembers
    assert not np.array_equal(to_numpy(model(x)), first)


@pytest.mark.each_framework
def test_recurrent_state_is_left_as_found():
    model = keras.Sequential([keras.Input((2, 4), batch_size=2), K.LSTM(3, stateful=True, name="lstm")])
    x = images(2, 2, 4)
    model(x)
    before = [to_numpy(state) for state in model.layers[0].states]
    assert BACKEND.layers(model, x)[0].shape == (1, 3)
    first, second = (values(model, x, "lstm")["lstm"] for _ in range(2))
    for old, new in zip(before, model.layers[0].states, strict=True):
        np.testing.assert_array_equal(old, to_numpy(new))
    np.testing.assert_array_equal(first, second)
    same(first, model(x))


def unbuilt(*layers: Any) -> Any:
    return keras.Sequential([K.Conv2D(2, 3, name="conv"), K.Flatten(), *layers, K.Dense(3, name="head")])


@pytest.mark.each_framework
@pytest.mark.parametrize("fails", [False, True])
def test_a_model_that_was_not_built_stays_so(fails):
    model, before = unbuilt(*[K.Lambda(lambda x: {}[x])] * fails), K.ReLU().name
    if fails:
        with pytest.raises(Exception, match="Lambda"):
            BACKEND.capture(model, images(1, 8, 8, 3), ["conv"])
        return
    first, second = (values(model, images(1, 8, 8, 3), "head")["head"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not model.built
    assert not model.layers[0].built
    assert not model.weights
    stem, _, count = before.rpartition("_")
    assert K.ReLU().name == (f"{stem}_{int(count) + 1}" if count.isdigit() else f"{before}_1")
    assert tuple(model(images(1, 12, 12, 3)).shape) == (1, 3)


@pytest.mark.each_framework
def test_the_weights_of_an_unbuilt_model_are_those_that_it_will_have():
    model, x = unbuilt(), images(1, 8, 8, 3)
    captured = values(model, x, "conv", "head")
    same(captured["conv"], model.layers[0](x))
    table = {layer.path: layer.parameters for layer in BACKEND.layers(unbuilt(), x)}
    assert table["head"] == 72 * 3 + 3
    head = BACKEND.head(unbuilt(), x)
    assert head is not None
    assert head.weights.shape == (3, 72)


@pytest.mark.each_framework
def test_arrays_and_containers_handed_in_stay_as_they_are():
    class Takes(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.conv = K.Conv2D(2, 3, name="conv")

        def call(self, items: Any) -> Any:
            out = self.conv(items["image"])
            items["image"] = None
            return out

    model, x = Takes(), images(2, 6, 6, 3)
    model({"image": x})
    feed = {"image": x}
    for batch in (feed, (feed,)):
        captured = values(model, batch, "conv")["conv"]
        assert feed["image"] is x
        same(captured, model.conv(x))


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a .quantize. method:UserWarning")
@pytest.mark.parametrize("mode", ["int8", pytest.param("int4", marks=pytest.mark.each_framework)])
def test_the_head_of_a_quantised_model(mode):
    model, x = (
        keras.Sequential([keras.Input((6,)), K.Dense(4, activation="relu"), K.Dense(3, name="head")]),
        images(2, 6),
    )
    right, bias = to_numpy(model.layers[-1].kernel).T, to_numpy(model.layers[-1].bias)
    model.quantize(mode)
    head = BACKEND.head(model, x)
    assert head is not None
    steps = np.abs(right).max() / {"int8": 127, "int4": 7}[mode]
    assert np.abs(head.weights - right).max() <= steps * 0.51
    np.testing.assert_allclose(head.bias, bias, atol=1e-6)
    # one channel at a time is nothing that the layer quantises: its own answer
    same(head.weights.T + head.bias, model.layers[-1](np.eye(4, dtype=np.float32)))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a .quantize. method:UserWarning")
def test_class_activation_of_a_head_that_rounds_what_it_reads():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), K.Conv2D(6, 3, name="conv"), K.GlobalAveragePooling2D(), K.Dense(5)]
    )
    model.quantize("int8")
    scope, x = ls.open(model, preprocess=None), images(2, 8, 8, 3)
    fm = scope.capture(x, "conv")["conv"]
    head = scope.head(x)
    exact = fm.values.mean((1, 2)) @ head.weights.T + head.bias
    assert np.abs(exact - to_numpy(model(x, training=False))).max() > 2e-3 * np.abs(exact).max()  # it does round
    cam = ls.class_cam(fm, target=3)
    np.testing.assert_allclose(cam.values[..., 0], fm.values @ head.weights[3], atol=1e-5)
