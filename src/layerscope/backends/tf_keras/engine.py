"""The engine of tf_keras, the Keras 2 that goes on beside Keras 3: TensorFlow alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

# what every variable of eager TensorFlow is written by; no public name says so
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

# no public name says how often automatic names were given, whether a call only infers shapes, which tensors have no numbers
from tf_keras.src.backend import get_default_graph_uid_map
from tf_keras.src.engine.base_layer_utils import call_context
from tf_keras.src.engine.keras_tensor import KerasTensor

from ..keras.engine import Engine, Watched
from ..keras.tf_random import random_as_found


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
        writes = ("assign", "assign_add", "assign_sub")
        return [
            (tf_keras.layers.Layer, "__call__", "layer"),
            (tf_keras.layers.MultiHeadAttention, "_compute_attention", "attention"),
            (_owner(type(tf.function(len)), "__call__"), "__call__", "function"),
            *((_owner(ResourceVariable, name), name, "write") for name in writes),
        ]

    def symbolic(self) -> bool:
        return bool(call_context().in_keras_graph)

    def placeholder(self, value: Any) -> bool:
        return isinstance(value, KerasTensor)

    def flatten(self, structure: Any) -> list[Any]:
        return list(tf.nest.flatten(structure))

    def packed(self, structure: Any, flat: list[Any]) -> Any:
        return tf.nest.pack_sequence_as(structure, flat)

    def einsum(self, equation: str, *tensors: Any) -> Any:
        return tf.einsum(equation, *tensors)

    def total(self, tensor: Any) -> Any:
        return tf.reduce_sum(tensor)

    def slice_of(self, tensor: Any, index: int, axis: int) -> Any:
        return tf.gather(tensor, index, axis=axis)

    def picked(self, tensor: Any, numbers: Sequence[int], axis: int) -> Any:
        return tf.gather(tensor, list(numbers), axis=axis)

    def like(self, values: np.ndarray, tensor: Any) -> Any:
        return tf.cast(tf.convert_to_tensor(values), tensor.dtype)

    def raw(self, variable: Any) -> Any:
        # mixed precision shows a cast of what is kept
        kept = getattr(variable, "_variable", variable)
        return kept.read_value()

    def frozen(self, variable: Any) -> Any:
        # a layer with a tf.function may write while its graph is under construction
        with tf.init_scope():
            return np.array(self.raw(variable))

    def numbers(self) -> dict[str, int]:
        return {name: count for (_, name), count in get_default_graph_uid_map().items()}

    def named(self, variable: Any) -> str:
        kept = getattr(variable, "_variable", variable)
        return f"{variable.name} {tuple(variable.shape)} {kept.dtype.name}"

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        with random_as_found():
            yield

    def kept(self, layer: Any) -> Callable[[], None]:
        losses, eager = list(layer._losses), list(layer._eager_losses)

        def put_back() -> None:
            layer._losses[:] = losses
            layer._eager_losses = eager

        return put_back

    def variables(self, model: Any) -> list[Any]:
        """Those of the layers that were built: `model.variables` is an error before the first call."""
        found: dict[int, Any] = {}
        for layer in model._flatten_layers():
            for each in (*layer._trainable_weights, *layer._non_trainable_weights):
                found.setdefault(id(each), each)
        return list(found.values())


def _owner(kind: type, name: str) -> type:
    return next(each for each in kind.__mro__ if name in vars(each))
