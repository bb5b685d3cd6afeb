"""What the numbers of a tensor of a graph file are, found from it backwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..common.activation import follow
from .walk import Name

DEEPEST = 32  # steps from the head to the output


def activation_of(
    tensor: Name, made_by: Mapping[Name, int], step_of: Callable[[int], tuple[Sequence[str], Sequence[Name]]]
) -> str:
    """As `Backend.activation`. `step_of` gives the names of a step (its own, that of what is fused into it) and the tensors
    that it takes, those alone that depend on the image."""

    known: dict[Name, str] = {}

    def look(tensor: Name, depth: int) -> str:
        if tensor in made_by and tensor not in known and depth <= DEEPEST:
            known[tensor] = ""  # a damaged graph may go in a circle
            known[tensor] = found(tensor, depth)
        return known.get(tensor, "")

    def found(tensor: Name, depth: int) -> str:
        names, inputs = step_of(made_by[tensor])
        numbers = follow(names[0], [""] * len(inputs))
        if not numbers and inputs:
            numbers = follow(names[0], [look(name, depth + 1) for name in inputs])
        for name in names[1:]:
            numbers = follow(name, [numbers])
        return numbers

    return look(tensor, 0)
