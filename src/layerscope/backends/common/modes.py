"""What frameworks keep switched for a thread (PyTorch gradients, JAX its compiler), put back after whatever runs a model.

Their own context managers lose it where a Ctrl-C comes as they are entered or left.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")
Restore = Callable[[], None]

# What Keras 3 keeps for as long as a layer is called; no public name has it.
SCOPES = ("current_call_ctx", "name_scope_stack", "autocast_scope", "stateless_scope", "symbolic_scope")


def keep_modes(run: Callable[[], Value]) -> Value:
    """What `run` returns; wherever it is interrupted, the modes of this thread are afterwards as they were before.

    >>> keep_modes(lambda: 3)
    3
    """
    restores = [snapshot(sys.modules[name]) for name, snapshot in SNAPSHOTS.items() if name in sys.modules]
    try:
        try:
            return run()
        finally:
            for restore in restores:
                restore()
    finally:
        for restore in restores:  # the interrupt may have come there
            restore()


def _torch(torch: Any) -> Restore:
    from .run import EAGERLY

    gradients, depth = torch.is_grad_enabled(), EAGERLY.depth

    def restore() -> None:
        torch._C._set_grad_enabled(gradients)
        EAGERLY.return_to(depth)

    return restore


def _jax(module: Any) -> Restore:
    """Of a module of JAX all settings that a thread may have of its own."""
    own = [(each, each.get_local()) for each in vars(module).values() if _is_setting(each)]

    def restore() -> None:
        for each, value in own:
            if each.get_local() is not value:
                each.set_local(value)

    return restore


def _is_setting(value: Any) -> bool:
    return hasattr(value, "get_local") and not isinstance(value, type)


def _keras(global_state: Any) -> Restore:
    state = vars(global_state.GLOBAL_STATE_TRACKER)
    scopes = {name: state.get(name) for name in SCOPES}
    stack = list(scopes["name_scope_stack"] or ())

    def restore() -> None:
        state.update(scopes)
        if scopes["name_scope_stack"] is not None:
            scopes["name_scope_stack"][:] = stack

    return restore


def _tensorflow(context: Any) -> Restore:
    own = context.context()._thread_local_data
    modes = {name: getattr(own, name) for name in ("scope_name", "device_name", "device_spec")}

    def restore() -> None:
        for name, value in modes.items():
            setattr(own, name, value)

    return restore


SNAPSHOTS: Mapping[str, Callable[[Any], Restore]] = {
    "torch": _torch,
    "jax._src.config": _jax,
    "jax._src.core": _jax,
    "keras.src.backend.common.global_state": _keras,
    "tensorflow.python.eager.context": _tensorflow,
}
