"""The progress of whatever takes long: a bar by default, or an observer, who can cancel the work as well.

Whoever does the work puts `work` around it and says between two steps how many are done, where the model, its random
state and all caches are as they should be. An observer that raises `Cancelled` (or anything else) ends the work there.

```python
with progress(lambda event: print(event.done, "of", event.total, event.what)):
    maps = scope.capture("photos/", "conv4")
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Thread
from typing import TypeVar

from .progress_bar import REFRESH, Bar, Notice, is_seen, is_terminal


@dataclass(frozen=True)
class Progress:
    """`done` of `total` steps of one kind of work are done; `what` says what is counted (`"images"`, `"masks"`).

    `total` is `None` where it isn't known, as for a generator of images. Work may report from inside other work: each `what`
    is a count of its own.

    >>> Progress(3, 16, "masks")
    Progress(done=3, total=16, what='masks')
    """

    done: int
    total: int | None
    what: str


Result = TypeVar("Result")
Observer = Callable[[Progress], object]
_OBSERVER: ContextVar[Observer | None] = ContextVar("layerscope_progress", default=None)


@contextmanager
def progress(observer: Observer | None) -> Iterator[None]:
    """Inside the block, `observer` is called with a `Progress` before the first step of any work and after each step.

    It takes the place of the bar that work of more than two seconds has in terminals and notebooks; `None` shows nothing at
    all. What it returns is ignored; raise `Cancelled` in it to end the work. Blocks nest: the innermost observer is called.
    The observer belongs to the thread or task that entered the block.

    >>> import layerscope as ls
    >>> with ls.progress(print):
    ...     maps = ls.open("demo").capture(ls.demo_photo(), "_conv_stem")
    Progress(done=0, total=1, what='images')
    Progress(done=1, total=1, what='images')

    Args:
        observer: A function of a `Progress` with the attributes `done`, `total` (`None` where it isn't known) and `what`
            (`"images"`, `"masks"`, `"inputs"`, `"rounds"` …); or `None`.
    """
    token = _OBSERVER.set(observer or _nobody)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


def _nobody(event: Progress) -> None:
    """The observer that shows nothing."""


def observed() -> bool:
    """Whether anybody may see how far work is, for a total that costs something to count."""
    observer = _OBSERVER.get()
    return is_seen() if observer is None else observer is not _nobody


@contextmanager
def work(
    total: int | None, what: str, *, most: bool = False, note: Callable[[], str] = str
) -> Iterator[Callable[[int], None]]:
    """Around work of `total` steps (`None`: that isn't known); what it gives is told how many more are done.

    `note` says what a bar shows besides. `most`: there may be fewer steps; those that weren't needed count as done at the end.
    Being told raises what the observer raises, `Cancelled` above all.

    >>> with progress(print), work(3, "masks") as step:
    ...     step(2)
    Progress(done=0, total=3, what='masks')
    Progress(done=2, total=3, what='masks')
    """
    bar, done = Bar(total, what, most=most, note=note), 0

    def step(more: int) -> None:
        nonlocal done
        done = min(done + more, total) if total is not None and most else done + more
        observer = _OBSERVER.get()
        if observer is None:
            bar.step(done)
        else:
            observer(Progress(done, total, what))

    try:
        step(0)
        yield step
        if most and total is not None and done < total:
            step(total - done)
    finally:
        bar.close()


@contextmanager
def phase(what: str) -> Iterator[None]:
    """Around something that can't be divided and must be done in this thread: a terminal names it after two seconds.

    Nothing is counted, so an observer isn't told of it.

    >>> with phase("opening the model"):
    ...     6 * 7
    42
    """
    if _OBSERVER.get() is not None or not is_terminal():
        yield
        return
    note = Notice(what)
    try:
        yield
    finally:
        note.close()


def watched(call: Callable[[], Result], what: str) -> Result:
    """What a `call` gives that can't be divided: one step of work, in a thread of its own, told of while it lasts.

    So it has a bar, and Ctrl-C or an observer ends the work at once: the call then goes on for nobody, so it must neither
    write nor change anything.

    >>> watched(lambda: 6 * 7, "products")
    42
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    with work(1, what) as step:
        # A daemon, for which a program that was interrupted doesn't wait at its end.
        Thread(target=run, daemon=True).start()
        while not wait([future], REFRESH).done:
            step(0)
        result = future.result()
        step(1)
    return result
