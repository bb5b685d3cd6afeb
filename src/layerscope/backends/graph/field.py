"""Receptive fields in a graph file: what its backends share, whatever names a tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from ..common.field import Positions, constant, image_positions
from ..common.field_rules import Operation, follow
from .axes import KnownAxes
from .model import Output
from .walk import Name


@dataclass(frozen=True)
class Step(Generic[Name]):
    """One operator of a graph and one of its outputs, whose shape is known."""

    flow: Any
    operator: Any
    names: Sequence[Name]
    output: Name
    shape: tuple[int, ...]

    @property
    def source(self) -> Positions:
        """The positions of the first input."""
        return self.input(0)

    def input(self, index: int) -> Positions:
        """The positions of an input."""
        name = self.names[index]
        positions = self.flow.positions.get(name)
        return constant(self.flow.shape_of(name)) if positions is None else positions

    @property
    def inputs(self) -> list[Positions]:
        """The positions of all inputs that are there."""
        return [self.input(index) for index, name in enumerate(self.names) if name != ""]


class FieldFlow(Generic[Name]):
    """What every tensor of a graph sees of the model's one image; without exactly one image, nothing is known."""

    step: Callable[..., Step[Name]] = Step

    def __init__(self, inputs: Sequence[Name], axes: KnownAxes[Name]) -> None:
        self.axes = axes
        self.positions: dict[Name, Positions] = {}
        images = [name for name in inputs if (axes.rank(name) or 0) > 2]
        if len(images) == 1:
            (image,) = images
            shape = axes.shapes[image] or ()
            if len(axes.axes[image]) == len(shape):
                self.positions[image] = image_positions(axes.axes[image], shape)

    def get(self, output: Output[Name, Any]) -> Positions | None:
        """The positions of one output."""
        return self.positions.get(output.tensor)

    def shape_of(self, name: Name) -> tuple[int, ...]:
        """The shape of a tensor that depends on no image."""
        return self.axes.shapes.get(name) or ()

    def shape_after(self, output: Name) -> tuple[int, ...] | None:
        """The shape of the positions that an operator leaves, `None` where it isn't fixed."""
        return self.axes.shapes.get(output)

    def follow(
        self, operator: Any, names: Sequence[Name], output: Name, *, kind: str, rule: Callable[[Any], Operation] | None
    ) -> None:
        """Note the positions of an output of an operator that reads the tensors `names`; `rule` translates the step."""
        first = next((self.positions[name] for name in names if name in self.positions), None)
        shape = self.shape_after(output)
        if first is None:
            return
        if shape is None:
            self.positions[output] = first.give_up("its shape isn't fixed", ())
        elif any(name in self.axes.data and name not in self.positions for name in names):
            self.positions[output] = first.give_up("another input of the model comes in", shape)
        else:
            self.positions[output] = follow(rule, self.step(self, operator, names, output, tuple(shape)), first, kind)
