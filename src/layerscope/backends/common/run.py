"""What every watched run of a model shares: its batch, its end, and what is noted of its tensors."""

from __future__ import annotations

import contextlib
import gc
import random
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from ...errors import LayerscopeError
from ...memory import short_of_memory
from .arguments import is_object, members_of

Value = TypeVar("Value")
# Errors that no other number of images changes.
WHATEVER_THE_SIZE = (LayerscopeError, ImportError, NameError, NotImplementedError)


class Stop(BaseException):
    """Ends a run that has given all that was asked for. Not an `Exception`, which models and frameworks catch."""

    def __init__(self, owner: object = None) -> None:
        self.owner = owner


@contextlib.contextmanager
def until_stopped(owner: object) -> Iterator[None]:
    """Around a run that `owner` may end early."""
    try:
        yield
    except Stop as stop:
        if stop.owner is not owner:
            raise


class TensorMap(Generic[Value]):
    """What is noted of the tensors of one run, by identity.

    Entries go when their tensor goes: holding a map keeps no tensor alive.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[Any, Value]] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def set(self, tensor: Any, value: Value) -> None:
        key = id(tensor)
        self._held[key] = (weakref.ref(tensor, lambda _: self._held.pop(key, None)), value)

    def get(self, tensor: Any) -> Value | None:
        entry = self._held.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None


def map_batch(batch: Any, change: Callable[[Any], Any]) -> Any:
    """A batch of the same structure with `change(array)` in the place of each array.

    >>> map_batch({"images": [1, 2]}, lambda array: array + 1)
    {'images': [2, 3]}
    """
    if isinstance(batch, Mapping):
        return {name: map_batch(array, change) for name, array in batch.items()}
    if isinstance(batch, list | tuple):
        members = [map_batch(array, change) for array in batch]
        return type(batch)(*members) if hasattr(batch, "_fields") else type(batch)(members)
    return change(batch)


def first_image(batch: Any) -> Any:
    """The batch cut to its first image."""
    return map_batch(batch, lambda array: array[:1] if getattr(array, "ndim", 0) else array)


def part_for_dry_run(batch: Any) -> tuple[Any, int]:
    """What a dry run needs of a batch, and how many images that are: an array that is alone, cut to its first image.

    Of several arrays nobody says which hold a row for each image; class embeddings, grids and containers don't: they stay
    whole.

    >>> part_for_dry_run({"images": np.zeros((4, 3, 8, 8))})[0]["images"].shape
    (1, 3, 8, 8)
    >>> part_for_dry_run((np.zeros((4, 3, 8, 8)), np.zeros((5, 16))))[1]
    4
    """
    members = list(batch.values()) if isinstance(batch, Mapping) else batch
    alone = not isinstance(members, tuple | list) or len(members) == 1
    if alone and hasattr(members[0] if isinstance(members, tuple | list) else members, "shape"):
        return first_image(batch), 1
    return batch, count_images(batch)


def dry_run(batch: Any, run: Callable[[Any, int], Value], part: Any = part_for_dry_run) -> Value:
    """What `run(part, images)` gives for a part of a batch, or for all of it where the model doesn't take that part alone.

    A model of sequences with time first needs all steps, one with a cache as many images as that has. Where it takes neither,
    the error of the part is the cause of the other.

    >>> dry_run(np.zeros((4, 8)), lambda images, count: images[3].shape * count)
    (8, 8, 8, 8)
    """
    first, images = part(batch)
    try:
        return run(first, images)
    except Exception as error:
        count = count_images(batch)
        if count == images or isinstance(error, WHATEVER_THE_SIZE) or short_of_memory(error):
            raise
        try:
            return run(batch, count)
        except Exception as again:
            raise again from again.__cause__ or error


def count_images(batch: Any) -> int:
    """How many images a batch holds: the rows of its first array, the members of a list that is one argument."""
    first = batch
    while isinstance(first, Mapping | tuple | list) or is_object(first):
        if isinstance(first, list) and first is not batch:
            return len(first)
        first = next((member for member in members_of(first) if not _is_single(member)), None)
    shape = tuple(getattr(first, "shape", ()))
    return int(shape[0]) if shape else 1


def _is_single(member: Any) -> bool:
    """Whether a member of a batch is one value for all images: a number, a text, an array without axes."""
    return getattr(member, "shape", None) == () or member is None or isinstance(member, int | float | complex | str)


def first_input(batch: Any) -> Any:
    """The first array of a batch, whose rows are the images."""
    while isinstance(batch, Mapping | tuple | list) or is_object(batch):
        members = members_of(batch)
        batch = next((member for member in members if not _is_single(member)), members[0])
    return batch


def others_running() -> bool:
    """Whether another thread may be at work; daemons (of notebooks, of progress bars) aren't asked."""
    own = threading.current_thread()
    return any(thread is not own and not thread.daemon for thread in threading.enumerate())


