"""A capture of a Keras model stops early, sees only its own run, and leaves everything as it was."""

from __future__ import annotations

import contextvars
import gc
import random
import threading
import time
from typing import Any

import numpy as np
import pytest

from helpers import keras_models as models
from helpers.keras_models import BACKEND, ON, K, by_sub_model, images, keras, ran, same, to_numpy, values

pytestmark = [
    pytest.mark.each_framework,
    # Keras's own Variable, when Keras on TensorFlow turns it into an array
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    # a subclassed model with a layer that it never calls
    pytest.mark.filterwarnings("ignore:.build... was called on layer:UserWarning"),
]


@pytest.fixture(autouse=True)
def _classes_restored():
    before = vars(keras.Layer)["__call__"], vars(keras.Operation)["__call__"]
    yield
    assert before == (vars(keras.Layer)["__call__"], vars(keras.Operation)["__call__"])


def test_early_stop():
    model, x, later = models.vgg(), images(1, 64, 64, 3), []
    last = model.get_layer("block1_pool")
    original = last.call
    vars(last)["call"] = lambda *args, **kwargs: later.append(1) or original(*args, **kwargs)
    captured = values(model, x, "block1_conv2:0")
    assert (list(captured), later) == (["block1_conv2:0"], [])
    same(captured["block1_conv2:0"], by_sub_model(model, ["block1_conv2"], x)["block1_conv2"])
    values(model, x, "block1_conv2:0", "block1_pool:0")
    assert later == [1]


def test_stop_inside_a_nested_model_leaves_keras_usable():
    base, x = models.small_cnn(), images(1, 8, 8, 3)
    model = keras.Sequential([base, K.Dense(2)])
    model(x)
    before = to_numpy(model(x))
    assert list(values(model, x, f"{base.name}/bn:0")) == [f"{base.name}/bn:0"]
    np.testing.assert_array_equal(to_numpy(model(x)), before)


def snapshot(model: Any) -> list[Any]:
    flags = [layer.trainable for layer in model._flatten_layers()]
    numbers = [to_numpy(item) for item in model.variables]
    return [flags, numbers, [to_numpy(item) for item in model.losses], random.getstate(), np.random.get_state()[1:3]]


def assert_same_state(before: list[Any], after: list[Any]) -> None:
    assert before[0] == after[0]
    assert before[3] == after[3]
    for old, new in zip([*before[1], *before[2], *before[4]], [*after[1], *after[2], *after[4]], strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("broken", [False, True])
def test_state_is_left_as_found(broken):
    model, x = models.Restless(), images(4, 6, 6, 3)
    model(x)
    model.conv.trainable = False
    before = snapshot(model)
    mean = to_numpy(model.bn.moving_mean)
    frozen = [variable.trainable for variable in model.variables]
    model.broken = broken
    if broken:
        with pytest.raises(RuntimeError, match="broken on purpose"):
            BACKEND.capture(model, x, ["bn"])
    else:
        first, second = (values(model, x * 9, "noise")["noise"] for _ in range(2))
        np.testing.assert_array_equal(first, second)
    assert_same_state(before, snapshot(model))
    assert frozen == [variable.trainable for variable in model.variables]
    model.broken = False
    model(x)
    assert not np.array_equal(to_numpy(model.bn.moving_mean), mean)


@pytest.mark.skipif(ON != "torch", reason="only Keras on torch holds torch modules and draws from torch")
def test_torch_state_is_left_as_found():
    import torch

    inner = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.5)).train()
    model = keras.Sequential([K.TorchModuleWrapper(inner, name="inner"), K.Lambda(lambda x: x + torch.rand(3))])
    before = torch.get_rng_state()
    BACKEND.capture(model, images(2, 3), ["inner"])
    assert torch.equal(before, torch.get_rng_state())
    assert all(module.training for module in inner.modules())


def test_the_callers_array_is_untouched():
    x = images(2, 8, 8, 3)
    copy = x.copy()
    # a tensor of torch can be written to, so this writes into what it is given
    writes = K.Lambda(lambda inputs: inputs.add_(1) if ON == "torch" else inputs + 1, name="writes")
    same(values(keras.Sequential([writes]), x, "writes")["writes"], copy + 1)
    np.testing.assert_array_equal(x, copy)
    tensor = keras.ops.convert_to_tensor(copy)
    same(values(keras.Sequential([writes]), tensor, "writes")["writes"], copy + 1)
    np.testing.assert_array_equal(to_numpy(tensor), copy)
    x.flags.writeable = False
    same(values(keras.Sequential([writes]), x, "writes")["writes"], copy + 1)


def test_other_threads_are_not_seen():
    model, other, x = models.TwoConvs(), models.small_cnn(), images(1, 9, 9, 3)
    model(x), other(x)

    class Spawns(keras.Layer):
        def call(self, inputs: Any) -> Any:
            thread = threading.Thread(target=contextvars.copy_context().run, args=(other, x))
            thread.start()
            thread.join()
            return inputs

    outer = keras.Sequential([Spawns(name="spawns"), K.ReLU(name="relu")])
    assert ran(outer, x) == ["spawns", "relu", ""]


