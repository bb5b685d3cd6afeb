"""The engine of tf_keras, Keras 2 as it is maintained beside Keras 3: TensorFlow alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras

# what every variable of eager TensorFlow is written by; no public name says so
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

# no public name says how often automatic names were given, whether a call only infers shapes, which tensors have no numbers
from tf_keras.src.backend import get_default_graph_uid_map
from tf_keras.src.engine.base_layer_utils import call_context
from tf_keras.src.engine.keras_tensor import KerasTensor

from ..keras.engine import TensorflowEngine, WatchedMethod


class TfKerasEngine(TensorflowEngine):
    """What tf_keras answers."""

    library = "tf_keras"

    @property
    def data_format(self) -> str:
        return str(tf_keras.backend.image_data_format())

    def watched_methods(self) -> list[WatchedMethod]:
        writes = ("assign", "assign_add", "assign_sub")
        return [
            (tf_keras.layers.Layer, "__call__", "layer"),
            (tf_keras.layers.MultiHeadAttention, "_compute_attention", "attention"),
            (_owner(type(tf.function(len)), "__call__"), "__call__", "function"),
            *((_owner(ResourceVariable, name), name, "write") for name in writes),
        ]

    def optimizers(self) -> str:
        return str(sys.modules["tf_keras.src.optimizers"].__path__[0])

    def infers_shapes(self) -> bool:
        return bool(call_context().in_keras_graph)

    def is_placeholder(self, value: Any) -> bool:
        return isinstance(value, KerasTensor)

    def flatten(self, structure: Any) -> list[Any]:
        return list(tf.nest.flatten(structure))

    def pack(self, structure: Any, leaves: list[Any]) -> Any:
        return tf.nest.pack_sequence_as(structure, leaves)

    def einsum(self, equation: str, *tensors: Any) -> Any:
        return tf.einsum(equation, *tensors)

    def sum(self, tensor: Any) -> Any:
        return tf.reduce_sum(tensor)

    def take_one(self, tensor: Any, index: int, axis: int) -> Any:
        return tf.gather(tensor, index, axis=axis)

    def take(self, tensor: Any, numbers: Sequence[int], axis: int) -> Any:
        return tf.gather(tensor, list(numbers), axis=axis)

    def stored_value(self, variable: Any) -> Any:
        return _uncast(variable).read_value()

    def name_counts(self) -> dict[str, int]:
        return {name: count for (_, name), count in get_default_graph_uid_map().items()}

    def restore_name_counts(self, counts: dict[str, int]) -> None:
        now = get_default_graph_uid_map()
        for key in list(now):
            now[key] = counts.get(key[1], 0)

    def describe(self, variable: Any) -> str:
        return f"{variable.name} {tuple(variable.shape)} {_uncast(variable).dtype.name}"

    def variables(self, model: Any) -> list[Any]:
        """Those of the layers that were built: `model.variables` is an error before the first call."""
        layers = model._flatten_layers()
        weights = (weight for layer in layers for weight in (*layer._trainable_weights, *layer._non_trainable_weights))
        return list({id(weight): weight for weight in weights}.values())


def _uncast(variable: Any) -> Any:
    """The variable that is stored, where mixed precision shows a cast of it."""
    return getattr(variable, "_variable", variable)


def _owner(cls: type, name: str) -> type:
    """The class in the hierarchy of `cls` that defines the method `name`."""
    return next(base for base in cls.__mro__ if name in vars(base))
