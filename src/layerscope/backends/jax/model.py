"""What the backend asks of each of the JAX libraries, and what they have in common."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..protocol import Kernel
from .watch import Watch

# Arguments by which models are told to rest, with the value that means rest.
AT_REST = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "inference": True,
    "use_running_average": True,
}


class JaxModel(Protocol):
    """A model of one library, opened for watched runs."""

    name: str
    library: str
    channels_first: bool

    def run(self, batch: Any, watch: Watch) -> Any:
        """The model's output for a batch, at rest, on a copy; every call goes to `watch`."""
        ...

    def modules(self) -> Mapping[str, Any]:
        """Path -> module, in the order in which the model defines them; what isn't known as an object is `None`."""
        ...

    def aliases(self) -> Mapping[str, tuple[str, ...]]:
        """Other paths of modules that stand at several places."""
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

    def first(self) -> tuple[str, Any, tuple[int, ...]] | None:
        """Path, module and kernel or weight shape of the first layer that takes the input, where that can be told."""
        ...


@dataclass(frozen=True)
class Given:
    """What a user gave, taken apart: the module, the method to call, further arguments."""

    module: Any
    method: str = "__call__"
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None

    @property
    def keywords(self) -> dict[str, Any]:
        return dict(self.kwargs or {})


def taken_apart(model: Any) -> Given:
    """`functools.partial` and bound methods around a module, taken off."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    while type(model) is functools.partial:
        args, kwargs, model = (*model.args, *args), {**model.keywords, **kwargs}, model.func
    if isinstance(model, types.MethodType):
        return Given(model.__self__, model.__name__, args, kwargs)
    return Given(model, "__call__", args, kwargs)


SPACE = {1: "n", 2: "hw", 3: "dhw"}


def flax_kernel(module: Any, values: Any, turned: bool) -> Kernel:
    """The weights `[*space, input, filter]` of a convolution of Flax; those of a transposed one may be the other way round."""
    found = np.asarray(values).astype(np.float32)
    ends = "oi" if turned and module.transpose_kernel else "io"
    note = "multiplied by a mask when it runs" if getattr(module, "mask", None) is not None else ""
    return Kernel(found, SPACE[found.ndim - 2] + ends, 1 if turned else module.feature_group_count, note)


def at_rest(module: Any, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `AT_REST` that a call takes and that aren't given."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        # The call itself will say what is wrong with the arguments.
        return {}
    found = {}
    for name, parameter in signature.parameters.items():
        settled = parameter.default is None and getattr(module, name, None) is not None
        if name in AT_REST and name not in bound and not settled and parameter.kind is not parameter.POSITIONAL_ONLY:
            found[name] = AT_REST[name]
    return found
