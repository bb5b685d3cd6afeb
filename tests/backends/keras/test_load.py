"""What is known of a Keras model without running it, and how one is opened."""

from __future__ import annotations

import json
import zipfile

import h5py
import numpy as np
import pytest

from helpers import keras_models as models
from helpers.keras_models import ON, K, images, keras, to_numpy
from helpers.wording import raises, warns, wording
from layerscope.backends import Input
from layerscope.backends.keras.backend import KerasBackend, from_reference
from layerscope.errors import ModelNotReadable, RandomWeights, TrustRequired

BACKEND = KerasBackend()

# Keras's own Variable, when Keras on TensorFlow turns it into an array
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def test_facts_of_a_flat_model():
    model = models.vgg()
    facts = BACKEND.facts(model)
    assert (facts.name, facts.recipe, facts.source) == ("vgg16", "caffe", "keras.applications family vgg16")
    (inputs,) = facts.inputs
    assert inputs == Input(model.inputs[0].name, "bhwc", (None, 64, 64, 3), "float32")
    assert facts.framework.startswith(f"keras {keras.__version__} on {ON} ")


def test_a_network_with_the_names_of_vgg_and_other_sizes_is_none():
    conv = keras.layers.Conv2D
    facts = {}
    for filters in (128, 32):
        own = keras.Sequential(
            [
                keras.Input((16, 16, 3)),
                conv(64, 3, name="block1_conv1"),
                conv(64, 3, name="block1_conv2"),
                keras.layers.MaxPooling2D(name="block1_pool"),
                conv(filters, 3, name="block2_conv1"),
            ]
        )
        facts[filters] = BACKEND.facts(own)
    assert (facts[128].recipe, facts[32].recipe) == ("caffe", None)


@pytest.mark.each_framework
def test_digest_follows_the_weights():
    model = models.small_cnn()
    assert BACKEND.facts(model).digest == ""
    model(images(1, 8, 8, 3))
    first = BACKEND.facts(model).digest
    assert first.startswith("sampled-sha256:")
    assert BACKEND.facts(model).digest == first
    bias = model.layers[0].bias
    before = to_numpy(bias)
    bias.assign(before + 1)
    assert BACKEND.facts(model).digest != first
    bias.assign(before)
    assert BACKEND.facts(model).digest == first


@pytest.mark.parametrize(
    ("name", "options", "recipe", "truncated"),
    [
        ("MobileNet", {}, "tf", "tf"),
        ("MobileNetV3Small", {"include_preprocessing": False}, "tf", "tf"),
        ("ResNet50V2", {}, "tf", "tf"),
    ],
)
def test_recipes_of_keras_applications(name, options, recipe, truncated):
    if ON != "tensorflow" and name != "MobileNet":
        pytest.skip("the graph is the same on each framework, and JAX takes seconds to build one")
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(64, 64, 3), **options)
    assert BACKEND.facts(model).recipe == recipe
    middle = model.layers[len(model.layers) // 2]
    facts = BACKEND.facts(keras.Model(model.inputs, middle.output))
    assert facts.recipe == truncated, facts.source


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2", "densenet"])
def test_recipes_are_what_keras_does(name):
    """Keras's own `preprocess_input` on one pixel: BGR minus mean, -1 to 1, or mean and standard deviation."""
    pixel = np.array([[[255.0, 127.5, 0.0]]], np.float32)
    expected = {
        "vgg16": [0 - 103.939, 127.5 - 116.779, 255 - 123.68],
        "mobilenet_v2": [1, 0, -1],
        "densenet": [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0 - 0.406) / 0.225],
    }[name]
    result = getattr(keras.applications, name).preprocess_input(pixel.copy())
    np.testing.assert_allclose(result[0, 0], expected, rtol=1e-5)


def test_own_scaling_wins():
    inputs = keras.Input((64, 64, 3))
    scaled = keras.Model(inputs, models.vgg()(K.Rescaling(1 / 255, name="to_one")(inputs)))
    facts = BACKEND.facts(scaled)
    assert facts.recipe == "raw"
    wording(facts.source, "'to_one'")
    arithmetic = keras.Model(inputs, models.vgg()(inputs / 127.5 - 1.0))
    assert BACKEND.facts(arithmetic).recipe == "raw"
    unknown = BACKEND.facts(models.TwoConvs())
    assert (unknown.recipe, unknown.source, unknown.inputs) == (None, "", ())


