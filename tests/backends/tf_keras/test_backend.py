"""Models of tf_keras against its own sub-models, its files, and what Keras 3 can't read of them."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import layerscope as ls
from helpers.wording import raises, wording
from layerscope.backends.tf_keras.backend import TfKerasBackend
from layerscope.core.receptive_field import describe
from layerscope.errors import LayerNotCalled

K = tf_keras.layers
BACKEND = TfKerasBackend()
OLD_FORMAT = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def values(model: Any, batch: Any, *paths: str) -> dict[str, np.ndarray]:
    return {path: item.values for path, item in BACKEND.capture(model, batch, paths).items()}


def table(model: Any, batch: Any) -> dict[str, Any]:
    return {layer.path: layer for layer in BACKEND.layers(model, batch)}


def same(actual: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=1e-5, atol=1e-6)


def base() -> Any:
    inputs = K.Input((12, 12, 3))
    out = K.BatchNormalization(name="bn")(K.Conv2D(4, 3, activation="relu", name="conv_a")(inputs))
    return tf_keras.Model(inputs, K.Conv2D(5, 3, strides=2, name="conv_b")(out), name="base")


def nested() -> Any:
    """Operations on symbolic tensors become TFOpLambda layers here, which Keras 3 doesn't have."""
    inputs = K.Input((12, 12, 3))
    out = base()(tf.nn.relu(inputs * 2.0 - 1.0))
    pooled = K.GlobalAveragePooling2D(name="gap")(out)
    return tf_keras.Model(inputs, [K.Dense(3, activation="softmax", name="head")(pooled), out])


def check_nested(scope: ls.Scope, model: Any, x: np.ndarray) -> None:
    inner = model.get_layer("base")
    sub = tf_keras.Model(inner.inputs, [inner.get_layer(name).output for name in ("conv_a", "bn", "conv_b")])
    expected = sub(np.maximum(x * 2 - 1, 0), training=False)
    result = scope.capture(x, ["base/conv_a", "bn", "conv_b", "gap", "head"])
    for name, item in zip(("base/conv_a", "base/bn", "base/conv_b"), expected, strict=True):
        same(result[name].values, item)
    same(result["gap"].values, np.asarray(expected[2]).mean((1, 2)))
    same(result["head"].values, model(x, training=False)[0])


@pytest.mark.parametrize("form", ["keras", "h5", "folder", "memory"])
@OLD_FORMAT
def test_nested_models_from_memory_and_every_kind_of_file(tmp_path, form):
    # Its arithmetic takes 0–1; other numbers would be warned of.
    model, x = nested(), np.abs(images(2, 12, 12, 3))
    if form == "memory":
        scope = ls.open(model, preprocess=None)
    else:
        file = tmp_path / ("saved" if form == "folder" else f"old.{form}")
        model.save(file, save_format="tf" if form == "folder" else form)
        scope = ls.open(file, preprocess=None, trust=form == "folder")
    assert scope.backend.name == "tf_keras"
    assert scope.facts.framework == f"tf_keras {tf_keras.__version__} on tensorflow {tf.__version__}"
    check_nested(scope, model, x)


def test_table_of_a_nested_model():
    layers = table(nested(), images(2, 12, 12, 3))
    assert (layers["base/conv_a"].kind, layers["base/conv_a"].axes) == ("Conv2D+relu", "bhwc")
    assert layers["base/conv_a"].shape == (1, 10, 10, 4)
    assert (layers["gap"].axes, layers["head"].kind) == ("bc", "Dense+softmax")
    assert {item.kind for item in layers.values()} >= {"TFOpLambda", "InputLayer"}
    wording(layers[""].note, "[0]", "2")
    assert layers["[1]"].shape == (1, 4, 4, 5)


