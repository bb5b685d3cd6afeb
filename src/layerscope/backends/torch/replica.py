"""A replica of a module tree: its own flags, hooks, buffers and attributes around the same parameters.

What layerscope does to a model (evaluation mode, hooks, an early stop) and what the model does to itself in a run stays on the
replica: a thread that trains or runs the same model sees nothing of it.
"""

from __future__ import annotations

import copy
import copyreg
import functools
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

# What can't change, or is nobody's own.
ATOMIC = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, range, slice, type, object, type(...), type(NotImplemented),
        types.BuiltinFunctionType, types.ModuleType, types.GeneratorType, types.CodeType, property,
        torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format, torch.fx.Graph, torch.fx.Node,
    }
)  # fmt: skip
# Objects that work with a model, but are no part of what it computes; a trainer leads to data sets, loggers and files.
AROUND = frozenset(
    {"layerscope", "lightning", "lightning_fabric", "logging", "pytorch_lightning", "threading", "torch"}
)
AROUND_TYPES = (torch.optim.Optimizer, torch.utils.data.Dataset, torch.utils.data.DataLoader)
# Of every module, and nothing is added to them in a run: shared where they are empty, as they nearly always are.
UNTOUCHED = frozenset(
    {
        "_backward_hooks", "_backward_pre_hooks", "_load_state_dict_post_hooks", "_load_state_dict_pre_hooks",
        "_non_persistent_buffers_set", "_state_dict_hooks", "_state_dict_pre_hooks",
    }
)  # fmt: skip
MOST_OBJECTS = 100_000  # copied beside modules; what lies behind them is shared


def modules_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """A model and all modules inside it, each once: `model.modules()` without the names, which take most of its time."""
    modules, seen = [model], {id(model)}
    for module in modules:
        for child in list(module._modules.values()):
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                modules.append(child)
    return modules


