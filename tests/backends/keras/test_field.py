"""Receptive fields of Keras models, against what moves when a line of the image is changed, and published numbers."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from helpers import field_probe
from helpers.keras_models import to_numpy
from helpers.wording import wording
from layerscope.backends.keras.backend import KerasBackend
from layerscope.core.layer_table import LayerTable
from layerscope.core.receptive_field import describe

K = keras.layers
# Keras's own tensors and variables on PyTorch and TensorFlow, when they become arrays
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
PLAIN = {"kernel_initializer": "ones", "use_bias": False}


def applied(x, name, options):
    if name == "up":
        return K.UpSampling2D(2, interpolation={"linear": "bilinear"}.get(options, options))(x)
    if name in ("add", "cat"):
        first, second = (K.Conv2D(1, 2 * k + 1, padding="same", **PLAIN)(x) for k in options)
        return K.Add()([first, second]) if name == "add" else keras.ops.concatenate([first, second], -1)
    kernel, stride, dilation = options["kernel"], options["stride"], options["dilation"]
    padding = "same" if options["pad"] else "valid"
    if name == "conv":
        # Keras takes a stride or a dilation, not both, and one number for stride
        dilation = dilation if stride == (1, 1) else 1
        return K.Conv2D(1, kernel, stride, padding, dilation_rate=dilation, **PLAIN)(x)
    if name == "turned":
        return K.Conv2DTranspose(1, kernel, stride, padding, **PLAIN)(x)
    return {"max": K.MaxPooling2D, "avg": K.AveragePooling2D}[name](kernel, stride, padding)(x)


def test_the_field_is_what_moves_a_unit():
    compared = []

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(field_probe.networks)
    def holds(network):
        pictures = np.moveaxis(field_probe.line_images(), 1, -1)
        x = inputs = K.Input((*field_probe.SIZE, 1))
        try:
            for item in network:
                x = applied(x, *item)
            model = keras.Model(inputs, x)
            values = np.moveaxis(to_numpy(model(pictures)), -1, 1)
        except ValueError:  # the image has become smaller than the next kernel
            return
        if min(values.shape) and 1 not in values.shape[2:]:
            last = next(item for item in KerasBackend().layers(model, pictures) if item.path == "")
            compared.append(field_probe.check_boxes(values, last.receptive, network))

    holds()
    assert sum(compared) > 100


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("VGG16", {"block1_conv2": (5, 1), "block5_conv3": (196, 16), "block5_pool": (212, 32)}),
        ("MobileNet", {"conv_pw_13_relu": (315, 32)}),
    ],
)
def test_the_numbers_of_the_paper(name, numbers):
    """Araujo, Norris and Sim 2019, table 1."""
    model = getattr(keras.applications, name)(weights=None)
    rows = {item.path: item for item in KerasBackend().layers(model, np.zeros((1, 224, 224, 3), np.float32))}
    for layer, (size, stride) in numbers.items():
        assert [(field.size, field.stride) for field in rows[layer].receptive] == [(size, stride)] * 2
    assert describe(rows[""].receptive) == "whole image"
    assert rows[""].parameters == model.count_params()


def test_tokens_gates_and_layers_that_say_nothing():
    @keras.saving.register_keras_serializable("fields")
    class Odd(keras.Layer):
        def call(self, x):
            return keras.ops.convert_to_tensor(keras.ops.convert_to_numpy(x) * 2)

        def compute_output_shape(self, shape):
            return shape

    x = inputs = K.Input((16, 24, 3))
    x = patches = K.Conv2D(8, 4, 4, name="patches")(x)
    x = K.Reshape((24, 8), name="tokens")(x)
    x = K.LayerNormalization(name="norm")(x)
    K.Dense(4, name="dense")(x)
    x = K.MultiHeadAttention(2, 4, name="attention")(x, x)
    gate = K.Dense(8, activation="sigmoid", name="gate")(K.GlobalAveragePooling2D(keepdims=True)(patches))
    gated = K.Multiply(name="gated")([patches, gate])
    odd = K.ReLU(name="after")(Odd(name="odd")(patches))
    model = keras.Model(inputs, [x, gated, odd])
    rows = {item.path: item for item in KerasBackend().layers(model, np.zeros((1, 16, 24, 3), np.float32))}
    result = {path: describe(item.receptive or ()) for path, item in rows.items()}
    assert result["patches"] == result["tokens"] == result["norm"] == "4×4 /4 @1.5"
    assert result["attention"] == result["gated"] == "whole image"
    assert result["odd"] == result["after"] == "?"
    assert rows["after"].receptive[0].unknown == "Odd isn't followed"


def channels_of(x):
    red, green, blue = keras.ops.unstack(x, axis=-1)
    return keras.ops.stack([blue, green, red], axis=-1)


def parts_of(x):
    red, green, blue = keras.ops.split(x, 3, axis=-1)
    return K.Concatenate()([blue, green, red])


@pytest.mark.parametrize(
    "prepare",
    {
        "caffe": keras.applications.vgg16.preprocess_input,
        "tf": keras.applications.mobilenet_v2.preprocess_input,
        "torch": lambda x: keras.applications.imagenet_utils.preprocess_input(x, mode="torch"),
        "layer": K.Lambda(keras.applications.vgg16.preprocess_input),
        "stack": channels_of,
        "split": parts_of,
        "take": lambda x: keras.ops.take(x, [2, 1, 0], axis=-1),
        "one": lambda x: keras.ops.expand_dims(keras.ops.take(x, 1, axis=-1), -1),
        "row": lambda x: keras.ops.convert_to_tensor([1.0, 2.0, 3.0]) - x,
        "grey": keras.ops.image.rgb_to_grayscale,
        "where": lambda x: keras.ops.where(x > 0, x, 0.0),
    }.items(),
    ids=lambda case: case[0],
)
def test_units_are_placed_behind_the_preprocessing_in_a_model(prepare):
    x = K.Input((32, 40, 3))
    model = keras.Model(x, K.Conv2D(2, 3, 2, "same", name="conv")(prepare[1](x)))
    (row,) = LayerTable(KerasBackend().layers(model, np.zeros((1, 32, 40, 3), np.float32))).choose("conv")
    assert describe(row.receptive) == "3×3 /2 @1"
    assert [line.spacing for line in row.lines] == [2, 2]


def test_last_is_not_the_convolution_of_one_pixel():
    model = keras.applications.MobileNetV3Small(weights=None)
    table = LayerTable(KerasBackend().layers(model, np.zeros((1, 224, 224, 3), np.float32)))
    assert table.choose("last")[0].spatial == (7, 7)
    wording(table.explained("last"))
    assert [item.spatial[0] for item in table.choose("stages")] == [112, 56, 28, 14, 7]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: K.Resizing(20, 20, crop_to_aspect_ratio=True),
        lambda: K.Resizing(20, 30, pad_to_aspect_ratio=True),
        lambda: K.Resizing(17, 23, interpolation="nearest"),
        lambda: K.CenterCrop(24, 31),
        lambda: K.CenterCrop(50, 90),
        lambda: K.Permute((2, 1, 3)),
        lambda: keras.Sequential([K.Permute((2, 1, 3)), K.AveragePooling2D(3, 2)]),
        lambda: K.AdaptiveAveragePooling2D((8, 11)),
    ],
)
def test_a_square_is_found_behind_layers_that_move_it(layer):
    """The centre of what a white square changes, by where the units are said to lie."""
    x = K.Input((40, 60, 1))
    model = keras.Model(x, layer()(x))
    picture = np.zeros((1, 40, 60, 1), np.float32)
    picture[0, 14:23, 24:37] = 1
    (row,) = [row for row in KerasBackend().layers(model, picture) if not row.path]
    values = np.moveaxis(to_numpy(model(picture)), [row.axes.index(letter) for letter in "hw"], [0, 1])[..., 0, 0]
    for axis, (line, centre) in enumerate(zip(row.lines, (18.5, 30.5), strict=True)):
        weights = values.sum(1 - axis)
        found = (weights * (line.origin + line.spacing * np.arange(len(weights)))).sum() / weights.sum()
        assert abs(found - centre) < max(line.spacing / 2, 0.6)
