"""The engines of Keras 3: TensorFlow, torch, JAX, numpy."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

# no public name says how often automatic names were given
from keras.src.backend.common.global_state import get_global_attribute

# a layer that infers its shapes calls its children with tensors that are no results; no public name says so
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from ...errors import ModelNotReadable
from ..common.device import Device
from ..common.run import EAGERLY, others_running
from .engine import GONE, Engine, TensorflowEngine, WatchedMethod, Weights


class Keras3Engine(Engine):
    """What Keras 3 itself answers, on every framework."""

    @property
    def data_format(self) -> str:
        return str(keras.config.image_data_format())

    def watched_methods(self) -> list[WatchedMethod]:
        variable = next(cls for cls in keras.Variable.__mro__ if "assign" in vars(cls))
        return [
            (keras.Layer, "__call__", "layer"),
            (keras.Operation, "__call__", "operation"),
            (keras.layers.MultiHeadAttention, "_compute_attention", "attention"),
            (variable, "assign", "write"),
        ]

    freezes = True

    def optimizers(self) -> str:
        return str(sys.modules["keras.src.optimizers"].__path__[0])

    @contextlib.contextmanager
    def frozen(self, weights: Weights) -> Iterator[None]:
        with keras.StatelessScope(list(zip(weights.variables, weights.values, strict=True))):
            yield

    def infers_shapes(self) -> bool:
        return bool(in_symbolic_scope())

    def is_placeholder(self, value: Any) -> bool:
        return isinstance(value, keras.KerasTensor)

    def flatten(self, structure: Any) -> list[Any]:
        return list(keras.tree.flatten(structure))

    def pack(self, structure: Any, leaves: list[Any]) -> Any:
        return keras.tree.pack_sequence_as(structure, leaves)

    def copy_mask(self, tensor: Any, source: Any) -> None:
        # Tensors that take no attributes, such as JAX's tracers, have their mask elsewhere; no public name says where, and
        # older versions keep all at the tensor.
        masking = sys.modules.get("keras.src.backend.common.masking")
        if masking is None:
            super().copy_mask(tensor, source)
        elif (mask := masking.get_keras_mask(source)) is not None:
            masking.set_keras_mask(tensor, mask)

    def einsum(self, equation: str, *tensors: Any) -> Any:
        return keras.ops.einsum(equation, *tensors)

    def sum(self, tensor: Any) -> Any:
        return keras.ops.sum(keras.ops.convert_to_tensor(tensor))

    def take_one(self, tensor: Any, index: int, axis: int) -> Any:
        return keras.ops.take(tensor, index, axis=axis)

    def take(self, tensor: Any, numbers: Sequence[int], axis: int) -> Any:
        return keras.ops.take(tensor, np.asarray(numbers, np.int32), axis=axis)

    def name_counts(self) -> dict[str, int]:
        return dict(get_global_attribute("object_name_uids") or {})

    def own_names(self) -> frozenset[str]:
        return _own_names()

    def restore_name_counts(self, counts: dict[str, int]) -> None:
        now = get_global_attribute("object_name_uids")
        if now is not None and now != counts:
            now.clear()
            now.update(counts)

    def describe(self, variable: Any) -> str:
        return f"{variable.path} {tuple(variable.shape)} {variable._dtype}"


@functools.cache
def _own_names() -> frozenset[str]:
    """The attributes of an empty layer, and of an empty model."""
    return frozenset({*vars(keras.Layer(name="empty")), *vars(keras.Model(name="empty"))})


class Keras3OnTensorflow(TensorflowEngine, Keras3Engine):
    """Keras 3 on TensorFlow."""

    def stored_value(self, variable: Any) -> Any:
        value = variable._value
        # read_value() runs a second operation, which copies nothing: that would be felt in every capture
        return value._read_variable_op() if hasattr(value, "_read_variable_op") else value.read_value()

    def watched_methods(self) -> list[WatchedMethod]:
        return [*super().watched_methods(), (type(self.lib.function(len)), "__call__", "function")]


class TorchEngine(Keras3Engine):
    """Keras 3 on torch."""

    module = "torch"

    @property
    def tensor(self) -> Any:
        return self.lib.Tensor

    def has_values(self, value: Any) -> bool:
        if not isinstance(value, self.tensor) or value.is_meta:
            return False
        return not self.lib._C._functorch.is_functorch_wrapped_tensor(value)

    def as_numpy(self, tensor: Any) -> np.ndarray:
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
        if tensor.dtype == self.lib.bfloat16 or str(tensor.dtype).startswith("torch.float8"):
            tensor = tensor.float()
        return np.asarray(tensor.numpy())

    def tensor_like(self, values: np.ndarray, tensor: Any) -> Any:
        return self.lib.from_numpy(np.ascontiguousarray(values)).to(tensor.device, tensor.dtype)

    def find_device(self, asked: Device) -> str | None:
        name = str(replace(asked, kind="cuda") if asked.kind in ("gpu", "rocm") else asked)
        try:
            self.lib.empty(0, device=name)
        except (RuntimeError, AssertionError, NotImplementedError):  # torch's ways to say that there is none
            return None
        return name

    def is_elsewhere(self, model: Any, name: str) -> bool:
        there = self.lib.empty(0, device=name).device
        return any(self.stored_value(variable).device != there for variable in self.variables(model))

    def snapshot(self, variable: Any) -> Any:
        return self.stored_value(variable).detach().clone()

    def undo_writes(self, tensor: Any) -> Callable[[], None]:
        content, version = tensor.detach().clone(), None if tensor.is_inference() else tensor._version

        def undo() -> None:
            if version is None or tensor._version != version:
                with self.lib.no_grad():
                    tensor.copy_(content)

        return undo

    def content(self, variable: Any) -> tuple[Any, int]:
        value = self.stored_value(variable)
        return value, 0 if value.is_inference() else value._version  # a weight made in inference mode keeps no count

    @contextlib.contextmanager
    def frozen(self, weights: Weights) -> Iterator[None]:
        with super().frozen(weights._replace(values=[value.detach().clone() for value in weights.values])):
            yield

    def copy_input(self, tensor: Any) -> Any:
        # torch's tensors, unlike the others, can be written to
        if isinstance(tensor, np.ndarray):
            return tensor.copy()  # whose memory the tensor would share
        return tensor.clone() if isinstance(tensor, self.tensor) else tensor

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if not others_running():  # else what they draw meanwhile would be drawn again
                stack.enter_context(self.lib.random.fork_rng())
            stack.enter_context(EAGERLY())
            if self.gradients:
                stack.enter_context(self.lib.inference_mode(False))
            stack.enter_context(self.lib.set_grad_enabled(self.gradients))
            yield


class JaxEngine(Keras3Engine):
    """Keras 3 on JAX."""

    module = "jax"
    can_unroll = True

    def content(self, variable: Any) -> tuple[Any, int]:
        value = self.stored_value(variable)
        # `fit` moves the contents into its own arrays for as long as it runs
        return value, GONE if value is None or value.is_deleted() else id(value)

    @property
    def tensor(self) -> Any:
        return self.lib.Array

    def has_values(self, value: Any) -> bool:
        # While it differentiates, JAX runs the model on tracers that stand for the numbers.
        return isinstance(value, self.tensor) and (self.gradients or not isinstance(value, self.lib.core.Tracer))

    def tensor_like(self, values: np.ndarray, tensor: Any) -> Any:
        return self.lib.numpy.asarray(values, tensor.dtype)

    def find_device(self, asked: Device) -> str | None:
        try:
            self.lib.devices(asked.kind)[asked.number or 0]
        except (RuntimeError, IndexError):
            return None
        return f"{asked.kind}:{asked.number or 0}"

    def snapshot(self, variable: Any) -> Any:
        return self.stored_value(variable)

    def reference(self, variable: Any) -> Any:
        return self.stored_value(variable)

    def is_gone(self, content: Any) -> bool:
        return bool(content.is_deleted())

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        # Every primitive by itself: so slow that it is left to layers hidden in a compiled function.
        with self.lib.disable_jit() if self.unrolled else contextlib.nullcontext():
            yield


ENGINES: dict[str, type[Keras3Engine]] = {
    "tensorflow": Keras3OnTensorflow,
    "torch": TorchEngine,
    "jax": JaxEngine,
    "numpy": Keras3Engine,
}


def engine() -> Engine:
    """The engine of the framework that Keras runs on in this process."""
    name = keras.backend.backend()
    if name not in ENGINES:
        raise ModelNotReadable(
            f"Keras runs on {name} here, where layers can't be watched: set KERAS_BACKEND to {' or '.join(ENGINES)}"
        )
    return ENGINES[name]()