def test_every_kind_of_model():
    x = images(2, 8, 8, 3)
    fresh = tf_keras.Sequential([K.Conv2D(4, 3, name="conv"), K.ReLU(name="relu"), K.Flatten(name="flat")])
    assert [path for path, item in table(fresh, x).items() if item.calls] == ["conv", "relu", "flat", ""]
    assert {item.calls for item in table(fresh, x).values()} == {1}
    same(values(fresh, x, "conv")["conv"], fresh.layers[0](x))

    class Blocks(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = K.Conv2D(3, 3)
            self.blocks = [K.Conv2D(4, 3), K.Conv2D(2, 1)]
            self.heads = {"a": K.Dense(2), "b": K.Dense(3)}
            self._hidden = K.ReLU(name="hidden")

        def call(self, x: Any) -> Any:
            x = self.blocks[1](self.blocks[0](self._hidden(self.first(x))))
            return {"a": self.heads["a"](x), "b": self.heads["b"](x)}

    model = Blocks()
    layers = table(model, x)
    assert list(layers)[:7] == ["first", "hidden", "blocks/0", "blocks/1", "heads/a", "heads/b", ""]
    result = values(model, x, "first", "blocks/1", ".b")
    same(result["first"], model.first(x))
    same(result[".b"], model(x)["b"])


def test_shared_layers_wrappers_and_recurrent_ones():
    shared, inputs = K.Conv2D(3, 3, padding="same", name="shared"), K.Input((6, 6, 3))
    model, x = tf_keras.Model(inputs, K.Add()([shared(shared(inputs)), inputs])), images(2, 6, 6, 3)
    result = values(model, x, "shared")
    assert list(result) == ["shared:0", "shared:1"]
    same(result["shared:1"], shared(shared(x)))
    clip = tf_keras.Sequential(
        [
            K.TimeDistributed(K.Conv2D(4, 3), name="frames"),
            K.TimeDistributed(K.GlobalAveragePooling2D(), name="pooled"),
            K.Bidirectional(K.LSTM(3, return_sequences=True), name="both"),
        ]
    )
    x = images(2, 3, 8, 7, 3)
    layers = table(clip, x)
    assert [layers[name].axes for name in ("frames", "pooled", "both")] == ["bdhwc", "bnc", "bnc"]
    same(values(clip, x, "both")["both"], clip(x))


def test_mixed_precision_and_digest():
    model, x = tf_keras.Sequential([K.Conv2D(3, 3, dtype="mixed_bfloat16", name="conv")]), images(2, 6, 6, 3)
    captured = BACKEND.capture(model, x, ["conv"])["conv"]
    assert (captured.values.dtype, captured.dtype) == (np.float32, "bfloat16")
    same(captured.values, tf.cast(model(x), tf.float32))
    first = BACKEND.digest(model)
    before = model.get_weights()
    model.set_weights([item + 1 for item in before])
    assert BACKEND.digest(model) != first
    model.set_weights(before)
    assert BACKEND.digest(model) == first


def test_families_of_its_applications_are_known():
    model = tf_keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    facts = BACKEND.facts(model)
    assert (facts.recipe, facts.source) == ("caffe", "keras.applications family vgg16")
    assert (facts.inputs[0].axes, facts.inputs[0].shape, facts.inputs[0].dtype) == (
        "bhwc",
        (None, 32, 32, 3),
        "float32",
    )
    inputs = K.Input((32, 32, 3))
    scaled = tf_keras.Model(inputs, model(K.Rescaling(1 / 255)(inputs)))
    assert BACKEND.facts(scaled).recipe == "raw"
    arithmetic = tf_keras.Model(inputs, model(inputs / 127.5 - 1.0))
    assert BACKEND.facts(arithmetic).recipe == "raw"


class Restless(tf_keras.Model):
    """Trains its statistics although `training` is false."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = K.Conv2D(3, 3, activity_regularizer="l2")
        self.bn = K.BatchNormalization()
        self.broken: type[BaseException] | None = None

    def call(self, x: Any) -> Any:
        x = self.bn(self.conv(x), training=True)
        if self.broken:
            raise self.broken("broken on purpose")
        return x


@pytest.mark.parametrize("broken", [None, RuntimeError, KeyboardInterrupt])
def test_everything_is_left_as_found(broken):
    from tensorflow.python.ops.resource_variable_ops import ResourceVariable

    model, x = Restless(), images(4, 6, 6, 3)
    model(x)
    model.broken = broken
    call, assign = vars(K.Layer)["__call__"], vars(ResourceVariable)["assign_sub"]
    before = [item.numpy() for item in model.variables], [float(item) for item in model.losses], random.getstate()
    settings = tf_keras.backend.floatx(), tf_keras.backend.image_data_format(), tf_keras.backend.learning_phase()
    uid = tf_keras.backend.get_uid("dense")
    if broken:
        with pytest.raises(broken, match="broken on purpose"):
            BACKEND.capture(model, x, ["bn"])
    else:
        BACKEND.capture(model, x * 9, ["bn"], 0)
    for old, new in zip(before[0], model.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    assert [float(item) for item in model.losses] == before[1]
    assert random.getstate() == before[2]
    assert (vars(K.Layer)["__call__"], vars(ResourceVariable)["assign_sub"]) == (call, assign)
    now = tf_keras.backend.floatx(), tf_keras.backend.image_data_format(), tf_keras.backend.learning_phase()
    assert now == settings
    assert tf_keras.backend.get_uid("dense") == uid + 1
    mean = model.bn.moving_mean.numpy()
    model.broken = None
    model(x)
    assert not np.array_equal(model.bn.moving_mean.numpy(), mean)


def test_keras_3_and_tf_keras_in_one_process():
    import keras

    class Both(keras.Layer):
        """A Keras 3 layer that captures a tf_keras model while it runs."""

        def call(self, inputs: Any) -> Any:
            if not isinstance(inputs, keras.KerasTensor):
                observed.append(values(old, x, "conv_a"))
            return inputs

        def compute_output_spec(self, inputs: Any) -> Any:
            return keras.KerasTensor(inputs.shape, inputs.dtype)

    old, x, observed = base(), images(1, 12, 12, 3), []
    new = keras.Sequential([Both(name="both"), keras.layers.ReLU(name="relu")])
    assert ls.open(new, preprocess=None).backend.name == "keras"
    assert ls.open(old, preprocess=None).backend.name == "tf_keras"
    result = ls.open(new, preprocess=None).capture(x, ["both", "relu"])
    same(result["relu"].values, np.maximum(x, 0))
    same(observed[-1]["conv_a"], old.get_layer("conv_a")(x))


@pytest.mark.parametrize("form", ["keras", "h5", "folder"])
@OLD_FORMAT
def test_lambda_needs_trust(tmp_path, form):
    inputs = K.Input((4, 4, 3))
    shifted = tf.nn.relu(K.Lambda(lambda x: x + 1, name="shift")(inputs))
    file = tmp_path / ("saved" if form == "folder" else f"old.{form}")
    tf_keras.Model(inputs, shifted).save(file, save_format="tf" if form == "folder" else form)
    with raises(ls.TrustRequired, "trust=True", "--trust"):
        ls.open(file, preprocess=None)
    x = images(1, 4, 4, 3)
    same(ls.open(file, preprocess=None, trust=True).capture(x, "shift")["shift"].values, x + 1)


def test_saved_models_without_keras_layers_are_refused(tmp_path):
    class Plain(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 3))])
        def __call__(self, x: Any) -> Any:
            return x * 2

    tf.saved_model.save(Plain(), str(tmp_path / "plain"))
    with raises(ls.ModelNotReadable):
        ls.open(tmp_path / "plain")
    with raises(ls.ModelNotReadable):
        ls.open(tmp_path)


def test_broken_files_are_named(tmp_path):
    folder = tmp_path / "saved"
    nested().save(folder, save_format="tf")
    (folder / "keras_metadata.pb").write_bytes(b"no protobuf")
    with raises(ls.ModelNotReadable):
        ls.open(folder, trust=True)
    (tmp_path / "text.h5").write_text("no model")
    with raises(ls.ModelNotReadable):
        BACKEND.load(tmp_path / "text.h5", None, False)
    with raises(ls.ModelNotReadable):
        BACKEND.load(Path("missing.h5"), None, False)


@OLD_FORMAT
def test_the_message_without_tf_keras(tmp_path, monkeypatch):
    file, folder = tmp_path / "old.h5", tmp_path / "saved"
    nested().save(file)
    nested().save(folder, save_format="tf")
    monkeypatch.setattr(
        "layerscope.backends.registry.importlib.util.find_spec", lambda name: None if name == "tf_keras" else True
    )
    with raises(ls.ModelNotReadable):
        ls.open(file)
    with raises(ls.BackendMissing):
        ls.open(folder)


class Unregistered(tf_keras.Model):
    """A class without a configuration: a SavedModel of it comes back as the graph of its call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop, self.head = K.Conv2D(4, 3), K.Dropout(0.5), K.Dense(3)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.head(tf.reduce_mean(self.drop(tf.nn.relu(self.conv(x)), training=training), (1, 2)))


def test_a_restored_subclassed_model_runs_and_notes_why_its_layers_dont(tmp_path):
    model, x = Unregistered(), images(2, 8, 8, 3)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "saved")
    scope = ls.open(tmp_path / "saved", preprocess=None, trust=True)
    assert type(scope.model) is not Unregistered
    assert [(item.path, bool(item.calls)) for item in scope.layers(x)] == [
        ("", True), ("conv", False), ("drop", False), ("head", False)
    ]  # fmt: skip
    same(scope.capture(x, "output")[""].values, expected)
    with raises(LayerNotCalled):
        scope.capture(x, "conv")


