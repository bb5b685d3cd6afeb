"""A target's number for each image, where layers return something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import Change, Target
from .keras_engine import Engine, host
from .keras_gradients import Key, Nodes, aim
from .keras_watch import run
from .outputs import changed


def scores(
    model: Any, forward: Callable[[], Any], on: Engine, target: Target, changes: Mapping[str, Change], images: int
) -> tuple[list[float], list[str]]:
    """(the target's number for each image, with other values in the place of what some layers return; the layers that returned
    nothing)."""
    done: set[str] = set()

    def enter(key: Key, tensor: Any) -> tuple[Any, Any]:
        for path in (key[0], f"{key[0]}:{key[1]}"):
            if path in changes:
                done.add(path)
                tensor = on.like(changed(path, changes[path], host(on, tensor)[0]), tensor)
        return tensor, tensor

    nodes = Nodes(list(changes), on, enter)
    given: list[list[float]] = []
    run(model, on, lambda: given.append(aim(on).of_images(forward(), target, images)), nodes.ended, nodes.wants)
    return given[0], sorted(set(changes) - done)
