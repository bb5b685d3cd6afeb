"""One ATen operation as the rules for receptive fields see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from ..places import Places, constant
from ..receptive import Field


class Step:
    """One operation: its arguments, the places of those that have any, and the shape of one tensor that came out."""

    def __init__(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        known: Mapping[int, Places],
        shape: tuple[int, ...],
        at: int,
    ) -> None:
        self.args, self.kwargs, self.known, self.shape, self.at = args, kwargs, known, shape, at

    def arg(self, at: int, default: Any = None) -> Any:
        return self.args[at] if len(self.args) > at else default

    def places(self, tensor: torch.Tensor) -> Places:
        return self.known.get(id(tensor)) or constant(tuple(tensor.shape))

    @property
    def source(self) -> Places:
        return self.places(self.args[0])

    def pointwise(self) -> Places:
        every = [self.places(each) for each in tensors_in([*self.args, *self.kwargs.values()])]
        return every[0].over(every[1:])

    def windows(self, rule: Callable[..., Field], *options: Any) -> Places:
        """Along the spatial dimensions, the last ones, with the i-th of each option."""
        source = self.source
        rank = len(source.dims)
        count = rank - 2 if rank > 2 else 1
        rules = {
            rank - count + at: partial(
                lambda field, values: rule(field, *values), values=[_at(each, at) for each in options]
            )
            for at in range(count)
        }
        return source.windowed(rules, self.shape)


def tensors_in(values: Sequence[Any]) -> list[torch.Tensor]:
    """The tensors among arguments, also those in lists of them."""
    found: list[torch.Tensor] = []
    for each in values:
        if isinstance(each, torch.Tensor):
            found.append(each)
        elif isinstance(each, list | tuple):
            found += tensors_in(each)
    return found


def _at(option: Any, at: int) -> Any:
    if isinstance(option, list | tuple):
        return option[at] if len(option) > 1 else option[0]
    return option
