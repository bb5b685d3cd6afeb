"""PyTorch: forward hooks that copy what passes, in one run that stops as soon as it can."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import GradientsUnavailable, LayerNotCalled, LayerNotFound, ModelNotReadable, near
from ..layer import Layer, split_call
from . import Captured, Evidence, Facts, Pick, Target
from . import torch_attention as attention
from .torch_axes import TorchAxes
from .torch_evidence import evidence
from .torch_facts import digest, facts
from .torch_load import load, load_weights
from .torch_models import from_torchvision
from .torch_run import Stop, aim_at, as_captured, fed, first_image, left_as_found, main_part, parts_of, unwrapped


class TorchBackend:
    """Reads a `torch.nn.Module`, compiled, parallel or exported (`torch.export`)."""

    name = "torch"
    gradients = True
    picks = True

    def owns(self, model: Any) -> bool:
        # On Keras's torch backend every Keras layer is a module as well, and Keras knows it better.
        if any(each.__module__.partition(".")[0] in ("keras", "tf_keras") for each in type(model).__mro__):
            return False
        return isinstance(model, torch.nn.Module | torch.export.ExportedProgram)

    def facts(self, model: Any) -> Facts:
        return facts(_readable(model))

    def digest(self, model: Any) -> str:
        return digest(_readable(model))

    def evidence(self, model: Any, batch: Any) -> Evidence | None:
        return evidence(_readable(model), batch)

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> Any:
        return load(source, weights, trust)

    def load_weights(self, model: Any, path: Path) -> None:
        load_weights(model, path)

    def from_torchvision(self, name: str, weights: Path | None = None) -> tuple[Any, Any]:
        """The model `torchvision.models.NAME`, and the entry of its default weights."""
        return from_torchvision(name, weights)

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        model = _readable(model)
        record = _Record(model)
        watch = attention.AttentionWatch(record.attended, follow=record.axes.flow.follow)
        with left_as_found(model) as added, watch:
            for name, module in model.named_modules():
                added.append(module.register_forward_pre_hook(record.before(name)))
                added.append(module.register_forward_hook(record.hook(name, module)))
            added += watch.hooked(model)
            fed(model, first_image(batch))
        return record.table(model)

    def capture(
        self,
        model: Any,
        batch: Any,
        paths: Sequence[str],
        target: Target | None = None,
        picks: Mapping[str, Pick] | None = None,
    ) -> dict[str, Captured]:
        model = _readable(model)
        wanted = [_Wanted.find(model, path, (picks or {}).get(path)) for path in paths]
        taker = _Taker(wanted) if target is None else GradientTaker(wanted)
        attending = {each.module for each in wanted if each.attention}
        watch = attention.AttentionWatch(taker.attended, attending.__contains__)
        with left_as_found(model, gradients=target is not None) as added, watch if attending else nullcontext():
            for module in dict.fromkeys(each.module for each in wanted if not each.attention):
                added.append(module.register_forward_hook(taker.hook))
            added += watch.hooked(model) if attending else []
            try:
                output = fed(model, batch)
                if isinstance(taker, GradientTaker):
                    assert target is not None
                    taker.differentiate(output, target)
            except Stop as stop:
                if stop.of is not taker:
                    raise
        return taker.results()


def _readable(model: Any) -> torch.nn.Module:
    model = unwrapped(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelNotReadable(
            "this is a TorchScript module, whose layers can't be watched: give the original nn.Module, or export it anew"
            " with torch.export.save (.pt2)"
        )
    return model


class _Record:
    """The dry run: which module ran when, with outputs of which shape and axes."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.axes = TorchAxes(model)
        self.calls: dict[str, list[list[tuple[str, Layer]]]] = {}
        self.mains: dict[str, str] = {}
        self.order: list[str] = []
        self.steps = 0

    def before(self, name: str) -> Callable[..., None]:
        def entered(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            self.axes.entered(name, module, inputs)

        return entered

    def attended(self, name: str, module: torch.nn.Module, weights: torch.Tensor, found: str) -> None:
        """A row for attention weights, before that of the module they are computed in."""
        path = f"{name}.{attention.NAME}".lstrip(".")
        layer = replace(self.axes.attention(name, weights), path=path, kind=attention.KIND, calls=1, step=self.steps)
        layer = replace(layer, note="; ".join(filter(None, (found, layer.note))))
        if path not in self.calls:
            self.order.append(path)
            self.mains[path] = ""
        self.steps += 1
        self.calls.setdefault(path, []).append([("", layer)])

    def hook(self, name: str, module: torch.nn.Module) -> Callable[..., None]:
        def seen(_: Any, inputs: tuple[Any, ...], output: Any) -> None:
            parts = parts_of(output)
            main = main_part(parts)
            found = []
            for part, tensor in parts.items():
                layer = self.axes.layer(name, module, inputs, part, tensor)
                found.append((part, replace(layer, kind=kind_of(module), calls=1, step=self.steps)))
            self.steps += 1
            if name not in self.calls:
                self.order.append(name)
                self.mains[name] = main
            self.calls.setdefault(name, []).append(found)

        return seen

    def table(self, model: torch.nn.Module) -> list[Layer]:
        """The rows: those that ran in the order in which their first call ended, then the others with the reason."""
        names, modules = _all_names(model), dict(model.named_modules())
        rows: list[Layer] = []
        for name in self.order:
            weights = name.rpartition(".")[2] == attention.NAME and name not in modules
            rows += self._rows(name, [name] if weights else names[modules[name]])
        for name, module in model.named_modules():
            if name not in self.calls:
                rows.append(Layer(name, kind_of(module), note=_why_not(model, name, module, self.calls)))
        return [_numbered(row, at) for at, row in enumerate(rows)]

    def _rows(self, name: str, names: Sequence[str]) -> list[Layer]:
        calls, main = self.calls[name], self.mains[name]
        parts = dict.fromkeys([main, *(part for call in calls for part, _ in call)])
        if not any(calls):
            return [Layer(name, "", calls=0, note="its output holds no tensor", aliases=tuple(names[1:]))]
        rows = []
        for part in parts:
            runs = [layer for call in calls for found, layer in call if found == part]
            is_main = part == main
            note = runs[0].note
            if is_main and len(parts) > 1:
                others = ", ".join(repr(name + each) for each in parts if each != main)
                note = "; ".join(filter(None, (f"{part} of its output; also {others}", note)))
            path = name if is_main else name + part
            aliases = tuple(each + part for each in names if is_main and part) + (tuple(names[1:]) if is_main else ())
            rows.append(_merged(path, runs, note, aliases))
        return rows


def _merged(path: str, runs: Sequence[Layer], note: str, aliases: tuple[str, ...]) -> Layer:
    first = runs[0]
    calls: tuple[Layer, ...] = ()
    if len(runs) > 1:
        calls = tuple(replace(each, path=f"{path}:{at}") for at, each in enumerate(runs))
        if len({each.shape for each in runs}) > 1:
            note = "; ".join(filter(None, (note, "shapes differ between calls")))
    return replace(first, path=path, calls=len(runs), note=note, aliases=aliases, per_call=calls)


def _numbered(row: Layer, at: int) -> Layer:
    return replace(row, index=at, per_call=tuple(replace(each, index=at) for each in row.per_call))


@dataclass(frozen=True, eq=False)
class _Wanted:
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
    def source(self) -> Any:
        """What the calls are counted of."""
        return (self.module, self.part) if self.attention else self.module

    @classmethod
    def find(cls, model: torch.nn.Module, path: str, pick: Pick | None = None) -> _Wanted:
        modules = dict(model.named_modules(remove_duplicate=False))
        base, call = split_call(path)
        if path in modules or base in modules:
            base, call = (path, None) if path in modules else (base, call)
            return cls(path, base, modules[base], None, call, pick)
        if base == attention.NAME:
            return cls(path, base, model, f".{attention.NAME}", call, pick)
        # A part of an output: `mha[1]`, `.logits`; the longest module name in front of it wins.
        for found in reversed(list(re.finditer(r"[.\[]", base))):
            name = base[: found.start()]
            if name in modules:
                return cls(path, base, modules[name], base[found.start() :], call, pick)
        raise LayerNotFound(f"no layer {path!r}.{near(path, modules)} layers() lists them all")


class _Taker:
    """The hook that copies what was asked for and stops the run when it has everything."""

    def __init__(self, wanted: Sequence[_Wanted]) -> None:
        self.wanted = wanted
        self.seen: dict[Any, int] = {}
        self.taken: list[tuple[_Wanted, int, Captured]] = []
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
        source = (module, f".{attention.NAME}")
        call = self.seen.get(source, 0)
        self.seen[source] = call + 1
        for each in self.wanted:
            if each.source == source and each.call in (None, call):
                self.take(each, call, weights)
        self.done(source, call)
        return None

    def done(self, source: Any, call: int) -> None:
        """Stop the run where this call was the last that was missing."""
        self.missing.discard((source, call))
        if not self.endless and not self.missing:
            raise Stop(self)

    def take(self, wanted: _Wanted, call: int, tensor: torch.Tensor) -> None:
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

    def _why(self, wanted: _Wanted) -> str:
        ran = self.seen.get(wanted.source, 0)
        if not ran:
            return "it did not run in this forward pass"
        if wanted.call is not None and wanted.call >= ran:
            return f"it ran {ran} times in this forward pass"
        return f"its output has no tensor {wanted.part or ''}".rstrip()


class GradientTaker(_Taker):
    """Takes values as nodes of the graph, lets the model run on with copies of them, and differentiates in the end.

    The copies keep an in-place operation of the next layer away from the node; where nothing before it asks for gradients (a
    frozen model), the node starts the graph itself, so no parameter's `requires_grad` has to be touched.
    """

    def __init__(self, wanted: Sequence[_Wanted]) -> None:
        super().__init__(wanted)
        self.nodes: list[torch.Tensor | None] = []
        self.endless = True

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

    def take(self, wanted: _Wanted, call: int, tensor: torch.Tensor) -> None:
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


def kind_of(module: torch.nn.Module) -> str:
    """The module's class name, its original one where `torch.export` kept it."""
    name = type(module).__name__
    original = getattr(module, "type_name", None) if callable(getattr(module, "type_name", None)) else None
    kept = original() if original else None
    return kept.rpartition(".")[2] if isinstance(kept, str) and kept else name


def _all_names(model: torch.nn.Module) -> dict[torch.nn.Module, list[str]]:
    names: dict[torch.nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    return names


def _why_not(model: torch.nn.Module, name: str, module: torch.nn.Module, ran: dict[str, Any]) -> str:
    """The reason why a module has no output, as far as it can be known."""
    if isinstance(module, torch.nn.ModuleList | torch.nn.ModuleDict | torch.nn.ParameterList | torch.nn.ParameterDict):
        return "a container: its members run, it never does itself"
    parent = model.get_submodule(name.rpartition(".")[0]) if name else model
    if isinstance(parent, torch.nn.MultiheadAttention):
        return "bypassed: MultiheadAttention uses its weights directly"
    if isinstance(parent, torch.nn.TransformerEncoderLayer | torch.nn.TransformerEncoder):
        return "bypassed: the encoder layer around it runs fused in evaluation mode"
    if any(each.startswith(name + ".") for each in ran):
        return "a container: its members were called one by one"
    return "did not run in this forward pass (unused, bypassed, or called through .forward())"
