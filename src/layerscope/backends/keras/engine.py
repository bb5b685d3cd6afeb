"""What the Keras backends ask of the framework below and of the Keras library in use.

An engine says which tensors hold numbers now (a tracer or a graph tensor doesn't), copies them to the host, keeps the
framework's random state, and names what is to be watched in its library.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..protocol import Pick

# owner of a method, its name, and what kind of call it is: "layer", "operation", "write" (to a variable), "attention" (the
# inside of one), or "function" (a compiled one, which is run by its Python code instead)
Watched = tuple[type, str, str]


class Engine:
    """What every engine has: numpy's own answers."""

    module = "numpy"
    library = "keras"
    gradients = False
    # Where compiled functions can be run step by step at a price, `unrolled` asks for it.
    can_unroll = False
    unrolled = False

    def __init__(self) -> None:
        self.lib: Any = importlib.import_module(self.module)
        self.keras: Any = importlib.import_module(self.library)

    @property
    def version(self) -> str:
        return str(self.lib.__version__)

    @property
    def framework(self) -> str:
        """The library and the framework below it, with their versions."""
        return f"{self.library} {self.keras.__version__} on {self.module} {self.version}"

    @property
    def data_format(self) -> str:
        """Keras's own setting for layers that don't say one."""
        raise NotImplementedError

    def watched(self) -> list[Watched]:
        """The methods that a run watches."""
        raise NotImplementedError

    def symbolic(self) -> bool:
        """Whether the library is inferring shapes now, with tensors that are no results."""
        raise NotImplementedError

    def placeholder(self, value: Any) -> bool:
        """Whether `value` is a tensor without numbers, made to put a model together."""
        raise NotImplementedError

    def flatten(self, structure: Any) -> list[Any]:
        """The leaves of a structure as the library sees it."""
        raise NotImplementedError

    def packed(self, structure: Any, flat: list[Any]) -> Any:
        """The structure with other leaves."""
        raise NotImplementedError

    def einsum(self, equation: str, *tensors: Any) -> Any:
        """The library's own einsum."""
        raise NotImplementedError

    def total(self, tensor: Any) -> Any:
        """The sum of all elements, as a tensor."""
        raise NotImplementedError

    def slice_of(self, tensor: Any, index: int, axis: int) -> Any:
        """One index of one axis."""
        raise NotImplementedError

    def picked(self, tensor: Any, numbers: Sequence[int], axis: int) -> Any:
        """Some indices of one axis, in their order."""
        raise NotImplementedError

    def like(self, values: np.ndarray, tensor: Any) -> Any:
        """Numbers as a tensor of the framework, of the type and on the device of another."""
        return values.astype(tensor.dtype)

    def mask_as(self, tensor: Any, other: Any) -> None:
        """Give a tensor the mask that is kept at another: layers behind it look for it there."""
        mask = getattr(other, "_keras_mask", None)
        if mask is not None:
            tensor._keras_mask = mask

    def kept(self, layer: Any) -> Callable[[], None]:
        """What puts a layer's own record of its losses back."""
        raise NotImplementedError

    def variables(self, model: Any) -> list[Any]:
        """The model's variables, as far as it is built."""
        return list(model.variables)

    def numbers(self) -> dict[str, int]:
        """How often the library has given each automatic name so far: 2 for `pad` after `pad` and `pad_1`."""
        raise NotImplementedError

    def named(self, variable: Any) -> str:
        """The variable's path and type."""
        raise NotImplementedError

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


def host(on: Engine, tensor: Any, pick: Pick | None = None) -> tuple[np.ndarray, str]:
    """The tensor, or what `pick` takes of it, as a copy in numpy, and its own type where numpy can't say it (`"bfloat16"`),
    else `""`.
    """
    dtype = dtype_name(tensor.dtype)
    values = np.array(on.view(tensor if pick is None else on.picked(tensor, pick.numbers, pick.axis)))
    if values.dtype.isbuiltin == 1:
        return values, dtype if dtype != values.dtype.name else ""
    return values.astype(np.float32), dtype


def dtype_name(dtype: Any) -> str:
    """`"bfloat16"` of `torch.bfloat16`, `tf.bfloat16` or a numpy type."""
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2]
