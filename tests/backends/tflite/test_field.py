"""Receptive fields of TFLite graphs against what moves when a line of the image is changed, and counts of weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from helpers import field_probe
from helpers.tflite_models import BACKEND, K, converted, keras, of_function, rows

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


TALL, WIDE = np.ones((3, 1, 1, 1), np.float32), np.ones((3, 3, 1, 1), np.float32)
FUNCTIONS = {
    "crops": lambda x: tf.nn.conv2d(x[:, 5:-3, 2::3], WIDE, 2, "VALID"),
    "backwards": lambda x: tf.nn.conv2d(
        tf.reverse(tf.gather(x[:, ::-2], list(range(1, 40, 2)), axis=2), [2]), TALL, 1, "VALID"
    ),
    "a slice of a mirrored border": lambda x: tf.nn.conv2d(
        tf.slice(tf.pad(x, [[0, 0], [3, 2], [1, 0], [0, 0]], "REFLECT"), [0, 4, 6, 0], [-1, 30, -1, 1]),
        TALL,
        1,
        "VALID",
    ),
    "parts": lambda x: tf.nn.conv2d(tf.split(tf.split(x, [8, 20, 16], axis=1)[1], 2, axis=2)[1], TALL, 1, "VALID"),
    "a new axis": lambda x: tf.nn.conv2d(x[..., 0][..., None], WIDE, 1, "VALID"),
    "turned": lambda x: tf.nn.conv2d(tf.transpose(x, [0, 2, 1, 3]), TALL, [2, 1], "SAME"),
    "blocks in the batch": lambda x: tf.batch_to_space(
        tf.nn.relu(tf.nn.conv2d(tf.space_to_batch(x, [4, 4], [[4, 4], [4, 4]]), WIDE, 1, "VALID")),
        [4, 4],
        [[0, 1], [2, 0]],
    ),
    **{
        f"{name}, {options}": lambda x, resize=resize, options=options: resize(images=x, size=[66, 20], **options)
        for name, resize in (("linear", tf.raw_ops.ResizeBilinear), ("nearest", tf.raw_ops.ResizeNearestNeighbor))
        for options in ({}, {"align_corners": True}, {"half_pixel_centers": True})
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_field_of_what_moves_pixels_is_what_moves_a_unit(name: str) -> None:
    build = FUNCTIONS[name]
    content = of_function(lambda x: build(x), tf.TensorSpec([1, *field_probe.SIZE, 1]))
    pictures = field_probe.line_images().transpose(0, 2, 3, 1)
    values = np.abs(BACKEND.capture(content, pictures, [""])[""].values)
    last = rows(content, pictures[:1])[""]
    order = [last.axes.index(axis) for axis in "bchw"]
    assert field_probe.check_boxes(values.transpose(order), last.receptive) > 20
    assert not any(field.unknown for field in last.receptive)


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
