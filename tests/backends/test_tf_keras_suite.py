"""The tf_keras backend in the suite that every backend passes, once as a Functional model and once as a subclassed one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from layerscope.backends.tf_keras import TfKerasBackend
from layerscope.testing import BackendTests

K = tf_keras.layers
BACKEND = TfKerasBackend()


class Fails(K.Layer):
    def call(self, x: Any) -> Any:
        if hasattr(x, "numpy"):
            raise RuntimeError("failed in the middle")
        return x


class Network(tf_keras.Model):
    """The network of the suite as a subclass; `ran` lists what has run."""

    def __init__(self, fail: bool) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = layers()
        self.act, self.spare = K.ReLU(), K.Dense(2)
        self.between = Fails() if fail else K.Activation("linear")
        self.names: list[str] = []

    def call(self, x: Any) -> Any:
        for name in ("conv1", "act", "between", "conv2", "act"):
            self.names.append(name)
            x = getattr(self, name)(x)
        self.names.append("head")
        return self.head(tf.reduce_mean(x, axis=(1, 2)))


def layers() -> tuple[Any, Any, Any]:
    conv1 = K.Conv2D(4, 3, padding="same", name="conv1")
    return conv1, K.Conv2D(5, 3, strides=2, name="conv2"), K.Dense(6, name="head")


def functional(fail: bool) -> Any:
    conv1, conv2, head = layers()
    given, act = tf_keras.Input((8, 8, 3)), K.ReLU(name="act")
    out = act(conv1(given))
    out = act(conv2(Fails()(out) if fail else out))
    return tf_keras.Model(given, head(K.GlobalAveragePooling2D()(out)))


class Suite(BackendTests):
    axes = "bhwc"

    def backend(self) -> Any:
        return BACKEND

    def make(self, fail: bool) -> Any:
        raise NotImplementedError

    def part(self, model: Any, name: str) -> Any:
        raise NotImplementedError

    def build(self, parameters: Mapping[str, np.ndarray], fail: bool = False) -> Any:
        model = self.make(fail)
        for name in ("conv1", "conv2", "head"):
            weight, layer = parameters[f"{name}.weight"], self.part(model, name)
            if not layer.built:
                layer.build((None, 8, 8, weight.shape[1]) if weight.ndim == 4 else (None, weight.shape[1]))
            layer.set_weights(
                [weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T, parameters[f"{name}.bias"]]
            )
        if not fail:
            model(self.batch())
        return model

    def state(self, model: Any) -> bytes:
        flags = str([(layer.name, layer.trainable) for layer in model._flatten_layers()])
        return flags.encode() + b"".join(each.numpy().tobytes() for each in model.variables)


class TestFunctional(Suite):
    def make(self, fail: bool) -> Any:
        return functional(fail)

    def part(self, model: Any, name: str) -> Any:
        return model.get_layer(name)


class TestSubclassed(Suite):
    paths = {**BackendTests.paths, "spare": "spare"}

    def make(self, fail: bool) -> Any:
        return Network(fail)

    def part(self, model: Any, name: str) -> Any:
        return getattr(model, name)

    def ran(self, model: Any) -> list[str]:
        return model.names