class Draws(K.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.broken = False

    def call(self, x: Any) -> Any:
        x = x + tf.random.normal(tf.shape(x)) + tf.random.get_global_generator().normal(tf.shape(x))
        if self.broken:
            raise RuntimeError("broken on purpose")
        return x


@pytest.mark.parametrize("broken", [False, True])
def test_tensorflows_random_state_is_left_as_found(broken):
    model, x = tf_keras.Sequential([Draws(name="draws"), K.Conv2D(2, 3)]), images(1, 6, 6, 3)
    model(x)
    model.layers[0].broken = broken

    def random_numbers(between: Any) -> list[np.ndarray]:
        tf.random.set_seed(3)
        tf.random.get_global_generator().reset_from_seed(4)
        first = tf.random.normal((2,))
        between()
        after = tf.random.normal((2,)), tf.random.normal((2,)), tf.random.get_global_generator().normal((2,))
        return [np.array(item) for item in (first, *after)]

    def captured() -> None:
        with pytest.raises(RuntimeError, match="broken on purpose") if broken else contextlib.nullcontext():
            BACKEND.capture(model, x, ["draws"])

    for after, expected in zip(random_numbers(captured), random_numbers(lambda: None), strict=True):
        np.testing.assert_array_equal(after, expected)


@pytest.mark.limit("files of tf.keras 2")
@OLD_FORMAT
def test_files_of_tf_keras_2(limit, tmp_path, monkeypatch):
    nested().save(tmp_path / "old.h5")
    nested().save(tmp_path / "saved", save_format="tf")
    monkeypatch.setattr(
        "layerscope.backends.registry.importlib.util.find_spec", lambda name: None if name == "tf_keras" else True
    )
    for name in ("old.h5", "saved"):
        with limit.raises():
            ls.open(tmp_path / name)


@pytest.mark.limit("layers of a restored SavedModel")
def test_a_class_that_is_not_registered(limit, tmp_path):
    model, x = Unregistered(), images(2, 8, 8, 3)
    model.predict(x, verbose=0)
    model.save(tmp_path / "saved")
    with limit.raises():
        ls.open(tmp_path / "saved", preprocess=None, trust=True).capture(x, "conv")


class Turned(K.Layer):
    def call(self, x):
        return tf.transpose(x, [0, 3, 1, 2])


@pytest.mark.parametrize(
    ("after", "axes", "field"),
    [
        (lambda x: tf.transpose(x, [0, 3, 1, 2]), "bchw", "3×3 /1 @1"),
        (lambda x: x[:, 1:-1, ::2], "bhwc", "3×3 /1×2 @2,1"),
        (lambda x: x[:, 0], "bwc", "all×3 /1 @1"),
        (lambda x: tf.expand_dims(x, 1), "bdhwc", "3×3 /1 @1"),
        (lambda x: tf.reduce_mean(x, -1), "bhw", "3×3 /1 @1"),
        (lambda x: tf.reduce_mean(x, -1)[..., tf.newaxis], "bhwc", "3×3 /1 @1"),
        (lambda x: tf.stack([tf.reduce_mean(x, -1), tf.reduce_max(x, -1)], -1), "bhwc", "3×3 /1 @1"),
        (lambda x: tf.einsum("bhwc,ck->bkhw", x, tf.ones((6, 4))), "bchw", "?"),
        (lambda x: tf.one_hot(tf.argmax(x, -1), 5), "bhwc", "?"),
        (lambda x: tf.one_hot(tf.argmax(x, -1), 5, axis=1), "bchw", "?"),
        (lambda x: tf.tensordot(x, tf.ones((6, 4)), 1), "bhwc", "?"),
        (lambda x: tf.tensordot(tf.ones((4, 6)), x, [[1], [3]]), "cbhw", ""),
        (lambda x: tf.pad(x, [[0, 0], [1, 1], [2, 1], [0, 0]]), "bhwc", "3×3 /1 @0,-1"),
        (lambda x: tf.reshape(x, (-1, 60, 6)), "bnc", "3×3 /1 @1"),
        (lambda x: tf.image.resize(x, (12, 20)), "bhwc", "4×4 /0.5 @0.75"),
        (lambda x: tf.matmul(tf.reshape(x, (-1, 60, 6)), tf.reshape(x, (-1, 60, 6)), transpose_b=True), "bqk", "?"),
        (lambda x: Turned()(x), "bchw", "?"),
    ],
)
def test_functions_of_tensorflow_are_followed(after, axes, field):
    x = K.Input((8, 12, 3))
    model = tf_keras.Model(x, K.ReLU(name="behind")(after(K.Conv2D(6, 3)(x))))
    row = table(model, images(1, 8, 12, 3))["behind"]
    assert describe(row.receptive) == field
    assert (row.axes, bool(row.doubt)) == (axes, False)
