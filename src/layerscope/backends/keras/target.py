"""Gradients of a target with respect to what Keras layers return, on TensorFlow, torch and JAX; and scores with changed layers.

Each framework records in its own way, but the run is the same watched one: when a wanted layer returns, its tensor becomes a
node of the record, and the model runs on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.layer import split_call
from ...errors import GradientsUnavailable, LayerscopeError, one_line
from ..common.outputs import Aim, apply_change
from ..common.run import first_input
from ..protocol import Captured, Change, Pick, Target
from .engine import Engine, copy_to_host
from .model import KerasModel
from .moment import at_one_moment
from .table import complete
from .watch import Call, run

Key = tuple[str, int]


# gives for the tensor of a call the node of the record, and the tensor that the model runs on with
Enter = Callable[[Key, Any], tuple[Any, Any]]


def wants(paths: Collection[str], path: str) -> bool:
    """Whether `paths` name `path`, or a call of it."""
    return any(wanted == path or split_call(wanted)[0] == path for wanted in paths)


class Nodes:
    """The nodes of the wanted calls, in execution order."""

    def __init__(self, paths: Collection[str], engine: Engine, enter: Enter) -> None:
        self._paths, self._engine, self._enter = frozenset(paths), engine, enter
        self.nodes: dict[Key, Any] = {}

    def wants(self, path: str) -> bool:
        """Whether any call of this path is wanted."""
        return wants(self._paths, path)

    def record(self, call: Call) -> Any:
        """The output passed on, `None` where nothing of it is wanted."""
        replaced = {}
        for part in self._engine.parts_of(call.output):
            path = call.location.path + part.suffix
            if part.numeric and {path, f"{path}:{call.number}"} & self._paths:
                node, after = self._enter((path, call.number), part.tensor)
                self.nodes[path, call.number] = node
                if after is not part.tensor:
                    self._engine.copy_mask(after, part.tensor)
                replaced[id(part.tensor)] = after
        if not replaced:
            return None
        leaves = [replaced.get(id(leaf), leaf) for leaf in self._engine.flatten(call.output)]
        return self._engine.pack(call.output, leaves)


@dataclass(frozen=True)
class TargetRun:
    """A run of `model` that ends in the number of a target (`aim`), with the layers at `paths` as nodes."""

    model: KerasModel
    paths: Collection[str]
    aim: Callable[[], Any]

    def __call__(self, enter: Enter) -> tuple[dict[Key, Any], Any]:
        """(the nodes of the wanted calls, the target's number)."""
        nodes = Nodes(self.paths, self.model.engine, enter)
        numbers: list[Any] = []
        run(self.model, lambda: numbers.append(self.aim()), nodes.record, nodes.wants)
        return nodes.nodes, numbers[0]


def with_gradients(
    model: KerasModel,
    batch: Any,
    captured: Mapping[str, Captured],
    target: Target,
    *,
    pick: Callable[[str], Pick | None],
) -> dict[str, Captured]:
    """The captured values with the target's gradient for each; `pick` tells which channels of a path were captured."""
    engine = model.engine
    engine.gradients = True
    if engine.module not in DIFFERENTIATE:
        raise GradientsUnavailable(
            f"Keras on {engine.module} has no gradients: set KERAS_BACKEND to tensorflow, torch or jax"
        )
    for path, layer in captured.items():
        if layer.values.dtype.kind != "f":
            raise GradientsUnavailable(f"layer {path!r} returns {layer.values.dtype} values, which have no gradient")
    target_run = TargetRun(model, list(captured), lambda: aim(engine).number(model.forward(batch), target))
    try:
        gradients = DIFFERENTIATE[engine.module](target_run, engine)
    except (LayerscopeError, MemoryError):
        raise
    except Exception as error:
        # The forward pass alone went well a moment ago, so whatever it is comes from differentiating.
        raise GradientsUnavailable(
            f"the model can't be differentiated: {type(error).__name__}: {one_line(error)}"
        ) from error

    def gradient(path: str, values: np.ndarray) -> np.ndarray:
        """The gradient of one path; zeros where the target doesn't depend on it."""
        base, call = split_call(path)
        key = next((key for key in ((path, 0), (base, call or 0)) if key in gradients), None)
        return np.zeros_like(values) if key is None else copy_to_host(engine, gradients[key], pick(path))[0]

    return {path: replace(layer, gradient=gradient(path, layer.values)) for path, layer in captured.items()}


def aim(engine: Engine) -> Aim:
    """How a target is read from an output: the classes are the channels."""

    def main(output: Any) -> Any:
        return next((part.tensor for part in engine.parts_of(output) if not part.suffix), None)

    def class_axis(tensor: Any) -> int:
        return 1 if engine.data_format == "channels_first" and len(tensor.shape) > 2 else -1

    return Aim(engine.has_values, main, class_axis, engine.take_one, engine.sum)


def _differentiate_tensorflow(target_run: TargetRun, engine: Engine) -> dict[Key, Any]:
    """The gradients on TensorFlow: the nodes are watched by a tape."""
    tape = engine.lib.GradientTape(watch_accessed_variables=False)

    def enter(_: Key, tensor: Any) -> tuple[Any, Any]:
        tape.watch(tensor)
        return tensor, tensor

    try:
        with tape:
            nodes, number = target_run(enter)
    finally:
        # A Ctrl-C came where the tape ends; else it records whatever comes later.
        if getattr(tape, "_recording", False):
            tape._pop_tape()
    gradients = tape.gradient(number, list(nodes.values()), unconnected_gradients="zero")
    return dict(zip(nodes, gradients, strict=True))


def _differentiate_torch(target_run: TargetRun, engine: Engine) -> dict[Key, Any]:
    """The gradients on torch: the nodes require one."""

    def enter(_: Key, tensor: Any) -> tuple[Any, Any]:
        # A frozen model records nothing before the layer, so the node starts the record itself.
        node = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
        return node, node.clone()

    nodes, number = target_run(enter)
    if not number.requires_grad:
        return {}
    gradients = engine.lib.autograd.grad(number, list(nodes.values()), allow_unused=True)
    return {key: gradient for key, gradient in zip(nodes, gradients, strict=True) if gradient is not None}


def _differentiate_jax(target_run: TargetRun, engine: Engine) -> dict[Key, Any]:
    """JAX differentiates functions, so the target is made a function of zeros that are added to what the layers return."""
    zeros: dict[Key, Any] = {}

    def measure(key: Key, tensor: Any) -> tuple[Any, Any]:
        zeros[key] = engine.lib.numpy.zeros(tensor.shape, tensor.dtype)
        return tensor, tensor

    target_run(measure)

    def shifted(*shifts: Any) -> Any:
        by_key = dict(zip(zeros, shifts, strict=True))
        return target_run(lambda key, tensor: (tensor, tensor + by_key[key]))[1]

    gradients = engine.lib.grad(shifted, tuple(range(len(zeros))))(*zeros.values())
    return dict(zip(zeros, gradients, strict=True))


DIFFERENTIATE: dict[str, Callable[[TargetRun, Engine], dict[Key, Any]]] = {
    "tensorflow": _differentiate_tensorflow,
    "torch": _differentiate_torch,
    "jax": _differentiate_jax,
}


def scores(model: KerasModel, batch: Any, target: Target, changes: Mapping[str, Change]) -> list[float]:
    """The target's number for each image, with other values in place of what some layers return."""
    engine, images = model.engine, len(first_input(batch))

    def attempt() -> tuple[list[float], list[str]]:
        done: set[str] = set()

        def enter(key: Key, tensor: Any) -> tuple[Any, Any]:
            for path in (key[0], f"{key[0]}:{key[1]}"):
                if path in changes:
                    done.add(path)
                    values = apply_change(path, changes[path], copy_to_host(engine, tensor)[0])
                    tensor = engine.tensor_like(values, tensor)
            return tensor, tensor

        target_run = TargetRun(model, changes, lambda: aim(engine).numbers(model.forward(batch), target, images))
        return target_run(enter)[1], sorted(set(changes) - done)

    return at_one_moment(model, lambda: complete(model, batch, attempt))