LOOKS = 100  # at the other threads, until they stand still for as long as one look takes


def identities(*functions: Any) -> frozenset[int]:
    """The code of functions by identity, for `others_inside`: comparing code compares all of it."""
    return frozenset(id(function.__code__) for function in functions)


def others_inside(
    *folders: str,
    codes: frozenset[int] = frozenset(),
    ended_by: frozenset[int] = frozenset(),
) -> bool:
    """Whether another thread runs code of these folders now, or these functions, or was called from there.

    Not where it has called one of `ended_by` from there, which isn't part of it.

    An optimizer in the middle of a step has written half of the weights: nothing but its stack tells.
    """
    if threading.active_count() == 1:
        return False
    for _ in range(LOOKS):
        with _uncollected():
            positions = _positions()
            inside = any(_is_inside(frame, folders, codes, ended_by) for frame, _ in positions.values())
            if _positions() == positions:  # else they went on meanwhile, and what was seen is of no moment
                return inside
    return True


WALK = threading.RLock()  # garbage that is collected before collecting stops may look at threads, too


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection, in Python 3.11, where looking at a frame creates the object that stands for it.

    A collection inside that creation can let the other thread go on; `f_back` is then whatever lies where its frame was. And
    `sys._current_frames` holds the interpreter's lock meanwhile: what frees a `threading.local`, or waits for a thread that
    ends, would wait forever (https://github.com/python/cpython/issues/106883).
    """
    if sys.version_info[:2] != (3, 11):
        yield
        return
    with WALK:
        enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if enabled:
                gc.enable()


def _positions() -> dict[int, tuple[types.FrameType, int]]:
    """Where each other thread is: its innermost frame, and the instruction."""
    own = threading.get_ident()
    return {number: (frame, frame.f_lasti) for number, frame in sys._current_frames().items() if number != own}


def _is_inside(
    frame: types.FrameType | None,
    folders: tuple[str, ...],
    codes: frozenset[int],
    ended_by: frozenset[int],
) -> bool:
    while frame is not None and id(frame.f_code) not in ended_by:
        if id(frame.f_code) in codes or frame.f_code.co_filename.startswith(folders):
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def keep_random_state() -> Iterator[None]:
    """Put Python's and numpy's random state back where the model drew from it.

    Nobody can tell who drew. Where other threads are at work the state is left alone: what they drew would be drawn again.
    """
    python, legacy = random.getstate(), np.random.get_state(legacy=False)
    try:
        yield
    finally:
        if not others_running():
            if random.getstate() != python:
                random.setstate(python)
            np.random.set_state(legacy)


class Eager(threading.local):
    """What `torch.compile` compiled runs eagerly in a thread that captures: a compiled region that has run once calls no hooks.

    torch has one stance for all threads; while any of them captures, its place is taken by one that answers each thread.
    """

    lock = threading.RLock()  # a run that was interrupted may be left wherever garbage is collected
    runs: ClassVar[dict[object, tuple[int, int]]] = {}  # of all threads: which thread, and its depth before
    depth = 0  # of this thread

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        dynamo: Any = sys.modules.get("torch._dynamo.eval_frame")
        if dynamo is None or not hasattr(dynamo, "_stance"):
            yield  # nothing has been compiled
            return
        run, depth = object(), self.depth
        try:
            try:
                with self.lock:
                    self.runs[run] = threading.get_ident(), depth
                    if not hasattr(dynamo._stance, "of_others"):
                        dynamo._stance = _stance_by_thread(self, dynamo._stance)
                self.depth = depth + 1
                yield
            finally:
                self._leave(dynamo, run, depth)
        finally:
            self._leave(dynamo, run, depth)  # a Ctrl-C may have come there

    def _leave(self, dynamo: Any, run: object, depth: int) -> None:
        self.depth = depth
        with self.lock:
            self.runs.pop(run, None)
            if not self.runs:
                dynamo._stance = getattr(dynamo._stance, "of_others", dynamo._stance)

    def return_to(self, depth: int) -> None:
        """Leave the runs of this thread that an interrupt has left open, which else waits for the garbage collector."""
        dynamo: Any = sys.modules.get("torch._dynamo.eval_frame")
        thread = threading.get_ident()
        for run, (owner, before) in list(self.runs.items()):
            if dynamo is not None and owner == thread and before >= depth:
                self._leave(dynamo, run, depth)
        self.depth = depth


def _stance_by_thread(eager: Eager, of_others: Any) -> Any:
    """A stance of torch that is `force_eager` in the threads that capture, that of everybody in all others."""

    class Stance:
        def __init__(self) -> None:
            self.of_others = of_others

        def __getattr__(self, name: str) -> Any:
            return "force_eager" if name == "stance" and eager.depth else getattr(of_others, name)

    return Stance()


EAGERLY = Eager()
