"""What a target asks of a PyTorch model: gradients of layers, and its scores while layers return other values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...errors import BadOption, GradientsUnavailable, LayerscopeError, one_line
from ...surface import by_surface
from ..common.outputs import apply_change, rebuild
from ..common.run import first_input
from ..protocol import Captured, Change, Target
from . import attention
from .functions import Operation
from .isolation import run_replica
from .model import forward
from .outputs import AIM, as_captured
from .recorder import Recorder, Wanted, recording


def scores(model: torch.nn.Module, batch: Any, target: Target, changes: Mapping[str, Change]) -> list[float]:
    """The target's number for each image, while some layers return other values."""

    def run(replica: torch.nn.Module) -> list[float]:
        changer = Changer(Wanted.find_all(replica, changes), changes)
        with recording(replica, changer):
            numbers = AIM.numbers(forward(replica, batch), target, len(first_input(batch)))
        changer.results()
        return numbers

    return run_replica(model, run)


class GradientRecorder(Recorder):
    """Takes values as nodes of the graph, lets the model run on with copies of them, and differentiates in the end.

    The copies keep an in-place operation of the next layer away from the node; where nothing before it asks for gradients (a
    frozen model), the node starts the graph itself, so no parameter's `requires_grad` has to be touched.
    """

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        super().__init__(wanted)
        self.whole = {}  # each goes through `take`
        self.nodes: list[torch.Tensor | None] = []
        self.endless = True
        self.differentiating = False

    def hook(self, module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return super().hook(module, inputs, output)
        node = _node(output)
        super().hook(module, inputs, node)
        return node.clone()

    def attended(self, weights: attention.Weights) -> torch.Tensor | None:
        instead = by_surface(
            "capture it without target=",
            "use a --combine that needs no gradients",
            "choose a combination that needs no gradients",
        )
        _refuse_returned(weights, GradientsUnavailable, f"they have no gradient; {instead}")
        node = _node(weights.tensor)
        super().attended(weights._replace(tensor=node))
        return node.clone()

    def operated(self, operation: Operation) -> torch.Tensor | None:
        output = operation.output
        if not self.wants((operation.module, f".{operation.address}")):
            super().operated(operation)
            return None
        if not operation.in_place:
            node = _node(output)
            super().operated(operation._replace(output=node))
            return node.clone()
        # The tensor that was written into may be passed on, not the one that the function returned.
        node = _node(output.clone() if output.requires_grad else output.detach().clone())
        super().operated(operation._replace(output=node))
        return output.copy_(node)

    def take(self, wanted: Wanted, call: int, tensor: torch.Tensor) -> None:
        if self.differentiating:
            return  # a checkpointed part runs again during the backward pass
        if not torch.is_grad_enabled():
            raise GradientsUnavailable(
                f"layer {wanted.path!r} has no gradient: the model runs it with gradients switched off (torch.no_grad, or"
                " checkpoint(use_reentrant=True))"
            )
        super().take(wanted, call, tensor)
        self.nodes.append(tensor if tensor.requires_grad else None)

    def differentiate(self, output: Any, target: Target) -> None:
        """Give every captured value its gradient: zeros where the target doesn't depend on it."""
        aim = AIM.number(output, target)
        nodes = [node for node in self.nodes if node is not None]
        if not nodes or not aim.requires_grad:
            raise GradientsUnavailable(
                "the target doesn't depend on any of the layers asked for, so they have no gradient"
            )
        self.differentiating = True
        try:
            gradients = iter(torch.autograd.grad(aim, nodes, allow_unused=True))
        except RuntimeError as error:
            raise GradientsUnavailable(
                f"the model can't be differentiated with respect to these layers: {one_line(error)}"
            ) from error
        taken = []
        for (wanted, call, captured), node in zip(self.taken, self.nodes, strict=True):
            if node is None:
                raise GradientsUnavailable(
                    f"layer {wanted.path!r} has no gradient: its output is not a floating-point tensor of the graph"
                )
            gradient = next(gradients)
            values = np.zeros_like(captured.values) if gradient is None else as_captured(gradient, wanted.pick).values
            taken.append((wanted, call, replace(captured, gradient=values)))
        self.taken = taken


class Changer(Recorder):
    """Puts other values in place of what layers return."""

    def __init__(self, wanted: Sequence[Wanted], changes: Mapping[str, Change]) -> None:
        super().__init__(wanted)
        self.whole = {}  # each goes through `take`
        self.changes = changes
        self.endless = True
        self.replacement: torch.Tensor | None = None
        self.replacements: dict[int, torch.Tensor] = {}

    def hook(self, module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        self.replacements = {}
        super().hook(module, inputs, output)
        if not self.replacements:
            return None

        def replaced(_: str, tensor: torch.Tensor) -> torch.Tensor:
            replacement = self.replacements.get(id(tensor))
            if replacement is None:
                return tensor
            # What was written in place may be read where it stands, not where it was returned.
            return tensor.copy_(replacement) if any(tensor is value for value in inputs) else replacement

        return rebuild(output, lambda value: isinstance(value, torch.Tensor), replaced)

    def attended(self, weights: attention.Weights) -> torch.Tensor | None:
        _refuse_returned(weights, BadOption, "changing them would change nothing: change the module itself")
        self.replacement = None
        super().attended(weights)
        return self.replacement

    def operated(self, operation: Operation) -> torch.Tensor | None:
        self.replacement = None
        super().operated(operation)
        if operation.in_place and self.replacement is not None:
            return operation.output.copy_(self.replacement)
        return self.replacement

    def take(self, wanted: Wanted, call: int, tensor: torch.Tensor) -> None:
        values = apply_change(wanted.path, self.changes[wanted.path], as_captured(tensor).values)
        self.replacement = self.replacements[id(tensor)] = tensor_like(values, tensor, wanted.path)
        self.taken.append((wanted, call, Captured(values)))


def _refuse_returned(weights: attention.Weights, kind: type[LayerscopeError], why: str) -> None:
    """Raise where a module returns weights that it doesn't compute its output from."""
    if weights.origin == attention.RETURNED:
        raise kind(
            f"{weights.name + '.' + attention.NAME!r}: MultiheadAttention doesn't compute its output from the weights it"
            f" returns, so {why}"
        )


def tensor_like(values: np.ndarray, tensor: torch.Tensor, path: str) -> torch.Tensor:
    """Numbers as a tensor of the type and on the device of another; in its codes where that is quantised."""
    converted = torch.from_numpy(np.ascontiguousarray(values)).to(tensor.device)
    if not tensor.is_quantized:
        return converted.to(tensor.dtype)
    if tensor.qscheme() != torch.per_tensor_affine:
        raise BadOption(f"{path!r} can't be changed: its quantised values have a scale for each channel")
    return torch.quantize_per_tensor(converted, tensor.q_scale(), tensor.q_zero_point(), tensor.dtype)


def _node(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as a node of the graph; where nothing before it asks for gradients, the graph starts with it."""
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()
