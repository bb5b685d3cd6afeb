"""A PyTorch model without what is wrapped around it, and its call with a batch."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch

from ...errors import ModelNotReadable
from ..common.arguments import arguments_of
from ..common.fault import call_model
from .functions import unwatch
from .tree import modules_of


def unwrap(model: Any) -> Any:
    """The module itself, without `torch.compile`, DataParallel or DistributedDataParallel around it."""
    if isinstance(model, torch.export.ExportedProgram):
        return torch.export.unflatten(model)
    while True:
        if isinstance(model, torch.nn.Module) and isinstance(getattr(model, "_orig_mod", None), torch.nn.Module):
            model = model._orig_mod
        elif isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            model = model.module
        elif _only_holds(model):
            model = model.model
        else:
            return model


def _only_holds(model: Any) -> bool:
    """Whether a module is no network but the object of a library around one (`.model`), with training and prediction.

    It has no forward, and its call predicts.
    """
    if not isinstance(model, torch.nn.Module) or isinstance(model, torch.jit.ScriptModule):
        return False
    without = type(model).forward is torch.nn.Module.forward
    return without and "forward" not in vars(model) and isinstance(getattr(model, "model", None), torch.nn.Module)


def forward(model: torch.nn.Module, batch: Any) -> Any:
    """The model's output for a batch: an array, a tuple of arguments, a dict of them by name, or one object of the model's."""
    with unwatch():
        feed = Feed(model)
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if not hasattr(batch, "shape"):
        args, kwargs = arguments_of(batch, model.forward)
        args, kwargs = tuple(map(feed.own, args)), {name: feed.own(value) for name, value in kwargs.items()}
    elif getattr(model, "main_input_name", None) == "pixel_values":
        # Models of transformers say by which name they take images; the forward of some takes it by name only.
        kwargs = {"pixel_values": feed.own(batch, image=True)}
    else:
        args = (feed.own(batch, image=True),)
    with _lenient(model, feed.foreign):
        return call_model(model, *args, **kwargs)


@contextmanager
def _lenient(model: torch.nn.Module, foreign: Collection[torch.dtype]) -> Iterator[None]:
    """Layers that would refuse an input in its owner's type get it in theirs; what is done with it before stays exact."""

    def cast(layer: torch.nn.Module, inputs: tuple[Any, ...]) -> Any:
        own = next((weight.dtype for weight in layer._parameters.values() if weight is not None), None)
        if own is None or not own.is_floating_point or own.itemsize < 2:
            return None
        return tuple(
            value.to(own) if isinstance(value, torch.Tensor) and value.dtype in foreign else value for value in inputs
        )

    layers = [module for module in modules_of(model) if isinstance(module, TYPED)] if foreign else []
    handles = [layer.register_forward_pre_hook(cast) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Feed:
    """Turns what a model is given into copies of it on the model's device, so that a model may write into its input.

    Tensors keep their type, as their owner chose it. numpy has no bfloat16 and makes float64 unasked, so pictures among its
    arrays get the type of the model's first layer.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        modules = modules_of(model)
        self.device = _device(modules)
        first = next((module for module in modules if isinstance(module, TYPED)), None)
        kinds = (tensor.dtype for tensor in _tensors(modules if first is None else [first, *modules]))
        self.kind = next((kind for kind in kinds if kind.is_floating_point and kind.itemsize > 1), None)
        self.memo: dict[int, Any] = {}  # what was given twice is one object again
        self.foreign: set[torch.dtype] = set()  # other floating types that were given

    def own(self, value: Any, image: bool = False) -> Any:
        """The model's own copy of a value, in containers of any depth; `image` says that it is a picture, whatever its rank."""
        if id(value) not in self.memo:
            self.memo[id(value)] = self._copy(value, image)
        return self.memo[id(value)]

    def _copy(self, value: Any, image: bool) -> Any:
        if isinstance(value, np.ndarray) and value.dtype != object:
            tensor = call_model(torch.from_numpy, np.ascontiguousarray(value).copy())
            return self._there(tensor.to(self._kind(tensor, image or tensor.ndim > 2)))
        if isinstance(value, torch.Tensor):
            return self._there(value.detach().clone())
        if type(value) in (list, tuple):
            return type(value)(map(self.own, value))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self.own, value))
        if type(value) in (dict, OrderedDict):
            return type(value)((name, self.own(member)) for name, member in value.items())
        try:
            return copy.deepcopy(value)
        except Exception:
            return value  # what can't be copied (handles, generators) is the model's to read

    def _there(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_floating_point() and tensor.dtype != self.kind:
            self.foreign.add(tensor.dtype)
        return tensor.to(self.device)

    def _kind(self, tensor: torch.Tensor, image: bool) -> torch.dtype:
        """Other numbers (a time step of 981) keep what the model's type may have no room for."""
        if self.kind is None or not tensor.is_floating_point():
            return tensor.dtype
        return self.kind if image else torch.promote_types(self.kind, min(tensor.dtype, torch.float32, key=_size))


# The first layer of one of these takes the picture: parameters before it (a scale, a token) may have another type.
TYPED = (torch.nn.modules.conv._ConvNd, torch.nn.Linear)


def _size(kind: torch.dtype) -> int:
    return kind.itemsize


def _tensors(modules: list[torch.nn.Module]) -> Iterator[torch.Tensor]:
    """The weights and buffers of modules themselves, as far as they are asked for."""
    for module in modules:
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                yield tensor


def _device(modules: list[torch.nn.Module]) -> torch.device:
    """Where a model computes."""
    weights = (tensor for tensor in _tensors(modules) if tensor.is_floating_point())
    first = next(weights, None)
    device = next(
        (weight.device for weight in chain([first], weights) if weight is not None and not weight.is_meta), None
    )
    if device is not None or first is None:
        return device or torch.device("cpu")
    # accelerate keeps weights elsewhere, and brings each to this device while its layer runs.
    hooks = [getattr(module, "_hf_hook", None) for module in modules]
    devices = [getattr(hook, "execution_device", None) for hook in hooks]
    if all(device is None for device in devices):
        raise ModelNotReadable("the model's weights are on the meta device, so it can't compute: load them first")
    return torch.device(next(device for device in devices if device is not None))


def kind_of(module: torch.nn.Module) -> str:
    """The module's class name, its original one where `torch.export` kept it."""
    name = type(module).__name__
    original = getattr(module, "type_name", None) if callable(getattr(module, "type_name", None)) else None
    kept = original() if original else None
    return kept.rpartition(".")[2] if isinstance(kept, str) and kept else name
