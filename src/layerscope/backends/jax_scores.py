"""A target's number for each image, where modules return something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ..errors import BadOption
from . import Change, Target
from .jax_model import JaxModel
from .jax_outputs import aim, as_captured
from .jax_recorder import Recorder
from .jax_watch import Call, Watch
from .outputs import changed


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
