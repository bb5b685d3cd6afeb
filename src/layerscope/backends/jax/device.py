"""Where a JAX model computes, when its user says it: where its arrays lie."""

from __future__ import annotations

import sys
from typing import Any

import jax

from ...errors import BadOption
from ..common.device import Device


def device_named(device: str) -> jax.Device:
    """The device of that name; the CPU, with a `DeviceWarning`, where JAX finds none.

    >>> device_named("cpu").platform
    'cpu'
    """
    asked = Device.of(device)
    try:
        return jax.devices(asked.kind)[asked.number or 0]
    except (RuntimeError, IndexError):
        asked.warn_missing(
            f"jax {jax.__version__}", sorted({f"{there.platform}:{there.id}" for there in jax.devices()})
        )
        return jax.devices("cpu")[0]


def placed(model: Any, device: jax.Device) -> Any:
    """A copy of a model, or of a module with its variables, whose arrays are on the device; itself where all are."""

    def put(leaf: Any) -> Any:
        return jax.device_put(leaf, device) if isinstance(leaf, jax.Array) else leaf

    nnx = sys.modules.get("flax.nnx")
    if nnx is not None and isinstance(model, nnx.Module):
        graph, state = nnx.split(model)
        leaves = jax.tree.leaves(state)
        return model if not _elsewhere(leaves, device) else nnx.merge(graph, jax.tree.map(put, state))
    return jax.tree.map(put, model) if _elsewhere(jax.tree.leaves(model), device) else model


def check_placed(leaves: Any, device: jax.Device) -> None:
    """Raises `BadOption` where arrays of a model are still elsewhere: it hides them from JAX."""
    if _elsewhere(leaves, device):
        raise BadOption(
            f"the arrays of this model aren't on {device}: give (module, variables) or the module itself, or move them with"
            " jax.device_put"
        )


def _elsewhere(leaves: Any, device: jax.Device) -> bool:
    return any(isinstance(leaf, jax.Array) and leaf.devices() != {device} for leaf in leaves)
