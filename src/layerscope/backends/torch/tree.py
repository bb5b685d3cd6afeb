"""The modules and weights of a PyTorch model, listed at once: another thread may add some while one goes through them."""

from __future__ import annotations

import types
from itertools import islice
from typing import Any

import torch

# What a module's own code may look at before it calls others.
PLAIN = frozenset({bool, int, float, str, type(None)})
FUNCTIONS = frozenset({types.FunctionType, types.MethodType})
CONTAINERS = frozenset({tuple, list, dict})
MOST_MEMBERS = 1_000  # of a container that are looked at
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


def weights_of(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters of a model, tied ones as often as they are held."""
    return [
        weight for module in modules_of(model) for weight in list(module._parameters.values()) if weight is not None
    ]


def settings_of(model: torch.nn.Module) -> list[Any]:
    """The plain values that modules keep as attributes, also in tuples, lists, dicts and objects of settings, and their tree.

    How often a layer is called may depend on them. Equal lists mean equal settings.
    """
    settings: list[Any] = []
    objects: set[int] = set()
    count, first, last = len(OF_ALL), OF_ALL[0], OF_ALL[-1]
    for module in modules_of(model):
        settings.append(id(module))
        if module._modules:
            settings += map(id, list(module._modules.values()))
        attributes = module.__dict__
        usual = next(iter(attributes), "") == first and next(islice(attributes, count - 1, None), "") == last
        for value in list(islice(attributes.values(), count if usual else 0, None)):
            kind = type(value)
            if kind in PLAIN:
                settings.append(value)
            elif kind in FUNCTIONS:
                settings.append(id(value))
            elif kind in CONTAINERS:
                settings.append(_plain_in(value))
            elif id(value) not in objects and hasattr(value, "__dict__") and not isinstance(value, torch.Tensor):
                objects.add(id(value))
                settings.append(_plain_in(value.__dict__))
    return settings


def _plain_in(values: Any) -> list[Any]:
    """How many members a container has, and the plain values among the first of them."""
    members = list(values.values() if isinstance(values, dict) else values)
    return [len(members), *(value for value in members[:MOST_MEMBERS] if type(value) in PLAIN)]
