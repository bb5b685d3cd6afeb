"""What the Keras backends ask of the framework below and of the Keras library in use.

An engine tells which tensors hold numbers now (a tracer or a graph tensor doesn't), copies them to the host, preserves the
framework's random state, and lists the methods to watch in its library.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from ..common.device import Device
from ..common.outputs import arrays_in, main_subpath
from ..protocol import Pick

# owner of a method, its name, and the kind of call: "layer", "operation", "write" (to a variable), "attention" (the inside of
# one), or "function" (a compiled one, which is run by its Python code instead)
WatchedMethod = tuple[type, str, str]


class Part(NamedTuple):
    """One tensor of an output: what follows the layer's path, its subpath in the structure, whether it holds numbers."""

    suffix: str
    subpath: str
    tensor: Any
    numeric: bool


GONE = -1  # instead of the identity of a content that isn't there now


class Weights(NamedTuple):
    """The contents of a model's variables at one moment, held so that the identities of later ones are others."""

    variables: list[Any]
    values: list[Any]
    identities: list[int]


class Engine:
    """What every engine has: numpy's own answers."""

    module = "numpy"
    freezes = False
    library = "keras"
    gradients = False
    # Where compiled functions can be run step by step at a price, `unrolled` switches that on.
    can_unroll = False
    unrolled = False

    def __init__(self) -> None:
        self.lib: Any = importlib.import_module(self.module)
        self.keras: Any = importlib.import_module(self.library)

    @property
    def version(self) -> str:
        """The framework's version."""
        return str(self.lib.__version__)

    @property
    def framework(self) -> str:
        """The library and the framework below it, with their versions."""
        return f"{self.library} {self.keras.__version__} on {self.module} {self.version}"

    @property
    def data_format(self) -> str:
        """Keras's own setting for layers that don't say one."""
        raise NotImplementedError

    def watched_methods(self) -> list[WatchedMethod]:
        """The methods that a run watches."""
        raise NotImplementedError

    def infers_shapes(self) -> bool:
        """Whether the library is inferring shapes now, with tensors that hold no results."""
        raise NotImplementedError

    def is_placeholder(self, value: Any) -> bool:
        """Whether `value` is a symbolic tensor, of which models are built."""
        raise NotImplementedError

    def flatten(self, structure: Any) -> list[Any]:
        """The leaves of a nested structure as the library sees it."""
        raise NotImplementedError

    def pack(self, structure: Any, leaves: list[Any]) -> Any:
        """The structure with other leaves."""
        raise NotImplementedError

    def einsum(self, equation: str, *tensors: Any) -> Any:
        """The library's own einsum."""
        raise NotImplementedError

    def sum(self, tensor: Any) -> Any:
        """The sum of all elements, as a tensor."""
        raise NotImplementedError

    def take_one(self, tensor: Any, index: int, axis: int) -> Any:
        """One index of one axis."""
        raise NotImplementedError

    def take(self, tensor: Any, numbers: Sequence[int], axis: int) -> Any:
        """Some indices of one axis, in their order."""
        raise NotImplementedError

    def tensor_like(self, values: np.ndarray, tensor: Any) -> Any:
        """An array as a tensor of the framework, of the type and on the device of another."""
        return values.astype(tensor.dtype)

    def copy_mask(self, tensor: Any, source: Any) -> None:
        """Give `tensor` the mask of `source`: the layers after it look for it there."""
        mask = getattr(source, "_keras_mask", None)
        if mask is not None:
            tensor._keras_mask = mask

    def undo_writes(self, tensor: Any) -> Callable[[], None]:
        """A function that puts back what a tensor held, where the framework's tensors can change."""
        raise NotImplementedError

    def variables(self, model: Any) -> list[Any]:
        """The model's variables, as far as it is built."""
        return list(model.variables)

    def name_counts(self) -> dict[str, int]:
        """How often the library has given each automatic name so far: 2 for `pad` after `pad` and `pad_1`."""
        raise NotImplementedError

    def own_names(self) -> frozenset[str]:
        """The attributes that the library keeps in every layer and model, once they are built unchanged by a run."""
        return frozenset()

    def restore_name_counts(self, counts: dict[str, int]) -> None:
        """Let the library give automatic names as if those since `counts` had not been given."""

    def describe(self, variable: Any) -> str:
        """The variable's path and type."""
        raise NotImplementedError

    @property
    def tensor(self) -> Any:
        """The class of the framework's dense tensors, concrete or not."""
        return np.ndarray

    def has_values(self, value: Any) -> bool:
        """Whether `value` is a tensor that holds numbers now."""
        return isinstance(value, self.tensor)

    def parts_of(self, output: Any) -> list[Part]:
        """The tensors of an output, the main one (as `main_subpath` chooses, with the suffix `""`) first."""
        tensors = dict(arrays_in(output, self.has_values))
        main = main_subpath(tensors, lambda tensor: "float" in str(tensor.dtype))
        ordered = sorted(tensors.items(), key=lambda part: part[0] != main)
        return [
            Part("" if subpath == main else subpath, subpath, tensor, is_numeric(tensor)) for subpath, tensor in ordered
        ]

    def tensors_in(self, arguments: Any) -> list[Any]:
        """All tensors in the arguments of a call, in order."""
        return [tensor for _, tensor in arrays_in(arguments, self.has_values)]

    def as_numpy(self, tensor: Any) -> np.ndarray:
        """The tensor in numpy, without a copy where possible."""
        return np.asarray(tensor)

    def stored_value(self, variable: Any) -> Any:
        """A variable's tensor in its own type; mixed precision casts its public `value`."""
        return variable._value

    def snapshot(self, variable: Any) -> Any:
        """The variable's content, which later writes to it leave alone."""
        return np.array(self.stored_value(variable))

    def reference(self, variable: Any) -> Any:
        """The variable's content without a copy, where no write changes it; else `None`."""
        return None

    def is_gone(self, content: Any) -> bool:
        """Whether a content that was kept was taken away since."""
        return False

    def optimizers(self) -> str:
        """The folder of the library's optimizers, through which every step of them goes."""
        raise NotImplementedError

    def weights(self, model: Any) -> Weights:
        """What the variables hold now; the identities are those of a later answer if nobody wrote to them in between."""
        variables = self.variables(model)
        contents = [self.content(variable) for variable in variables]
        # What isn't trained may be written to by the model itself, in any run.
        identities = [
            identity if variable.trainable or identity == GONE else 0
            for variable, (_, identity) in zip(variables, contents, strict=True)
        ]
        return Weights(variables, [value for value, _ in contents], identities)

    def content(self, variable: Any) -> tuple[Any, int]:
        """What a variable holds, and its identity. A write gives a variable another tensor, where tensors can't change."""
        value = self.stored_value(variable)
        return value, id(value)

    @contextlib.contextmanager
    def frozen(self, weights: Weights) -> Iterator[None]:
        """Inside, this thread reads these contents of the variables and writes to nothing, where the library `freezes`."""
        yield

    def copy_input(self, tensor: Any) -> Any:
        """An input that the model can't change for its owner. Keras itself copies arrays, and tensors are immutable."""
        return tensor

    def find_device(self, asked: Device) -> str | None:
        """What the framework calls a device, `None` where there is none like it here."""
        return "cpu:0" if asked.kind == "cpu" else None

    def on_device(self, name: str) -> AbstractContextManager[Any]:
        """Inside, models are built and run there; `""` is the framework's own choice."""
        return self.keras.device(name) if name else contextlib.nullcontext()

    def is_elsewhere(self, model: Any, name: str) -> bool:
        """Whether a model's variables lie on another device and the framework wouldn't bring them there by itself."""
        return False

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """Inside, no gradients are recorded; afterwards the framework's own random state is as before."""
        yield


