"""Axes and token grids carried through PyTorch's functions between the modules: permute, reshape, cat, sums and slices."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import torch

from ...core.layer import Layer
from ..common.axes import CHANNELS_FIRST, add_classes, permuted_view, spare_letters
from ..common.run import TensorMap
from .axes_factors import Factors
from .axes_guess import Guess, Guesses, Row
from .functions import base_name

Grid = tuple[int, ...]
Followed = tuple[str | None, Grid | None]

MOVES = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "permute_copy", "transpose_copy"}

RESHAPES = {"reshape", "view", "flatten", "unflatten", "reshape_as", "view_as"}


# The result has the axes of the first tensor, though not its sizes.
KEEPS = {
    *(
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
    ),
}


# Channels-first by what they are, like the layers of their names.
LAYERS = re.compile(
    r"conv(_transpose|_tbc)?[123]d|(fractional_)?(max|avg|lp)_(un)?pool[123]d\w*|adaptive_\w+_pool[123]d\w*"
    r"|(batch|instance|group)_norm|local_response_norm|pixel_(un)?shuffle|channel_shuffle|upsample\w*|interpolate|grid_sample"
)

INDICES = {"argmax", "argmin"}
REDUCES = {"mean", "sum", "amax", "amin", "std", "var", "norm", "logsumexp", "prod", *INDICES}


# A result that happens to have the size of an argument says nothing here.
OPAQUE = {
    *(
        "einsum",
        "tensordot",
        "bmm",
        "baddbmm",
        "mm",
        "gather",
        "index_select",
        "take_along_dim",
        "expand_as",
    ),
}


class Call(NamedTuple):
    """One call of a function of torch; `source` is its first tensor whose axes are known, `grid` that of its tokens."""

    name: str
    func: Callable[..., Any]
    args: Sequence[Any]
    kwargs: dict[str, Any]
    source: torch.Tensor
    axes: str
    grid: Grid | None

    @property
    def of_source(self) -> bool:
        """Whether the tensor with known axes is the first argument."""
        return bool(self.args) and self.args[0] is self.source


class Flow:
    """Follows every call of a function of torch in one dry run and notes the axes of what comes out."""

    def __init__(
        self, trace: TensorMap[str], correct: Callable[[Row, str, bool], Layer | None] = lambda *_: None
    ) -> None:
        self._trace, self._correct = trace, correct
        self._grids: TensorMap[Grid] = TensorMap()
        self._lost: TensorMap[bool] = TensorMap()
        self.guesses = Guesses(trace)
        self.factors = Factors()
        self.without_images = False  # whether an axis of a single image went, as `squeeze()` does with all of size one

    def grid(self, tensor: torch.Tensor) -> Grid | None:
        """The (height, width) that the tokens of `tensor` were made from by flattening, where that was seen."""
        return self._grids.get(tensor)

    def assume(self, tensor: torch.Tensor, like: torch.Tensor | None = None) -> None:
        """Note that the axes of a tensor rest on a guess: on that of another with the same axes, where there is one."""
        guess = self.guesses.get(like) if like is not None and like.ndim == tensor.ndim else None
        self.guesses.set(tensor, guess or Guess())

    def assumed(self, tensor: torch.Tensor) -> bool:
        """Whether the axes of a tensor rest on a guess."""
        return self.guesses.get(tensor) is not None

    def settle(self, tensor: torch.Tensor, axes: str, certain: bool) -> None:
        """Take what a reader states of a tensor whose axes rest on a guess; the rows that do are corrected."""
        if len(axes) == tensor.ndim:
            self.guesses.settle(tensor, axes, self._correct, certain=certain)

    def lost(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor was made from others with known axes by functions that aren't followed."""
        return self._lost.get(tensor) is not None and self._trace.get(tensor) is None

    def keep(self, tensor: torch.Tensor, grid: Grid | None) -> None:
        """Note the grid of a module's output."""
        if grid is not None:
            self._grids.set(tensor, grid)

    def follow(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> None:
        """Note the axes of what a function gave."""
        name = base_name(func)
        if _is_layer(name):
            self._read(name, args)
            for result in _tensors((out,)):
                if 2 < result.ndim < 6:
                    self._trace.set(result, CHANNELS_FIRST[result.ndim])
            return
        if self.factors:
            self._follow_factors(name, func, args, kwargs, out=out)
        values = list(_tensors((*args, *kwargs.values())))
        sources = [(tensor, axes) for tensor in values if (axes := self._trace.get(tensor))]
        if not sources or name in OPAQUE:
            if sources or any(map(self.lost, values)):
                self._lose(out)
            return
        grid = next((grid for tensor, _ in sources if (grid := self.grid(tensor))), None)
        call = Call(name, func, args, kwargs, *sources[0], grid)
        whole = name in INDICES or not sources[0][0].is_floating_point()  # a picture all the same
        for result in _tensors((out,)):
            self.without_images |= name == "squeeze" and not result.ndim
            numbers = result.is_floating_point() or whole
            if result.ndim and numbers and not any(result is tensor for tensor, _ in sources):
                self._note(call, sources, result)
        self._lose(out)

    def _lose(self, out: Any) -> None:
        """Note what a function gave, as far as its axes couldn't be followed."""
        for result in _tensors((out,)):
            if self._trace.get(result) is None and self.factors.get(result) is None:
                self._lost.set(result, True)

    def _read(self, name: str, args: Sequence[Any]) -> None:
        """What a function that works on pictures says of the tensor that it reads."""
        source = args[0] if args and isinstance(args[0], torch.Tensor) else None
        dimensions = next((int(digit) for digit in name if digit in "123"), None)
        if source is not None and self.assumed(source) and source.ndim - 2 == (dimensions or source.ndim - 2):
            self.settle(source, CHANNELS_FIRST.get(source.ndim, ""), certain=True)

    def _note(self, call: Call, sources: Sequence[tuple[torch.Tensor, str]], result: torch.Tensor) -> None:
        rule = FUNCTIONS.get(call.name)
        if rule is not None:
            axes, grid = rule(call, result)
        else:
            alike = [(tensor, axes) for tensor, axes in sources if tensor.shape == result.shape]
            alike.sort(key=lambda source: self.assumed(source[0]))  # what is known for sure first
            call = call._replace(source=alike[0][0]) if alike else call
            axes, grid = alike[0][1] if alike else None, call.grid
        self.without_images |= call.name == "squeeze" and "b" in call.axes and "b" not in (axes or "b")
        if axes and len(axes) == result.ndim:
            self._trace.set(result, axes)
            if self.assumed(call.source):
                self._assume_after(call, axes, result)
            self.keep(result, grid if "n" in axes else None)
        elif axes is None and call.name in RESHAPES and self.factors.get(result) is None:
            self.factors.split(call.axes, call.source, result)

    def _assume_after(self, call: Call, axes: str, result: torch.Tensor) -> None:
        """Note that the axes of a result rest on the guess of its source, and in which order."""
        guess = self.guesses.get(call.source)
        if call.name in MOVES and call.of_source:
            letters = "".join(map(chr, range(len(call.axes))))
            order = [ord(letter) for letter in _move(call.func, call.args, call.kwargs, letters)]
            self.guesses.set(result, Guess(guess, order))
        else:
            self.assume(result, call.source if axes == call.axes else None)

    def _follow_factors(
        self, name: str, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], *, out: Any
    ) -> None:
        moves: Callable[[str], str | None] | None = partial(_move, func, args, kwargs) if name in MOVES else None
        if name == "__getitem__":
            moves = partial(_slice, index=args[1])
        for result in _tensors((out,)):
            if any(result is value for value in args):
                continue
            self.factors.follow(name, moves, args, result)
            axes = self.factors.axes(result) if name in RESHAPES or name in MOVES else None
            if axes:
                self._trace.set(result, axes)


