"""What is put around the modules of a replica: hooks, and calls that do what hooks do without their cost."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import torch

from ..common.fault import passing
from .tree import modules_of


@contextmanager
def hooked() -> Iterator[list[Any]]:
    """A list for the handles of hooks on a replica: removing them lets it go at once, as they lead back to it."""
    handles: list[Any] = []
    try:
        yield handles
    finally:
        for handle in reversed(handles):
            handle.remove()


class Handle(NamedTuple):
    """An entry in a table of a module of a replica, to be removed or replaced by what was there before."""

    table: dict[Any, Any]
    key: Any
    before: Any = None

    def remove(self) -> None:
        if self.before is None:
            self.table.pop(self.key, None)
        else:
            self.table[self.key] = self.before


INSTEAD = "_compiled_call_impl"  # the attribute that a module calls in place of its own code, after `module.compile()`
LOOKING = frozenset({"_forward_hooks", "_replicate_for_data_parallel"})
OFFERED = hasattr(torch.nn.Module, INSTEAD)  # since torch 2.1


def add_hook(module: torch.nn.Module, hook: Callable[..., Any], *, unseen: bool = False) -> Handle:
    """`register_forward_hook` at a third of its cost, also on modules of TorchScript, which refuse it but run from Python.

    `unseen`: around the module's call where that can be, as every hook makes a call go a much longer way.
    """
    if unseen and _is_plainly_called(module):
        call = getattr(module, INSTEAD) or module._call_impl

        @passing
        def called(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            changed = hook(module, args, output)
            return output if changed is None else changed

        return _instead(module, called)
    key = object()
    hooks: Any = module._forward_hooks
    hooks[key] = hook
    return Handle(hooks, key)


def add_watch(
    module: torch.nn.Module, enter: Callable[..., None], leave: Callable[..., None], *, unseen: bool = False
) -> list[Handle]:
    """Around a module: `enter` before all hooks, `leave` after all hooks, also where the module fails; as for `add_hook`."""
    if unseen and _is_plainly_called(module):
        call = getattr(module, INSTEAD) or module._call_impl

        @passing
        def called(*args: Any, **kwargs: Any) -> Any:
            enter(module, args)
            try:
                return call(*args, **kwargs)
            finally:
                leave()

        return [_instead(module, called)]
    pre: Any = module._forward_pre_hooks
    left = add_hook(module, leave)
    always: Any = module._forward_hooks_always_called
    always[left.key] = True
    pre[left.key] = enter
    pre.move_to_end(left.key, last=False)
    return [Handle(pre, left.key), left, Handle(always, left.key)]


def _instead(module: torch.nn.Module, called: Callable[..., Any]) -> Handle:
    attributes = module.__dict__
    handle = Handle(attributes, INSTEAD, attributes.get(INSTEAD))
    attributes[INSTEAD] = called
    return handle


def _is_plainly_called(module: torch.nn.Module) -> bool:
    """Whether a module is called in torch's own way, with what it is given."""
    plainly: bool = type(module).__call__ is torch.nn.Module.__call__
    return OFFERED and plainly and not module._forward_pre_hooks


def looks_at_hooks(model: torch.nn.Module) -> bool:
    """Whether code of a model asks for hooks: `TransformerEncoderLayer` calls its layers only where there are some.

    Or copies modules with what is around them: what is called in place of a copy's code would call the original.
    """
    return any(map(_looks_at_hooks, set(map(type, modules_of(model)))))


@lru_cache(maxsize=4096)
def _looks_at_hooks(kind: type) -> bool:
    if issubclass(kind, torch.nn.DataParallel):
        return True
    bases = kind.__mro__[: kind.__mro__.index(torch.nn.Module)]
    functions = [value for base in bases for value in vars(base).values() if isinstance(value, FunctionType)]
    return any(not LOOKING.isdisjoint(_words_of(inspect.unwrap(function).__code__)) for function in functions)


def _words_of(code: CodeType) -> set[Any]:
    """The names and constants in code, functions inside it included."""
    inner = [_words_of(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return {*code.co_names, *code.co_consts}.union(*inner)
