"""Requests at work: how far each is, how it is cancelled, and whose turn it is to run the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import Any
from weakref import WeakValueDictionary

from ..core.progress import Progress
from ..errors import BadOption, Cancelled

MOST_CANCELLATIONS = 256  # ids of cancelled jobs: the word to cancel one may come before the job itself
WAITING = "waiting for the model"


@dataclass
class Job:
    """One request at work; `observer` hears how far it is, and that it waits."""

    id: str
    cancelled: bool = False
    part: int = 0
    whole: int = 0
    text: str = ""
    observer: Callable[[Job], object] | None = None

    def see(self, event: Progress) -> None:
        """The observer of its progress: raises `Cancelled` where it was cancelled."""
        self.part, self.whole, self.text = event.done, event.total or 0, event.what
        self.tell()
        self.check()

    def tell(self) -> None:
        if self.observer is not None:
            self.observer(self)

    def progress(self) -> dict[str, Any]:
        """As a page has it."""
        return {"part": self.part, "whole": self.whole, "text": self.text}

    def check(self) -> None:
        if self.cancelled:
            raise Cancelled("cancelled")


class Turns:
    """Who runs a model: one job at a time, the others wait and may be cancelled while they do."""

    def __init__(self) -> None:
        self._free, self._busy = Condition(), False

    @contextmanager
    def take(self, job: Job) -> Iterator[None]:
        """Inside the block it is this job's turn. Raises `Cancelled` where the job is cancelled while it waits."""
        with self._free:
            if self._busy:
                job.text = WAITING
                job.tell()
            self._free.wait_for(lambda: not self._busy or job.cancelled)
            job.check()
            self._busy = True
        try:
            yield
        finally:
            with self._free:
                self._busy = False
                self._free.notify_all()

    def look(self) -> None:
        """Have those that wait look whether they were cancelled."""
        with self._free:
            self._free.notify_all()


_TURNS: WeakValueDictionary[int, Turns] = WeakValueDictionary()
_LOCK = Lock()


def turns_of(model: Any) -> Turns:
    """The turns of a model, the same for all sessions that hold it: two at a time would see each other's hooks."""
    with _LOCK:
        # A session holds the model as long as the turns, so the number stays that of this model.
        return _TURNS.setdefault(id(model), Turns())


@dataclass
class AtWork:
    """The requests at work by their id."""

    turns: Turns
    _jobs: dict[str, Job] = field(default_factory=dict)
    _cancellations: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_CANCELLATIONS))
    _lock: Any = field(default_factory=Lock)

    @contextmanager
    def job(self, id: str, observer: Callable[[Job], object] | None = None) -> Iterator[Job]:
        """A job under an id, `""` for one that nobody asks after, and what hears how far it is."""
        with self._lock:
            if id and id in self._jobs:
                raise BadOption(f"a request of the id {id!r} is at work already: give each its own")
            job = Job(id, id in self._cancellations, observer=observer)
            if id:
                self._jobs[id] = job
        try:
            job.check()
            yield job
        finally:
            with self._lock:
                self._jobs.pop(id, None)

    def cancel(self, id: str) -> bool:
        """Cancel a job, also one that is still to come; whether it is at work."""
        with self._lock:
            job = self._jobs.get(id)
            if job is not None:
                job.cancelled = True
            elif id:
                self._cancellations.append(id)
        self.turns.look()
        return job is not None

    def cancel_all(self) -> None:
        """Cancel every job at work."""
        with self._lock:
            for job in self._jobs.values():
                job.cancelled = True
        self.turns.look()

    def progress(self, id: str) -> dict[str, Any]:
        """How far a job is: `part` of `whole` (0 where that isn't known), and `text`, what is counted; zeros for none."""
        with self._lock:
            job = self._jobs.get(id) or Job(id)
        return job.progress()
