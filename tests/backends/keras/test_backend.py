"""The Keras backend against Keras's own sub-models, layers called by hand, and numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from helpers import keras_models as models
from helpers.keras_models import BACKEND, ON, K, by_sub_model, images, keras, ran, same, table, to_numpy, values
from helpers.wording import raises, wording
from layerscope.backends import Pick
from layerscope.core.note import kind_of
from layerscope.errors import LayerNotFound

pytestmark = [
    # Keras's own Variable, when Keras on TensorFlow turns it into an array
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    # a subclassed model with a layer that it never calls
    pytest.mark.filterwarnings("ignore:.build... was called on layer:UserWarning"),
]


def test_a_layer_alone_is_owned():
    assert BACKEND.owns(K.Dense(2))


def test_flat_model_equals_its_sub_model():
    model, x = models.vgg(), images(2, 64, 64, 3)
    names = ["block1_conv1", "block1_conv2", "block3_pool", "block5_conv3"]
    result = values(model, x, *reversed(names))
    assert list(result) == names
    for name, expected in by_sub_model(model, names, x).items():
        same(result[name], expected)
        assert result[name].any()


def test_table_of_a_flat_model():
    layers = BACKEND.layers(models.vgg(top=True, size=32), images(3, 32, 32, 3))
    by_path = {layer.path: layer for layer in layers}
    assert [layer.index for layer in layers] == list(range(len(layers)))
    assert layers[0].path == "block1_conv1"
    assert (layers[0].kind, layers[0].axes, layers[0].shape) == ("Conv2D+relu", "bhwc", (1, 32, 32, 64))
    assert by_path["block1_pool"].kind == "MaxPooling2D"
    assert (by_path["flatten"].axes, by_path["fc1"].axes) == ("bc", "bc")
    assert by_path["predictions"].kind == "Dense+softmax"
    assert (layers[-2].path, layers[-2].shape) == ("", (1, 10))
    assert (layers[-1].kind, layers[-1].calls, layers[-1].note) == ("InputLayer", 0, "Input: nothing runs")


def test_base_model_inside_another():
    base = models.vgg()
    inputs = keras.Input((64, 64, 3))
    pooled = K.GlobalAveragePooling2D(name="gap")(base(K.Rescaling(1 / 255, name="scale")(inputs)))
    model, x = keras.Model(inputs, K.Dense(3, name="head")(pooled)), images(2, 64, 64, 3) * 255
    result = values(model, x, "vgg16/block1_conv2", "vgg16/block5_conv3", "gap", "vgg16", "")
    names = ["block1_conv2", "block5_conv3", "block5_pool"]
    expected = by_sub_model(base, names, x * np.float32(1 / 255))
    same(result["vgg16/block1_conv2"], expected["block1_conv2"])
    same(result["vgg16/block5_conv3"], expected["block5_conv3"])
    same(result["vgg16"], expected["block5_pool"])
    same(result["gap"], expected["block5_pool"].mean((1, 2)))
    same(result[""], model(x, training=False))
    assert list(result) == ["vgg16/block1_conv2", "vgg16/block5_conv3", "vgg16", "gap", ""]


def test_base_model_inside_a_sequential():
    base, x = models.vgg(), images(1, 64, 64, 3)
    model = keras.Sequential([base, K.Flatten(name="flatten"), K.Dense(2, name="head")])
    result = values(model, x, "vgg16/block4_conv3", "flatten")
    expected = by_sub_model(base, ["block4_conv3", "block5_pool"], x)
    same(result["vgg16/block4_conv3"], expected["block4_conv3"])
    same(result["flatten"], expected["block5_pool"].reshape(1, -1))


@pytest.mark.parametrize("state", ["fresh", "called", "keras", "h5"])
def test_sequential_in_every_state(state, tmp_path):
    model, x = models.small_cnn(), images(2, 8, 8, 3)
    if state != "fresh":
        model(x)
    if state in ("keras", "h5"):
        file = tmp_path / f"model.{state}"
        model.save(file)
        model = BACKEND.load(file, None, False)
    result = values(model, x, "conv_a", "pool.a", "conv_b", "head")
    by_hand = model.layers[0](x)
    same(result["conv_a"], by_hand)
    by_hand = model.layers[2](model.layers[1](by_hand, training=False))
    same(result["pool.a"], by_hand)
    by_hand = model.layers[3](by_hand)
    same(result["conv_b"], by_hand)
    same(result["head"], model(x, training=False))
    assert ran(model, x) == ["conv_a", "bn", "pool.a", "conv_b", "flat", "head", ""]


def test_dry_run_of_a_fresh_sequential_counts_no_symbolic_calls():
    layers = BACKEND.layers(models.small_cnn(), images(2, 8, 8, 3))
    assert {layer.path: layer.calls for layer in layers}["conv_a"] == 1
    assert len(layers) == 7


@pytest.mark.each_framework
def test_subclassed_model_by_attribute():
    model, x = models.TwoConvs(), images(2, 9, 9, 3)
    result = values(model, x, "conv1", "blocks/0", "blocks/1", "hidden")
    first = model.conv1(x)
    same(result["conv1"], first)
    same(result["blocks/0"], model.blocks[0](first))
    same(result["blocks/1"], model.blocks[1](model.blocks[0](first)))
    same(result["hidden"], model._hidden(model.blocks[1](model.blocks[0](first))))
    layers = table(model, x)
    assert layers["conv1"].aliases == ("first",)
    assert layers["blocks/0"].aliases == ("in_list",)
    assert (layers["unused"].calls, kind_of(layers["unused"].note)) == (0, "not-called")


@pytest.mark.each_framework
def test_layer_called_twice():
    shared, inputs = K.Conv2D(3, 3, padding="same", name="shared"), keras.Input((6, 6, 3))
    model, x = keras.Model(inputs, K.Add()([shared(shared(inputs)), inputs])), images(2, 6, 6, 3)
    result = values(model, x, "shared")
    assert list(result) == ["shared:0", "shared:1"]
    same(result["shared:0"], shared(x))
    same(result["shared:1"], shared(shared(x)))
    layer = table(model, x)["shared"]
    assert (layer.calls, [item.path for item in layer.per_call]) == (2, ["shared:0", "shared:1"])
    assert list(values(model, x, "shared:1")) == ["shared:1"]
    with raises(LayerNotFound, "2", "0", "1"):
        BACKEND.capture(model, x, ["shared:2"])


def test_layer_shared_by_two_parents_has_two_paths():
    shared = K.Dense(3, name="shared")
    left, right = keras.Sequential([shared], name="left"), keras.Sequential([shared], name="right")
    inputs = keras.Input((4,))
    model, x = keras.Model(inputs, [left(inputs), right(inputs * 2)]), images(2, 4)
    result = values(model, x, "left/shared", "right/shared")
    same(result["left/shared"], shared(x))
    same(result["right/shared"], shared(x * 2))


@pytest.mark.parametrize("given_as", ["tuple", "dict"])
def test_several_inputs(given_as):
    a, b = keras.Input((6, 6, 3), name="a"), keras.Input((6, 6, 3), name="b")
    first, second = K.Conv2D(2, 3, name="one"), K.Conv2D(2, 3, name="two")
    model = keras.Model([a, b], [K.Concatenate(name="both")([first(a), second(b)]), first.output])
    x, y = images(2, 6, 6, 3), images(2, 6, 6, 3, seed=1)
    batch = (x, y) if given_as == "tuple" else {"b": y, "a": x}
    result = values(model, batch, "one", "both", "[1]")
    same(result["one"], first(x))
    same(result["both"], np.concatenate([to_numpy(first(x)), to_numpy(second(y))], -1))
    same(result["[1]"], first(x))
    assert table(model, batch)["both"].shape == (1, 4, 4, 4)


class Spread(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = K.Dense(2)

    def call(self, a: Any, *, b: Any) -> Any:
        return self.dense(a) + b


def test_inputs_by_keyword():
    model, a, b = Spread(), images(2, 4), images(2, 2, seed=1)
    result = values(model, {"b": b, "a": a}, "dense", "")
    same(result[""], result["dense"] + b)
    same(result["dense"], model.dense(a))


def test_operations_of_a_functional_model():
    inputs = keras.Input((5, 4, 3))
    scaled = keras.ops.multiply(inputs, 2.0)
    turned = keras.ops.transpose(keras.ops.relu(scaled), (0, 3, 1, 2))
    model, x = keras.Model(inputs, keras.ops.mean(turned, axis=(2, 3))), images(2, 5, 4, 3)
    names = [operation.name for operation in model.operations[1:]]
    result = values(model, x, *names)
    same(result[names[0]], x * 2)
    same(result[names[1]], np.maximum(x * 2, 0))
    same(result[names[3]], np.maximum(x * 2, 0).mean((1, 2)))
    layers = table(model, x)
    assert [layers[name].axes for name in names] == ["bhwc", "bhwc", "bchw", "bc"]


@pytest.mark.each_framework
def test_bfloat16_comes_as_float32():
    policy = keras.DTypePolicy("mixed_bfloat16")
    conv = K.Conv2D(3, 3, dtype=policy, name="conv")
    model, x = keras.Sequential([conv]), images(2, 6, 6, 3)
    captured = BACKEND.capture(model, x, ["conv"])["conv"]
    assert (captured.values.dtype, captured.dtype) == (np.float32, "bfloat16")
    np.testing.assert_array_equal(captured.values, to_numpy(keras.ops.cast(conv(x), "float32")))


@pytest.mark.each_framework
@pytest.mark.parametrize("kind", ["float16", "int32", "bool"])
def test_other_types_stay(kind):
    model = keras.Sequential([K.Lambda(lambda x: keras.ops.cast(x > 0, kind), output_shape=(3,), name="cast")])
    result = values(model, images(2, 3), "cast")["cast"]
    assert result.dtype == kind
    np.testing.assert_array_equal(result, (images(2, 3) > 0).astype(kind))


def convolves_channels_first() -> bool:
    """TensorFlow has the kernel on some processors only."""
    if ON != "tensorflow":
        return True
    import tensorflow as tf

    try:
        tf.nn.conv2d(tf.zeros((1, 1, 2, 2)), tf.zeros((1, 1, 1, 1)), 1, "VALID", data_format="NCHW")
    except tf.errors.UnimplementedError:
        return False
    return True


@pytest.mark.each_framework
@pytest.mark.parametrize("permuted", [False, True])
def test_channels_first_comes_from_the_layer(permuted):
    if not convolves_channels_first():
        pytest.skip("TensorFlow convolves channels first on other processors than this one")
    layer = K.Conv2D(5, 3, data_format="channels_first", name="conv")
    chain = [layer, K.ReLU(name="relu"), K.BatchNormalization(axis=1, name="bn"), K.Flatten(name="flat")]
    chain = [K.Permute((3, 1, 2), name="turn"), *chain] if permuted else [K.Rescaling(2.0, name="scale"), *chain]
    model, x = keras.Sequential(chain), images(1, 7, 9, 3) if permuted else images(1, 3, 7, 9)
    layers = table(model, x)
    assert (layers["conv"].axes, layers["conv"].shape, layers["conv"].channels) == ("bchw", (1, 5, 5, 7), 5)
    assert (layers["relu"].axes, layers["bn"].axes, layers["flat"].axes) == ("bchw", "bchw", "bc")
    assert next(iter(layers.values())).axes == "bchw"


def test_axes_of_wrappers_and_sequences():
    model = keras.Sequential(
        [
            K.TimeDistributed(K.Conv2D(4, 3, activation="gelu"), name="frames"),
            K.TimeDistributed(K.GlobalAveragePooling2D(), name="pooled"),
            K.Bidirectional(K.LSTM(3, return_sequences=True), name="both"),
            K.Permute((2, 1), name="turned"),
        ]
    )
    x = images(2, 3, 8, 7, 3)
    layers = table(model, x)
    assert [layers[name].axes for name in ("frames", "pooled", "both", "turned")] == ["bdhwc", "bnc", "bnc", "bcn"]
    assert (layers["frames/layer"].calls, layers["frames/layer"].kind) == (3, "Conv2D+gelu")
    result = values(model, x, "frames/layer", "frames")
    for step in range(3):
        same(result[f"frames/layer:{step}"], model.layers[0].layer(x[:, step]))
        same(result["frames"][:, step], result[f"frames/layer:{step}"])
    assert "call" not in vars(model.layers[0].layer)


def test_fused_activation_is_in_the_kind():
    inputs = keras.Input((6, 6, 3))
    out = K.Conv2D(2, 3, name="plain")(inputs)
    out = K.SeparableConv2D(2, 3, activation="swish", name="fused")(out)
    model = keras.Model(inputs, K.Activation("tanh", name="alone")(out))
    layers = table(model, images(1, 6, 6, 3))
    assert (layers["plain"].kind, layers["fused"].kind) == ("Conv2D", "SeparableConv2D+silu")
    assert (layers["alone"].kind, layers["alone"].note) == ("Activation", "tanh")


def test_parts_of_outputs_have_names():
    model, x = models.Structured(), images(2, 4, 4, 3)
    layers = table(model, x)
    assert list(layers)[:9] == [
        *("pair", "pair[1]", "table", "table.mean", "table.minus"),
        *("made", "made.hidden", "", ".hidden"),
    ]
    wording(layers["pair"].note, "[0]", "2")
    assert "pair[0]" in layers["pair"].aliases
    wording(layers["table"].note, ".plus", "3")
    assert not layers["table.mean"].axes
    wording(layers["table.mean"].note, "1")
    result = values(model, x, *layers)
    same(result["pair[1]"], x + 2)
    same(result["table"], 2 * x + 6)
    same(result["table.minus"], 2 * x)
    same(result["table.mean"], (2 * x + 3).mean((1, 2, 3)))
    same(result[".hidden"], 3 * (2 * x + 6))


def test_sub_model_with_a_list_of_one_input():
    model, x = models.vgg(), images(1, 64, 64, 3)
    sub = keras.Model(model.inputs, model.get_layer("block1_pool").output)
    same(
        values(sub, x, "block1_pool")["block1_pool"],
        by_sub_model(model, ["block1_pool", "block1_conv1"], x)["block1_pool"],
    )


def test_a_layer_of_a_nested_model_is_named_with_its_path():
    nested = keras.Sequential([models.small_cnn()])
    with raises(LayerNotFound, "/conv_a'"):
        BACKEND.capture(nested, images(1, 8, 8, 3), ["conv_a"])


@pytest.mark.each_framework
def test_the_frameworks_own_error_comes_through():
    with pytest.raises(ValueError, match="expected shape"):
        BACKEND.capture(models.vgg(), images(1, 20, 30, 1), ["block1_conv1"])


@pytest.mark.each_framework
def test_layers_run_one_by_one_keep_their_path():
    class ByHand(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.base = models.small_cnn()

        def call(self, x: Any) -> Any:
            for layer in self.base.layers[:2]:
                x = layer(x)
            return x

    layers = table(ByHand(), images(1, 8, 8, 3))
    assert list(layers)[:3] == ["base/conv_a", "base/bn", ""]
    assert kind_of(layers["base"].note) == "container"
    assert kind_of(layers["base/pool.a"].note) == "not-called"


def test_tokens_lie_on_the_patch_grid():
    layers = table(models.vit(), images(2, 224, 160, 3))
    assert (layers["patches"].axes, layers["patches"].shape) == ("bhwc", (1, 14, 10, 8))
    for path in ("tokens", "prefix", "mha", "add", "norm"):
        assert (layers[path].axes, layers[path].grid) == ("bnc", (14, 10)), path
    assert layers["norm"].shape == (1, 145, 8)
    assert (layers["mha/query"].axes, layers["mha/query"].note) == ("bndc", "d = attention head")
    assert (layers["head"].axes, layers["head"].grid) == ("bc", None)


@pytest.mark.each_framework
def test_chosen_channels_are_gathered_before_anything_is_copied(monkeypatch):
    model = keras.Sequential([keras.Input((4, 4, 3)), K.Conv2D(8, 1, name="conv")])
    batch = np.ones((1, 4, 4, 3), np.float32)
    whole = BACKEND.capture(model, batch, ["conv"])["conv"].values
    copied = []
    on = BACKEND.engine()
    as_numpy = type(on).as_numpy

    def watched(self, tensor):
        copied.append(tuple(tensor.shape))
        return as_numpy(self, tensor)

    monkeypatch.setattr(type(on), "as_numpy", watched)
    result = BACKEND.capture(model, batch, ["conv"], picks={"conv": Pick(3, (5, 2))})["conv"].values
    assert (copied[-1], max(math.prod(item) for item in copied)) == ((1, 4, 4, 2), 32)
    np.testing.assert_array_equal(result, whole[..., [5, 2]])