def test_threads_that_capture_at_once_and_one_that_fails():
    """The classes stay watched until the last run ends, and then hold the very methods that they held before."""
    before = vars(keras.Layer)["__call__"]
    x, expected, errors = images(1, 8, 8, 3), [], []
    small = [models.small_cnn() for _ in range(2)]
    for item in small:
        item(x)
        expected.append(to_numpy(item.layers[0](x)))
    failing = models.Restless()
    failing(x)
    failing.broken = True
    start = threading.Barrier(3)

    def captures(index: int) -> None:
        start.wait()
        for _ in range(5):
            try:
                same(values(small[index], x, "conv_a")["conv_a"], expected[index])
            except AssertionError as error:
                errors.append(error)

    def fails() -> None:
        start.wait()
        for _ in range(5):
            with pytest.raises(RuntimeError, match="broken on purpose"):
                values(failing, x, "bn")

    threads = [threading.Thread(target=captures, args=(index,)) for index in range(2)] + [
        threading.Thread(target=fails)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert vars(keras.Layer)["__call__"] is before


def test_a_capture_beside_a_training_sees_the_weights_between_two_steps():
    layers = [K.Dense(64, use_bias=False, kernel_initializer="ones", name=name) for name in ("one", "two", "three")]
    model, x = keras.Sequential([keras.Input((64,)), *layers]), np.full((1, 64), 1 / 64, np.float32)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(model.trainable_variables)
    over, steps, errors = threading.Event(), [0], []

    def train() -> None:
        try:
            while not over.is_set():
                up = float(to_numpy(layers[0].kernel)[0, 0]) < 8
                step = keras.ops.full((64, 64), -1.0 if up else 7.0)
                optimizer.apply([step] * 3, model.trainable_variables)
                steps[0] += 1
                time.sleep(5e-3)  # the forward and backward pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    numbers = set()
    try:
        while len(numbers) < 3 and steps[0] < 400 and not errors:
            captures = values(model, x, "one", "two", "three")
            one, two, three = (float(captures[name][0, 0]) / 64**index for index, name in enumerate(captures))
            assert (two, three) == (one**2, one**3), "weights of different steps"
            numbers.add(one)
    finally:
        over.set()
        thread.join()
    assert not errors and len(numbers) > 1


def test_weights_that_nobody_writes_to_look_the_same_in_every_type():
    engine = BACKEND.engine()
    for dtype in ("float32", "float16", "bfloat16"):
        weight = keras.Variable(np.ones((2, 3)), dtype=dtype)
        before = engine.content(weight)
        assert engine.content(weight)[1] == before[1]
        weight.assign(np.zeros((2, 3)))
        assert engine.content(weight)[1] != before[1]


def test_capture_inside_a_capture():
    inner, x, observed = models.small_cnn(), images(1, 8, 8, 3), []
    inner(x)

    class Looks(keras.Layer):
        def call(self, inputs: Any) -> Any:
            if not isinstance(inputs, keras.KerasTensor) and not keras.backend.is_keras_tensor(inputs):
                observed.append(values(inner, x, "conv_a:0"))
            return inputs

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

        def compute_output_spec(self, inputs: Any) -> Any:
            return keras.KerasTensor(inputs.shape, inputs.dtype)

    outer = keras.Sequential([Looks(name="looks"), K.Conv2D(2, 3, name="after")])
    captured = values(outer, x, "looks", "after")
    same(captured["after"], outer.layers[1](x))
    same(observed[0]["conv_a:0"], inner.layers[0](x))
    assert ran(outer, x) == ["looks", "after", ""]


def test_nothing_is_left_behind():
    model, x = models.small_cnn(), images(1, 8, 8, 3)
    for _ in range(3):
        BACKEND.capture(model, x, ["conv_a"])
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        BACKEND.capture(model, x, ["conv_a"])
        BACKEND.layers(model, x)
    gc.collect()
    assert len(gc.get_objects()) - before < 200


@pytest.mark.skipif(ON != "tensorflow", reason="only Keras on TensorFlow draws from TensorFlow")
def test_tensorflows_random_state_is_left_as_found():
    import tensorflow as tf

    model = keras.Sequential([K.Lambda(lambda x: x + tf.random.normal(tf.shape(x)), name="draws"), K.ReLU(name="last")])
    draws = []
    for look in (True, False):
        tf.random.set_seed(3)
        draws.append([np.array(tf.random.normal((2,)))])
        if look:
            BACKEND.layers(model, images(2, 3))
            BACKEND.capture(model, images(2, 3), ["last"], 0)
        draws[-1] += [np.array(tf.random.normal((2,))) for _ in range(2)]
    np.testing.assert_array_equal(*draws)
