"""Kinds of Keras models that people have: each is read right on every framework under Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import layerscope as ls
from helpers.keras_models import BACKEND, ON, K, images, keras, same, small_cnn, table, to_numpy, values
from helpers.wording import wording
from layerscope.backends import SteadyLayers

# Keras's own Variable, when Keras on TensorFlow turns it into an array
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def model_of(layer: Any, name: str) -> Any:
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, layer(inputs), name=name)


def test_rectifiers_have_their_usual_names():
    activations = [
        K.ReLU(max_value=6),
        K.ReLU(),
        K.ReLU(max_value=6, threshold=1),
        K.Activation("relu6"),
        K.Activation("tanh"),
    ]
    model = keras.Sequential([keras.Input((8, 8, 3)), *activations])
    rows = [row.usual_name for row in BACKEND.layers(model, images(1, 8, 8, 3)) if row.path and row.calls]
    assert rows == ["ReLU6", "", "", "ReLU6", "tanh"]


def test_three_levels_and_a_sub_model_used_twice():
    conv = K.Conv2D(3, 3, padding="same", name="conv")
    inner = model_of(conv, "inner")
    inputs = keras.Input((8, 8, 3))
    middle = keras.Model(inputs, inner(inner(inputs)), name="middle")
    inputs = keras.Input((8, 8, 3))
    model, x = keras.Model(inputs, middle(middle(inputs))), images(2, 8, 8, 3)
    captured = values(model, x, "middle/inner/conv", "middle")
    assert list(captured) == [
        *("middle/inner/conv:0", "middle/inner/conv:1", "middle:0"),
        *("middle/inner/conv:2", "middle/inner/conv:3", "middle:1"),
    ]
    expected = x
    for call in range(4):
        expected = conv(expected)
        same(captured[f"middle/inner/conv:{call}"], expected)


class Collections(keras.Model):
    """Layers in a dict, a list in a dict, a tuple, and inside an object of the user's own layer."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name = {"x": K.Conv2D(2, 3), "y": [K.Dense(4)]}
        self.pair = (K.Dense(3), K.ReLU())

    def call(self, x: Any) -> Any:
        x = self.by_name["y"][0](self.by_name["x"](x))
        return {"a": self.pair[1](self.pair[0](x)), "b": x}


def test_layers_in_collections_and_a_dict_of_outputs():
    model, x = Collections(), images(1, 8, 8, 3)
    layers = table(model, x)
    assert list(layers) == ["by_name/x", "by_name/y/0", "pair/0", "pair/1", "", ".b"]
    wording(layers[""].note, ".a", "2")
    captured = values(model, x, "by_name/x", "by_name/y/0", "pair/0", ".b")
    same(captured["by_name/x"], model.by_name["x"](x))
    same(captured[".b"], captured["by_name/y/0"])
    same(captured["pair/0"], model.pair[0](captured["by_name/y/0"]))


@pytest.mark.each_framework
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_layer_by_layer(policy):
    model = keras.Sequential([K.Conv2D(3, 3, dtype=policy, name="half"), K.Dense(2, dtype="float32", name="full")])
    x = images(1, 6, 6, 3)
    captured = BACKEND.capture(model, x, ["half", "full"])
    kind = policy.removeprefix("mixed_")
    assert kind in (captured["half"].dtype, captured["half"].values.dtype.name)
    assert (captured["full"].dtype, captured["full"].values.dtype) == ("", np.float32)
    expected = to_numpy(keras.ops.cast(model.layers[0](x), "float32"))
    np.testing.assert_array_equal(captured["half"].values.astype(np.float32), expected)


def test_names_with_dots_and_dashes_are_whole():
    model, x = keras.Sequential([K.ReLU(name="mobile_1.00_224"), K.ReLU(name="a-b c")]), images(1, 4, 4, 3)
    captured = values(model, x, "mobile_1.00_224", "a-b c")
    same(captured["mobile_1.00_224"], np.maximum(x, 0))


