"""What differs between the frameworks that Keras runs on: TensorFlow, torch, JAX, numpy.

An engine says which tensors hold numbers now (a tracer or a graph tensor doesn't), copies them to the host, and keeps
the framework's random state.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from ..errors import ModelNotReadable


class Engine:
    """The numpy engine of Keras, and what the others share."""

    module = "numpy"
    gradients = False

    def __init__(self) -> None:
        self.lib: Any = importlib.import_module(self.module)

    @property
    def version(self) -> str:
        return str(self.lib.__version__)

    @property
    def tensor(self) -> Any:
        """The class of the framework's dense tensors, concrete or not."""
        return np.ndarray

    def concrete(self, value: Any) -> bool:
        """Whether `value` is a tensor that holds numbers now."""
        return isinstance(value, self.tensor)

    def view(self, tensor: Any) -> np.ndarray:
        """The tensor as numpy, without a copy where that can be had."""
        return np.asarray(tensor)

    def raw(self, variable: Any) -> Any:
        """A variable's tensor in its own type. Its public `value` is cast where mixed precision is in force."""
        return variable._value

    def frozen(self, variable: Any) -> Any:
        """The variable's content, safe from what is written to it later."""
        return np.array(self.raw(variable))

    def own(self, given: Any) -> Any:
        """An input that the model can't change for its owner. Keras itself copies arrays, and tensors can't change."""
        return given

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients recorded, and the framework's own random state as it was."""
        yield


class TensorflowEngine(Engine):
    module = "tensorflow"

    @property
    def tensor(self) -> Any:
        return self.lib.Tensor

    def concrete(self, value: Any) -> bool:
        # a tensor of a graph under construction has no `numpy`
        return isinstance(value, self.tensor) and hasattr(value, "numpy")

    def raw(self, variable: Any) -> Any:
        return variable._value.read_value()

    def frozen(self, variable: Any) -> Any:
        # a layer with a tf.function may write while its graph is under construction
        with self.lib.init_scope():
            return super().frozen(variable)


class TorchEngine(Engine):
    module = "torch"

    @property
    def tensor(self) -> Any:
        return self.lib.Tensor

    def concrete(self, value: Any) -> bool:
        if not isinstance(value, self.tensor) or value.is_meta:
            return False
        return not self.lib._C._functorch.is_functorch_wrapped_tensor(value)

    def view(self, tensor: Any) -> np.ndarray:
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
        if tensor.dtype == self.lib.bfloat16 or str(tensor.dtype).startswith("torch.float8"):
            tensor = tensor.float()
        return np.asarray(tensor.numpy())

    def frozen(self, variable: Any) -> Any:
        return self.raw(variable).detach().clone()

    def own(self, given: Any) -> Any:
        # torch's tensors, unlike the others, can be written to
        return given.clone() if isinstance(given, self.tensor) else given

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.lib.random.fork_rng())
            if self.gradients:
                stack.enter_context(self.lib.inference_mode(False))
            stack.enter_context(self.lib.set_grad_enabled(self.gradients))
            yield


class JaxEngine(Engine):
    module = "jax"

    @property
    def tensor(self) -> Any:
        return self.lib.Array

    def concrete(self, value: Any) -> bool:
        # While it differentiates, JAX runs the model on tracers that stand for the numbers.
        return isinstance(value, self.tensor) and (self.gradients or not isinstance(value, self.lib.core.Tracer))

    def frozen(self, variable: Any) -> Any:
        return self.raw(variable)


ENGINES: dict[str, type[Engine]] = {
    "tensorflow": TensorflowEngine,
    "torch": TorchEngine,
    "jax": JaxEngine,
    "numpy": Engine,
}


def engine() -> Engine:
    """The engine of the framework that Keras runs on in this process."""
    name = keras.backend.backend()
    if name not in ENGINES:
        raise ModelNotReadable(
            f"Keras runs on {name} here, where layers can't be watched: set KERAS_BACKEND to {' or '.join(ENGINES)}"
        )
    return ENGINES[name]()


def host(view: Callable[[Any], np.ndarray], tensor: Any) -> tuple[np.ndarray, str]:
    """The tensor as a copy in numpy, and its own type where numpy can't say it (`"bfloat16"`), else `""`."""
    dtype = str(keras.backend.standardize_dtype(tensor.dtype))
    values = np.array(view(tensor))
    if values.dtype.isbuiltin == 1:
        return values, dtype if dtype != values.dtype.name else ""
    return values.astype(np.float32), dtype
