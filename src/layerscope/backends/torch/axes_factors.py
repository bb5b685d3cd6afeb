"""Axes that a reshape has split, followed in their parts until they are whole again: windows of a picture, heads of tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from ..common.axes import distribute
from ..common.run import TensorMap


class Part(NamedTuple):
    """A part of an axis: `size` positions along it that lie `stride` apart."""

    letter: str
    stride: int
    size: int


Dims = tuple[tuple[Part, ...], ...]


class Factors:
    """The dimensions of tensors in one dry run as products of parts of axes, from the first reshape that splits one on."""

    def __init__(self) -> None:
        self._dims: TensorMap[Dims] = TensorMap()

    def __bool__(self) -> bool:
        return bool(self._dims)

    def get(self, tensor: torch.Tensor) -> Dims | None:
        return self._dims.get(tensor)

    def split(self, axes: str, source: torch.Tensor, result: torch.Tensor) -> None:
        """Begin to follow a tensor that was reshaped from one with known axes."""
        whole = tuple((Part(letter, 1, int(size)),) for letter, size in zip(axes, source.shape, strict=True))
        dims = reshape(whole, tuple(result.shape))
        if dims is not None:
            self._dims.set(result, dims)

    def follow(
        self, name: str, move: Callable[[str], str | None] | None, args: Sequence[Any], result: torch.Tensor
    ) -> None:
        """Note the parts of what a function gave; `move` says how it orders the dimensions of its first argument."""
        tensors = [argument for argument in args if isinstance(argument, torch.Tensor)]
        dims = self._follow(name, move, args, tensors=tensors, result=result) if tensors else None
        if dims is not None and tuple(math.prod(part.size for part in dim) for dim in dims) == tuple(result.shape):
            self._dims.set(result, dims)

    def _follow(
        self,
        name: str,
        move: Callable[[str], str | None] | None,
        args: Sequence[Any],
        *,
        tensors: Sequence[torch.Tensor],
        result: torch.Tensor,
    ) -> Dims | None:
        """The parts of what a function gave, from those of its arguments; `None` where they can't be followed."""
        first = self.get(tensors[0])
        if name == "einsum":
            return self._einsum(str(args[0]), [self.get(tensor) for tensor in tensors])
        if name in ("matmul", "__matmul__", "bmm"):
            second = self.get(tensors[1])
            return (*first[:-1], second[-1]) if first and second and tensors[0].ndim == tensors[1].ndim else None
        if name == "scaled_dot_product_attention":
            value = self.get(tensors[2])
            return (*first[:-1], value[-1]) if first and value else None
        if first is None:
            return next(
                (dims for tensor in tensors if tensor.shape == result.shape and (dims := self.get(tensor))), None
            )
        if move is not None:
            letters = "".join(map(chr, range(len(first))))
            order = move(letters)
            return None if order is None else tuple(first[letters.index(tensor)] for tensor in order)
        if name in ("reshape", "view", "flatten", "unflatten"):
            return reshape(first, tuple(result.shape))
        if name == "linear":
            return (*first[:-1], (Part("c", 1, int(result.shape[-1])),))
        if name == "unbind":
            dim = (args[1] if len(args) > 1 else 0) % len(first)
            return first[:dim] + first[dim + 1 :]
        if name in ("chunk", "split", "tensor_split"):
            return tuple(_cut(dim, int(size)) for dim, size in zip(first, result.shape, strict=True))
        return first if tensors[0].shape == result.shape else None

    @staticmethod
    def _einsum(equation: str, operands: Sequence[Dims | None]) -> Dims | None:
        left, _, right = equation.replace(" ", "").partition("->")
        known = {
            letter: dim
            for labels, dims in zip(left.split(","), operands, strict=False)
            if dims is not None and len(labels) == len(dims)
            for letter, dim in zip(labels, dims, strict=True)
        }
        return tuple(known[letter] for letter in right) if right and set(right) <= set(known) else None

    def windows(self, tensor: torch.Tensor) -> bool:
        """Whether a dimension that isn't the first counts windows of a picture, or positions in a window."""
        dims = self.get(tensor)
        if dims is None or len(dims) < 4:
            return False
        letters = [{part.letter for part in dim} for dim in dims[1:]]
        return any({"h", "w"} <= axes and "c" not in axes for axes in letters)

    def heads(self, tensor: torch.Tensor) -> str:
        """The axes of tokens whose channels were split into heads: `d` counts the heads, or `"?"` for any other order.

        `""` where no channels were split, or where they are all that there is beside the images (groups of channels).
        """
        dims = self.get(tensor)
        if dims is None or len(dims) < 4:
            return ""
        letters = ["".join(dict.fromkeys(part.letter for part in dim)) or "b" for dim in dims]
        if letters == ["b", "c", "n", "n"]:
            return "bcqk"
        if letters.count("c") < 2 or "n" not in letters or letters[-1] != "c":
            return ""
        named = "".join(letters)
        return {"bcnc": "bdnc", "bncc": "bndc"}.get(named, "?")

    def channels(self, tensor: torch.Tensor) -> bool:
        """Whether the last dimension walks along channels alone."""
        dims = self.get(tensor)
        return dims is not None and {part.letter for part in dims[-1]} == {"c"}

    def axes(self, tensor: torch.Tensor) -> str | None:
        """The axes of a tensor whose dimensions are a picture's, a channel axis and the batch again."""
        dims = self.get(tensor)
        if dims is None or len(dims) < 4 or any(len(dim) > 1 for dim in dims):
            return None
        letters = "".join(dim[0].letter if dim else "b" for dim in dims)
        return letters if letters in ("bchw", "bhwc") else None


def reshape(dims: Dims, shape: Sequence[int]) -> Dims | None:
    """The parts after a reshape to `shape`; `None` where it cuts through them.

    >>> windows = reshape(((Part("h", 1, 14),), (Part("w", 1, 14),)), (2, 7, 2, 7))
    >>> windows[0], windows[1]
    ((Part(letter='h', stride=7, size=2),), (Part(letter='h', stride=1, size=7),))
    >>> reshape(windows, (14, 14))
    ((Part(letter='h', stride=1, size=14),), (Part(letter='w', stride=1, size=14),))
    """
    parts = distribute([part for dim in dims for part in dim], shape, _split)
    return None if parts is None else tuple(_merge(dim) for dim in parts)


def _split(part: Part, size: int) -> tuple[Part, Part]:
    letter, stride, count = part
    return Part(letter, stride * (count // size), size), Part(letter, stride, count // size)


def _merge(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Neighbouring parts of one axis as one."""
    merged: list[Part] = []
    for part in parts:
        if merged and merged[-1].letter == part.letter and merged[-1].stride == part.stride * part.size:
            merged[-1] = Part(part.letter, part.stride, merged[-1].size * part.size)
        else:
            merged.append(part)
    return tuple(merged)


def _cut(dim: tuple[Part, ...], size: int) -> tuple[Part, ...]:
    """A dimension of which only some positions are left, where that can be said of its parts."""
    if len(dim) == 1 and dim[0].size != size:
        return (Part(dim[0].letter, dim[0].stride, size),)
    return dim
