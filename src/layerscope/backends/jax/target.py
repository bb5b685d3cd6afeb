"""Gradients of a target with respect to what modules return.

JAX differentiates functions, so the aim is made one of zeros that are added to the outputs asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ...errors import BadOption, GradientsUnavailable, LayerscopeError
from ..common.outputs import changed
from ..protocol import Captured, Change, Target
from .capture import Key, Recorder
from .model import JaxModel
from .outputs import aim, as_captured
from .watch import Call, Watch


def gradients(
    model: JaxModel, batch: Any, captured: Mapping[Key, Captured], wanted: Iterable[Key], target: Target
) -> dict[Key, Any]:
    """The gradient of each key, an array on the host of the shape of its value."""
    zeros = {}
    for key in wanted:
        each = captured[key]
        if not jnp.issubdtype(jnp.dtype(each.dtype), jnp.floating):
            raise GradientsUnavailable(f"layer {key[0]!r} returns {each.dtype} values, which have no gradient")
        zeros[key] = jnp.zeros(each.values.shape, each.dtype)
    keys, paths = list(zeros), {path for path, _, _ in zeros}

    def aimed(*shifts: Any) -> Any:
        by_key = dict(zip(keys, shifts, strict=True))

        def ended(call: Call) -> dict[str, Any] | None:
            found = {place: (call.path, call.number, place) for place in call.values}
            return {place: call.values[place] + by_key[key] for place, key in found.items() if key in by_key} or None

        watch = Watch(ended, wants=lambda path: path in paths, differentiating=True)
        return aim(model.channels_first).at(model.run(batch, watch), target)

    try:
        found = jax.grad(aimed, tuple(range(len(keys))))(*zeros.values())
    except (LayerscopeError, MemoryError):
        raise
    except Exception as error:
        # The forward pass alone went well a moment ago, so whatever it is comes from differentiating or the target.
        raise GradientsUnavailable(f"the model can't be differentiated: {type(error).__name__}: {error}") from error
    return {key: as_captured(each).values for key, each in zip(keys, found, strict=True)}


def scores(
    model: JaxModel, batch: Any, target: Target, changes: Mapping[str, Change], aliases: dict[str, str], images: int
) -> list[float]:
    """What the target gives, with the output of a layer replaced by its change."""
    recorder = Recorder(list(changes), aliases)
    done: set[str] = set()
    hidden: set[str] = set()

    def ended(call: Call) -> dict[str, Any] | None:
        after = {}
        for path, place in recorder.wanted(call):
            if call.path in watch.traced:
                hidden.add(path)
                continue
            given = call.values[place]
            after[place] = jnp.asarray(changed(path, changes[path], as_captured(given).values), given.dtype)
            done.add(path)
        return after or None

    watch = Watch(ended, wants=recorder.wants)
    output = model.run(batch, watch)
    if hidden:
        raise BadOption(
            f"layer {min(hidden)!r} runs inside a function that JAX traces (jax.checkpoint, remat), so what it returns can't be"
            " changed: build the model without it, or change the module around it"
        )
    for path in changes:
        if path not in done:
            raise recorder.missing(path, model, watch)
    return aim(model.channels_first).of_images(output, target, images)
