"""Receptive fields of TFLite graphs against what moves when a line of the image is changed, and counts of weights."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import field_probe
from helpers.tflite_models import BACKEND, K, converted, keras, rows

ONES = {"kernel_initializer": "ones"}
NETWORKS = {
    "same": lambda x: K.Conv2D(2, 3, strides=2, padding="same", **ONES)(K.Conv2D(2, (4, 3), padding="same", **ONES)(x)),
    "valid": lambda x: K.AveragePooling2D(2)(K.Conv2D(2, (5, 2), strides=(1, 2), **ONES)(x)),
    "depthwise": lambda x: K.DepthwiseConv2D(
        3, strides=2, padding="same", depthwise_initializer="ones", bias_initializer="ones"
    )(K.ZeroPadding2D(((0, 1), (2, 1)))(x)),
    "branches": lambda x: K.Concatenate()(
        [
            K.Conv2D(1, 5, padding="same", **ONES)(x),
            K.Add()([K.Conv2D(1, 1, **ONES)(x), K.MaxPooling2D(3, 1, "same")(x)]),
        ]
    ),
    "turned": lambda x: K.Conv2DTranspose(1, 3, strides=2, padding="same", **ONES)(K.AveragePooling2D(2)(x)),
    "bilinear": lambda x: K.UpSampling2D(2, interpolation="bilinear")(K.Conv2D(1, 3, **ONES)(x)),
    "nearest": lambda x: K.Conv2D(1, 2, **ONES)(K.Resizing(88, 120, "nearest")(x)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_field_is_what_moves_a_unit(name: str) -> None:
    inputs = keras.Input((*field_probe.SIZE, 1))
    content = converted(keras.Model(inputs, NETWORKS[name](inputs), name="net"))
    pictures = field_probe.line_images()
    still = BACKEND.capture(content, np.zeros_like(pictures[:1]).transpose(0, 2, 3, 1), [""])[""].values
    values = BACKEND.capture(content, pictures.transpose(0, 2, 3, 1), [""])[""].values - still
    last = rows(content, pictures[:1].transpose(0, 2, 3, 1))[""]
    assert field_probe.check_boxes(np.abs(values).transpose(0, 3, 1, 2), last.receptive) > 20


def test_dense_layers_see_the_whole_image_and_weights_are_counted() -> None:
    inputs = keras.Input((8, 8, 3))
    x = K.Conv2D(4, 3, name="conv", bias_initializer="random_normal")(inputs)
    x = K.BatchNormalization(name="norm", moving_mean_initializer="random_normal")(x)
    x = K.GlobalAveragePooling2D(name="mean")(K.PReLU(name="act", alpha_initializer="random_normal")(x))
    content = converted(keras.Model(inputs, K.Dense(5, name="dense", bias_initializer="random_normal")(x), name="net"))
    table = rows(content, np.zeros((1, 8, 8, 3), np.float32))
    counts = {path: layer.parameters for path, layer in table.items()}
    assert counts["net/norm"] == 3 * 3 * 3 * 4 + 4
    assert (counts["net/mean"], counts["net/dense"]) == (0, 4 * 5 + 5)
    assert counts[""] == sum(value for path, value in counts.items() if path)
    assert [axis.size for axis in table["net/norm"].receptive] == [3, 3]
    assert all(axis.whole for axis in table["net/dense"].receptive)