def test_a_network_over_time():
    cnn = keras.Sequential([K.Conv2D(2, 3, name="conv"), K.GlobalAveragePooling2D(name="gap")], name="cnn")
    model = keras.Sequential([K.TimeDistributed(cnn, name="frames"), K.LSTM(3, name="lstm")])
    x = images(2, 4, 8, 8, 3)
    layers = table(model, x)
    assert (layers["frames/layer/conv"].calls, layers["frames/layer/conv"].axes) == (4, "bhwc")
    assert (layers["frames"].axes, layers["lstm"].axes) == ("bnc", "bc")
    captured = values(model, x, "frames/layer/conv", "frames")
    for step in range(4):
        same(captured[f"frames/layer/conv:{step}"], cnn.layers[0](x[:, step]))
    same(captured["frames"], np.stack([to_numpy(cnn(x[:, step])) for step in range(4)], 1))


def test_convlstm_has_an_axis_of_time():
    model, x = keras.Sequential([K.ConvLSTM2D(2, 3, return_sequences=True, name="lstm")]), images(1, 3, 8, 7, 3)
    layers = table(model, x)
    assert (layers["lstm"].axes, layers["lstm"].shape) == ("bdhwc", (1, 3, 6, 5, 2))
    same(values(model, x, "lstm")["lstm"], model(x))


@pytest.mark.each_framework
def test_augmentation_is_off_in_inference_mode():
    kinds = (K.RandomFlip, K.RandomRotation, K.RandomZoom, K.RandomContrast, K.Dropout, K.GaussianNoise)
    layers = [kind(*(() if kind is K.RandomFlip else (0.5,)), name=kind.__name__) for kind in kinds]
    model, x = keras.Sequential(layers), images(2, 8, 8, 3)
    for name, output in values(model, x, *(item.name for item in layers)).items():
        np.testing.assert_array_equal(output, x, err_msg=name)