class TensorflowEngine(Engine):
    """What TensorFlow answers, below either Keras."""

    module = "tensorflow"

    @property
    def tensor(self) -> Any:
        return self.lib.Tensor

    def has_values(self, value: Any) -> bool:
        # a tensor of a graph under construction has no `numpy`
        return isinstance(value, self.tensor) and hasattr(value, "numpy")

    def tensor_like(self, values: np.ndarray, tensor: Any) -> Any:
        return self.lib.cast(self.lib.convert_to_tensor(values), tensor.dtype)

    def find_device(self, asked: Device) -> str | None:
        kind = "GPU" if asked.kind in ("gpu", "cuda", "rocm") else asked.kind.upper()
        index = asked.number or 0
        return f"{kind.lower()}:{index}" if index < len(self.lib.config.list_logical_devices(kind)) else None

    def on_device(self, name: str) -> AbstractContextManager[Any]:
        return self.lib.device(name) if name else contextlib.nullcontext()

    def snapshot(self, variable: Any) -> Any:
        # a layer with a tf.function may write while its graph is under construction
        with self.lib.init_scope():
            return super().snapshot(variable)

    def content(self, variable: Any) -> tuple[Any, int]:
        value = self.stored_value(variable)
        tensor = value.read_value() if hasattr(value, "read_value") else value
        if "CPU" not in tensor.device:
            return tensor, 0  # in numpy it is another copy each time, and nothing tells of a write
        # the memory of what was read: while it is held, a write takes other memory
        return tensor, tensor._numpy().__array_interface__["data"][0]

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        from .tf_random import preserve_random_state

        with preserve_random_state():
            yield


def copy_to_host(engine: Engine, tensor: Any, pick: Pick | None = None) -> tuple[np.ndarray, str]:
    """The tensor, or the channels of `pick`, copied to numpy; and its type (`"bfloat16"`) where numpy lacks it, else `""`."""
    dtype = dtype_name(tensor.dtype)
    values = np.array(engine.as_numpy(tensor if pick is None else engine.take(tensor, pick.numbers, pick.axis)))
    if values.dtype.isbuiltin == 1:
        return values, dtype if dtype != values.dtype.name else ""
    return values.astype(np.float32), dtype


def dtype_name(dtype: Any) -> str:
    """`"bfloat16"` of `torch.bfloat16`, `tf.bfloat16` or a numpy type."""
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2]


def is_numeric(tensor: Any) -> bool:
    """Whether a tensor's type has a number for each element."""
    return "string" not in str(tensor.dtype) and "variant" not in str(tensor.dtype)
