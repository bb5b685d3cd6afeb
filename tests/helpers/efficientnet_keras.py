"""EfficientNet-Lite0 in Keras 3 with the trained weights of the torch package; `_blocks-2` is its `_blocks.2`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

K = keras.layers
EPSILON = 1e-3


def keras_name(path: str) -> str:
    """The layer's name in Keras: on torch it must hold no dot."""
    return path.replace(".", "-")


class Port:
    """Builds the network layer by layer; `weights` is the torch module's `state_dict`, as numpy."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self.weights = weights
        self.todo: list[tuple[Any, list[np.ndarray]]] = []

    def conv(self, x: Any, name: str, stride: int = 1) -> Any:
        """The package pads as TensorFlow's "same" does: one pixel more at the end where the stride is 2."""
        weight = self.weights[f"{name}.weight"]
        options = {"strides": stride, "padding": "same", "use_bias": False, "name": keras_name(name)}
        if "_depthwise" in name:
            layer = K.DepthwiseConv2D(weight.shape[2], **options)
            kernel = weight.transpose(2, 3, 0, 1)
        else:
            layer = K.Conv2D(weight.shape[0], weight.shape[2], **options)
            kernel = weight.transpose(2, 3, 1, 0)
        self.todo.append((layer, [kernel]))
        return layer(x)

    def norm(self, x: Any, name: str) -> Any:
        layer = K.BatchNormalization(epsilon=EPSILON, name=keras_name(name))
        parts = ("weight", "bias", "running_mean", "running_var")
        self.todo.append((layer, [self.weights[f"{name}.{part}"] for part in parts]))
        return layer(x)

    def block(self, x: Any, name: str, stride: int) -> Any:
        """An inverted bottleneck, whose one activation layer runs after the expansion and after the depthwise step."""
        act = K.ReLU(6.0, name=keras_name(f"{name}._swish"))
        out = x
        if f"{name}._expand_conv.weight" in self.weights:
            out = act(self.norm(self.conv(out, f"{name}._expand_conv"), f"{name}._bn0"))
        out = act(self.norm(self.conv(out, f"{name}._depthwise_conv", stride), f"{name}._bn1"))
        out = self.norm(self.conv(out, f"{name}._project_conv"), f"{name}._bn2")
        return K.Add(name=keras_name(name))([out, x]) if stride == 1 and out.shape == x.shape else out


def port(module: Any) -> Any:
    """The Keras model of a torch EfficientNet-Lite."""
    built = Port({name: tensor.numpy() for name, tensor in module.state_dict().items()})
    act = K.ReLU(6.0, name="_swish")
    inputs = keras.Input((224, 224, 3), name="image")
    x = act(built.norm(built.conv(inputs, "_conv_stem", 2), "_bn0"))
    for index, block in enumerate(module._blocks):
        stride = block._block_args.stride
        x = built.block(x, f"_blocks.{index}", stride if isinstance(stride, int) else stride[0])
    x = act(built.norm(built.conv(x, "_conv_head"), "_bn1"))
    head = K.Dense(1000, name="_fc")
    built.todo.append((head, [built.weights["_fc.weight"].T, built.weights["_fc.bias"]]))
    model = keras.Model(inputs, head(K.GlobalAveragePooling2D(name="_avg_pooling")(x)), name="efficientnet_lite0")
    for layer, weights in built.todo:
        layer.set_weights(weights)
    return model