@cache
def _is_layer(name: str) -> bool:
    return LAYERS.fullmatch(name) is not None


def reshape(
    axes: str, old: Sequence[int], new: Sequence[int], grid: Grid | None = None
) -> tuple[str | None, Grid | None]:
    """(axes, grid) after a reshape that only flattens a picture to tokens, or unfolds tokens whose grid is known.

    >>> reshape("bchw", (1, 64, 14, 10), (1, 64, 140))
    ('bcn', (14, 10))
    >>> reshape("bnc", (1, 140, 64), (1, 14, 10, 64), (14, 10))
    ('bhwc', None)
    >>> reshape("bhwc", (1, 14, 14, 64), (1, 2, 7, 2, 7, 64))
    (None, None)
    >>> reshape("bchw", (1, 512, 7, 7), (1, 25088))
    ('bc', None)
    """
    axes_after, source, to = "", 0, 0
    old, new = tuple(old), tuple(new)
    if axes.startswith("b") and len(old) > 2 and new == (old[0], math.prod(old[1:])):
        return "bc", None
    while source < len(old) and to < len(new):
        if old[source] == new[to]:
            axes_after, source, to = axes_after + axes[source], source + 1, to + 1
        elif axes[source : source + 3] == "dhw" and math.prod(old[source : source + 3]) == new[to]:
            grid = old[source : source + 3]
            axes_after, source, to = axes_after + "n", source + 3, to + 1
        elif axes[source : source + 2] == "hw" and math.prod(old[source : source + 2]) == new[to]:
            grid = old[source], old[source + 1]
            axes_after, source, to = axes_after + "n", source + 2, to + 1
        elif (
            axes[source] == "n"
            and grid is not None
            and new[to : to + len(grid)] == grid
            and math.prod(grid) == old[source]
        ):
            axes_after, source, to = axes_after + "dhw"[-len(grid) :], source + 1, to + len(grid)
            grid = None
        else:
            return None, None
    return (axes_after, grid) if source == len(old) and to == len(new) else (None, None)


