"""What a session keeps: the values asked for last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any


class Cache:
    """Values by key, up to `limit` bytes; those asked for longest ago leave first. Threads may use it together.

    >>> cache = Cache(10)
    >>> for name in "abc":
    ...     cache.put(name, name.upper(), 5)
    >>> cache.get("a"), cache.get("c"), cache.held
    (None, 'C', 10)
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> Any:
        """The value, or `None`."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value of so many bytes; one that is larger than all there may be is not kept."""
        with self._lock:
            self.held -= self._values.pop(key, (None, 0))[1]
            if size > self.limit:
                return
            self._values[key] = value, size
            self.held += size
            while self.held > self.limit:
                self.held -= self._values.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self.held = 0