class Switch(keras.Layer):
    """Doubles in training only; passes a mask on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def call(self, x: Any, training: Any = None) -> Any:
        return x * 2 if training else x


@pytest.mark.each_framework
def test_custom_layers_training_and_masks():
    words = keras.Input((5,), dtype="int32")
    embedded = K.Embedding(4, 3, mask_zero=True, name="embed")(words)
    model = keras.Model(words, K.LSTM(2, name="lstm")(Switch(name="switch")(embedded)))
    batch = np.array([[1, 2, 0, 0, 0], [3, 1, 2, 2, 0]], np.int32)
    captured = values(model, batch, "embed", "switch", "lstm")
    np.testing.assert_array_equal(captured["switch"], captured["embed"])
    short = values(model, batch[:1, :], "lstm")["lstm"]
    same(short, captured["lstm"][:1])
    same(captured["lstm"], model(batch))


@pytest.mark.each_framework
def test_spectral_normalisation_leaves_its_vector_alone():
    inner = K.Conv2D(3, 3, name="conv")
    model, x = keras.Sequential([K.SpectralNormalization(inner, name="spectral")]), images(1, 8, 8, 3)
    model(x)
    before = [to_numpy(variable) for variable in model.variables]
    captured = values(model, x, "spectral/layer", "spectral")
    same(captured["spectral"], inner(x))
    same(captured["spectral/layer"], captured["spectral"])
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, to_numpy(new))


def test_compiled_for_training_and_frozen():
    if ON == "torch":
        pytest.skip(
            "Keras on torch can't run its own predict() with jit_compile=True here: torch.compile fails in Keras"
        )
    model, x = small_cnn(), images(2, 8, 8, 3)
    model.compile(optimizer="sgd", loss="mse", jit_compile=True)
    predicted = model.predict(x, verbose=0)
    model.trainable = False
    np.testing.assert_allclose(values(model, x, "head")["head"], predicted, rtol=1e-4, atol=1e-5)
    assert not model.trainable
    assert not any(item.trainable for item in model.layers)


@pytest.mark.each_framework
def test_a_model_of_its_own_training_step():
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.conv = K.Conv2D(2, 3)

        def call(self, x: Any) -> Any:
            return self.conv(x)

        def train_step(self, data: Any) -> Any:
            raise RuntimeError("nobody trains here")

    model, x = Own(), images(1, 6, 6, 3)
    same(values(model, x, "conv")["conv"], model.conv(x))


# Keras says so of the InputLayer and whatever else has no weights
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method implemented:UserWarning")
@pytest.mark.parametrize("mode", ["int8", pytest.param("float8", marks=pytest.mark.each_framework)])
def test_quantised_models(mode):
    model, x = keras.Sequential([K.Dense(4, name="a"), K.Dense(3, name="b")]), images(2, 6)
    model(x)
    model.quantize(mode)
    captured = BACKEND.capture(model, x, ["a", "b"])
    assert {item.values.dtype.name for item in captured.values()} == {"float32"}
    same(captured["b"].values, model(x, training=False))
    wording(table(model, x)["a"].note, mode, "float32")


def test_layers_with_low_rank_additions():
    model, x = keras.Sequential([K.Conv2D(3, 3, name="conv"), K.Dense(4, name="dense")]), images(1, 8, 8, 3)
    model(x)
    for item in model.layers:
        item.enable_lora(2)
    model.layers[1].lora_kernel_b.assign(np.ones(model.layers[1].lora_kernel_b.shape, np.float32))
    captured = values(model, x, "conv", "dense")
    same(captured["dense"], model.layers[1](model.layers[0](x)))


@pytest.mark.skipif(ON != "tensorflow", reason="only TensorFlow has tensors of strings")
def test_text_as_model_input():
    lookup = K.StringLookup(vocabulary=["cat", "dog"], name="lookup")
    model = keras.Sequential([keras.Input((1,), dtype="string"), lookup, K.Embedding(4, 3, name="embed")])
    captured = values(model, np.array([["dog"], ["cow"]]), "lookup", "embed")
    assert captured["lookup"].tolist() == [[2], [0]]


def in_a_function(inner: Any) -> Any:
    """A model that calls `inner` through the framework's compiler only."""
    if ON == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda x: inner(x))
    elif ON == "jax":
        import jax

        compiled = jax.jit(lambda x: inner(x))
    else:
        import torch

        compiled = torch.compile(lambda x: inner(x), backend="eager")

    class Compiled(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def call(self, x: Any) -> Any:
            return compiled(x)

    return Compiled()


@pytest.mark.each_framework
def test_layers_inside_a_compiled_function_have_values():
    inner, x = small_cnn(), images(2, 8, 8, 3)
    inner(x)
    model = in_a_function(inner)
    # Twice, since a compiler runs the Python code the first time only.
    for _ in range(2):
        layers = table(model, x)
        assert (layers["inner/conv_a"].calls, layers["inner/conv_a"].axes) == (1, "bhwc")
        captured = BACKEND.capture(model, x, ["inner/conv_a", "inner/head"], 1)
        same(captured["inner/conv_a"].values, inner.layers[0](x))
        same(captured["inner/head"].values, inner(x))
        assert np.abs(captured["inner/conv_a"].gradient).max() > 0


@pytest.mark.each_framework
def test_a_model_that_predicts_inside():
    inner = small_cnn()

    class Predicts(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.dense = inner, K.Dense(2)

        def call(self, x: Any) -> Any:
            if not isinstance(x, keras.KerasTensor):
                seen.append(self.inner.predict(to_numpy(x), verbose=0))
            return self.dense(x)

    seen: list[Any] = []
    model, x = Predicts(), images(1, 8, 8, 3)
    model(x)
    before = vars(keras.Layer)["__call__"]
    captured = values(model, x, "dense")
    same(captured["dense"], model.dense(x))
    same(seen[-1], inner(x))
    assert vars(keras.Layer)["__call__"] is before


@pytest.mark.each_framework
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
@pytest.mark.parametrize("target", [None, 0])
def test_the_watch_is_removed_whatever_happens(error, target):
    class Fails(keras.Layer):
        def call(self, x: Any) -> Any:
            if not isinstance(x, keras.KerasTensor) and switch:
                raise error("in the middle")
            return x

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    switch: list[int] = []
    model, x = keras.Sequential([K.Dense(3, name="first"), Fails(name="fails")]), images(2, 3)
    model(x)
    before = [vars(owner)["__call__"] for owner in (keras.Layer, keras.Operation)]
    assert set(values(model, x, "first")) == {"first"}
    switch.append(1)
    with pytest.raises(error, match="in the middle"):
        BACKEND.capture(model, x, ["first"], target)
    assert [vars(owner)["__call__"] for owner in (keras.Layer, keras.Operation)] == before


@pytest.mark.each_framework
def test_an_error_in_the_second_run_of_gradients():
    """The first run gives the values, the error comes while gradients are recorded."""
    runs: list[int] = []

    class Later(keras.Layer):
        def call(self, x: Any) -> Any:
            if not isinstance(x, keras.KerasTensor):
                runs.append(1)
                if len(runs) > 1:
                    raise KeyboardInterrupt("second run")
            return x

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    model, x = keras.Sequential([keras.Input((3,)), K.Dense(3, name="first"), Later()]), images(2, 3)
    before = [vars(owner)["__call__"] for owner in (keras.Layer, keras.Operation)]
    with pytest.raises(KeyboardInterrupt, match="second run"):
        BACKEND.capture(model, x, ["first"], 0)
    assert [vars(owner)["__call__"] for owner in (keras.Layer, keras.Operation)] == before


class MadeInCall(keras.Model):
    """Operations and layers that are made anew in each call, as many people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = K.Conv2D(4, 3)

    def call(self, x: Any) -> Any:
        around = [[0, 0], [1, 1], [1, 1], [0, 0]]
        x = K.ReLU()(self.conv(keras.ops.pad(x, around)))
        return K.ReLU()(keras.ops.pad(x, around) - 1)


@pytest.mark.each_framework
def test_what_is_made_in_the_call_has_the_same_name_in_every_run():
    model, x = MadeInCall(), images(1, 6, 6, 3)
    first = list(table(model, x))
    assert first == ["pad", "conv", "re_lu", "pad_2", "re_lu_2", ""]
    K.ReLU()  # Keras counts on
    assert list(table(model, x)) == first
    captured = values(model, x, "pad", "re_lu", "pad_2", "re_lu_2")
    same(captured["pad"], np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]))
    same(captured["re_lu"], np.maximum(to_numpy(model.conv(captured["pad"])), 0))
    same(captured["re_lu_2"], np.maximum(captured["pad_2"] - 1, 0))


def test_how_a_layer_of_keras_computes_is_no_layer():
    model = keras.Sequential([K.ZeroPadding2D(1, name="around"), K.Conv2D(2, 3, name="conv")])
    x = images(1, 6, 6, 3)
    assert list(table(model, x)) == ["around", "conv", ""]
    same(values(model, x, "around")["around"], np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]))


class Depth(keras.Model):
    """A convolution as often as the highest value says."""

    def __init__(self):
        super().__init__()
        self.conv = K.Conv2D(3, 3, padding="same", name="conv")

    def call(self, x):
        for _ in range(int(to_numpy(x).max())):
            x = self.conv(x)
        return x


def test_every_call_of_a_run_that_depends_on_values_comes_back():
    model = Depth()
    model(np.ones((1, 5, 5, 3), np.float32))
    scope = ls.open(model, preprocess=None)
    for peaks in ([2], [1], [4], [1, 3]):
        x = images(len(peaks), 5, 5, 3) * 0.01
        x[:, 0, 0, 0] = peaks
        maps, expected = scope.capture(x, "kind:Conv2D"), x
        assert len(maps) == max(peaks)
        for fm in maps.values():
            expected = model.conv(expected)
            same(fm.values, expected)


def test_only_code_of_others_may_call_layers_as_often_as_it_likes():
    x = images(1, 8, 8, 3)
    assert isinstance(BACKEND.layers(small_cnn(), x), SteadyLayers)
    model = Depth()
    model(np.ones((1, 5, 5, 3), np.float32))
    assert not isinstance(BACKEND.layers(model, x + 1), SteadyLayers)