def _permute(call: Call, result: torch.Tensor) -> Followed:
    return (_move(call.func, call.args, call.kwargs, call.axes), call.grid) if call.of_source else (None, None)


def _reshape(call: Call, result: torch.Tensor) -> Followed:
    return reshape(call.axes, call.source.shape, result.shape, call.grid)


def _reduce(call: Call, result: torch.Tensor) -> Followed:
    if not call.of_source:
        return None, None
    same = result.ndim == call.source.ndim
    return (call.axes if same else _move(call.func, call.args, call.kwargs, call.axes)), call.grid


def _index(call: Call, result: torch.Tensor) -> Followed:
    return _slice(call.axes, call.args[1]), call.grid


def _select(call: Call, result: torch.Tensor) -> Followed:
    if not call.of_source:
        return (call.axes if call.source.shape == result.shape else None), call.grid
    axis = call.args[1] % len(call.axes)
    return call.axes[:axis] + call.axes[axis + 1 :], call.grid


def _squeeze(call: Call, result: torch.Tensor) -> Followed:
    """Without the axes of size one that went: the one that is named, or all of them."""
    if not call.of_source:
        return None, None
    dims = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", range(len(call.axes)))
    gone = {dim % len(call.axes) for dim in ([dims] if isinstance(dims, int) else dims) if call.source.shape[dim] == 1}
    return "".join(letter for index, letter in enumerate(call.axes) if index not in gone), call.grid


def _multiply(call: Call, result: torch.Tensor) -> Followed:
    """A product with a matrix of weights keeps the axes; one of two maps has axes of its own."""
    others = [part for part in call.args[:2] if isinstance(part, torch.Tensor) and part is not call.source]
    weights = len(others) == 1 and others[0].ndim == 2 < result.ndim == call.source.ndim
    return (call.axes if weights else None), None


def _strided(call: Call, result: torch.Tensor) -> Followed:
    """The axes of a view that only turns the tensor it is of."""
    turned = sorted(result.shape) == sorted(call.source.shape)
    return (permuted_view(call.axes, call.source.stride(), result.stride()) if turned else None), None


def _unbind(call: Call, result: torch.Tensor) -> Followed:
    axis = (call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)) % len(call.axes)
    return call.axes[:axis] + call.axes[axis + 1 :], call.grid


def _stack(call: Call, result: torch.Tensor) -> Followed:
    """One axis more: that of the images, channels, rows or columns where these went, else one of whatever the maps are of."""
    axis = (call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)) % result.ndim
    spare = "b" * ("b" not in call.axes) + spare_letters(call.axes)
    if call.source.ndim != result.ndim - 1 or "n" in call.axes or not spare or (spare[0] == "b" and axis):
        return None, None
    letter = "n" if call.axes == "bc" else spare[0]
    return call.axes[:axis] + letter + call.axes[axis:], None


def _one_hot(call: Call, result: torch.Tensor) -> Followed:
    """The classes of indices that an `argmax` over the channels gave are channels again, behind the other axes."""
    return add_classes(call.axes), call.grid


def _keep(call: Call, result: torch.Tensor) -> Followed:
    return (call.axes if call.source.ndim == result.ndim else None), call.grid


# Every other function gives the axes of the first of its tensors that has the shape of the result.
FUNCTIONS: dict[str, Callable[[Call, torch.Tensor], Followed]] = {
    **dict.fromkeys(KEEPS, _keep),
    **dict.fromkeys(REDUCES, _reduce),
    **dict.fromkeys(RESHAPES, _reshape),
    **dict.fromkeys(MOVES, _permute),
    "__getitem__": _index,
    "as_strided": _strided,
    **dict.fromkeys(("matmul", "__matmul__", "__rmatmul__"), _multiply),
    "one_hot": _one_hot,
    "select": _select,
    "squeeze": _squeeze,
    "stack": _stack,
    "unbind": _unbind,
}


def _move(func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], axes: str) -> str:
    """The axes after a permutation or a reduction, by what it does to a tensor without data whose sizes are all different."""
    probe = torch.empty(tuple(range(2, 2 + len(axes))), device="meta")
    return "".join(axes[size - 2] for size in func(probe, *args[1:], **kwargs).shape)


def _slice(axes: str, index: Any) -> str | None:
    """The axes that are left by an index of slices and whole numbers."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(isinstance(part, int | slice) or part is Ellipsis for part in parts):
        return None
    if Ellipsis in parts:
        index = parts.index(Ellipsis)
        parts[index : index + 1] = [slice(None)] * (len(axes) - len(parts) + 1)
    parts += [slice(None)] * (len(axes) - len(parts))
    return "".join(letter for letter, part in zip(axes, parts, strict=True) if isinstance(part, slice))


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from (inner for inner in value if isinstance(inner, torch.Tensor))
