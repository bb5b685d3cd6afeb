"""Whether a model writes to its own weights in its forward pass: seen before it happens, as a replica shares them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from ..common.fault import call_model
from .values import is_strided

# They give the memory of a tensor away, so that nobody sees a write.
OPENING = frozenset(
    getattr(torch.Tensor, name) for name in ("__array__", "__dlpack__", "numpy", "storage", "untyped_storage")
)
RENORMING = (F.embedding, F.embedding_bag)
NORMS = frozenset({"batch_norm", "instance_norm", "native_batch_norm"})
OTHERS = frozenset({"__set__", "__setitem__", "swap_tensors", "vector_to_parameters"})


class WritesWeights(BaseException):
    """Ends a run before a weight is written to. Not an `Exception`, which models catch."""


class WriteGuard(TorchFunctionMode):
    """Ends the run where a function is about to write to one of these weights, or to their gradients."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()
        weights = list(weights)
        self._weights = set(map(id, weights))
        self._storages = {weight.untyped_storage()._cdata for weight in weights if is_strided(weight)}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # A backward pass adds to the gradients of whatever asks for some.
        if func is torch.Tensor.backward or any(map(self._is_weight, _written(func, args, kwargs))):
            raise WritesWeights
        return call_model(func, *args, **kwargs)

    def _is_weight(self, value: Any) -> bool:
        if not isinstance(value, torch.Tensor):
            return isinstance(value, list | tuple) and any(map(self._is_weight, value))
        with torch._C.DisableTorchFunction():
            return id(value) in self._weights or (
                is_strided(value) and value.untyped_storage()._cdata in self._storages
            )


def _written(func: Any, args: Any, kwargs: Any) -> Iterator[Any]:
    """What a function that is called may write to."""
    if isinstance(func, torch._ops.OpOverload):
        if func._schema.is_mutable:
            for index, argument in enumerate(func._schema.arguments):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    yield args[index] if index < len(args) else kwargs.get(argument.name)
        return
    name = str(getattr(func, "__name__", ""))
    in_place = name.endswith("_") and not name.startswith("__")
    dunder = name.startswith("__i") and hasattr(torch.Tensor, f"__{name[3:]}")  # __iadd__ beside __add__
    if in_place or dunder or name in OTHERS or func in OPENING:
        yield from args[:1] or kwargs.values()  # `torch.nn.init` passes all by name
    elif func in RENORMING:
        if (args[3] if len(args) > 3 else kwargs.get("max_norm")) is not None:
            yield args[1] if len(args) > 1 else kwargs.get("weight")
    elif name in NORMS:
        yield from args[1:3]
        yield from (kwargs.get("running_mean"), kwargs.get("running_var"))
    yield kwargs.get("out")
