"""What the numbers of a PyTorch model's output are: the activation of its head."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..common.activation import LINEAR, OVER_IMAGES, REGRESSION, SIGMOID_LOGITS, SOFTMAX_LOGITS, follow
from ..common.run import TensorMap, dry_run
from .functions import base_name, plain_name, unwatch
from .isolation import run_replica
from .model import forward
from .outputs import main_part, parts_of

PROBLEMS = {
    "single_label_classification": SOFTMAX_LOGITS,
    "multi_label_classification": SIGMOID_LOGITS,
    "regression": REGRESSION,
}


def activation(model: torch.nn.Module, batch: Any) -> str:
    """As `Backend.activation`, from one run of the first image with every function followed."""

    def run(part: Any, replica: torch.nn.Module) -> str:
        watch = _ActivationWatch()
        with watch:
            output = forward(replica, part)
        parts = parts_of(output)
        return watch.of(parts.get(main_part(parts)))

    numbers = dry_run(batch, lambda part, _: run_replica(model, partial(run, part)))
    problem = getattr(getattr(model, "config", None), "problem_type", None)  # of transformers
    return PROBLEMS.get(str(problem), numbers) if numbers in (LINEAR, "") else numbers


class _ActivationWatch(TorchFunctionMode):
    """Knows of each tensor what its numbers are."""

    def __init__(self) -> None:
        super().__init__()
        self._known: TensorMap[str] = TensorMap()

    def of(self, tensor: Any) -> str:
        return self._known.get(tensor) or ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with unwatch():
            before = [self._known.get(tensor) for tensor in _tensors((*args, *kwargs.values()))]
        out = func(*args, **kwargs)
        with unwatch():
            name, _ = plain_name(base_name(func))
            if name.endswith("softmax") and _along_images(args, kwargs):
                name += OVER_IMAGES
            # what isn't known of is a weight, or what no step has followed yet
            numbers = follow(name, [known for known in before if known is not None])
            # `logits[:, 0] = …` gives nothing, and writes into the tensor.
            for tensor in _tensors((args[0] if name == "setitem" else out,)):
                self._known.set(tensor, numbers)
        return out


def _along_images(args: Any, kwargs: Any) -> bool:
    """Whether a softmax goes along the first axis."""
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    rank = getattr(args[0] if args else kwargs.get("input"), "ndim", 0)
    return isinstance(dim, int) and rank > 1 and dim in (0, -rank)


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)
