"""The table of a PyTorch model's layers, from one dry run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from ...core.layer import Layer
from . import attention
from .axes import TorchAxes
from .field import FieldTrace
from .run import kind_of, main_part, parts_of
from .watch import FUNCTION, FunctionWatch, alone, kind_of_function, makes_weights, unheard


class DryRunWatch(attention.AttentionWatch):
    """Follows the axes through every function and tells of attention weights and functions; one watch, as each is asked anew
    for every call.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(record.attended)
        self._record = record
        self._follow = record.axes.flow.follow
        self._functions = FunctionWatch(record.operated)
        self._functions.running = self.running

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in attention.SOFTMAX:
            self._record.scores = args[0] if args else None
        out = self.called(func, args, kwargs)
        self._record.scores = None
        if not isinstance(out, torch.Tensor | tuple | list) or isinstance(out, torch.Size):
            return out  # a size, a type: asked for far more often than anything is computed
        with unheard():
            self._follow(func, args, kwargs, out)
            if self.running and isinstance(out, torch.Tensor):
                return self._functions.heard(func, args, kwargs, out)
            return out


class Record:
    """The dry run: which module ran when, with outputs of which shape and axes."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.axes = TorchAxes(model)
        self.fields = FieldTrace()
        self.calls: dict[str, list[list[tuple[str, Layer]]]] = {}
        self.mains: dict[str, str] = {}
        self.order: list[str] = []
        self.steps = 0
        self._made: dict[str, tuple[str, Any]] = {}
        self.scores: torch.Tensor | None = None
        self._weights: dict[torch.nn.Module, dict[int, int | None]] = {}

    def start(self, model: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.steps:
            self.fields.start(model, (args, kwargs))

    def entered(self, name: str, module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        with unheard():
            self.axes.entered(name, module, inputs)

    def attended(self, name: str, module: torch.nn.Module, weights: torch.Tensor, found: str) -> None:
        """A row for attention weights, before that of the module they are computed in."""
        path = f"{name}.{attention.NAME}".lstrip(".")
        scores = self.scores if found == attention.COMPUTED else None
        layer = replace(
            self.axes.attention(name, weights, scores), path=path, kind=attention.KIND, calls=1, step=self.steps
        )
        layer = replace(layer, receptive=self.fields.of(weights), note="; ".join(filter(None, (found, layer.note))))
        if path not in self.calls:
            self.order.append(path)
            self.mains[path] = ""
        self.steps += 1
        self.calls.setdefault(path, []).append([("", layer)])

    def operated(
        self, name: str, module: torch.nn.Module, address: str, function: str, out: torch.Tensor, in_place: bool
    ) -> None:
        """A row for what a function gave, where its axes could be followed."""
        axes = self.axes.function(name, out)
        if axes is None:
            return
        path = f"{name}.{address}".lstrip(".")
        layer = replace(axes, path=path, kind=kind_of_function(function), calls=1, step=self.steps)
        layer = replace(layer, receptive=self.fields.of(out))
        if path not in self.calls:
            self.order.append(path)
            self.mains[path] = ""
        self.steps += 1
        self.calls.setdefault(path, []).append([("", layer)])
        self._made[name] = path, weakref.ref(out)

    def _forget_what_is_the_output(self, name: str, output: Any) -> None:
        """The last function of a module without children made its output: one row, the module's, is enough."""
        path, made = self._made.pop(name, ("", lambda: None))
        if made() is output and output is not None:
            self.calls[path].pop()
            if not self.calls[path]:
                del self.calls[path]
                self.order.remove(path)

    def hook(self, name: str, module: torch.nn.Module) -> Callable[..., None]:
        def seen(_: Any, inputs: tuple[Any, ...], output: Any) -> None:
            with unheard():
                self._ended(name, module, inputs, output)

        return seen

    def _ended(self, name: str, module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if alone(module):
            self._forget_what_is_the_output(name, output)
        parts = parts_of(output)
        found = []
        for part, tensor in parts.items():
            layer = self.axes.layer(name, module, inputs, part, tensor)
            layer = replace(
                layer,
                kind=kind_of(module),
                calls=1,
                step=self.steps,
                parameters=self._parameters(module),
                receptive=self.fields.of(tensor),
            )
            found.append((part, layer))
        self.steps += 1
        if name not in self.calls:
            self.order.append(name)
            self.mains[name] = main_part(parts)
        self.calls.setdefault(name, []).append(found)

    def _parameters(self, module: torch.nn.Module) -> int | None:
        """The number of weights of a module and all inside it, each once; `None` while a lazy one has no shape yet."""
        counts = self._held(module).values()
        return None if None in counts else sum(each for each in counts if each is not None)

    def _held(self, module: torch.nn.Module) -> dict[int, int | None]:
        """The size of each tensor of weights in a module, by its identity; found once for each module."""
        if module not in self._weights:
            own = [each for each in module._parameters.values() if each is not None]
            found: dict[int, int | None] = {
                id(each): None if torch.nn.parameter.is_lazy(each) else each.numel() for each in own
            }
            for child in module.children():
                found |= self._held(child)
            self._weights[module] = found
        return self._weights[module]

    def table(self, model: torch.nn.Module) -> list[Layer]:
        """The rows: those that ran in the order in which their first call ended, then the others with the reason."""
        names, modules = _all_names(model), dict(model.named_modules())
        rows: list[Layer] = []
        for name in self.order:
            found = names[modules[name]] if name in modules else _inner_names(name, names, modules)
            rows += self._rows(name, found, len(rows))
        for name, module in modules.items():
            if name not in self.calls:
                note = _why_not(model, name, module, self.calls)
                rows.append(
                    Layer(name, kind_of(module), index=len(rows), note=note, parameters=self._parameters(module))
                )
        return rows

    def _rows(self, name: str, names: Sequence[str], index: int) -> list[Layer]:
        calls, main = self.calls[name], self.mains[name]
        parts = dict.fromkeys([main, *(part for call in calls for part, _ in call)])
        if not any(calls):
            return [Layer(name, "", index=index, note="its output holds no tensor", aliases=tuple(names[1:]))]
        rows = []
        for at, part in enumerate(parts):
            runs = [layer for call in calls for found, layer in call if found == part]
            is_main = part == main
            note = runs[0].note
            if is_main and len(parts) > 1:
                others = ", ".join(repr(name + each) for each in parts if each != main)
                note = "; ".join(filter(None, (f"{part} of its output; also {others}", note)))
            path = name if is_main else name + part
            aliases = tuple(each + part for each in names if is_main and part) + (tuple(names[1:]) if is_main else ())
            rows.append(_merged(path, index + at, runs, note, aliases))
        return rows


def _merged(path: str, index: int, runs: Sequence[Layer], note: str, aliases: tuple[str, ...]) -> Layer:
    first = runs[0]
    calls: tuple[Layer, ...] = ()
    if len(runs) > 1:
        calls = tuple(replace(each, path=f"{path}:{at}", index=index) for at, each in enumerate(runs))
        if len({each.shape for each in runs}) > 1:
            note = "; ".join(filter(None, (note, "shapes differ between calls")))
    return replace(first, path=path, index=index, calls=len(runs), note=note, aliases=aliases, per_call=calls)


def _inner_names(path: str, names: dict[Any, list[str]], modules: dict[str, Any]) -> list[str]:
    """Names of what is made inside a module: `block.add()` is found as `block.add` too, unless that is a module."""
    found = FUNCTION.fullmatch(path)
    if found is None:
        return [path]
    short = path.removesuffix("()")
    return [path] if short in modules else [path, short]


def _all_names(model: torch.nn.Module) -> dict[torch.nn.Module, list[str]]:
    names: dict[torch.nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    return names


def _why_not(model: torch.nn.Module, name: str, module: torch.nn.Module, ran: dict[str, Any]) -> str:
    """The reason why a module has no output, as far as it can be known."""
    if makes_weights(name):
        return "a parametrization: it makes a weight of the module around it, no feature map"
    if isinstance(module, torch.nn.ModuleList | torch.nn.ModuleDict | torch.nn.ParameterList | torch.nn.ParameterDict):
        return "a container: its members run, it never does itself"
    parent = model.get_submodule(name.rpartition(".")[0]) if name else model
    if isinstance(parent, torch.nn.MultiheadAttention):
        return "bypassed: MultiheadAttention uses its weights directly"
    if any(each.startswith(name + ".") for each in ran):
        return "a container: its members were called one by one"
    return "did not run in this forward pass (unused, bypassed, or called through .forward())"
