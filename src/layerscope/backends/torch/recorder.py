"""Recording what was asked for in one run of a PyTorch model: copies on the host, and the stop once everything is there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ...core.layer import split_call, times
from ...errors import LayerNotCalled, unknown_layer
from ..common.outputs import unquoted
from ..common.run import Stop, until_stopped
from ..protocol import Captured, Pick
from . import attention
from .functions import FUNCTION, FunctionWatch, ModuleWatch, Operation, unwatch
from .hooks import add_hook, hooked, looks_at_hooks
from .keeping import LEAST, Habits, Keeper, MemoryWatch, Taken
from .outputs import as_captured, is_plain, main_part, parts_of, plain_copy
from .tree import ModulesByName


@dataclass(eq=False, slots=True)
class Wanted:
    """One requested path: the module, the part of its output, the call (`None`: all), the channels (`None`: all)."""

    path: str
    module: torch.nn.Module
    part: str | None
    call: int | None
    pick: Pick | None

    def main_or_part(self, parts: Mapping[str, torch.Tensor]) -> str:
        """Which part of an output is meant."""
        if self.part is None:
            return main_part(parts)
        return self.part if self.part in parts else unquoted(self.part)

    @property
    def attention(self) -> bool:
        """Whether the attention weights computed inside the module are meant."""
        return self.part == f".{attention.NAME}"

    @property
    def function(self) -> bool:
        """Whether a function called in the module's forward is meant."""
        return bool(FUNCTION.fullmatch(self.part or ""))

    @property
    def inner(self) -> str:
        """What is made inside the module, if that is meant: attention weights, a function; else `""`."""
        if self.part is None:
            return ""
        return attention.NAME if self.attention else "function" if self.function else ""

    @property
    def source(self) -> Any:
        """What the calls are counted of."""
        return (self.module, self.part) if self.part is not None and self.inner else self.module

    @classmethod
    def find_all(
        cls, model: torch.nn.Module, paths: Iterable[str], picks: Mapping[str, Pick] | None = None
    ) -> list[Wanted]:
        """What the paths stand for in a model. Raises `LayerNotFound`."""
        modules, picks = ModulesByName(model), picks or {}
        return [cls.find(modules, path, picks.get(path)) for path in paths]

    @classmethod
    def find(cls, modules: ModulesByName, path: str, pick: Pick | None = None) -> Wanted:
        """What a path stands for among the modules of a model. Raises `LayerNotFound`."""
        if (module := modules[path]) is not None:
            return cls(path, module, None, None, pick)
        base, call = split_call(path)
        if (module := modules[base]) is not None:
            return cls(path, module, None, call, pick)
        if base == attention.NAME or re.fullmatch(r"\w+\(\)", base):
            return cls(path, modules.model, f".{base}", call, pick)
        # A part of an output: `mha[1]`, `.logits`; the longest module name in front of it wins.
        for separator in reversed(list(re.finditer(r"[.\[]", base))):
            name, part = base[: separator.start()], base[separator.start() :]
            if (module := modules[name]) is not None:
                return cls(path, module, part, call, pick)
        raise unknown_layer(path, modules.all_names())


