"""How a replica gets functions, methods and references that lead to it, where those of the model lead back to the model."""

from __future__ import annotations

import functools
import types
import weakref
from typing import Any

import torch

from .tree import modules_of
from .values import MOST_MEMBERS, names_of


class CallableCopier:
    """The rules for what can be called and what refers to something; those for values are `Replicator`'s."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.memo: dict[int, Any] = {}
        # Originals that live no longer than their copying else: the memo knows them by identity.
        self.kept: list[Any] = []

    @functools.cached_property
    def inside(self) -> set[int]:
        """The modules of the tree, by identity."""
        return set(map(id, modules_of(self.model)))

    def copy(self, value: Any) -> Any:
        """The replica's own `value`; `value` itself where that can be shared."""
        raise NotImplementedError

    def _method(self, method: types.MethodType) -> Any:
        owner = self.copy(method.__self__)
        return method if owner is method.__self__ else types.MethodType(self.copy(method.__func__), owner)

    def _function(self, function: types.FunctionType) -> Any:
        """The function itself unless it leads back to the model; without `torch.compile` around it."""
        inner = getattr(function, "_torchdynamo_orig_callable", None)
        if inner is not None:
            return self.copy(inner)
        cells, outside = function.__closure__ or (), function.__globals__
        names = [name for name in names_of(function.__code__) if self._is_inside(outside.get(name))]
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

    def _is_inside(self, value: Any) -> bool:
        """Whether a value is a module of the tree, or a plain container with one."""
        if id(value) in self.inside:
            return True
        if type(value) not in (dict, list, tuple) or len(value) > MOST_MEMBERS:
            return False
        return any(id(member) in self.inside for member in list(value.values() if type(value) is dict else value))

    def _leads_back(self, function: types.FunctionType, seen: tuple[Any, ...] = ()) -> bool:
        """Whether a function of a class uses the model by another way than its arguments."""
        outside = function.__globals__
        if any(self._is_inside(outside.get(name)) for name in names_of(function.__code__)):
            return True
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            if isinstance(content, types.FunctionType) and content not in seen:
                if self._leads_back(content, (*seen, function)):
                    return True
            elif self._is_inside(content):
                return True
        return False

    def _builtin(self, function: Any) -> Any:
        """A method of a list, tensor or such as a value of its own."""
        owner = getattr(function, "__self__", None)
        if owner is None or isinstance(owner, type | types.ModuleType):
            return function
        duplicate = self.copy(owner)
        return function if duplicate is owner else getattr(duplicate, function.__name__)

    def _handle(self, handle: Any) -> Any:
        """What removes a hook: of the replica."""
        duplicate: Any = object.__new__(type(handle))
        vars(duplicate).update(vars(handle))
        hooks, extra = handle.hooks_dict_ref(), tuple(reference() for reference in handle.extra_dict_ref)
        if hooks is None or None in extra:
            return handle
        copies = [self.copy(table) for table in (hooks, *extra)]
        self.kept += copies
        duplicate.hooks_dict_ref = weakref.ref(copies[0])
        duplicate.extra_dict_ref = tuple(map(weakref.ref, copies[1:]))
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
