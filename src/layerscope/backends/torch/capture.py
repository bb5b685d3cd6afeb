"""Taking what was asked for out of one run of a PyTorch model: copies, the stop, and gradients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ...core.layer import split_call
from ...errors import BadOption, GradientsUnavailable, LayerNotCalled, LayerNotFound, near
from ..common.outputs import changed, rebuilt
from ..protocol import Captured, Change, Pick, Target
from . import attention
from .run import Stop, aim_at, as_captured, main_part, parts_of
from .watch import FUNCTION, FunctionWatch, ModuleWatch


@dataclass(frozen=True, eq=False)
class Wanted:
    """One requested path: the module, the part of its output, the call (`None`: all), the channels (`None`: all)."""

    path: str
    base: str
    module: torch.nn.Module
    part: str | None
    call: int | None
    pick: Pick | None

    @property
    def attention(self) -> bool:
        """Whether the attention weights computed inside the module are meant."""
        return self.part == f".{attention.NAME}"

    @property
    def function(self) -> bool:
        """Whether a function called in the module's forward is meant."""
        return bool(FUNCTION.fullmatch(self.part or ""))

    @property
    def source(self) -> Any:
        """What the calls are counted of."""
        return (self.module, self.part) if self.attention or self.function else self.module

    @classmethod
    def find(cls, model: torch.nn.Module, path: str, pick: Pick | None = None) -> Wanted:
        modules = dict(model.named_modules(remove_duplicate=False))
        base, call = split_call(path)
        if path in modules or base in modules:
            base, call = (path, None) if path in modules else (base, call)
            return cls(path, base, modules[base], None, call, pick)
        if base == attention.NAME or re.fullmatch(r"\w+\(\)", base):
            return cls(path, base, model, f".{base}", call, pick)
        # A part of an output: `mha[1]`, `.logits`; the longest module name in front of it wins.
        for found in reversed(list(re.finditer(r"[.\[]", base))):
            name = base[: found.start()]
            if name in modules:
                return cls(path, base, modules[name], base[found.start() :], call, pick)
        raise LayerNotFound(f"no layer {path!r}.{near(path, modules)} layers() lists them all")


class Taker:
    """The hook that copies what was asked for and stops the run when it has everything."""

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self.wanted = wanted
        self.seen: dict[Any, int] = {}
        self.taken: list[tuple[Wanted, int, Captured]] = []
        self.missing = {(each.source, each.call) for each in wanted}
        self.endless = any(each.call is None for each in wanted)

    def hook(self, module: torch.nn.Module, _: Any, output: Any) -> None:
        call = self.seen.get(module, 0)
        self.seen[module] = call + 1
        parts = parts_of(output)
        for each in self.wanted:
            if each.source is module and each.call in (None, call):
                part = main_part(parts) if each.part is None else each.part
                if part in parts:
                    self.take(each, call, parts[part])
        self.done(module, call)

    def attended(self, name: str, module: torch.nn.Module, weights: torch.Tensor, found: str) -> torch.Tensor | None:
        """Attention weights as they come by; what the model goes on with, `None` for its own."""
        self.inside((module, f".{attention.NAME}"), weights)
        return None

    def operated(
        self, name: str, module: torch.nn.Module, address: str, function: str, out: torch.Tensor, in_place: bool
    ) -> torch.Tensor | None:
        """What a function gave, as it comes by; what the model goes on with, `None` for its own."""
        self.inside((module, f".{address}"), out)
        return None

    def inside(self, source: Any, tensor: torch.Tensor) -> None:
        """Take a tensor that was made inside a module, if it was asked for."""
        call = self.seen.get(source, 0)
        self.seen[source] = call + 1
        for each in self.wanted:
            if each.source == source and each.call in (None, call):
                self.take(each, call, tensor)
        self.done(source, call)

    def wants(self, source: Any) -> bool:
        """Whether the next call of this source was asked for."""
        call = self.seen.get(source, 0)
        return any(each.source == source and each.call in (None, call) for each in self.wanted)

    def watches(self) -> list[ModuleWatch]:
        """The watches that the layers asked for need; hooks on modules need none."""
        attending = {each.module for each in self.wanted if each.attention}
        found: list[ModuleWatch] = []
        if attending:
            found.append(attention.AttentionWatch(self.attended, attending.__contains__))
        if any(each.function for each in self.wanted):
            found.append(FunctionWatch(self.operated))
        return found

    def done(self, source: Any, call: int) -> None:
        """Stop the run where this call was the last that was missing."""
        self.missing.discard((source, call))
        if not self.endless and not self.missing:
            raise Stop(self)

    def take(self, wanted: Wanted, call: int, tensor: torch.Tensor) -> None:
        self.taken.append((wanted, call, as_captured(tensor, wanted.pick)))

    def results(self) -> dict[str, Captured]:
        results = {}
        for each, call, captured in self.taken:
            again = each.call is None and sum(other is each for other, _, _ in self.taken) > 1
            results[f"{each.path}:{call}" if again else each.path] = captured
        for each in self.wanted:
            if not any(other is each for other, _, _ in self.taken):
                raise LayerNotCalled(f"layer {each.path!r} has no output: {self._why(each)}")
        return results

    def _why(self, wanted: Wanted) -> str:
        ran = self.seen.get(wanted.source, 0)
        if not ran:
            return "it did not run in this forward pass"
        if wanted.call is not None and wanted.call >= ran:
            return f"it ran {ran} times in this forward pass"
        return f"its output has no tensor {wanted.part or ''}".rstrip()


