"""What the rules on the axes of a layer's output are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .operation import option


@dataclass(eq=False)
class Named:
    """The axes of a tensor, and why they may be others; shared by the tensors that have the same ones, whatever these are."""

    axes: str
    doubt: str = ""


class Source(NamedTuple):
    """One tensor that went into a layer: its shape and, where they are known, its axes."""

    shape: tuple[int, ...]
    named: Named | None

    @property
    def axes(self) -> str | None:
        return self.named.axes if self.named else None

    @property
    def doubt(self) -> str:
        return self.named.doubt if self.named else ""


class Query(NamedTuple):
    """What the rules take of an output: `data_format` is the model's, `inside` what the layers in this one returned."""

    layer: Any
    parent: Any
    shape: tuple[int, ...]
    sources: Sequence[Source]
    data_format: str
    arguments: Any = ((), {})
    walked: str = ""
    inside: dict[tuple[int, ...], Named] = {}  # noqa: RUF012  # never written to

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def source(self) -> Source:
        """The first tensor that went in."""
        return self.sources[0] if self.sources else Source((), None)

    def option(self, *names: str, position: int = 1) -> Any:
        """An option of an operation."""
        return option(self.layer, self.arguments, *names, position=position)
