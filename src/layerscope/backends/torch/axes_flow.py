"""Axes and token grids carried through PyTorch's functions between the modules: permute, reshape, cat, sums and slices."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from ..common.axes import AxesTrace
from .axes_factors import Factors
from .watch import base_name

Grid = tuple[int, int]


MOVES = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"}


RESHAPES = {"reshape", "view", "flatten", "unflatten", "reshape_as", "view_as"}


# The result has the axes of the first tensor, though not its sizes.
KEEPS = {
    "cat",
    "concat",
    "concatenate",
    "pad",
    "roll",
    "linear",
    "interpolate",
    "chunk",
    "split",
    "tensor_split",
    "slice",
}


# Channels-first by what they are, like the layers of their names.
FIRST = {3: "bcn", 4: "bchw", 5: "bcdhw"}


LAYERS = re.compile(
    r"conv(_transpose|_tbc)?[123]d|(fractional_)?(max|avg|lp)_(un)?pool[123]d\w*|adaptive_\w+_pool[123]d\w*"
    r"|(batch|instance|group)_norm|local_response_norm|pixel_(un)?shuffle|channel_shuffle|upsample\w*|interpolate|grid_sample"
)


REDUCES = {"mean", "sum", "amax", "amin", "std", "var", "norm", "logsumexp", "prod"}


# A result that happens to have the size of an argument says nothing here.
OPAQUE = {
    "einsum",
    "matmul",
    "bmm",
    "baddbmm",
    "mm",
    "__matmul__",
    "gather",
    "index_select",
    "take_along_dim",
    "expand_as",
}


class Flow:
    """Follows every call of a function of torch in one dry run and notes the axes of what comes out."""

    def __init__(self, trace: AxesTrace) -> None:
        self._trace = trace
        self._grids: Any = WeakTensorKeyDictionary()
        self.factors = Factors()

    def grid(self, tensor: torch.Tensor) -> Grid | None:
        """The (height, width) that the tokens of `tensor` were made from by flattening, where that was seen."""
        found: Grid | None = self._grids.get(tensor)
        return found

    def keep(self, tensor: torch.Tensor, grid: Grid | None) -> None:
        """Note the grid of a module's output."""
        if grid is not None:
            self._grids[tensor] = grid

    def follow(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> None:
        name = base_name(func)
        if _is_layer(name):
            for result in _tensors((out,)):
                if result.ndim in FIRST:
                    self._trace.set(result, FIRST[result.ndim])
            return
        if self.factors:
            self._follow_factors(name, func, args, kwargs, out)
        sources = [(each, axes) for each in _tensors((*args, *kwargs.values())) if (axes := self._trace.get(each))]
        if not sources or name in OPAQUE:
            return
        for result in _tensors((out,)):
            if result.ndim < 2 or not result.is_floating_point() or any(result is each for each, _ in sources):
                continue
            axes, grid = self._found(name, func, args, kwargs, sources, result)
            if axes and len(axes) == result.ndim:
                self._trace.set(result, axes)
                self.keep(result, grid if "n" in axes else None)
            elif axes is None and name in RESHAPES:
                self.factors.split(sources[0][1], sources[0][0], result)

    def _follow_factors(
        self, name: str, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], out: Any
    ) -> None:
        moves: Callable[[str], str | None] | None = partial(_moved, func, args, kwargs) if name in MOVES else None
        if name == "__getitem__":
            moves = partial(_sliced, index=args[1])
        for result in _tensors((out,)):
            if any(result is each for each in args):
                continue
            self.factors.follow(name, moves, args, result)
            axes = self.factors.axes(result) if name in RESHAPES or name in MOVES else None
            if axes:
                self._trace.set(result, axes)

    def _found(
        self,
        name: str,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        sources: Sequence[tuple[torch.Tensor, str]],
        result: torch.Tensor,
    ) -> tuple[str | None, Grid | None]:
        source, axes = sources[0]
        grid = next((found for each, _ in sources if (found := self.grid(each))), None)
        if name in MOVES:
            return (_moved(func, args, kwargs, axes), grid) if args and args[0] is source else (None, None)
        if name in RESHAPES:
            return reshaped(axes, source.shape, result.shape, grid)
        if name in REDUCES:
            if not args or args[0] is not source:
                return None, None
            return (axes if result.ndim == source.ndim else _moved(func, args, kwargs, axes)), grid
        if name == "__getitem__":
            return _sliced(axes, args[1]), grid
        if name == "select" and args and args[0] is source:
            return axes[: args[1] % len(axes)] + axes[args[1] % len(axes) + 1 :], grid
        if name in KEEPS:
            return (axes if source.ndim == result.ndim else None), grid
        same = [known for each, known in sources if each.shape == result.shape]
        return (same[0] if same else None), grid


@cache
def _is_layer(name: str) -> bool:
    return LAYERS.fullmatch(name) is not None


def reshaped(
    axes: str, old: Sequence[int], new: Sequence[int], grid: Grid | None = None
) -> tuple[str | None, Grid | None]:
    """(axes, grid) after a reshape that only flattens a picture to tokens, or unfolds tokens whose grid is known.

    >>> reshaped("bchw", (1, 64, 14, 10), (1, 64, 140))
    ('bcn', (14, 10))
    >>> reshaped("bnc", (1, 140, 64), (1, 14, 10, 64), (14, 10))
    ('bhwc', None)
    >>> reshaped("bhwc", (1, 14, 14, 64), (1, 2, 7, 2, 7, 64))
    (None, None)
    >>> reshaped("bchw", (1, 512, 7, 7), (1, 25088))
    ('bc', None)
    """
    found, at, to = "", 0, 0
    old, new = tuple(old), tuple(new)
    if axes.startswith("b") and len(old) > 2 and new == (old[0], math.prod(old[1:])):
        return "bc", None
    while at < len(old) and to < len(new):
        if old[at] == new[to]:
            found, at, to = found + axes[at], at + 1, to + 1
        elif axes[at : at + 2] == "hw" and math.prod(old[at : at + 2]) == new[to]:
            grid = old[at], old[at + 1]
            found, at, to = found + "n", at + 2, to + 1
        elif axes[at] == "n" and grid is not None and new[to : to + 2] == grid and math.prod(grid) == old[at]:
            grid = None
            found, at, to = found + "hw", at + 1, to + 2
        else:
            return None, None
    return (found, grid) if at == len(old) and to == len(new) else (None, None)


def _moved(func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], axes: str) -> str:
    """The axes after a permutation or a reduction, by what it does to a tensor without data whose sizes are all different."""
    probe = torch.empty(tuple(range(2, 2 + len(axes))), device="meta")
    return "".join(axes[size - 2] for size in func(probe, *args[1:], **kwargs).shape)


def _sliced(axes: str, index: Any) -> str | None:
    """The axes that are left by an index of slices and whole numbers."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(isinstance(each, int | slice) or each is Ellipsis for each in parts):
        return None
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (len(axes) - len(parts) + 1)
    parts += [slice(None)] * (len(axes) - len(parts))
    return "".join(letter for letter, each in zip(axes, parts, strict=True) if isinstance(each, slice))


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    for each in values:
        if isinstance(each, torch.Tensor):
            yield each
        elif isinstance(each, tuple | list):
            yield from (inner for inner in each if isinstance(inner, torch.Tensor))