def weights_of(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters of a model, tied ones as often as they are held."""
    return [
        weight for module in modules_of(model) for weight in list(module._parameters.values()) if weight is not None
    ]


def replicate(model: torch.nn.Module, own_parameters: bool = False) -> torch.nn.Module:
    """A module tree that computes what `model` does, with copies of everything but the parameters; these too on request.

    Objects that can't be copied (locks, handles) are shared. Functions and bound methods that lead back to the model (a
    replaced `forward`, hooks) lead to the replica.
    """
    replica: torch.nn.Module = Replicator(model, own_parameters).copy(model)
    return replica


class Replicator:
    """The copies made so far, by identity of the original, and how values of each type are copied."""

    def __init__(self, model: torch.nn.Module, own_parameters: bool) -> None:
        self.own_parameters = own_parameters
        self.model = model
        self.memo: dict[int, Any] = {}
        self.rules = dict(EXACT)
        self.left = MOST_OBJECTS
        self.seeded = False  # with the parameters, which `copy.deepcopy` looks up in the memo

    @functools.cached_property
    def inside(self) -> set[int]:
        """The modules of the tree, by identity."""
        return {id(module) for module in modules_of(self.model)}

    def copy(self, value: Any) -> Any:
        """The replica's own `value`; `value` itself where that can be shared."""
        kind = type(value)
        if kind in ATOMIC:
            return value
        key = id(value)
        if key in self.memo:
            return self.memo[key]
        if kind not in self.rules:
            self.rules[kind] = _rule(kind)
        duplicate = self.rules[kind](self, value)
        self.memo[key] = duplicate
        return duplicate

    def _shared(self, value: Any) -> Any:
        return value

    def _module(self, module: torch.nn.Module) -> Any:
        kind = type(module)
        if hasattr(kind, "__del__"):
            # What the original frees when it goes must not be freed when its replica goes.
            kind = type(kind.__name__, (kind,), {"__del__": lambda _: None, "__module__": kind.__module__})
        try:
            duplicate = object.__new__(kind)
        except TypeError:  # a class with a part in C
            return self._by_deepcopy(module)
        self.memo[id(module)] = duplicate
        attributes = duplicate.__dict__
        for name, value in list(module.__dict__.items()):
            kind = type(value)
            if kind in ATOMIC or (name in UNTOUCHED and not value):
                attributes[name] = value
            elif (kind is dict or kind is OrderedDict) and not value:
                attributes[name] = kind()
            elif kind is tuple and ATOMIC.issuperset(map(type, value)):
                attributes[name] = value
            else:
                attributes[name] = self.copy(value)
        return duplicate

    def _parameter(self, parameter: torch.nn.Parameter) -> Any:
        if not self.own_parameters or torch.nn.parameter.is_lazy(parameter):
            return parameter
        return copy.deepcopy(parameter)

    def _tensor(self, tensor: torch.Tensor) -> Any:
        if type(tensor) is not torch.Tensor:
            return self._by_deepcopy(tensor)
        duplicate = tensor.detach().clone()
        return duplicate.requires_grad_() if tensor.requires_grad and tensor.is_leaf else duplicate

    def _dict(self, mapping: dict[Any, Any]) -> Any:
        duplicate = type(mapping)()
        if mapping:
            self.memo[id(mapping)] = duplicate
            for key, value in list(mapping.items()):
                duplicate[self.copy(key)] = self.copy(value)
        return duplicate

    def _list(self, values: list[Any]) -> Any:
        duplicate: list[Any] = []
        self.memo[id(values)] = duplicate
        duplicate += map(self.copy, list(values))  # another thread may append meanwhile
        return duplicate

    def _set(self, values: set[Any]) -> Any:
        return type(values)(map(self.copy, list(values)))

    def _tuple(self, values: tuple[Any, ...]) -> Any:
        duplicate = tuple(map(self.copy, values))
        if all(one is other for one, other in zip(duplicate, values, strict=True)):
            return values
        return self.memo.get(id(values), duplicate)  # one that holds itself through a list

    def _method(self, method: types.MethodType) -> Any:
        owner = self.copy(method.__self__)
        return method if owner is method.__self__ else types.MethodType(self.copy(method.__func__), owner)

    def _function(self, function: types.FunctionType) -> Any:
        """The function itself unless it leads back to the model; without `torch.compile` around it."""
        inner = getattr(function, "_torchdynamo_orig_callable", None)
        if inner is not None:
            return self.copy(inner)
        cells, outside = function.__closure__ or (), function.__globals__
        names = [name for name in function.__code__.co_names if id(outside.get(name)) in self.inside]
        defaults = function.__defaults__, function.__kwdefaults__
        if not cells and not names and defaults == (None, None):
            return function
        own = tuple(types.CellType() for _ in cells)
        scope = dict(outside) if names else outside
        duplicate = types.FunctionType(function.__code__, scope, function.__name__, None, own)
        self.memo[id(function)] = duplicate  # it may close over itself
        scope.update((name, self.copy(outside[name])) for name in names)
        same = not names
        for cell, empty in zip(cells, own, strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # a name that has no value yet
                continue
            empty.cell_contents = self.copy(content)
            same &= empty.cell_contents is content or content is function
        duplicate.__defaults__ = self.copy(defaults[0])
        keywords = {name: self.copy(value) for name, value in (defaults[1] or {}).items()}
        duplicate.__kwdefaults__ = keywords or None
        same &= duplicate.__defaults__ is defaults[0]
        same &= all(value is keywords[name] for name, value in (defaults[1] or {}).items())
        if same:
            return function
        duplicate.__dict__.update(function.__dict__)
        return duplicate

    def _memoised(self, cached: Any) -> Any:
        function = self.copy(cached.__wrapped__)
        return cached if function is cached.__wrapped__ else functools.lru_cache(**cached.cache_parameters())(function)

    def _partial(self, partial: functools.partial[Any]) -> Any:
        function, args, keywords = self.copy(partial.func), self.copy(partial.args), self.copy(partial.keywords)
        return type(partial)(function, *args, **keywords)

    def _reference(self, reference: weakref.ref[Any]) -> Any:
        target = reference()
        return weakref.ref(self.copy(target)) if id(target) in self.inside else reference

    def _proxy(self, proxy: Any) -> Any:
        target = proxy.__repr__.__self__
        return weakref.proxy(self.copy(target)) if id(target) in self.inside else proxy

    def _generator(self, generator: torch.Generator) -> Any:
        duplicate = torch.Generator(generator.device)
        duplicate.set_state(generator.get_state())
        return duplicate

    def _array(self, array: np.ndarray) -> Any:
        return array.copy() if array.dtype != object else self._by_deepcopy(array)

    def _object(self, value: Any) -> Any:
        """An object of Python alone: the same class around copies of its attributes."""
        self.left -= 1
        try:
            duplicate = object.__new__(type(value))
        except TypeError:  # a class with a part in C
            return value
        if self.left < 0:
            return value
        self.memo[id(value)] = duplicate
        for name, content in list(getattr(value, "__dict__", {}).items()):
            duplicate.__dict__[name] = self.copy(content)
        for name in copyreg._slotnames(type(value)):  # type: ignore[attr-defined]
            if hasattr(value, name):
                object.__setattr__(duplicate, name, self.copy(getattr(value, name)))
        return duplicate

    def _by_deepcopy(self, value: Any) -> Any:
        """What has a way of its own of being copied, or of refusing to be."""
        if not self.seeded and not self.own_parameters:
            self.memo.update((id(weight), weight) for weight in weights_of(self.model))
        self.seeded = True
        try:
            return copy.deepcopy(value, self.memo)
        except Exception:
            # Locks, handles, sessions: the model's own code decides what they raise. They are shared, as they were before.
            return value


def _rule(kind: type) -> Callable[[Replicator, Any], Any]:
    """How values of a type are copied."""
    if issubclass(kind, torch.jit.ScriptModule):
        return Replicator._by_deepcopy
    for base, rule in RULES.items():
        if issubclass(kind, base):
            return rule
    around = kind.__module__.partition(".")[0] in AROUND or issubclass(kind, AROUND_TYPES)
    if around or issubclass(kind, type) or hasattr(kind, "__del__"):
        return Replicator._shared
    plain = (
        kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and not hasattr(kind, "__deepcopy__")
        and getattr(kind, "__getstate__", None) is getattr(object, "__getstate__", None)
        and not issubclass(kind, list | dict | set | frozenset | tuple)
    )
    return Replicator._object if plain else Replicator._by_deepcopy


RULES: dict[type, Callable[[Replicator, Any], Any]] = {
    torch.nn.Module: Replicator._module,
    torch.nn.Parameter: Replicator._parameter,
    torch.Tensor: Replicator._tensor,
    types.FunctionType: Replicator._function,
    types.MethodType: Replicator._method,
    functools.partial: Replicator._partial,
    functools._lru_cache_wrapper: Replicator._memoised,
    weakref.ref: Replicator._reference,
    weakref.ProxyType: Replicator._proxy,
    weakref.CallableProxyType: Replicator._proxy,
    torch.Generator: Replicator._generator,
    np.ndarray: Replicator._array,
}
EXACT: dict[type, Callable[[Replicator, Any], Any]] = {
    dict: Replicator._dict,
    OrderedDict: Replicator._dict,
    list: Replicator._list,
    set: Replicator._set,
    frozenset: Replicator._set,
    tuple: Replicator._tuple,
}
