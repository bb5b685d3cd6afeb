"""Walking along the tensors of a graph file, whatever names them: ONNX has strings, TFLite numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


# For each axis of a tensor which axis of the first tensor it is, `None` for one that was added on the way.
Order = tuple[int | None, ...]


def ancestors(
    tensors: Iterable[Name], made_by: Mapping[Name, int], needs: Callable[[int], Iterable[Name]]
) -> list[int]:
    """The steps that must run to make `tensors`, in the graph's order.

    >>> ancestors(["c"], {"a": 0, "b": 1, "c": 2}, lambda step: {2: ["a"]}.get(step, []))
    [0, 2]
    """
    steps: set[int] = set()
    waiting = [made_by[name] for name in tensors if name in made_by]
    while waiting:
        step = waiting.pop()
        if step not in steps:
            steps.add(step)
            waiting.extend(made_by[name] for name in needs(step) if name in made_by)
    return sorted(steps)


def readers_say(
    name: Name,
    rank: int,
    taken_by: Mapping[Name, Sequence[int]],
    *,
    read: Callable[[int, Name, Order], str | Order | None],
    outputs: Callable[[int], Iterable[Name]],
    silent: set[Name],
) -> str | None:
    """The axes of a tensor as its readers need them, looked for through steps that only turn axes or leave them.

    `read(step, tensor, order)` says what a step makes of a tensor whose axes now lie in `order`: the axes that it takes,
    as letters; the order in its outputs; or `None` where the tensor can't be followed through it. `silent` are tensors
    whose readers are known to say nothing; those found are added.
    """
    waiting: list[tuple[Name, Order]] = [(name, tuple(range(rank)))]
    visited, lost = {name}, False
    for tensor, order in waiting:
        for step in taken_by.get(tensor, ()):
            answer = read(step, tensor, order)
            if isinstance(answer, str):
                # An axis that was dropped on the way is that of the channels where these came in in its place (one that is
                # picked and stacked again), or gets a name that is left; without images among the others nothing is said.
                spare = iter(letter for letter in "dhwn" if letter not in answer)
                back = {axis: "c" for axis, old in enumerate(order) if old is None and answer[axis : axis + 1] == "c"}
                kept = {axis: letter for axis, letter in zip(order, answer, strict=False) if axis is not None}
                letters = [kept.get(axis) or back.get(axis) or next(spare, "") for axis in range(rank)]
                if len(answer) == len(order) and (len(kept) == rank or "b" in kept.values()) and all(letters):
                    return in_order("".join(letters))
                lost = True  # where later tensors may be told
                continue
            for output in outputs(step) if answer is not None else ():
                if output not in visited and output not in silent:
                    visited.add(output)
                    waiting.append((output, answer or ()))
    silent |= set() if lost else visited
    return None


def in_order(letters: str) -> str:
    """The same axes with depth, height and width in this order: readers tell where a picture's axes are, not which is which.

    >>> in_order("bcwh"), in_order("bhwc")
    ('bchw', 'bhwc')
    """
    places = iter(sorted(letter for letter in letters if letter in "dhw"))
    return "".join(next(places) if letter in "dhw" else letter for letter in letters)


def order_after(order: Order, kept: Sequence[int | None] | None) -> Order | None:
    """The order after a step that keeps, drops, adds or moves axes: for each axis after it, `kept` has the one it was."""
    if kept is None or any(axis is not None and not 0 <= axis < len(order) for axis in kept):
        return None
    return tuple(None if axis is None else order[axis] for axis in kept)


def without(rank: int, dims: Sequence[int] | None) -> Order | None:
    """What is kept of `rank` axes where those at `dims` are dropped.

    >>> without(4, [-1]), without(2, [5]) is None
    ((0, 1, 2), True)
    """
    if dims is None or any(not -rank <= dim < rank for dim in dims):
        return None
    dropped = {dim % rank for dim in dims}
    return tuple(axis for axis in range(rank) if axis not in dropped)


def widened(rank: int, dims: Sequence[int] | None) -> Order | None:
    """What is kept of `rank` axes where new ones come in at `dims` of the result.

    >>> widened(2, [1]), widened(2, [-1])
    ((0, None, 1), (0, 1, None))
    """
    total = rank + len(dims or ())
    if dims is None or any(not -total <= dim < total for dim in dims):
        return None
    added = {dim % total for dim in dims}
    old = iter(range(rank))
    return tuple(None if axis in added else next(old) for axis in range(total)) if len(added) == len(dims) else None


def free_path(path: str, taken: set[str]) -> str:
    """`path`, or `path_2`, `path_3` … where it is taken; the result counts as taken.

    >>> taken = {"conv"}
    >>> free_path("conv", taken), free_path("conv", taken), free_path("pool", taken)
    ('conv_2', 'conv_3', 'pool')
    """
    number, candidate = 1, path
    while candidate in taken:
        number += 1
        candidate = f"{path}_{number}"
    taken.add(candidate)
    return candidate
