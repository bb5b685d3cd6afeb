"""The jobs of a session: what needs the model waits in one queue, the rest is answered beside it, and each can be cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import BadOption, Cancelled
from .security import Refusal

if TYPE_CHECKING:
    from .session import Reply, Session

MOST_WAITING = 128
BESIDE = frozenset({"manifest", "photo", "classes"})
AT_ONCE = frozenset({"progress", "cancel"})
_LANES: weakref.WeakSet[Lane] = weakref.WeakSet()


class Lane:
    """Threads that take what is put in, in its order. They end with the process, whatever a model still does in them."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self._queue: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self.threads = [
            # In a copy of the caller's context, so that messages name options as the caller does.
            threading.Thread(
                target=contextvars.copy_context().run, args=(self._work,), name=f"layerscope-{name}", daemon=True
            )
            for _ in range(threads)
        ]
        _LANES.add(self)
        for thread in self.threads:
            thread.start()

    def put(self, function: Callable[[], Any]) -> Future[Any]:
        """The future of `function`. Raises `Refusal` where too many wait."""
        if self._queue.qsize() >= MOST_WAITING:
            raise Refusal(503, f"{MOST_WAITING} requests wait already")
        future: Future[Any] = Future()
        self._queue.put((future, function))
        return future

    def close(self) -> None:
        """Nothing that waits is begun any more."""
        while True:
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                break
            if entry is not None:
                entry[0].cancel()
        for _ in self.threads:
            self._queue.put(None)

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            future, function = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function()
            except BaseException as error:  # it belongs to whoever waits for the answer
                future.set_exception(error)
            else:
                future.set_result(result)
            del entry, future, function


def settle(seconds: float) -> None:
    """Wait for what models still do in the threads of closed lanes: a process that ends beneath ONNX Runtime aborts."""
    end = time.monotonic() + seconds
    for lane in list(_LANES):
        for thread in lane.threads:
            thread.join(max(0.0, end - time.monotonic()))


@dataclass(frozen=True)
class _Job:
    """A request that is being answered: its work, and what tells that nobody waits for it any more."""

    work: Future[Any]
    departure: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Lanes:
    """Answers of a session to many clients at once."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._lanes = {"model": Lane("model"), "beside": Lane("beside", 2), "at once": Lane("at-once")}
        self._jobs: dict[str, _Job] = {}

    async def answer(
        self,
        id: str,
        op: str,
        params: dict[str, Any],
        *,
        buffers: Sequence[bytes] = (),
        leave: Callable[[], Coroutine[Any, Any, Any]],
    ) -> Reply:
        """The session's reply; its work is cancelled when `leave()` is done first, because the client has left.

        Raises what the session raises, `Refusal` where too many wait, and `Cancelled`.
        """
        if id in self._jobs:
            raise BadOption(f"a request {id!r} is being answered already")
        if op == "cancel":
            self._drop(str(params.get("of", "")))
        beside = op in BESIDE or self.session.holds(op, params)
        lane = "at once" if op in AT_ONCE else "beside" if beside else "model"
        work = self._lanes[lane].put(lambda: self.session.answer(op, params, buffers, id=id))
        answer, departure = asyncio.wrap_future(work), asyncio.ensure_future(leave())
        self._jobs[id] = _Job(work, departure, asyncio.get_running_loop())
        try:
            await asyncio.wait({answer, departure}, return_when=asyncio.FIRST_COMPLETED)
            if answer.cancelled():
                raise Cancelled("the request was cancelled")
            if answer.done():
                return answer.result()
            raise Cancelled("nobody waits for the answer")
        finally:
            if not answer.done():
                if not self._drop(id):
                    self._lanes["at once"].put(lambda: self.session.answer("cancel", {"of": id}))
                answer.cancel()
            departure.cancel()
            del self._jobs[id]

    def close(self) -> None:
        """End all of them, each at its next step. From any thread."""
        for id, job in [*self._jobs.items()]:
            if not job.work.cancel():
                self.session.answer("cancel", {"of": id})
            job.loop.call_soon_threadsafe(job.departure.cancel)
        for lane in self._lanes.values():
            lane.close()

    def _drop(self, id: str) -> bool:
        """Whether a job has not begun, and never will."""
        job = self._jobs.get(id)
        return job is not None and job.work.cancel()
