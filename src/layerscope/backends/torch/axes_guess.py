"""Axes that were assumed, until something that reads them says what they are: then what was made before is corrected too."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from ...core.layer import Layer
from ..common.field import Positions
from ..common.run import TensorMap


class Row(NamedTuple):
    """A row of the table whose axes rest on a guess: the place where it stands, and where its units lie."""

    rows: dict[str, Layer]
    part: str
    positions: Positions | None


@dataclass(eq=False)
class Guess:
    """The assumed axes of tensors that all have the same.

    `source` is the guess that they were permuted from, and `order` the dimension of it that each of theirs is.
    """

    source: Guess | None = None
    order: Sequence[int] = ()
    settled: bool = False
    tensors: list[weakref.ref[torch.Tensor]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


class Guesses:
    """The guesses of one dry run. `correct` gives a row with other axes, without its doubt where they are certain."""

    def __init__(self, trace: TensorMap[str]) -> None:
        self._trace = trace
        self._guesses: TensorMap[Guess] = TensorMap()

    def get(self, tensor: torch.Tensor) -> Guess | None:
        """The guess that the axes of a tensor rest on, `None` where they are certain."""
        guess = self._guesses.get(tensor)
        return None if guess is None or guess.settled else guess

    def set(self, tensor: torch.Tensor, guess: Guess) -> None:
        """Note that the axes of a tensor rest on a guess."""
        guess.tensors.append(weakref.ref(tensor))
        self._guesses.set(tensor, guess)

    def settle(
        self,
        tensor: torch.Tensor,
        axes: str,
        correct: Callable[[Row, str, bool], Layer | None],
        *,
        certain: bool = True,
    ) -> None:
        """Correct what rests on the guess of this tensor, whose axes a reader of it states."""
        guess: Guess | None = self.get(tensor)
        while guess is not None and not guess.settled:
            guess.settled = certain
            for made in guess.tensors:
                alive = made()
                if alive is not None and alive.ndim == len(axes):
                    self._trace.set(alive, axes)
            for row in guess.rows:
                corrected = correct(row, axes, certain)
                if corrected is not None:
                    row.rows[row.part] = corrected
            axes = "".join(axes[guess.order.index(dim)] for dim in range(len(guess.order)))
            guess = guess.source