class Recorder:
    """Takes what was asked for from hooks and watches, and stops the run when it has everything.

    Outputs are copied, but for those that can be kept as they are by the `habits` of the model.
    """

    def __init__(
        self, wanted: Sequence[Wanted], replica: torch.nn.Module | None = None, habits: Habits | None = None
    ) -> None:
        self.wanted = wanted
        self.inner = frozenset(kind for request in wanted if request.part is not None and (kind := request.inner))
        self.keeper = None
        if replica is not None and habits is not None:
            self.keeper = Keeper(habits, replica, watched=bool(self.inner), alone=len(wanted) == 1)
        self.calls: dict[Any, int] = {}
        self.taken: list[tuple[Wanted, int, Any]] = []
        # By source and call: of thousands of layers, each asks for its own alone.
        self.requests: dict[tuple[Any, int | None], list[Wanted]] = {}
        for request in wanted:
            self.requests.setdefault((request.source, request.call), []).append(request)
        self.missing = set(self.requests)
        # One request for one whole output, as nearly all.
        self.whole = {
            key: requests[0]
            for key, requests in self.requests.items()
            if len(requests) == 1 and requests[0].part is None and requests[0].pick is None
            if (key[0], None) not in self.requests
        }
        self.endless = any(request.call is None for request in wanted)

    def hook(self, module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        """The forward hook of a module: takes what was asked for of its output; the value passed on, `None` for its own."""
        call = self.calls.get(module, 0)
        self.calls[module] = call + 1
        request = self.whole.get((module, call))
        if request is not None:
            with unwatch():
                small = is_plain(output) and (self.keeper is None or output.numel() < LEAST)
                if small:
                    self.taken.append((request, call, plain_copy(output)))
            if small:
                self._stop_after(module, call)
                return None
        self.take_output(module, call, output)
        return None

    def take_output(self, module: torch.nn.Module, call: int, output: Any) -> None:
        """Take what was asked for of a module's output."""
        requests = self._requests(module, call)
        if not requests:
            return
        if len(requests) == 1 and requests[0].part is None and isinstance(output, torch.Tensor):  # as nearly all
            self.take(requests[0], call, output)
        else:
            parts = parts_of(output)
            for request in requests:
                part = request.main_or_part(parts)
                if part in parts:
                    self.take(request, call, parts[part])
        self._stop_after(module, call)

    def attended(self, weights: attention.Weights) -> torch.Tensor | None:
        """Takes attention weights as they are computed; the value passed on, `None` for the model's own."""
        self.take_inside((weights.module, f".{attention.NAME}"), weights.tensor)
        return None

    def operated(self, operation: Operation) -> torch.Tensor | None:
        """Takes what a function gave; the value passed on, `None` for the model's own."""
        self.take_inside((operation.module, f".{operation.address}"), operation.output)
        return None

    def take_inside(self, source: Any, tensor: torch.Tensor) -> None:
        """Take a tensor that was made inside a module, if it was asked for."""
        call = self._count(source)
        for request in self._requests(source, call):
            self.take(request, call, tensor)
        self._stop_after(source, call)

    @property
    def sources(self) -> Iterable[Any]:
        """What the calls are counted of, each once."""
        return dict.fromkeys(source for source, _ in self.requests)

    def wants(self, source: Any) -> bool:
        """Whether the next call of this source was asked for."""
        return bool(self._requests(source, self.calls.get(source, 0)))

    def watch(self) -> TorchFunctionMode | None:
        """The watch that the layers asked for need; hooks on modules need none."""
        ask = None if self.keeper is None else self.keeper.ask
        asked = {request.module for request in self.wanted if request.function}.__contains__
        if attention.NAME in self.inner:
            attending = {request.module for request in self.wanted if request.attention}.__contains__
            if len(self.inner) > 1:
                return attention.InnerWatch(self.attended, self.operated, attending, asked, ask=ask)
            return attention.AttentionWatch(self.attended, attending, ask=ask)
        if self.inner:
            return FunctionWatch(self.operated, asked, ask=ask)
        return MemoryWatch(self.keeper.ask) if self.keeper is not None and self.keeper.watches else None

    def take(self, wanted: Wanted, call: int, tensor: torch.Tensor) -> None:
        """Keep one tensor, or a copy of it."""
        with unwatch():
            kept = None
            if self.keeper is not None and wanted.pick is None and tensor.numel() >= LEAST:
                last = not self.endless and self.missing == {(wanted.source, wanted.call)}
                kept = self.keeper.take((wanted.path, call, type(wanted.module)), tensor, last=last)
            self.taken.append((wanted, call, as_captured(tensor, wanted.pick) if kept is None else kept))

    def results(self) -> dict[str, Captured]:
        """What was taken, under the names of the contract, in execution order; raises where something is missing."""
        settled = {}
        if self.keeper is not None:
            settled = self.keeper.settle(kept for _, _, kept in self.taken if isinstance(kept, Taken))
        results = {}
        unnumbered = Counter(id(request) for request, _, _ in self.taken if request.call is None)
        for request, call, captured in self.taken:
            again = request.call is None and unnumbered[id(request)] > 1
            results[f"{request.path}:{call}" if again else request.path] = settled.get(id(captured), captured)
        taken = {id(request) for request, _, _ in self.taken}
        for request in self.wanted:
            if id(request) not in taken:
                raise LayerNotCalled(f"layer {request.path!r} has no output: {self._why_missing(request)}")
        return results

    def _requests(self, source: Any, call: int) -> list[Wanted]:
        """What was asked for of this call of a source."""
        every = self.requests.get((source, None), []) if self.endless else []
        return [*every, *self.requests.get((source, call), ())]

    def _count(self, source: Any) -> int:
        """The number of this call of a source."""
        call = self.calls.get(source, 0)
        self.calls[source] = call + 1
        return call

    def _stop_after(self, source: Any, call: int) -> None:
        """Stop the run where this call was the last that was missing."""
        self.missing.discard((source, call))
        if not self.endless and not self.missing:
            raise Stop(self)

    def _why_missing(self, wanted: Wanted) -> str:
        ran = self.calls.get(wanted.source, 0)
        if not ran:
            return "it did not run in this forward pass"
        if wanted.call is not None and wanted.call >= ran:
            return f"it ran {times(ran)} in this forward pass"
        return f"its output has no tensor {wanted.part or ''}".rstrip()


@contextmanager
def recording(replica: torch.nn.Module, recorder: Recorder) -> Iterator[None]:
    """Around a run of a replica in which `recorder` takes what it wants, which it may end early."""
    with hooked() as handles, ExitStack() as watching:
        hook, unseen = recorder.hook, not looks_at_hooks(replica)
        for module in [source for source in recorder.sources if isinstance(source, torch.nn.Module)]:
            handles.append(add_hook(module, hook, unseen=unseen))
        watch = recorder.watch()
        if watch is not None:
            if isinstance(watch, ModuleWatch):
                handles += watch.register_hooks(replica, unseen=unseen)
            watching.enter_context(watch)
        with until_stopped(recorder):
            yield
