"""The Hugging Face hub kept off the network while layerscope opens a model, in this thread alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_inside = ContextVar("layerscope_offline", default=False)


class Offline:
    """In place of the hub's constant: true inside `offline`, else what the constant was.

    >>> bool(Offline(False)), bool(Offline(True))
    (False, True)
    """

    def __init__(self, before: object) -> None:
        self.before = before

    def __bool__(self) -> bool:
        return _inside.get() or bool(self.before)


@contextmanager
def offline() -> Iterator[None]:
    """Around what might ask the hub; other threads, which may be downloading, aren't concerned.

    The hub reads its environment once, at import, and its constant at each request.
    """
    try:
        from huggingface_hub import constants
    except ImportError:
        yield
        return
    if not isinstance(constants.HF_HUB_OFFLINE, Offline):
        constants.HF_HUB_OFFLINE = Offline(constants.HF_HUB_OFFLINE)
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)
