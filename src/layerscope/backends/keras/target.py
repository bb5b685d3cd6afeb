"""Gradients of a target with respect to what Keras layers return, on TensorFlow, torch and JAX.

Each framework records in its own way, but the run is the same watched one: when a wanted layer returns, its tensor becomes a
node of the record, and the model runs on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...core.layer import split_call
from ...errors import GradientsUnavailable, LayerscopeError

# MOVED
from ..common.outputs import Aim, changed
from ..protocol import Captured, Change, Pick, Target
from .engine import Engine, host
from .outputs import parts
from .watch import Call, run

Key = tuple[str, int]


class Nodes:
    """The tensors of the wanted calls, in execution order; `enter` makes a node of a tensor and says what runs on."""

    def __init__(self, wanted: Sequence[str], on: Engine, enter: Callable[[Key, Any], tuple[Any, Any]]) -> None:
        self._wanted, self._on, self._enter = frozenset(wanted), on, enter
        self.found: dict[Key, Any] = {}

    def wants(self, path: str) -> bool:
        """Whether any call of this path is wanted."""
        return any(each == path or split_call(each)[0] == path for each in self._wanted)

    def ended(self, call: Call) -> Any:
        """The output that the model goes on with, `None` where nothing of it is wanted."""
        entered = {}
        for part in parts(call.output, self._on.concrete):
            name = call.place.path + part.suffix
            if part.numeric and {name, f"{name}:{call.number}"} & self._wanted:
                node, after = self._enter((name, call.number), part.tensor)
                self.found[name, call.number] = node
                if after is not part.tensor:
                    self._on.mask_as(after, part.tensor)
                entered[id(part.tensor)] = after
        if not entered:
            return None
        flat = [entered.get(id(each), each) for each in self._on.flatten(call.output)]
        return self._on.packed(call.output, flat)


def with_gradients(
    model: Any,
    forward: Callable[[], Any],
    on: Engine,
    captured: Mapping[str, Captured],
    target: Target,
    pick: Callable[[str], Pick | None],
) -> dict[str, Captured]:
    """The captured values with the target's gradient for each. `forward` runs the model; `pick` says which channels
    were captured.
    """
    on.gradients = True
    differentiate = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}.get(on.module)
    if differentiate is None:
        raise GradientsUnavailable(
            f"Keras on {on.module} has no gradients: set KERAS_BACKEND to tensorflow, torch or jax"
        )
    for path, each in captured.items():
        if each.values.dtype.kind != "f":
            raise GradientsUnavailable(f"layer {path!r} returns {each.values.dtype} values, which have no gradient")

    def aimed() -> Any:
        return aim(on).at(forward(), target)

    try:
        found = differentiate(model, aimed, on, captured)
    except (LayerscopeError, MemoryError):
        raise
    except Exception as error:
        # The forward pass alone went well a moment ago, so whatever it is comes from differentiating.
        raise GradientsUnavailable(f"the model can't be differentiated: {type(error).__name__}: {error}") from error
    return {
        path: replace(each, gradient=_gradient(path, each, found, on, pick(path))) for path, each in captured.items()
    }


def aim(on: Engine) -> Aim:
    """What a target means: the classes are the channels."""

    def main(output: Any) -> Any:
        return next((each.tensor for each in parts(output, on.concrete) if not each.suffix), None)

    def classes(tensor: Any) -> int:
        return 1 if on.data_format == "channels_first" and len(tensor.shape) > 2 else -1

    return Aim(on.concrete, main, classes, on.slice_of, on.total)


def _tensorflow(model: Any, aimed: Callable[[], Any], on: Engine, captured: Mapping[str, Captured]) -> dict[Key, Any]:
    with on.lib.GradientTape(watch_accessed_variables=False) as tape:

        def enter(_: Key, tensor: Any) -> tuple[Any, Any]:
            tape.watch(tensor)
            return tensor, tensor

        nodes, aim = _watched(model, aimed, on, captured, enter)
    found = tape.gradient(aim, list(nodes.values()), unconnected_gradients="zero")
    return dict(zip(nodes, found, strict=True))


def _torch(model: Any, aimed: Callable[[], Any], on: Engine, captured: Mapping[str, Captured]) -> dict[Key, Any]:
    def enter(_: Key, tensor: Any) -> tuple[Any, Any]:
        # A frozen model records nothing before the layer, so the node starts the record itself.
        node = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
        return node, node.clone()

    nodes, aim = _watched(model, aimed, on, captured, enter)
    if not aim.requires_grad:
        return {}
    found = on.lib.autograd.grad(aim, list(nodes.values()), allow_unused=True)
    return {key: each for key, each in zip(nodes, found, strict=True) if each is not None}


def _jax(model: Any, aimed: Callable[[], Any], on: Engine, captured: Mapping[str, Captured]) -> dict[Key, Any]:
    """JAX differentiates functions, so the aim is made one of zeros that are added to what the layers return."""
    shapes: dict[Key, Any] = {}

    def measure(key: Key, tensor: Any) -> tuple[Any, Any]:
        shapes[key] = on.lib.numpy.zeros(tensor.shape, tensor.dtype)
        return tensor, tensor

    _watched(model, aimed, on, captured, measure)

    def shifted(zeros: dict[Key, Any]) -> Any:
        def enter(key: Key, tensor: Any) -> tuple[Any, Any]:
            return tensor, tensor + zeros[key]

        return _watched(model, aimed, on, captured, enter)[1]

    keys = list(shapes)
    found = on.lib.grad(lambda *zeros: shifted(dict(zip(keys, zeros, strict=True))), tuple(range(len(keys))))(
        *shapes.values()
    )
    return dict(zip(keys, found, strict=True))


def _watched(
    model: Any,
    aimed: Callable[[], Any],
    on: Engine,
    captured: Mapping[str, Captured],
    enter: Callable[[Key, Any], tuple[Any, Any]],
) -> tuple[dict[Key, Any], Any]:
    """One watched run: the nodes of the wanted calls, and the number that the target gives."""
    nodes = Nodes(list(captured), on, enter)
    given: list[Any] = []
    run(model, on, lambda: given.append(aimed()), nodes.ended, nodes.wants)
    return nodes.found, given[0]


def _gradient(path: str, captured: Captured, found: Mapping[Key, Any], on: Engine, pick: Pick | None) -> np.ndarray:
    """The gradient of one path; zeros where the target doesn't depend on it."""
    base, call = split_call(path)
    for key in ((path, 0), (base, call or 0)):
        if key in found:
            return host(on, found[key], pick)[0]
    return np.zeros_like(captured.values)


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
