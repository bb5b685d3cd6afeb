"""The modules and weights of a PyTorch model, listed at once: another thread may add some while one goes through them."""

from __future__ import annotations

import torch


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
