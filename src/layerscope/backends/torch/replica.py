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

from .callables import CallableCopier
from .tree import modules_of, own_attributes, weights_of
from .values import (
    AROUND,
    AROUND_TYPES,
    ATOMIC,
    MOST_VALUES,
    UNTOUCHED,
    is_sentinel,
    is_strided,
    slots_of,
)


def replicate(model: torch.nn.Module, own_parameters: bool = False) -> torch.nn.Module:
    """A module tree that computes what `model` does, with copies of everything but the parameters; these too on request.

    Objects that can't be copied (locks, handles) are shared. Functions and bound methods that lead back to the model (a
    replaced `forward`, hooks) lead to the replica.
    """
    return Replicator(model, own_parameters).replica()


class Replicator(CallableCopier):
    """The copies made so far, by identity of the original, and how values of each type are copied."""

    def __init__(self, model: torch.nn.Module, own_parameters: bool) -> None:
        super().__init__(model)
        self.own_parameters = own_parameters
        self.rules = dict(EXACT)
        self.left = MOST_VALUES
        self.seeded = False  # with the parameters, which `copy.deepcopy` looks up in the memo
        self.classes: dict[type, type] = {}
        self.storages: dict[int, torch.UntypedStorage] = {}
        self.memories: dict[int, torch.UntypedStorage] = {}  # by the address of what was copied

    def replica(self) -> Any:
        """The copy of the whole model: first all modules, so that a deep tree is no deep recursion, then what is in them."""
        if isinstance(self.model, torch.jit.ScriptModule):
            return self.copy(self.model)
        modules = modules_of(self.model)
        self.inside = set(map(id, modules))
        empty = [(module, self._empty(module)) for module in modules]
        for module, duplicate in empty:
            if duplicate is not None:
                self._fill(module, duplicate)
        return self.copy(self.model)

    def copy(self, value: Any) -> Any:
        """The replica's own `value`; `value` itself where that can be shared."""
        kind = type(value)
        if kind in ATOMIC:
            return value
        key = id(value)
        if key in self.memo:
            return self.memo[key]
        if kind not in self.rules:
            writes = self.own_parameters and issubclass(kind, torch.optim.Optimizer)
            self.rules[kind] = Replicator._by_deepcopy if writes else _rule(kind)
        self.left -= 1
        if self.left < 0 and key not in self.inside and self.rules[kind] in COUNTED:
            return value
        duplicate = self.rules[kind](self, value)
        self.memo[key] = duplicate
        return duplicate

    def _shared(self, value: Any) -> Any:
        return value

    def _module(self, module: torch.nn.Module) -> Any:
        duplicate = self._empty(module)
        if duplicate is None:
            return self._by_deepcopy(module)
        self._fill(module, duplicate)
        return duplicate

    def _empty(self, module: torch.nn.Module) -> Any:
        """A module without attributes, `None` where its class has a part in C."""
        if isinstance(module, torch.jit.ScriptModule):
            return None
        kind = type(module)
        if kind not in self.classes:
            self.classes[kind] = self._class(_unsharded(kind))
        if id(module) in self.memo:  # its class led to it
            return self.memo[id(module)]
        try:
            duplicate: Any = object.__new__(self.classes[kind])
        except TypeError:
            return None
        self.memo[id(module)] = duplicate
        return duplicate

    def _class(self, kind: type) -> type:
        """The class itself, unless code or attributes of it lead back to the model, or it frees something."""
        own: dict[str, Any] = {}
        for base in kind.__mro__:
            if base.__module__.partition(".")[0] == "torch" or base is object:
                break
            for name, value in list(vars(base).items()):
                if name not in own and (
                    id(value) in self.inside or (isinstance(value, types.FunctionType) and self._leads_back(value))
                ):
                    own[name] = value
        if hasattr(kind, "__del__"):  # what the original frees when it goes must not be freed when its replica goes
            own["__del__"] = lambda _: None
        if not own:
            return kind
        duplicate = type(kind.__name__, (kind,), {"__module__": kind.__module__})
        self.classes[kind] = duplicate
        for name, value in own.items():
            setattr(duplicate, name, self.copy(value))
        return duplicate

    def _fill(self, module: torch.nn.Module, duplicate: Any) -> None:
        attributes = module.__dict__.copy()
        object.__setattr__(duplicate, "__dict__", attributes)
        own = list(own_attributes(attributes))
        if len(own) < len(attributes):
            own = [*self._renew_empty(attributes), *own]
        for name, value in own:
            kind = type(value)
            if kind in ATOMIC or (name in UNTOUCHED and not value):
                continue
            if (kind is dict or kind is OrderedDict) and not value:
                attributes[name] = kind()
            elif (
                name == "_parameters"
                and kind is dict
                and not self.own_parameters
                and WEIGHTS.issuperset(map(type, value.values()))
            ):
                attributes[name] = value.copy()
            elif name == "_parameters" and kind is dict and any(map(_is_distributed, value.values())):
                attributes[name] = {key: self._gathered(weight) for key, weight in value.items()}
            elif name == "_parameters" and kind is dict and not self.own_parameters:
                attributes[name] = value.copy()
            elif name in HOOKS and any(map(_is_of_fsdp, value.values())):
                kept = {key: hook for key, hook in value.items() if not _is_of_fsdp(hook)}
                attributes[name] = OrderedDict((key, self.copy(hook)) for key, hook in kept.items())
            elif kind is not tuple or not ATOMIC.issuperset(map(type, value)):
                self.left = MOST_VALUES
                try:
                    attributes[name] = self.copy(value)
                except RecursionError:  # a long chain of objects is shared
                    attributes[name] = value
        self._fill_slots(module, duplicate)

    def _renew_empty(self, attributes: dict[str, Any]) -> list[tuple[str, Any]]:
        """Give a copy empty tables of its own in place of those that every module has; what is in the others."""
        filled = [name for name in UNTOUCHED if attributes[name]] if any(map(attributes.get, UNTOUCHED)) else []
        for name, kind in OWN_TABLES:
            table = attributes[name]
            if table or type(table) is not kind:
                filled.append(name)
            else:
                attributes[name] = kind()
        return [(name, attributes[name]) for name in filled]

    def _fill_slots(self, value: Any, duplicate: Any) -> bool:
        kind: Any = type(value)
        if not slots_of(kind):
            return False
        names = [name for name in slots_of(kind) if hasattr(value, name)]
        for name in names:
            object.__setattr__(duplicate, name, self.copy(getattr(value, name)))
        return bool(names)

    def _parameter(self, parameter: torch.nn.Parameter) -> Any:
        if not self.own_parameters or torch.nn.parameter.is_lazy(parameter):
            return parameter
        if not is_strided(parameter):
            return copy.deepcopy(parameter)
        duplicate = torch.nn.Parameter(self._strided(parameter.detach()), parameter.requires_grad)
        duplicate.__dict__.update((name, self.copy(value)) for name, value in list(parameter.__dict__.items()))
        return duplicate

    def _gathered(self, weight: Any) -> Any:
        """A weight that is spread over several processes, whole: all of them must capture."""
        if not _is_distributed(weight):
            return self._parameter(weight) if weight is not None else None
        if id(weight) not in self.memo:
            self.memo[id(weight)] = torch.nn.Parameter(weight.detach().full_tensor(), weight.requires_grad)
        return self.memo[id(weight)]

    def _tensor(self, tensor: torch.Tensor) -> Any:
        if type(tensor) is not torch.Tensor:
            return self._by_deepcopy(tensor)
        plain = tensor.detach() if tensor.requires_grad else tensor
        duplicate = self._strided(plain) if is_strided(tensor) else plain.clone()
        if tensor.__dict__:
            duplicate.__dict__.update((name, self.copy(value)) for name, value in list(tensor.__dict__.items()))
        return duplicate.requires_grad_() if tensor.requires_grad and tensor.is_leaf else duplicate

    def _strided(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy that shares its memory with the copies of what the tensor shares its own with, or with a weight."""
        if not self.storages and not self.own_parameters:
            storages = [weight.untyped_storage() for weight in weights_of(self.model) if is_strided(weight)]
            self.storages.update((storage._cdata, storage) for storage in storages)
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        place = storage.data_ptr() if size and tensor.is_cpu else 0
        if key not in self.storages and place in self.memories and self.memories[place].nbytes() >= size:
            self.storages[key] = self.memories[place]
        if key not in self.storages:
            alone = size == tensor.numel() * tensor.element_size() and tensor.is_contiguous()
            duplicate = tensor.clone() if alone else None
            self.storages[key] = storage.clone() if duplicate is None else duplicate.untyped_storage()
            if place:
                self.memories[place] = self.storages[key]
            if duplicate is not None:
                return duplicate
        view = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return view.set_(self.storages[key], tensor.storage_offset(), tensor.shape, tensor.stride())

    def _dict(self, mapping: dict[Any, Any]) -> Any:
        if ATOMIC.issuperset(map(type, mapping.values())) and ATOMIC.issuperset(map(type, mapping)):
            return mapping.copy()
        duplicate = type(mapping)()
        self.memo[id(mapping)] = duplicate
        for key, value in list(mapping.items()):
            duplicate[key if type(key) is str else self.copy(key)] = self.copy(value)
        return duplicate

    def _list(self, values: list[Any]) -> Any:
        if ATOMIC.issuperset(map(type, values)):
            return values.copy()
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

    def _generator(self, generator: torch.Generator) -> Any:
        duplicate = torch.Generator(generator.device)
        duplicate.set_state(generator.get_state())
        return duplicate

    def _array(self, array: np.ndarray) -> Any:
        """A copy that shares its memory with the copies of the tensors and arrays that the array shares its own with."""
        if array.dtype.hasobject or not array.nbytes or type(array) is not np.ndarray:
            return array.copy() if array.dtype != object else self._by_deepcopy(array)
        root = array
        while type(root.base) is np.ndarray:
            root = root.base
        place = array.__array_interface__["data"][0]
        if self._memory_at(place) is None and root.flags.forc:
            content = torch.from_numpy(np.frombuffer(root.tobytes("A"), np.uint8).copy())
            self.memories[root.__array_interface__["data"][0]] = content.untyped_storage()
        found = self._memory_at(place)
        if found is None:
            return array.copy()
        storage, offset = found
        content = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
        duplicate: Any = np.ndarray(array.shape, array.dtype, content, offset, array.strides)
        duplicate.flags.writeable = array.flags.writeable
        return duplicate

    def _memory_at(self, place: int) -> tuple[torch.UntypedStorage, int] | None:
        """The copy of the memory that holds an address, and how far behind its beginning that is."""
        for start, storage in self.memories.items():
            if start <= place < start + storage.nbytes():
                return storage, place - start
        return None

    def _object(self, value: Any) -> Any:
        """An object of Python alone: the same class around copies of its attributes."""
        try:
            duplicate = object.__new__(type(value))
        except TypeError:  # a class with a part in C
            return value
        self.memo[id(value)] = duplicate
        attributes = getattr(value, "__dict__", {})
        for name, content in list(attributes.items()):
            duplicate.__dict__[name] = self.copy(content)
        filled = self._fill_slots(value, duplicate)
        return value if not attributes and not filled and is_sentinel(value) else duplicate

    def _by_parts(self, value: Any) -> Any:
        """What pickles by a way of its own, as containers do: made anew from copies of its parts."""
        try:
            parts = value.__reduce_ex__(4)
            if isinstance(parts, str):
                return value
            self.kept.append(parts)
            return copy._reconstruct(value, self.memo, *parts, deepcopy=lambda part, _: self.copy(part))  # type: ignore[attr-defined]
        except RecursionError:
            raise
        except Exception:
            return value

    def _by_deepcopy(self, value: Any) -> Any:
        """What has a way of its own of being copied, or of refusing to be."""
        if not self.seeded:
            self.memo.update((id(weight), self.copy(weight)) for weight in weights_of(self.model))
        self.seeded = True
        try:
            duplicate = copy.deepcopy(value, self.memo)
            return duplicate if isinstance(duplicate, type(value)) else value
        except Exception:
            # Locks, handles, sessions: the model's own code decides what they raise. They are shared, as they were before.
            return value


WEIGHTS = frozenset({torch.nn.Parameter, type(None)})
OWN_TABLES = tuple(
    (name, type(value))
    for name, value in vars(torch.nn.Module()).items()
    if type(value) not in ATOMIC and name not in UNTOUCHED
)
HOOKS = ("_forward_pre_hooks", "_forward_hooks")
FSDP = "torch.distributed.fsdp"  # its classes and hooks gather the weights of the module that they were put on


def _unsharded(kind: type) -> type:
    """The class that `fully_shard` has derived from, for a class that it made."""
    return next(base for base in kind.__mro__ if not base.__module__.startswith(FSDP))


def _is_of_fsdp(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith(FSDP)


def _is_distributed(weight: Any) -> bool:
    return type(weight) is not torch.nn.Parameter and hasattr(weight, "full_tensor")


def _rule(kind: type) -> Callable[[Replicator, Any], Any]:
    """How values of a type are copied."""
    if issubclass(kind, torch.jit.ScriptModule):
        return Replicator._by_deepcopy
    for base, rule in RULES.items():
        if issubclass(kind, base):
            return rule
    around = (not issubclass(kind, torch.fx.Interpreter) and kind.__module__.partition(".")[0] in AROUND) or issubclass(
        kind, AROUND_TYPES
    )
    if around or issubclass(kind, type) or hasattr(kind, "__del__"):
        return Replicator._shared
    plain = (
        kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and not hasattr(kind, "__deepcopy__")
        and getattr(kind, "__getstate__", None) is getattr(object, "__getstate__", None)
        and not issubclass(kind, list | dict | set | frozenset | tuple)
    )
    if plain or issubclass(kind, torch.fx.Interpreter):
        return Replicator._object
    own = hasattr(kind, "__deepcopy__") or kind in copyreg.dispatch_table or kind in copy._deepcopy_dispatch  # type: ignore[attr-defined]
    return Replicator._by_deepcopy if own else Replicator._by_parts


RULES: dict[type, Callable[[Replicator, Any], Any]] = {
    torch.nn.Module: Replicator._module,
    torch.nn.Parameter: Replicator._parameter,
    torch.Tensor: Replicator._tensor,
    types.FunctionType: Replicator._function,
    types.MethodType: Replicator._method,
    torch.utils.hooks.RemovableHandle: Replicator._handle,
    types.BuiltinFunctionType: Replicator._builtin,
    types.MethodWrapperType: Replicator._builtin,
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
# What there may be millions of.
COUNTED = (
    Replicator._dict,
    Replicator._list,
    Replicator._set,
    Replicator._tuple,
    Replicator._object,
    Replicator._by_parts,
)
