"""A target's number for each image, where modules return something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ..errors import LayerNotCalled
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

    def ended(call: Call) -> dict[str, Any] | None:
        after = {}
        for path, place in recorder.wanted(call):
            given = call.values[place]
            after[place] = jnp.asarray(changed(path, changes[path], as_captured(given).values), given.dtype)
            done.add(path)
        return after or None

    output = model.run(batch, Watch(ended, wants=recorder.wants))
    missing = sorted(set(changes) - done)
    if missing:
        raise LayerNotCalled(f"layer {missing[0]!r} returned nothing that could be changed in this run")
    return aim(model.channels_first).of_images(output, target, images)
