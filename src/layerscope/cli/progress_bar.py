"""The bars on stderr, while there is someone to see them: one for the pictures, one for a method that runs the model again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..safe_text import printable

if TYPE_CHECKING:
    from ..scope.progress import Progress


@contextmanager
def progress_bar(count: int) -> Iterator[Callable[[str], None]]:
    """Inside the block, what is given the name of each picture; `count` pictures, no bar for a single one."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from ..scope.progress import progress

    bars = _Bars()
    try:
        if count > 1:
            bars.show("pictures of", 0, count)
        with progress(bars.observe):
            yield lambda name: bars.picture(name, count)
    finally:
        bars.close()


class _Bars:
    """Bars of rich, which is imported when the first is shown: many runs show none."""

    def __init__(self) -> None:
        self._screen: Any = None
        self._tasks: dict[str, Any] = {}
        self._pictures = 0

    def picture(self, name: str, count: int) -> None:
        self._pictures += 1
        if count > 1:
            self.show("pictures of", self._pictures, count, f"pictures of {printable(name)}")

    def observe(self, event: Progress) -> None:
        """The images of a capture are the pictures; whatever else runs has its own count."""
        if event.what == "images":
            return
        if event.total is not None and event.done >= event.total:
            self.hide(event.what)
        else:
            self.show(event.what, event.done, event.total)

    def show(self, what: str, done: int, total: int | None, text: str = "") -> None:
        if self._screen is None:
            self._screen = _screen()
        if what not in self._tasks:
            self._tasks[what] = self._screen.add_task(text or what, total=total)
        self._screen.update(self._tasks[what], completed=done, total=total, description=text or what)
        self._screen.start()

    def hide(self, what: str) -> None:
        if what in self._tasks:
            self._screen.remove_task(self._tasks.pop(what))
        if not self._tasks:
            self.close()

    def close(self) -> None:
        """Nothing is left of the bars: a picture may be drawn there next."""
        if self._screen is not None:
            self._screen.stop()


def _screen() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Screen

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Screen(*columns, console=Console(stderr=True), transient=True)