class GradientTaker(Taker):
    """Takes values as nodes of the graph, lets the model run on with copies of them, and differentiates in the end.

    The copies keep an in-place operation of the next layer away from the node; where nothing before it asks for gradients (a
    frozen model), the node starts the graph itself, so no parameter's `requires_grad` has to be touched.
    """

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        super().__init__(wanted)
        self.nodes: list[torch.Tensor | None] = []
        self.endless = True
        self.differentiating = False

    def hook(self, module: torch.nn.Module, given: Any, output: Any) -> Any:
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            super().hook(module, given, output)
            return None
        node = output if output.requires_grad else output.detach().requires_grad_()
        super().hook(module, given, node)
        return node.clone()

    def attended(self, name: str, module: torch.nn.Module, weights: torch.Tensor, found: str) -> torch.Tensor | None:
        if found == attention.RETURNED:
            raise GradientsUnavailable(
                f"{name + '.' + attention.NAME!r}: MultiheadAttention doesn't compute its output from the weights it returns,"
                " so they have no gradient; capture it without target="
            )
        node = weights if weights.requires_grad else weights.detach().requires_grad_()
        super().attended(name, module, node, found)
        return node.clone()

    def operated(
        self, name: str, module: torch.nn.Module, address: str, function: str, out: torch.Tensor, in_place: bool
    ) -> torch.Tensor | None:
        if not self.wants((module, f".{address}")):
            super().operated(name, module, address, function, out, in_place)
            return None
        if not in_place:
            node = out if out.requires_grad else out.detach().requires_grad_()
            super().operated(name, module, address, function, node, in_place)
            return node.clone()
        # The model may go on with the tensor that was written into, not with what the function returned.
        node = out.clone() if out.requires_grad else out.detach().clone().requires_grad_()
        super().operated(name, module, address, function, node, in_place)
        return out.copy_(node)

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
        aim = aim_at(output, target)
        nodes = [each for each in self.nodes if each is not None]
        if not nodes or not aim.requires_grad:
            raise GradientsUnavailable(
                "the target doesn't depend on any of the layers asked for, so they have no gradient"
            )
        self.differentiating = True
        try:
            found = torch.autograd.grad(aim, nodes, allow_unused=True)
        except RuntimeError as error:
            raise GradientsUnavailable(f"the model can't be differentiated to these layers: {error}") from error
        gradients = iter(found)
        taken = []
        for (wanted, call, captured), node in zip(self.taken, self.nodes, strict=True):
            if node is None:
                raise GradientsUnavailable(
                    f"layer {wanted.path!r} has no gradient: its output is no floating tensor of the graph"
                )
            gradient = next(gradients)
            values = np.zeros_like(captured.values) if gradient is None else as_captured(gradient, wanted.pick).values
            taken.append((wanted, call, replace(captured, gradient=values)))
        self.taken = taken


class Changer(Taker):
    """Puts other values in the place of what layers return."""

    def __init__(self, wanted: Sequence[Wanted], changes: Mapping[str, Change]) -> None:
        super().__init__(wanted)
        self.changes = changes
        self.endless = True
        self.changed: torch.Tensor | None = None
        self.instead: dict[int, torch.Tensor] = {}

    def hook(self, module: torch.nn.Module, given: Any, output: Any) -> Any:
        self.instead = {}
        super().hook(module, given, output)
        if not self.instead:
            return None

        def new(_: str, tensor: torch.Tensor) -> torch.Tensor:
            changed = self.instead.get(id(tensor))
            if changed is None:
                return tensor
            # What was written in place may be read where it stands, not where it was returned.
            return tensor.copy_(changed) if any(tensor is each for each in given) else changed

        return rebuilt(output, lambda each: isinstance(each, torch.Tensor), new)

    def attended(self, name: str, module: torch.nn.Module, weights: torch.Tensor, found: str) -> torch.Tensor | None:
        if found == attention.RETURNED:
            raise BadOption(
                f"{name + '.' + attention.NAME!r}: MultiheadAttention doesn't compute its output from the weights it returns,"
                " so changing them would change nothing: change the module itself"
            )
        self.changed = None
        super().attended(name, module, weights, found)
        return self.changed

    def operated(
        self, name: str, module: torch.nn.Module, address: str, function: str, out: torch.Tensor, in_place: bool
    ) -> torch.Tensor | None:
        self.changed = None
        super().operated(name, module, address, function, out, in_place)
        return out.copy_(self.changed) if in_place and self.changed is not None else self.changed

    def take(self, wanted: Wanted, call: int, tensor: torch.Tensor) -> None:
        values = changed(wanted.path, self.changes[wanted.path], as_captured(tensor).values)
        self.changed = self.instead[id(tensor)] = tensor_like(values, tensor, wanted.path)
        self.taken.append((wanted, call, Captured(values)))


def tensor_like(values: np.ndarray, tensor: torch.Tensor, path: str) -> torch.Tensor:
    """Numbers as a tensor of the type and on the device of another; in its codes where that is quantised."""
    made = torch.from_numpy(np.ascontiguousarray(values)).to(tensor.device)
    if not tensor.is_quantized:
        return made.to(tensor.dtype)
    if tensor.qscheme() != torch.per_tensor_affine:
        raise BadOption(f"{path!r} can't be changed: its codes have a scale for each channel")
    return torch.quantize_per_tensor(made, tensor.q_scale(), tensor.q_zero_point(), tensor.dtype)
