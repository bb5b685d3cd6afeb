"""The progress of captures and of methods that run the model many times, and how such work is cancelled.

Whoever starts the work puts an observer around it; whoever does the work calls `report` between two steps, where the model,
its random state and all caches are as they should be. An observer that raises `Cancelled` (or anything else) ends the work
there.

```python
with progress(lambda event: print(event.done, "of", event.total, event.what)):
    maps = scope.capture("photos/", "conv4")
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`done` of `total` steps of one kind of work are done; `what` says what is counted (`"images"`, `"masks"`).

    `total` is `None` where it isn't known, as for a generator of images. Work may report from inside other work: each `what`
    is a count of its own.
    """

    done: int
    total: int | None
    what: str


Observer = Callable[[Progress], object]
_OBSERVER: ContextVar[Observer | None] = ContextVar("layerscope_progress", default=None)


@contextmanager
def progress(observer: Observer) -> Iterator[None]:
    """Inside the block, `observer` is called with a `Progress` before the first step of any work and after each step.

    What it returns is ignored; raise `Cancelled` in it to end the work. Blocks nest: the innermost observer is called. The
    observer belongs to the thread or task that entered the block.

    >>> with progress(print):
    ...     report(1, 3, "masks")
    Progress(done=1, total=3, what='masks')
    """
    token = _OBSERVER.set(observer)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


def observed() -> bool:
    """Whether anybody listens, for a total that costs something to count."""
    return _OBSERVER.get() is not None


def report(done: int, total: int | None, what: str) -> None:
    """Tell the observer, if there is one, how far the work is. Raises what the observer raises, `Cancelled` above all."""
    observer = _OBSERVER.get()
    if observer is not None:
        observer(Progress(done, total, what))
