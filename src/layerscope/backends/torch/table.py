"""The table of a PyTorch model's layers, from one dry run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ...core.layer import ATTENTION_MAP, Layer, rectifier
from ...core.note import Note
from ..common.outputs import quoted
from ..common.run import count_images, dry_run
from ..common.table import Calls
from ..common.tokens import located
from ..protocol import SteadyLayers
from . import attention
from .axes import Axes, Output
from .field import Fields
from .functions import FUNCTION, Operation, alone, kind_of_function, makes_weights, unwatch
from .hooks import add_hook, hooked
from .isolation import run_replica
from .model import forward, kind_of
from .outputs import is_mapped, main_part, padded, parts_of
from .reads import reads
from .recorder import Wanted
from .tree import ModulesByName, named_modules_of


def layers(model: torch.nn.Module, batch: Any) -> list[Layer]:
    """The table of a model's layers, from one dry run with the first image of a batch, or with all that may belong to it."""

    def run(part: Any, images: int, replica: torch.nn.Module) -> list[Layer]:
        lasting = {name for name, _ in named_modules_of(replica)}
        record = Record(replica, images)
        watch = DryRunWatch(record)
        with hooked() as handles, watch:
            handles.append(replica.register_forward_pre_hook(record.start, with_kwargs=True))
            for name, module in replica.named_modules():
                if not makes_weights(name):
                    handles.append(add_hook(module, record.hook(name, module)))
            handles += watch.register_hooks(replica, record.entered)
            with record.fields:
                forward(replica, part)
        if record.axes.flow.without_images and images < count_images(batch):
            raise OneImageLost
        rows = record.table(replica, lasting)
        return SteadyLayers(rows) if watch.steady else rows

    # `squeeze()` takes the axis of a single image away, and no layer behind it is as in the run of all.
    return dry_run(batch, lambda part, images: run_replica(model, partial(run, part, images), to_the_end=True))


class OneImageLost(Exception):
    """A run of one image of several has no axis of images at its end."""


MAPPED = "runs inside torch.vmap, where a layer has no values of its own: capture the module around it, or one after it"
NEW = (
    "made by the forward pass itself, each time anew: run the model once, so that it keeps this layer, and open it then"
)


