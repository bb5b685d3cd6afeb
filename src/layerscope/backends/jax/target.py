"""Gradients of a target with respect to what modules return, and scores with changed modules.

JAX differentiates functions, so the target is made a function of zeros that are added to the outputs asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ...errors import BadOption, GradientsUnavailable, LayerscopeError, one_line
from ..common.outputs import apply_change
from ..common.run import first_input
from ..protocol import Captured, Change, Target
from .model import JaxModel
from .outputs import aim, as_captured
from .wanted import Key, Wanted
from .watch import Call, Watch


def gradients(model: JaxModel, batch: Any, captured: Mapping[Key, Captured], target: Target) -> dict[Key, Any]:
    """The gradient of each key, an array on the host of the shape of its value."""
    zeros = {}
    for key, layer in captured.items():
        if not jnp.issubdtype(jnp.dtype(layer.dtype), jnp.floating):
            raise GradientsUnavailable(f"layer {key[0]!r} returns {layer.dtype} values, which have no gradient")
        zeros[key] = jnp.zeros(layer.values.shape, layer.dtype)
    paths = {path for path, _, _ in zeros}

    def shifted(*shifts: Any) -> Any:
        by_key = dict(zip(zeros, shifts, strict=True))

        def shift(call: Call) -> dict[str, Any] | None:
            keys = {subpath: (call.path, call.number, subpath) for subpath in call.values}
            return {
                subpath: call.values[subpath] + by_key[key] for subpath, key in keys.items() if key in by_key
            } or None

        watch = Watch(shift, wants=lambda path: path in paths, differentiating=True)
        return aim(model.channels_first).number(model.run(batch, watch), target)

    try:
        by_key = jax.grad(shifted, tuple(range(len(zeros))))(*zeros.values())
    except (LayerscopeError, MemoryError):
        raise
    except Exception as error:
        # The forward pass alone went well a moment ago, so whatever it is comes from differentiating or the target.
        raise GradientsUnavailable(
            f"the model can't be differentiated: {type(error).__name__}: {one_line(error)}"
        ) from error
    return {key: as_captured(gradient).values for key, gradient in zip(zeros, by_key, strict=True)}


def scores(model: JaxModel, batch: Any, target: Target, changes: Mapping[str, Change]) -> list[float]:
    """The target's number for each image, with other values in place of what some layers return."""
    model = model.at_one_moment()
    wanted = Wanted(model, changes)
    done: set[str] = set()
    hidden: set[str] = set()

    def change(call: Call) -> dict[str, Any] | None:
        after = {}
        for path, subpath in wanted.of_call(call):
            if call.path in watch.traced:
                hidden.add(path)
                continue
            before = call.values[subpath]
            after[subpath] = jnp.asarray(apply_change(path, changes[path], as_captured(before).values), before.dtype)
            done.add(path)
        return after or None

    watch = Watch(change, wants=wanted.wants)
    output = model.run(batch, watch)
    if hidden:
        raise BadOption(
            f"layer {min(hidden)!r} runs inside a function that JAX traces (jax.checkpoint, remat), so what it returns can't be"
            " changed: build the model without it, or change the module around it"
        )
    for path in changes:
        if path not in done:
            raise wanted.missing(path, watch)
    return aim(model.channels_first).numbers(output, target, len(first_input(batch)))
