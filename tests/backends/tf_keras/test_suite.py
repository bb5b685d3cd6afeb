"""The tf_keras backend in the suite that every backend passes, once as a Functional model and once as a subclassed one."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from helpers.keras_suite import FunctionalSuite, Library, SubclassedSuite
from layerscope.backends.tf_keras.backend import TfKerasBackend


class Fails(tf_keras.layers.Layer):
    def call(self, x: Any) -> Any:
        if hasattr(x, "numpy"):
            raise RuntimeError("failed in the middle")
        return x


LIBRARY = Library(
    tf_keras, Fails, lambda x: tf.reduce_mean(x, axis=(1, 2)), lambda tensor: tensor.numpy(), TfKerasBackend()
)


class TestFunctional(FunctionalSuite):
    library = LIBRARY


class TestSubclassed(SubclassedSuite):
    library = LIBRARY
