"""Walking along the tensors of a graph file, whatever names them: ONNX has strings, TFLite numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


Order = tuple[int, ...]


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
) -> str | None:
    """The axes of a tensor as its readers need them, looked for through steps that only turn axes or leave them.

    `read(step, tensor, order)` says what a step makes of a tensor whose axes now lie in `order`: the axes that it takes,
    as letters; the order in its outputs; or `None` where the tensor can't be followed through it.
    """
    waiting: list[tuple[Name, Order]] = [(name, tuple(range(rank)))]
    visited = {name}
    for tensor, order in waiting:
        for step in taken_by.get(tensor, ()):
            answer = read(step, tensor, order)
            if isinstance(answer, str):
                return "".join(answer[order.index(axis)] for axis in range(rank))
            for output in outputs(step) if answer is not None else ():
                if output not in visited:
                    visited.add(output)
                    waiting.append((output, answer or ()))
    return None


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
