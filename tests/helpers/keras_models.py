"""Small Keras models whose layers can be worked out by hand, and how a test runs them."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np

from layerscope.backends.keras.backend import KerasBackend

K = keras.layers
BACKEND = KerasBackend()
ON = keras.backend.backend()


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def to_numpy(tensor: Any) -> np.ndarray:
    if hasattr(tensor, "detach"):  # Keras's own conversion warns on torch with NumPy 2
        return np.array(tensor.detach().cpu().numpy())
    return np.array(keras.ops.convert_to_numpy(tensor))


def by_sub_model(model: Any, names: list[str], x: Any) -> dict[str, np.ndarray]:
    """What Keras's own sub-model gives for the named layers of a flat model."""
    outputs = [model.get_layer(name).output for name in names]
    results = keras.Model(model.inputs, outputs)([x], training=False)
    results = results if isinstance(results, list) else [results]
    return {name: to_numpy(output) for name, output in zip(names, results, strict=True)}


def vgg(top: bool = False, size: int = 64) -> Any:
    return keras.applications.VGG16(weights=None, include_top=top, input_shape=(size, size, 3), classes=10)


def small_cnn() -> Any:
    return keras.Sequential(
        [
            K.Conv2D(4, 3, activation="relu", name="conv_a"),
            K.BatchNormalization(name="bn"),
            K.MaxPooling2D(name="pool.a"),
            K.Conv2D(5, 3, padding="same", name="conv_b"),
            K.Flatten(name="flat"),
            K.Dense(3, activation="softmax", name="head"),
        ]
    )


class TwoConvs(keras.Model):
    """A subclassed model: public attributes, a list, a private attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = K.Conv2D(3, 3, activation="relu", name="first")
        self.blocks = [K.Conv2D(4, 3, name="in_list"), K.Conv2D(2, 1, name="in_list_too")]
        self._hidden = K.Dense(5, name="hidden")
        self.unused = K.Dense(2, name="unused")

    def call(self, x: Any) -> Any:
        x = self.conv1(x)
        for block in self.blocks:
            x = block(x)
        return self._hidden(x)


@dataclass
class Outputs:
    logits: Any
    hidden: Any


class Structured(keras.Model):
    """Layers that return a tuple, a dict and a dataclass."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.table = Table()
        self.made = Made()

    def call(self, x: Any) -> Any:
        first, second = self.pair(x)
        return self.made(self.table(first + second)["plus"])


class Pair(keras.Layer):
    def call(self, x: Any) -> Any:
        return x + 1, x + 2


class Table(keras.Layer):
    def call(self, x: Any) -> Any:
        return {"mean": keras.ops.mean(x, axis=(1, 2, 3)), "plus": x + 3, "minus": x - 3}


class Made(keras.Layer):
    def call(self, x: Any) -> Any:
        return Outputs(logits=x * 2, hidden=x * 3)


class Broken(keras.Layer):
    """Raises when it runs, not while the model is put together."""

    def call(self, x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor):
            raise RuntimeError("broken on purpose")
        return x


class Restless(keras.Model):
    """Trains its statistics and draws random numbers although `training` is false."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = K.Conv2D(3, 3, activity_regularizer="l2")
        self.bn = K.BatchNormalization()
        self.noise = K.Dropout(0.5, seed=3)
        self.broken = False

    def call(self, x: Any) -> Any:
        x = self.noise(self.bn(self.conv(x), training=True), training=True)
        np.random.random(), random.random()
        if self.broken:
            raise RuntimeError("broken on purpose")
        return x


class AddTokens(keras.Layer):
    """Puts `count` learned tokens before the patches, and adds a position embedding."""

    def __init__(self, count: int, weight: str = "tokens", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count, self.weight = count, weight

    def build(self, shape: Any) -> None:
        self.tokens = self.add_weight(shape=(1, self.count, shape[-1]), name=self.weight)
        self.position = self.add_weight(shape=(1, shape[1] + self.count, shape[-1]), name="position")

    def call(self, x: Any) -> Any:
        tokens = keras.ops.broadcast_to(self.tokens, (keras.ops.shape(x)[0], self.count, x.shape[-1]))
        return keras.ops.concatenate([tokens, x], axis=1) + self.position


def vit(height: int = 224, width: int = 160, prefix: int = 5, weight: str = "tokens", layer: str = "prefix") -> Any:
    inputs = keras.Input((height, width, 3))
    patches = K.Conv2D(8, 16, strides=16, name="patches")(inputs)
    tokens = K.Reshape((-1, 8), name="tokens")(patches)
    tokens = AddTokens(prefix, weight, name=layer)(tokens)
    mixed = K.MultiHeadAttention(2, 4, name="mha")(tokens, tokens)
    tokens = K.LayerNormalization(name="norm")(K.Add(name="add")([tokens, mixed]))
    return keras.Model(inputs, K.Dense(2, name="cls" if weight == "unnamed" else "head")(tokens[:, 0]))


def table(model: Any, batch: Any) -> dict[str, Any]:
    return {layer.path: layer for layer in BACKEND.layers(model, batch)}


def values(model: Any, batch: Any, *paths: str) -> dict[str, np.ndarray]:
    return {path: captured.values for path, captured in BACKEND.capture(model, batch, paths).items()}


def same(values: Any, expected: Any) -> None:
    expected = to_numpy(expected) if not isinstance(expected, np.ndarray) else expected
    assert values.shape == expected.shape
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def ran(model: Any, batch: Any) -> list[str]:
    return [path for path, layer in table(model, batch).items() if layer.calls]