class DryRunWatch(attention.InnerWatch):
    """Follows the axes through every function, reports attention weights and functions, and sees whether values are read."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.attended, record.operated)
        self.steady = True  # as long as the model hasn't asked what is in a tensor
        self._record = record
        self._follow = record.axes.flow.follow

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.steady = self.steady and not reads(func, args)
        if func in attention.SOFTMAX:
            self._record.scores = args[0] if args else None
        out = self.called(func, args, kwargs)
        self._record.scores = None
        if not isinstance(out, torch.Tensor | tuple | list) or isinstance(out, torch.Size):
            return out  # a size, a type: asked for far more often than anything is computed
        with unwatch():
            self._follow(func, args, kwargs, out)
            return self._functions.reported(func, args, kwargs, out)


class Record:
    """The dry run: which module ran when, with outputs of which shape and axes."""

    def __init__(self, model: torch.nn.Module, images: int) -> None:
        self.fields = Fields()
        self.axes = Axes(model, images, self.fields)
        self.calls = Calls()
        self._latest: dict[str, tuple[str, Any]] = {}
        self.scores: torch.Tensor | None = None
        self._weights: dict[torch.nn.Module, dict[int, int | None]] = {}

    def start(self, model: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.calls.steps:
            with unwatch():
                self.fields.start(model, (args, kwargs))
                self.axes.start((args, kwargs))

    def entered(self, name: str, module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        with unwatch():
            self.axes.entered(name, module, inputs)

    def attended(self, weights: attention.Weights) -> None:
        """A row for attention weights, before that of the module they are computed in."""
        scores = self.scores if weights.origin == attention.COMPUTED else None
        alone = weights.origin == attention.RETURNED
        layer = self.axes.attention(weights.name, weights.tensor, scores, alone=alone)
        note = "; ".join(filter(None, (weights.origin, layer.note)))
        path = f"{weights.name}.{attention.NAME}".lstrip(".")
        self._add_inner(replace(layer, path=path, kind=ATTENTION_MAP, note=note), weights.tensor)

    def operated(self, operation: Operation) -> None:
        """A row for what a function gave, where its axes could be followed."""
        hidden = is_mapped(operation.output) or operation.output.is_nested
        layer = None if hidden else self.axes.function(operation.name, operation.output)
        if layer is None:
            return
        path = f"{operation.name}.{operation.address}".lstrip(".")
        self._add_inner(replace(layer, path=path, kind=kind_of_function(operation.function)), operation.output)
        self._latest[operation.name] = path, weakref.ref(operation.output)

    def _add_inner(self, layer: Layer, tensor: torch.Tensor) -> None:
        """A call of what is made inside a module."""
        layer = replace(layer, calls=1, step=self.calls.steps)
        rows = {"": layer}
        self.calls.add(layer.path, "", rows)
        self.axes.keep(tensor, rows, "")

    def _forget_what_is_the_output(self, name: str, output: Any) -> None:
        """The last function of a module without children made its output: one row, the module's, is enough."""
        path, latest = self._latest.pop(name, ("", lambda: None))
        if latest() is output and output is not None:
            self.calls.remove_last(path)

    def hook(self, name: str, module: torch.nn.Module) -> Callable[..., None]:
        def ended(ending: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if ending is module:  # not a copy that the model made of it
                with unwatch():
                    self._end(name, module, inputs, output)

        return ended

    def _end(self, name: str, module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if alone(module):
            self._forget_what_is_the_output(name, output)
        parts = parts_of(output)
        own: dict[str, Any] = {
            "kind": kind_of(module),
            "calls": 1,
            "step": self.calls.steps,
            "parameters": self._parameters(module),
            "usual_name": _usual_name(module),
        }
        rows = {}
        for part, tensor in parts.items():
            if is_mapped(tensor):
                rows[part] = Layer(name, note=Note("vmap", MAPPED), **own)
                continue
            tensor = padded(tensor)
            layer = self.axes.layer(Output(name, module, inputs, part, tensor))
            layer = layer if layer.axes else located(layer, self.fields.get(tensor))
            rows[part] = replace(layer, **own)
        self.calls.add(name, main_part(parts), rows)
        for part in rows:
            self.axes.keep(parts[part], rows, part)

    def _parameters(self, module: torch.nn.Module) -> int | None:
        """The number of weights of a module and all inside it, each once; `None` while a lazy one has no shape yet."""
        counts = self._sizes(module).values()
        return None if None in counts else sum(count for count in counts if count is not None)

    def _sizes(self, module: torch.nn.Module) -> dict[int, int | None]:
        """The size of each tensor of weights in a module, by its identity; found once for each module."""
        if module not in self._weights:
            own = [parameter for parameter in module._parameters.values() if parameter is not None]
            sizes: dict[int, int | None] = {
                id(tensor): None if torch.nn.parameter.is_lazy(tensor) else tensor.numel() for tensor in own
            }
            for child in module.children():
                sizes |= self._sizes(child)
            self._weights[module] = sizes
        return self._weights[module]

    def table(self, model: torch.nn.Module, lasting: Collection[str]) -> list[Layer]:
        """The rows: those that ran in the order in which their first call ended, then the others with the reason.

        `lasting` are the names of the modules that the model had before.
        """
        names, modules = _all_names(model), dict(model.named_modules())
        all_modules = ModulesByName(model)

        def name_part(path: str, part: str) -> str:
            wanted = Wanted.find(all_modules, path + part)
            means_it = wanted.module is all_modules[path] and wanted.part == part and wanted.call is None
            return path + part if means_it and not (wanted.attention or wanted.function) else path + quoted(part)

        rows: list[Layer] = []
        for name in self.calls.paths():
            if name in modules and name not in lasting:
                continue
            aliases = names[modules[name]] if name in modules else _inner_names(name, modules)
            rows += self.calls.rows(name, aliases, len(rows), name_part)
        for name, module in modules.items():
            if name not in self.calls or name not in lasting:
                note = NEW if name not in lasting else _why_not(model, name, module, self.calls)
                rows.append(
                    Layer(name, kind_of(module), index=len(rows), note=note, parameters=self._parameters(module))
                )
        return rows


def _inner_names(path: str, modules: dict[str, Any]) -> list[str]:
    """Names of what is made inside a module: `block.add()` is found as `block.add` too, unless that is a module."""
    if FUNCTION.fullmatch(path) is None:
        return [path]
    short = path.removesuffix("()")
    return [path] if short in modules else [path, short]


def _all_names(model: torch.nn.Module) -> dict[torch.nn.Module, list[str]]:
    names: dict[torch.nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    return names


def _usual_name(module: torch.nn.Module) -> str:
    """What a module is called elsewhere, where its class says something else."""
    return rectifier(module.min_val, module.max_val) if type(module) is torch.nn.Hardtanh else ""


def _why_not(model: torch.nn.Module, name: str, module: torch.nn.Module, calls: Calls) -> str:
    """The reason why a module has no output, as far as it can be known."""
    if makes_weights(name):
        return "a parametrization: it computes a weight of the module around it, not a feature map"
    if isinstance(module, torch.nn.ModuleList | torch.nn.ModuleDict | torch.nn.ParameterList | torch.nn.ParameterDict):
        return "a container: its members run, not the container itself"
    parent = model.get_submodule(name.rpartition(".")[0]) if name else model
    if name and isinstance(parent, torch.jit.ScriptModule):
        return "inside TorchScript, where layers can't be watched: only the scripted module as a whole can"
    if isinstance(parent, torch.nn.MultiheadAttention):
        return "bypassed: MultiheadAttention uses its weights directly"
    if calls.inside(name):
        return "a container: its members were called one by one"
    return "did not run in this forward pass (unused, bypassed, or called through .forward())"
