"""Whether a model asks what is in an array (in Python, in `lax.while_loop`, in `lax.cond`): what runs then may depend on it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp

_lock = threading.RLock()  # a run that was interrupted may be left wherever garbage is collected
_originals: dict[str, Any] = {}
_listeners: dict[int, Callable[[], None]] = {}  # by thread


@contextlib.contextmanager
def telling_reads(listener: Callable[[], None]) -> Iterator[None]:
    """Inside, `listener` is called where this thread takes the numbers of an array to Python."""
    kind, own = type(jnp.zeros(())), threading.get_ident()
    before = _listeners.get(own)
    try:
        try:
            with _lock:
                if not _listeners:
                    _originals.update(_value=vars(kind)["_value"], item=vars(kind)["item"])
                    kind._value = property(lambda array: _told(_originals["_value"].fget, array))
                    kind.item = lambda array, *args: _told(_originals["item"], array, *args)
                _listeners[own] = listener
            yield
        finally:
            _leave(kind, own, before)
    finally:
        _leave(kind, own, before)  # a Ctrl-C may have come there


def _leave(kind: Any, own: int, before: Callable[[], None] | None) -> None:
    """Put back who listened before in this thread, and the methods where nobody listens any more."""
    with _lock:
        if before is None:
            _listeners.pop(own, None)
        else:
            _listeners[own] = before
        if not _listeners:
            for name, original in _originals.items():
                setattr(kind, name, original)


def _told(original: Callable[..., Any], array: Any, *args: Any) -> Any:
    listener = _listeners.get(threading.get_ident())
    if listener is not None:
        listener()
    return original(array, *args)
