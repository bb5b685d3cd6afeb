"""The axes of products of two tensors: of matrices, `tensordot`, einsum, `Dot`."""

from __future__ import annotations

import numpy as np

from ..common.axes import drop_axes
from .axes_query import Query, Source


def dot(query: Query) -> str | None:
    """`Dot`: the axes of both inputs without the one that is summed over."""
    axes = query.layer.axes
    summed = [axes, axes] if isinstance(axes, int) else list(axes)
    if len(query.sources) != 2 or not all(source.axes for source in query.sources):
        return None
    left, right = (drop_axes(source.axes or "", [axis]) for source, axis in zip(query.sources, summed, strict=True))
    return _scores(left + right[1:])


def _operands(query: Query) -> list[Source]:
    """What a product is given, in its order, weights without axes."""
    waiting = list(query.sources)
    operands = []
    for part in query.arguments[0]:
        shape = tuple(getattr(part, "shape", ()))
        given = (
            waiting and waiting[0].shape == shape and not isinstance(part, np.ndarray) and not hasattr(part, "assign")
        )
        if given or hasattr(part, "shape"):
            operands.append(waiting.pop(0) if given else Source(shape, None))
    return operands


def multiply(query: Query) -> str | None:
    """A product of matrices: that of queries and keys has both; weights keep the axes."""
    operands = _operands(query)
    if len(operands) != 2 or query.rank < 2:
        return None
    left, right = (operand.axes or "" for operand in operands)
    if not left or not right:
        other = operands[1 if left else 0]
        return (left or right) if len(other.shape) == 2 else None
    turned = query.option("transpose_b", position=3)
    return _scores(left[:-1] + right[-2 if turned else -1]) if len(left) == len(right) == query.rank else None


def tensordot(query: Query) -> str | None:
    """The axes of both that aren't summed over, one after the other."""
    operands, axes = _operands(query), query.option("axes", position=2)
    if len(operands) != 2 or axes is None:
        return None
    ranks = [len(operand.shape) for operand in operands]
    summed = (
        [range(-axes, 0), range(axes)] if isinstance(axes, int) else [np.atleast_1d(part).tolist() for part in axes]
    )
    left, right = (
        drop_axes(operand.axes or "?" * rank, [axis % rank for axis in part])
        for operand, rank, part in zip(operands, ranks, summed, strict=True)
    )
    return _product(left + right)


def einsum(query: Query) -> str | None:
    """Each label by the first operand that has it; a label of weights alone counts channels."""
    equation = query.option("subscripts", "equation", position=0) or ""
    inputs, arrow, output = str(equation).replace(" ", "").partition("->")
    if not arrow or "." in inputs:
        return None
    letters: dict[str, str] = {}
    for labels, operand in zip(inputs.split(","), _operands(query), strict=False):
        for label, letter in zip(labels, operand.axes or "", strict=False):
            letters.setdefault(label, letter)
    return _product("".join(letters.get(label, "?") for label in output))


def _product(known: str) -> str | None:
    """The axes of a product: one that comes from weights alone counts channels."""
    return _scores(known.replace("?", "c") if known.count("?") == 1 and "c" not in known else known)


def _scores(axes: str) -> str | None:
    """Axes in which tokens may stand twice: as queries and as keys."""
    if axes.count("n") == 2:
        axes = axes.replace("n", "q", 1).replace("n", "k", 1)
    return axes if len(set(axes)) == len(axes) and "?" not in axes else None
