"""Receptive fields of PyTorch tensors, followed through every ATen operation of the dry run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..common.fault import call_model
from ..common.field import Positions, constant, first_with_fields, image_positions
from ..common.field_rules import follow
from ..common.run import TensorMap
from .canvas import Region, paste, region_of
from .field_rules import RANDOM, RULES, Rule, Step, elementwise, tensors_in
from .outputs import parts_of


class Operator(NamedTuple):
    """What is known of an operator before it runs: how it is translated, whether it is made of others, makes a view, writes."""

    name: str
    rule: Rule | None
    composite: bool
    view: bool
    random: bool
    writes: bool


# Names of parameters and buffers that hold no tokens.
NO_TOKENS = re.compile(r"weight|bias|pos|running|num_|scale|gamma|alpha|mask|index|table|freq")

# They take only the shape or the type of a tensor.
CREATES = frozenset(
    f"{prefix}{kind}{suffix}"
    for kind in ("empty", "zeros", "ones", "full")
    for prefix, suffix in (("", "_like"), ("new_", ""))
)

INPUT_AXES = {4: "bchw", 5: "bcdhw"}
COLORS = (1, 3)


class Fields(TorchDispatchMode):
    """A mode that gives each tensor that is made while it is active its `Positions`. It holds no tensor alive."""

    # Operators that take functions (flex attention) pass through, and what they give is unknown.
    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._held: TensorMap[tuple[Positions, int]] = TensorMap()
        self._frames: TensorMap[Region] = TensorMap()  # of arrays made by the model: where it wrote first

    def start(self, model: torch.nn.Module, arguments: Any) -> None:
        """Note the model's input: the one floating tensor that can be an image; with more of them, nothing is followed.

        Parameters that may hold tokens are known by their names.
        """
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            last = name.rpartition(".")[2]
            if tensor.ndim and not NO_TOKENS.search(last) and not torch.nn.parameter.is_lazy(tensor):
                self.set(tensor, constant(tuple(tensor.shape), last))
        images = [part for part in parts_of(arguments).values() if part.is_floating_point() and part.ndim >= 3]
        if len(images) == 1:
            (image,) = images
            sequence = any(isinstance(module, torch.nn.Conv1d) for module in model.modules())
            axes = INPUT_AXES.get(image.ndim) or ("bcn" if sequence and image.ndim == 3 else None)
            if image.ndim == 5 and image.shape[2] in COLORS and image.shape[1] not in COLORS:
                axes = "bdchw"  # frames of a clip, as in transformers
            elif image.ndim == 4 and image.shape[3] == 3 < min(image.shape[1:3]):
                axes = "bhwc"  # as in a model that came from TensorFlow
            if axes:
                self.set(image, image_positions(axes, image.shape))

    def get(self, tensor: torch.Tensor) -> Positions | None:
        entry = self._held.get(tensor)
        if entry is None:
            return None
        positions, version = entry
        if _version(tensor) != version:
            return positions.give_up("written to in place through another view", tuple(tensor.shape))
        return positions

    def set(self, tensor: torch.Tensor, positions: Positions, version: int | None = None) -> None:
        """Note the positions of a tensor that has been written to `version` times."""
        self._held.set(tensor, (positions, _version(tensor) if version is None else version))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(tensor.is_nested for tensor in tensors_in([*args, *kwargs.values()])):
            return call_model(func, *args, **kwargs)  # rows of their own lengths have no places
        operator = _operator(func)
        if operator.composite:
            # Inside inference_mode, composite operators come here whole.
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        # Read before the operation runs, which may write into its arguments.
        known = {
            id(tensor): positions for tensor in tensors_in([*args, *kwargs.values()]) if (positions := self.get(tensor))
        }
        output = call_model(func, *args, **kwargs)
        if operator.random:
            for tensor in tensors_in([output]):
                self.set(tensor, constant(tuple(tensor.shape), RANDOM))
        elif operator.name not in CREATES and any(positions.fields or positions.origin for positions in known.values()):
            for index, tensor in enumerate(tensors_in([output])):
                self._follow(operator, Step(args, kwargs, known, tuple(tensor.shape), index), tensor)
        return output

    def _follow(self, operator: Operator, step: Step, tensor: torch.Tensor) -> None:
        """Note the positions of a tensor that an operation has made."""
        args, first = step.args, first_with_fields(list(step.known.values()))
        positions = follow(operator.rule, step, first, operator.name)
        # torch counts what was written, and has a view share its tensor's count, only after this.
        written = operator.writes and any(tensor is argument for argument in args)
        shares = args[0] if operator.view else tensor
        self.set(tensor, positions, _version(shares) + int(written and not tensor.is_inference()))
        if written and tensor._base is not None:
            self._paint(tensor._base, tensor, positions, args[1:2])

    def _paint(self, base: torch.Tensor, view: torch.Tensor, part: Positions, sources: Sequence[Any]) -> None:
        """Note the positions of an array after a part of it was written, at first or among others."""
        shape, (held, version) = tuple(base.shape), self._held.get(base) or (None, 0)
        region, frame = region_of(base, view), self._frames.get(base)
        if region is None or (held is not None and version != _version(base)):
            self.set(base, part.give_up("written to part by part", shape), _version(base) + 1)
            return
        if held is None or not held.fields:
            self._frames.set(base, region)
            after = paste(part, region, shape)
        elif frame is not None and region.outside(frame) and any(_base_of(source) is base for source in sources):
            after = held  # a frame of what is inside, such as its other end: padding
        else:
            new = paste(part, region, shape)
            after = held.combine([new]).unplace_parts([held, new])
        self.set(base, after, _version(base) + 1)


def _base_of(value: Any) -> torch.Tensor | None:
    return value._base if isinstance(value, torch.Tensor) else None


@cache
def _operator(func: Any) -> Operator:
    name = str(func).removeprefix("aten.").partition(".")[0]
    rule = RULES.get(name, RULES.get(name.rstrip("_")))
    if rule is None and torch.Tag.pointwise in getattr(func, "tags", ()):
        rule = elementwise
    composite = rule is None and bool(getattr(func, "_can_decompose", None) and func._can_decompose())
    # Dropout passes its input on.
    random = torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()) and rule is None
    writes = bool(getattr(getattr(func, "_schema", None), "is_mutable", False))
    return Operator(name, rule, composite, bool(getattr(func, "is_view", False)), random, writes)


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor was written to, also through its views."""
    return 0 if tensor.is_inference() else tensor._version
