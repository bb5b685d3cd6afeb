"""The modules and weights of a PyTorch model, listed at once: another thread may add some while one goes through them."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import UninitializedParameter, is_lazy

from ...errors import ModelNotReadable
from .values import AROUND, names_of, slots_of

# What a module's own code may look at before it calls others.
PLAIN = frozenset({bool, int, float, str, type(None)})
FUNCTIONS = frozenset({types.FunctionType, types.MethodType})
CONTAINERS = frozenset({tuple, list, dict, set, frozenset})
GROUPS = (tuple, list, dict, set, frozenset, deque)  # with classes derived from them
MOST_MEMBERS = 1_000  # of an attribute that are looked at
DEEPEST = 2  # levels of containers and objects below an attribute
OF_ALL = tuple(torch.nn.Module().__dict__)  # attributes that every module has, and in front of its own


def modules_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """A model and all modules inside it, each once: `model.modules()` without the names, which take most of its time."""
    found = {id(model): model}
    level = [model]
    while level:
        children = [child for module in level if module._modules for child in list(module._modules.values())]
        new = {id(child): child for child in children if child is not None and id(child) not in found}
        found |= new
        level = list(new.values())
    return list(found.values())


def named_modules_of(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """`model.named_modules()` at once: another thread may add modules meanwhile."""
    named: list[tuple[str, torch.nn.Module]] = []
    waiting, seen = [("", model)], set()
    while waiting:
        name, module = waiting.pop()
        if id(module) not in seen:
            seen.add(id(module))
            named.append((name, module))
            if module._modules:
                children = [(f"{name}.{key}" if name else key, child) for key, child in list(module._modules.items())]
                waiting += [(path, child) for path, child in reversed(children) if child is not None]
    return named


class ModulesByName(dict[str, torch.nn.Module | None]):
    """The modules of a model by all of their names, each looked up when it is asked for; `None` for other names."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__({"": model})
        self.model = model

    def __missing__(self, name: str) -> torch.nn.Module | None:
        parent, separator, key = name.rpartition(".")
        above = self[parent] if parent or not separator else None
        modules: Any = {} if above is None else above._modules
        self[name] = found = modules[key] if key in modules else None  # noqa: SIM401 # TorchScript's table has no `get`
        return found

    def all_names(self) -> list[str]:
        """The names that there are, those of modules with several included."""
        return [name for name, _ in self.model.named_modules(remove_duplicate=False)]


def weights_of(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters of a model, tied ones as often as they are held."""
    return [
        weight for module in modules_of(model) for weight in list(module._parameters.values()) if weight is not None
    ]


def check_weights(model: torch.nn.Module, weights: Sequence[torch.nn.Parameter]) -> None:
    """Raises `ModelNotReadable` where weights of lazy modules have no values yet."""
    if not {torch.nn.Parameter}.issuperset(map(type, weights)) and any(map(is_lazy, weights)):
        lazy = [name for name, tensor in model.named_parameters() if isinstance(tensor, UninitializedParameter)]
        raise ModelNotReadable(
            f"{', '.join(lazy[:3])}: weights of lazy modules have no size yet; run the model once on your own batch"
        )


def own_attributes(attributes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The attributes that not every module has, where those come in their usual order in front; else all."""
    usual = tuple(islice(attributes, len(OF_ALL))) == OF_ALL
    return islice(attributes.items(), len(OF_ALL) if usual else 0, None)


def settings_of(model: torch.nn.Module) -> list[Any]:
    """The plain values that modules keep as attributes, also of their classes, in containers and in objects of settings, those
    of the files that their code stands in, and the tree of the modules.

    How often a layer is called may depend on them. Equal lists mean equal settings.
    """
    settings: list[Any] = []
    seen: set[Any] = set()
    for module in modules_of(model):
        settings.append(id(module))
        if module._modules:
            settings += map(id, list(module._modules.values()))
        for _, value in list(own_attributes(module.__dict__)):
            kind = type(value)
            if kind in PLAIN:
                settings.append(value)
            elif kind in FUNCTIONS:
                settings.append(id(value))
            elif kind is tuple and PLAIN.issuperset(map(type, value)):  # sizes, as those of nearly all layers
                settings += (len(value), *value)
            else:
                settings += _settings_in(value, seen)
        if type(module) not in seen:
            seen.add(type(module))
            settings += _settings_of_class(type(module), seen)
    return settings


def _settings_in(value: Any, seen: set[Any]) -> Iterator[Any]:
    """The plain values in a container or an object of settings, down to the third level; `seen` is what was looked at."""
    waiting = [(value, 0)]
    looked = 0
    while waiting and looked < MOST_MEMBERS:
        value, depth = waiting.pop()
        members = _members(value)
        looked += len(members)
        yield len(members)
        for member in members[:MOST_MEMBERS]:
            kind = type(member)
            if kind in PLAIN:
                yield member
            elif depth < DEEPEST and kind not in FUNCTIONS and (kind in CONTAINERS or id(member) not in seen):
                seen.add(id(member))
                waiting.append((member, depth + 1))


def _members(value: Any) -> list[Any]:
    """What is in a container or an object; nothing where that is none of the model's settings."""
    if isinstance(value, GROUPS):
        return [*dict.keys(value), *dict.values(value)] if isinstance(value, dict) else list(value)
    if isinstance(value, np.generic):
        return [value.item()]
    if type(value) is range:
        return [value.start, value.stop, value.step]
    own = type(value).__module__.partition(".")[0] not in AROUND
    if not own or isinstance(value, torch.Tensor | torch.nn.Module | types.ModuleType):
        return []
    kind: Any = type(value)
    members = list(getattr(value, "__dict__", {}).values())
    return members + [getattr(value, name, None) for name in slots_of(kind)]


def _settings_of_class(kind: type, seen: set[Any]) -> Iterator[Any]:
    """The plain values that classes of the model's own keep, and those of their files that their code reads."""
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] in ("torch", "builtins"):
            return
        for name, value in list(vars(base).items()):
            if name == "__slotnames__":  # put there by the first copy of a module
                continue
            function = value.fget if type(value) is property else getattr(value, "__func__", value)
            if type(value) in PLAIN:
                yield value
            elif type(function) is types.FunctionType:
                yield id(function)
                scope = function.__globals__
                for read in [scope[word] for word in names_of(function.__code__) if word in scope]:
                    if type(read) in PLAIN:
                        yield read
                    elif type(read) in CONTAINERS and id(read) not in seen:
                        seen.add(id(read))
                        yield from _settings_in(read, seen)
            elif type(value) in CONTAINERS:
                yield from _settings_in(value, seen)
