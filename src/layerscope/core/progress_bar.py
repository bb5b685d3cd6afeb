"""The bar of work that takes long, in a terminal or a notebook, with the time that is left.

It appears once the work is known to take more than `PATIENCE`: after the first step, whose time tells that of all, or after
those seconds. It is drawn when a step is done, by no thread of its own, and leaves nothing behind. A notice alone, of work
without steps, is drawn by a timer. Where stderr isn't a
terminal there is none, nor for work in other threads than the main one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

PATIENCE, REFRESH = 2.0, 0.1  # seconds


class Line(Protocol):
    """One line on a screen."""

    def draw(self, done: int, total: int | None, text: str) -> None: ...
    def close(self) -> None: ...


class Bar:
    """The bar of one kind of work."""

    def __init__(self, total: int | None, what: str, *, most: bool = False, note: Callable[[], str] = str) -> None:
        self.total, self.what, self.most, self.note = total, what, most, note
        self._start, self._drawn, self._done = time.perf_counter(), 0.0, 0
        self._first = self._start, 0  # when the first step was done, and how many were then: it is often the slowest
        self._line: Line | None = None

    def step(self, done: int) -> None:
        """`done` of the steps are done; 0 may be told again, so that a long first step is seen."""
        if done and done == self._done:
            return
        self._done = done
        now = time.perf_counter()
        passed = now - self._start
        since, before = self._first if self._first[1] < done else (self._start, 0)
        left = (now - since) * (self.total - done) / (done - before) if self.total and done else None
        if done and not self._first[1]:
            self._first = now, done
        if self._line is None:
            expected = passed if self.most else passed + (left or 0)
            if left == 0 or expected < PATIENCE or not is_seen():
                return
            if self.what == "images" and any(bar.what == "pictures" for bar in _SHOWN):
                return  # they are captured while they are drawn
            self._show()
        elif now - self._drawn < REFRESH:
            return
        assert self._line is not None
        self._drawn = now
        text = describe(done, self.total, self.what, left, most=self.most)
        self._line.draw(done, self.total, ", ".join(filter(None, (text, self.note()))))

    def _show(self) -> None:
        if self.what == "pictures":
            for bar in [bar for bar in _SHOWN if bar.what == "images"]:
                bar.close()
        self._line = NotebookLine() if in_notebook() else TerminalLine()
        _SHOWN.append(self)

    def close(self) -> None:
        """Nothing is left of it: a picture may be drawn there next."""
        if self._line is not None:
            _SHOWN.remove(self)
            self._line.close()
            self._line = None


class Notice:
    """A line without a count, which a terminal shows once work has taken `PATIENCE`, while the main thread is busy with it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._line: TerminalLine | None = None
        self._closed = False
        self._timer = threading.Timer(PATIENCE, self._show)
        self._timer.daemon = True
        self._timer.start()

    def _show(self) -> None:
        with _DRAWN:
            if not self._closed:
                self._line = TerminalLine()
                self._line.draw(0, None, self.text)

    def close(self) -> None:
        with _DRAWN:
            self._timer.cancel()
            self._closed = True
            if self._line is not None:
                self._line.close()


_SHOWN: list[Bar] = []
_DRAWN = threading.RLock()  # the screen, which a notice shows itself on from a thread of its own


def is_seen() -> bool:
    """Whether there is someone to see a bar: a notebook, or a terminal at stderr, and the main thread works for them."""
    if threading.current_thread() is not threading.main_thread():
        return False
    return in_notebook() or is_terminal()


def is_terminal() -> bool:
    """Whether this is the main thread, and what it writes to stderr is seen in a terminal."""
    main = threading.current_thread() is threading.main_thread()
    return main and not in_notebook() and sys.stderr is not None and sys.stderr.isatty()


def in_notebook() -> bool:
    """Whether what runs is a cell of a notebook, whose IPython has a kernel."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def describe(done: int, total: int | None, what: str, left: float | None, *, most: bool = False) -> str:
    """How far work is, in words; `most`: there may be fewer steps.

    >>> describe(16, 1280, "masks", 48.2), describe(16, None, "images", None)
    ('16 of 1,280 masks, about 48 s left', '16 images')
    >>> describe(100, 400, "rounds", 6.2, most=True)
    '100 of at most 400 rounds, at most 6 s left'
    """
    if total is None:
        return f"{done:,} {what}"
    of, about = ("of at most", "at most") if most else ("of", "about")
    return f"{done:,} {of} {total:,} {what}" + (f", {about} {duration(left)} left" if left else "")


def duration(seconds: float) -> str:
    """Seconds to read at a glance.

    >>> duration(0.2), duration(95), duration(9000)
    ('1 s', '2 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class TerminalLine:
    """A line of rich at stderr, below what is printed meanwhile; those shown at a time share its screen."""

    _screen: Any = None

    def __init__(self) -> None:
        with _DRAWN:
            if TerminalLine._screen is None:
                TerminalLine._screen = _screen()
            self.task = self._screen.add_task("", total=None)

    def draw(self, done: int, total: int | None, text: str) -> None:
        self._screen.update(self.task, completed=done, total=total, description=text)
        self._screen.start()
        self._screen.refresh()

    def close(self) -> None:
        with _DRAWN:
            self._screen.remove_task(self.task)
            if not self._screen.tasks:
                self._screen.stop()
                TerminalLine._screen = None


def _screen() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )


class NotebookLine:
    """A line of HTML in the output of a cell, which the browser draws as it draws all bars."""

    def __init__(self) -> None:
        from IPython.display import display

        self.handle = display({"text/plain": "", "text/html": ""}, raw=True, display_id=True)

    def draw(self, done: int, total: int | None, text: str) -> None:
        share = "" if total is None else f' value="{done}" max="{total}"'
        html = f'<progress style="width:20em"{share}></progress> {text}'
        self.handle.update({"text/plain": text, "text/html": html}, raw=True)

    def close(self) -> None:
        self.handle.update({"text/plain": "", "text/html": ""}, raw=True)
