"""The engine of tf_keras, the Keras 2 that goes on beside Keras 3: TensorFlow alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

# no public name says whether a call only infers shapes, or what eager calls of layers gave as losses
from tf_keras.src.engine.base_layer_utils import call_context

from .keras_engine import Engine, Watched


class TfKerasEngine(Engine):
    """What tf_keras answers."""

    module = "tensorflow"
    library = "tf_keras"

    @property
    def tensor(self) -> Any:
        return tf.Tensor

    def concrete(self, value: Any) -> bool:
        # a tensor of a graph under construction has no `numpy`
        return isinstance(value, tf.Tensor) and hasattr(value, "numpy")

    @property
    def data_format(self) -> str:
        return str(tf_keras.backend.image_data_format())

    def watched(self) -> list[Watched]:
        layer = tf_keras.layers.Layer
        variable = next(each for each in _variable_classes() if "assign" in vars(each))
        writes = [name for name in ("assign", "assign_add", "assign_sub") if name in vars(variable)]
        return [(layer, "__call__", "layer"), *((variable, name, "write") for name in writes)]

    def symbolic(self) -> bool:
        return bool(call_context().in_keras_graph)

    def placeholder(self, value: Any) -> bool:
        return bool(tf.keras_tensor(value)) if False else _is_placeholder(value)

    def flatten(self, structure: Any) -> list[Any]:
        return list(tf.nest.flatten(structure))

    def packed(self, structure: Any, flat: list[Any]) -> Any:
        return tf.nest.pack_sequence_as(structure, flat)

    def total(self, tensor: Any) -> Any:
        return tf.reduce_sum(tensor)

    def slice_of(self, tensor: Any, index: int, axis: int) -> Any:
        return tf.gather(tensor, index, axis=axis)

    def raw(self, variable: Any) -> Any:
        # mixed precision shows a cast of what is kept
        kept = getattr(variable, "_variable", variable)
        return kept.read_value()

    def frozen(self, variable: Any) -> Any:
        # a layer with a tf.function may write while its graph is under construction
        with tf.init_scope():
            return np.array(self.raw(variable))

    def named(self, variable: Any) -> str:
        kept = getattr(variable, "_variable", variable)
        return f"{variable.name} {tuple(variable.shape)} {kept.dtype.name}"

    def kept(self, layer: Any) -> Callable[[], None]:
        losses, eager = list(layer._losses), list(layer._eager_losses)

        def put_back() -> None:
            layer._losses[:] = losses
            layer._eager_losses = eager

        return put_back

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """TensorFlow's own seeds as they were: an eager random operation draws the next one from the global seed."""
        yield


def _variable_classes() -> tuple[type, ...]:
    return type(tf.Variable(0.0)).__mro__
