"""What the backend asks of each of the JAX libraries, and what they share."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..common.axes import SPACE
from ..protocol import Kernel
from .watch import Watch

# Arguments that switch between training and inference, with the value for inference.
INFERENCE = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "inference": True,
    "use_running_average": True,
}


class FirstLayer(NamedTuple):
    """A convolution or dense layer that takes the model's input, and the shape of its weights."""

    module: Any
    shape: tuple[int, ...]


class JaxModel(Protocol):
    """A model of one library, opened for watched runs."""

    name: str
    library: str
    channels_first: bool

    def run(self, batch: Any, watch: Watch) -> Any:
        """The output of a copy of the model in inference mode for a batch; every call goes to `watch`."""
        ...

    def at_one_moment(self) -> JaxModel:
        """The model with the weights of one moment, where another thread may write to them."""
        ...

    @property
    def modules(self) -> Mapping[str, Any]:
        """Path -> module, in the order in which the model defines them; what isn't known as an object is `None`."""
        ...

    @property
    def aliases(self) -> Mapping[str, tuple[str, ...]]:
        """Other paths of modules that are reached by several paths."""
        ...

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Name and array of everything that was trained."""
        ...

    def parameters(self, path: str) -> int | None:
        """The number of weights of the module at `path` and of all inside it, shared ones once."""
        ...

    def kernel(self, path: str, image: Any) -> Kernel | None:
        """The weights of the convolution at `path`, `None` where something else stands there."""
        ...

    def first_layer(self) -> FirstLayer | None:
        """The first layer with weights, which takes the input, `None` where it isn't known."""
        ...


def canonical_paths(model: JaxModel) -> dict[str, str]:
    """The path under which each module is reported, by its other paths."""
    return {alias: path for path, aliases in model.aliases.items() for alias in aliases}


@dataclass(frozen=True)
class Unwrapped:
    """The module of a user's model, the method to call, and further arguments of the call."""

    module: Any
    method: str = "__call__"
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None

    @property
    def keywords(self) -> dict[str, Any]:
        """A copy of the keyword arguments."""
        return dict(self.kwargs or {})


def unwrap(model: Any) -> Unwrapped:
    """A module without the `functools.partial` and bound methods around it."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    while type(model) is functools.partial:
        args, kwargs, model = (*model.args, *args), {**model.keywords, **kwargs}, model.func
    if isinstance(model, types.MethodType):
        return Unwrapped(model.__self__, model.__name__, args, kwargs)
    return Unwrapped(model, "__call__", args, kwargs)


def flax_kernel(module: Any, values: Any, transposed: bool) -> Kernel:
    """The weights `[*space, input, filter]` of a convolution of Flax; those of a transposed one may have the ends swapped."""
    weights = np.asarray(values).astype(np.float32)
    ends = "oi" if transposed and module.transpose_kernel else "io"
    note = "multiplied by a mask when it runs" if getattr(module, "mask", None) is not None else ""
    return Kernel(weights, SPACE[weights.ndim - 2] + ends, 1 if transposed else module.feature_group_count, note)


def inference_arguments(module: Any, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `INFERENCE` that a call takes and that aren't given."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        # The call itself will say what is wrong with the arguments.
        return {}
    arguments = {}
    for name, parameter in signature.parameters.items():
        if name not in INFERENCE:
            continue
        set_on_module = parameter.default is None and getattr(module, name, None) is not None
        is_open = name not in bound and not set_on_module and parameter.kind is not parameter.POSITIONAL_ONLY
        if is_open:
            arguments[name] = INFERENCE[name]
    return arguments
