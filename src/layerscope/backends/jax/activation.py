"""What the numbers of a JAX model's output are: the activation of its head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from ..common.activation import ACTIVATIONS, follow, plain
from ..common.run import part_for_dry_run
from .model import JaxModel
from .outputs import call_arguments, main_part, parts_of
from .watch import Watch


def activation(model: JaxModel, batch: Any) -> str:
    """As `Backend.activation`, from the operations that JAX traces for the first image; nothing is computed."""

    def run(image: Any) -> Any:
        parts = parts_of(model.run(image, Watch(lambda call: None, wants=lambda path: False)))
        return parts[main_part(parts)]

    args, named = call_arguments(part_for_dry_run(batch)[0], None)
    try:
        traced = jax.make_jaxpr(run)(named or (args if isinstance(batch, tuple | list) else args[0]))
    except Exception:
        return ""  # a model whose Python looks at its values runs, and can't be traced
    return _follow(traced.jaxpr, dict.fromkeys(traced.jaxpr.invars, ""))[0]


def _follow(program: Any, known: Mapping[Any, str]) -> list[str]:
    """What the outputs of a traced function are, where `known` are those of its inputs that depend on the image."""
    numbers = dict(known)

    def of(variable: Any) -> str | None:
        return None if hasattr(variable, "val") else numbers.get(variable)

    for step in program.eqns:
        inputs = [of(variable) for variable in step.invars]
        if all(value is None for value in inputs):
            continue  # of weights and numbers alone
        inner = _inside(step)
        name = str(step.params.get("name", ""))
        if (plain(name) in ACTIVATIONS or inner is None) and _over_images(step):
            outputs = [""] * len(step.outvars)
        elif plain(name) in ACTIVATIONS:
            outputs = [ACTIVATIONS[plain(name)]] * len(step.outvars)
        elif inner is not None and len(inner.invars) == len(inputs):
            pairs = zip(inner.invars, inputs, strict=True)
            outputs = _follow(inner, {variable: value for variable, value in pairs if value is not None})
        else:
            followed = follow(step.primitive.name, [value for value in inputs if value is not None])
            outputs = [followed] * len(step.outvars)
        numbers.update(zip(step.outvars, outputs, strict=True))
    return [of(variable) or "" for variable in program.outvars]


def _over_images(step: Any) -> bool:
    """Whether a step, or the softmax that it calls, adds up along the first of several axes."""
    over = step.primitive.name == "reduce_sum" and len(step.invars[0].aval.shape) > 1
    return (over and tuple(step.params["axes"]) == (0,)) or any(map(_over_images, getattr(_inside(step), "eqns", ())))


def _inside(step: Any) -> Any:
    """The function that a step calls, `None` for a single operation."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = step.params.get(name)
        if inner is not None:
            return getattr(inner, "jaxpr", inner)
    return None
