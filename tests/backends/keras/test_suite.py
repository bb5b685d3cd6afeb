"""The Keras backend in the suite that every backend passes, once as a Functional model and once as a subclassed one."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.keras_models import BACKEND, keras, to_numpy
from helpers.keras_suite import FunctionalSuite, Library, SubclassedSuite

pytestmark = [
    # Keras's own Variable, when Keras on TensorFlow turns it into an array
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    # a subclassed model with a layer that it never calls
    pytest.mark.filterwarnings("ignore:.build... was called on layer:UserWarning"),
]


class Fails(keras.Layer):
    def call(self, x: Any) -> Any:
        raise RuntimeError("failed in the middle")

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


LIBRARY = Library(keras, Fails, lambda x: keras.ops.mean(x, axis=(1, 2)), to_numpy, BACKEND)


class TestFunctional(FunctionalSuite):
    library = LIBRARY


# a Functional model calls the same layers, so on every framework this one is enough
@pytest.mark.each_framework
class TestSubclassed(SubclassedSuite):
    library = LIBRARY
