"""Keras: the conformance suite, on the backend of Keras that KERAS_BACKEND names."""

import keras
import numpy as np
import pytest
from keras_models import KerasBackend

from layerscope.testing import BackendTests, tiny_parameters

pytestmark = pytest.mark.filterwarnings(
    # Keras's own Variable, when Keras on TensorFlow turns it into an array; a layer that is never called.
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",
    "ignore:.build... was called on layer:UserWarning",
)


class Failing(keras.layers.Layer):
    def call(self, x):
        raise RuntimeError("failed in the middle")

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


class Counting(keras.layers.Dense):
    """Tells when it runs."""

    def call(self, x, **more):
        self.__dict__.setdefault("seen", []).append(self.name)
        return super().call(x, **more)


class TestKeras(BackendTests):
    axes = "bhwc"

    def backend(self):
        return KerasBackend()

    def build(self, parameters, fail=False):
        layers = keras.layers
        act = layers.ReLU(name="act")
        inputs = keras.Input((8, 8, 3))
        x = act(layers.Conv2D(4, 3, padding="same", name="conv1")(inputs))
        if fail:
            x = Failing(name="failing")(x)
        x = act(layers.Conv2D(5, 3, strides=2, name="conv2")(x))
        x = layers.GlobalAveragePooling2D(name="mean")(x)
        model = keras.Model(inputs, Counting(6, name="head")(x))
        for name in ("conv1", "conv2"):
            kernel = parameters[f"{name}.weight"].transpose(2, 3, 1, 0)
            model.get_layer(name).set_weights([kernel, parameters[f"{name}.bias"]])
        model.get_layer("head").set_weights([parameters["head.weight"].T, parameters["head.bias"]])
        return model

    def state(self, model):
        weights = [(each.path, np.asarray(keras.ops.convert_to_numpy(each)).tobytes()) for each in model.variables]
        flags = [(each.name, each.trainable) for each in model.layers]
        return repr((weights, flags, keras.Layer.__call__, keras.Operation.__call__)).encode()

    def ran(self, model):
        # Building the model symbolically has called it once.
        return ["conv1", *model.get_layer("head").__dict__.get("seen", [])[1:]]

    def test_later_layers_do_not_run(self):
        model = self.build(tiny_parameters())
        self.backend().layers(model, self.batch())
        before = len(self.ran(model))
        self.backend().capture(model, self.batch(), ["conv1:0"])
        assert len(self.ran(model)) == before, "the head did not run"
        self.backend().capture(model, self.batch(), ["head:0"])
        assert len(self.ran(model)) == before + 1, "and the counter counts"
