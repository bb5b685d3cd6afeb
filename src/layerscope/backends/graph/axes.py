"""What is known of the axes of a graph's tensors so far: what its backends share, whatever names a tensor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import prod
from typing import Any, Generic

import numpy as np

from ...errors import ModelNotReadable
from ..common.axes import drop_axes, insert_axes, regroup
from .model import Output
from .walk import Name


class KnownAxes(Generic[Name]):
    """The axes of every tensor with data, and the token grids met on the way to it.

    `data` are the tensors with data, `shapes` the shapes that are known. `assumed` are the tensors whose axes only the rank
    says (by the table `by_rank`), `derived` those that take theirs from such, `named` those of which an axis that a reshape
    added got a name that nothing states. For all of these the operators that read the tensor are asked first. `mixed` are sums
    of tensors of one size with different axes.
    """

    by_rank: Mapping[int, str]

    def __init__(self, data: Collection[Name], shapes: Mapping[Name, tuple[int, ...] | None]) -> None:
        self.data = data
        self.shapes = shapes
        self.axes: dict[Name, str] = {}
        self.assumed: set[Name] = set()
        self.derived: set[Name] = set()
        self.named: set[Name] = set()
        self.silent: set[Name] = set()  # whose readers say nothing
        self.mixed: set[Name] = set()  # sums of tensors that have different axes
        self.grids: dict[Name, list[tuple[int, int]]] = {}
        self._met: list[tuple[int, int]] = []

    def letters(self, output: Output[Name, Any]) -> str:
        """The axes of one output, one letter each; `""` where they aren't known."""
        return self.axes.get(output.tensor, "")

    def from_readers(self, name: Name, rank: int) -> str | None:
        """The axes of a tensor as those that read it need them."""
        raise NotImplementedError

    def certain(self, name: Name) -> bool:
        """Whether the operators say what the axes of a tensor are."""
        unsure = name in self.assumed or name in self.derived or name in self.mixed
        return not unsure and bool(self.axes.get(name))

    def unsure(self, inputs: Sequence[Name]) -> bool:
        """Whether what is told from these tensors is told from assumed axes alone."""
        return bool(inputs) and not any(self.certain(name) for name in inputs)

    def axis_of_images(self, name: Name) -> int | None:
        """The axis that the images of a tensor lie along, `None` where nothing states it."""
        axis = self.axes[name].find("b")
        return axis if axis >= 0 and self.certain(name) else None

    def rank(self, name: Name) -> int | None:
        shape = self.shapes.get(name)
        return None if shape is None else len(shape)

    def settle(self, name: Name, letters: str | None, *, derived: bool = False, named: bool = False) -> None:
        """The axes of a tensor: `letters` where they fit and are sure, else what the readers need, else what is likely."""
        rank = self.rank(name)
        if rank is None:
            self.axes[name] = ""
            return
        fits = letters is not None and len(letters) == rank
        if fits and not derived and not named:
            self.axes[name] = letters or ""
            return
        said = self.from_readers(name, rank)
        if said is not None:
            self.axes[name] = said
        elif fits:
            self.axes[name] = letters or ""
            self.derived.update([name] if derived else [])
            self.named.update([name] if named else [])
        else:
            self.axes[name] = self.by_rank.get(rank, "")
            self.assumed.add(name)

    def settle_all(
        self, names: Iterable[Name], letters: str | None, *, derived: bool = False, named: bool = False
    ) -> None:
        """The axes of the outputs of one step, and the grids met until there."""
        for name in names:
            self.settle(name, letters, derived=derived, named=named)
            self.grids[name] = list(self._met)

    def names_an_axis(self, letters: str | None, inputs: Iterable[Name]) -> bool:
        """Whether axes that a step gives to what it makes of `inputs` hold a name that nothing before it states."""
        stated = {letter for name in inputs if name not in self.named for letter in self.axes.get(name, "")}
        return not set(letters or "") <= stated

    def inherit(self, inputs: Sequence[Name], output: Name) -> str | None:
        """The axes of an input with the output's rank: one of the output's size before one that is spread out to it, then one
        whose axes are known for sure."""
        rank, shape = self.rank(output), self.shapes.get(output)
        same = [name for name in inputs if self.axes.get(name) and len(self.axes[name]) == rank]
        doubts = {
            name: (
                prod(self.shapes.get(name) or ()) == 1,
                not self.certain(name),
                name in self.named,
                self.shapes.get(name) != shape,
            )
            for name in same
        }
        if len({self.axes[name] for name in same if self.certain(name) and self.shapes.get(name) == shape}) > 1:
            self.mixed.add(output)
        best = min(same, key=doubts.__getitem__) if same else None
        if best is not None and self.certain(best):
            return self.axes[best]
        return self._spread(inputs, rank or 0) or (None if best is None else self.axes[best])

    def _spread(self, inputs: Sequence[Name], rank: int) -> str | None:
        """The axes of a sum with a tensor of fewer axes that is sure where its images lie: its axes are the last ones."""
        for name in inputs:
            letters = self.axes.get(name, "")
            if 2 <= len(letters) < rank and "b" in letters and self.certain(name):
                spare = [letter for letter in "nhdw" if letter not in letters][: rank - len(letters)]
                return "".join(spare) + letters if len(spare) + len(letters) == rank else None
        return None

    def permute(self, source: Name, order: Sequence[int] | None) -> str | None:
        """The axes after a transposition; `None` where its order isn't known."""
        axes = self.axes.get(source)
        if not axes or order is None or sorted(order) != list(range(len(axes))):
            return None
        return "".join(axes[dim] for dim in order)

    def turned(self, source: Name, stated: str) -> str:
        """The axes that an operator states for what it makes of `source`, in the order of that where it only lies turned.

        Operators state where images and channels lie; a picture whose height and width were exchanged before stays so.
        """
        axes = self.axes.get(source, "")
        same = len(axes) == len(stated) and set(axes) == set(stated) and self.certain(source)
        return axes if same and all(axes.index(letter) == stated.index(letter) for letter in "bc") else stated

    def reshape(self, source: Name, output: Name) -> str | None:
        """The axes after a reshape; remembers the grid of a picture whose pixels it turns into tokens."""
        axes, before, after = self.axes.get(source), self.shapes.get(source), self.shapes.get(output)
        if not axes or before is None or after is None:
            return None
        letters = regroup(axes, before, after)
        if letters and "h" in axes and "w" in axes and "n" in letters and "n" not in axes:
            self._met.append((before[axes.index("h")], before[axes.index("w")]))
        return letters

    def drop(self, source: Name, dims: Sequence[int] | None) -> str | None:
        """The axes without those at `dims`."""
        axes = self.axes.get(source)
        return drop_axes(axes, dims) if axes and dims is not None else None

    def insert(self, source: Name, dims: Sequence[int] | None) -> str | None:
        """The axes with new ones of size one at `dims` of the result."""
        axes = self.axes.get(source)
        return insert_axes(axes, dims) if axes and dims is not None else None

    def gather(self, source: Name, index: Name, output: Name, axis: int) -> str | None:
        """The axes after rows are picked along `axis`; rows of a table of weights are channels (an embedding)."""
        if source not in self.data:
            inner = self.axes.get(index)
            return inner.replace("c", "n") + "c" if inner and axis == 0 else None
        axes, rank = self.axes.get(source), self.rank(output)
        if not axes or rank is None:
            return None
        return axes if rank == len(axes) else drop_axes(axes, [axis]) if rank == len(axes) - 1 else None

    def multiply(self, left: str | None, right: str | None, scores: Callable[[str, str], str | None]) -> str | None:
        """The axes of a product of matrices; `scores` tells those of a product of queries and keys, which are tokens."""
        if not left or not right:
            return left or right or None
        if len(left) != len(right) or len(left) < 3:
            return left if len(left) > len(right) else None
        if left[-1] == "c" and right[-2] == "c":
            return None if {"h", "w"} <= set(left) else scores(left, right)
        if left[-1] == right[-2] and left[-1] in "hw":
            both = left[:-1] + right[-1]
            return both if len(set(both)) == len(both) else None
        return right if right[-1] == "c" else None

    def gives_one(self, run: Callable[[], Sequence[np.ndarray]], tensors: Sequence[Name]) -> bool:
        """Whether a run makes one image of each of `tensors`."""
        try:
            values = run()
        except ModelNotReadable:
            return False
        axes = [self.axes[tensor].find("b") for tensor in tensors]
        return all(axis >= 0 and value.shape[axis] == 1 for axis, value in zip(axes, values, strict=True))

    def join(
        self, runs: Sequence[Sequence[np.ndarray]], tensors: Sequence[Name], called: Callable[[Name], str]
    ) -> list[np.ndarray]:
        """What `tensors` are in several runs of one image each, along their batch axis."""
        for tensor in tensors:
            if "b" not in self.axes[tensor] or not self.certain(tensor):
                raise ModelNotReadable(
                    f"the model takes one image at a time, and {called(tensor)!r} has no known batch axis to join"
                    f" {len(runs)} images along: give one image"
                )
        parts = zip(tensors, zip(*runs, strict=True), strict=True)
        return [np.concatenate(images, axis=self.axes[tensor].index("b")) for tensor, images in parts]