def test_input_axes():
    first = keras.Input((3, 8, 9))
    conv = K.Conv2D(2, 3, data_format="channels_first")
    assert BACKEND.facts(keras.Model(first, K.Rescaling(2.0)(first))).inputs[0].axes == "bhwc"
    assert BACKEND.facts(keras.Model(first, conv(first))).inputs[0].axes == "bchw"
    last = keras.Input((8, 9, 3))
    turned = keras.Model(last, conv(K.Permute((3, 1, 2))(last)))
    assert BACKEND.facts(turned).inputs[0].axes == "bhwc"
    words = keras.Input((7,), dtype="int32")
    assert BACKEND.facts(keras.Model(words, K.Embedding(10, 4)(words))).inputs[0].axes == "bn"


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_lambda_needs_trust(tmp_path, suffix):
    file = tmp_path / f"lambda.{suffix}"
    keras.Sequential([keras.Input((3,)), K.Lambda(lambda x: x + 1, output_shape=(3,))]).save(file)
    with raises(TrustRequired, "trust=True", "--trust"):
        BACKEND.load(file, None, False)
    model = BACKEND.load(file, None, True)
    np.testing.assert_array_equal(to_numpy(model(np.zeros((1, 3), np.float32))), np.ones((1, 3)))


def test_files_that_are_no_models(tmp_path):
    model = models.small_cnn()
    model(images(1, 8, 8, 3))
    weights = tmp_path / "model.weights.h5"
    model.save_weights(weights)
    with raises(ModelNotReadable, "weights="):
        BACKEND.load(weights, None, False)
    renamed = weights.rename(tmp_path / "renamed.h5")
    with raises(ModelNotReadable):
        BACKEND.load(renamed, None, False)
    for name in ("text.keras", "text.h5"):
        (tmp_path / name).write_text("no model")
        with raises(ModelNotReadable):
            BACKEND.load(tmp_path / name, None, False)
    with raises(ModelNotReadable):
        BACKEND.load(tmp_path / "missing.keras", None, False)


def test_custom_objects_are_named(tmp_path):
    class Mine(keras.Layer):
        def call(self, x):
            return x

    Mine.__module__ = "my_layers"
    for suffix in ("keras", "h5"):
        file = tmp_path / f"mine.{suffix}"
        keras.Sequential([keras.Input((3,)), Mine()]).save(file)
        with raises(ModelNotReadable, "'Mine'"):
            BACKEND.load(file, None, False)


def test_files_of_tf_keras_2(tmp_path):
    file = tmp_path / "old.h5"
    with h5py.File(file, "w") as old:
        old.attrs["model_config"] = (
            '{"class_name": "Functional", "config": {"name": "m", "layers": [{"class_name": "TFOpLambda",'
            ' "config": {"name": "f"}, "name": "f", "inbound_nodes": []}], "input_layers": [], "output_layers": []}}'
        )
    with raises(ModelNotReadable):
        BACKEND.load(file, None, False)


def test_a_broken_file_of_tf_keras_2(tmp_path):
    file = tmp_path / "old.keras"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.15.0"}')
        old = {"module": "keras.src.engine.functional", "class_name": "Functional", "registered_name": "Functional"}
        archive.writestr("config.json", json.dumps({**old, "config": {}}))
    with raises(ModelNotReadable, "3"):
        BACKEND.load(file, None, False)


def test_weights_from_a_file(tmp_path):
    first, second = (keras.Sequential([keras.Input((3,)), K.Dense(2)]) for _ in range(2))
    first.save(tmp_path / "one.keras")
    second.save_weights(tmp_path / "two.weights.h5")
    result = BACKEND.load(tmp_path / "one.keras", tmp_path / "two.weights.h5", False)
    np.testing.assert_array_equal(to_numpy(result.layers[0].kernel), to_numpy(second.layers[0].kernel))
    keras.Sequential([keras.Input((4,)), K.Dense(2)]).save_weights(tmp_path / "wide.weights.h5")
    with raises(ModelNotReadable):
        BACKEND.load(tmp_path / "one.keras", tmp_path / "wide.weights.h5", False)


def test_references(tmp_path, monkeypatch):
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    with raises(ModelNotReadable, "'MobileNetV2'"):
        from_reference("MobilNetV2")
    with warns(RandomWeights):
        model = from_reference("MobileNet")
    kernel = to_numpy(model.get_layer("conv1").kernel)
    inputs = tmp_path / "given.weights.h5"
    model.save_weights(inputs)
    np.testing.assert_array_equal(to_numpy(from_reference("MobileNet", inputs).get_layer("conv1").kernel), kernel)
    cached = tmp_path / "models" / "mobilenet_1_0_224_tf.h5"
    cached.parent.mkdir()
    model.save(cached)
    np.testing.assert_array_equal(to_numpy(from_reference("MobileNet").get_layer("conv1").kernel), kernel)
