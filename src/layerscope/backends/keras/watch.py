"""One run of a Keras model with every call of a layer seen, and everything put back afterwards.

`Layer.__call__` and `Operation.__call__` are watched on the class while the model runs eagerly: that reaches layers at
any depth and in every kind of model, on every framework under Keras, where a sub-model reaches only flat ones.
"""

from __future__ import annotations

import contextlib
import functools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .attention import NAME, AttentionMap, attended
from .engine import Engine, Watched
from .names import ROOT, Child, Names, Place, is_a, is_graph, is_layer, of_library


class Stop(BaseException):
    """Ends a run early. Keras wraps each `Exception` on its way out, so this is none."""


@dataclass(frozen=True)
class Call:
    """One call of a layer that ended: where, its number there (from 0), on what, and what it returned."""

    layer: Any
    parent: Any
    place: Place
    number: int
    arguments: Any
    output: Any


@dataclass(frozen=True)
class Frame:
    layer: Any
    place: Place


@dataclass
class Watch:
    """What is known during one run. `ended` gets each `Call` when it ends."""

    model: Any
    engine: Engine
    ended: Callable[[Call], Any]
    counts: Counter[str] = field(default_factory=Counter)
    traced: set[str] = field(default_factory=set)
    restored: set[str] = field(default_factory=set)
    names: Names = field(default_factory=Names)
    written: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    stack: list[Frame] = field(default_factory=list)
    thread: int = field(default_factory=threading.get_ident)
    # Attention weights can cost as much as the layer, so they are computed for whom they are wanted.
    attention: Callable[[str], bool] = field(default=lambda path: True)
    maps: dict[int, AttentionMap] = field(default_factory=dict)

    def through(self, layer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What `original(*args, **kwargs)` returns, noted as a call of `layer`."""
        if self.thread != threading.get_ident() or self.engine.symbolic():
            return original(*args, **kwargs)
        parent = self.stack[-1] if self.stack else Frame(self.model, ROOT)
        if not is_layer(layer) and of_library(parent.layer) and not is_graph(parent.layer):
            # how a layer of the library computes, such as the padding in a ZeroPadding2D
            return original(*args, **kwargs)
        root = layer is self.model and not self.stack
        place = ROOT if root else self.names.place(parent.layer, parent.place, layer)
        self.stack.append(Frame(layer, place))
        try:
            with self.inner_call(layer):
                output = original(*args, **kwargs)
        finally:
            self.stack.pop()
        return self.told(layer, parent.layer, place, (args, kwargs), output)

    def told(self, layer: Any, parent: Any, place: Place, arguments: Any, output: Any) -> Any:
        """What the model goes on with, after `ended` has heard of the call."""
        if self.is_result(output, place):
            number = self.counts[place.path]
            self.counts[place.path] += 1
            replaced = self.ended(Call(layer, parent, place, number, arguments, output))
            if replaced is not None:
                output = replaced
        return output

    def attend(self, layer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What the inside of an attention returns, with its weights noted as a call of `attention_map`."""
        output, weights = original(layer, *args, **kwargs)
        frame = self.stack[-1] if self.stack else Frame(self.model, ROOT)
        place = frame.place.inner(Child(NAME, NAME, layer))
        inside = frame.layer is layer and self.is_result(output, place)
        if not inside or not self.attention(place.path):
            return output, weights
        # What runs again to find the weights is not a call of the model's.
        with _watching(None):
            found = attended(layer, original, args, kwargs, output, weights)
        if len(found.weights.shape) != 4:
            return output, weights
        map_ = self.maps.setdefault(id(layer), AttentionMap())
        map_.note = found.note
        after = self.told(map_, layer, place, (found.given, {}), found.weights)
        if self.engine.gradients or after is not found.weights:
            return self.engine.einsum(layer._combine_equation, after, found.value), weights
        return output, weights

    def is_result(self, output: Any, place: Place) -> bool:
        """Whether an output holds numbers, or something that isn't a tensor of a graph or a compiled loop."""
        for each in self.engine.flatten(output):
            if self.engine.placeholder(each):
                return False
            if isinstance(each, self.engine.tensor) and not self.engine.concrete(each):
                self.traced.add(place.path)
                return False
        return True

    @contextlib.contextmanager
    def inner_call(self, layer: Any) -> Iterator[None]:
        """Wrappers such as TimeDistributed run `inner.call` without calling the inner layer: watched as well."""
        inner: Any = layer.layer if is_a(layer, "Wrapper") else None
        if not is_layer(inner) or "call" in vars(inner):
            yield
            return
        original = inner.call

        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.stack and self.stack[-1].layer is inner:
                return original(*args, **kwargs)
            return self.through(inner, original, args, kwargs)

        vars(inner)["call"] = watched
        try:
            yield
        finally:
            vars(inner).pop("call", None)

    def keep(self, variable: Any) -> None:
        """Note what a variable holds before it is written to for the first time."""
        if self.thread == threading.get_ident() and id(variable) not in self.written:
            self.written[id(variable)] = (variable, self.engine.frozen(variable))


_watch: ContextVar[Watch | None] = ContextVar("layerscope_keras_watch", default=None)


_lock = threading.Lock()


_originals: dict[tuple[type, str], Any] = {}


_users: Counter[tuple[type, str]] = Counter()


def _layer_call(original: Any) -> Any:
    @functools.wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch = _watch.get()
        if watch is None:
            return original(self, *args, **kwargs)
        return watch.through(self, functools.partial(original, self), args, kwargs)

    return __call__


def _operation_call(original: Any) -> Any:
    @functools.wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch = _watch.get()
        # a layer comes here from its own `__call__`
        if watch is None or is_layer(self):
            return original(self, *args, **kwargs)
        return watch.through(self, functools.partial(original, self), args, kwargs)

    return __call__


def _write(original: Any) -> Any:
    @functools.wraps(original)
    def write(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch = _watch.get()
        if watch is not None:
            watch.keep(self)
        return original(self, *args, **kwargs)

    return write


def _attention_call(original: Any) -> Any:
    @functools.wraps(original)
    def _compute_attention(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch = _watch.get()
        if watch is None or watch.thread != threading.get_ident() or watch.engine.symbolic():
            return original(self, *args, **kwargs)
        return watch.attend(self, original, args, kwargs)

    return _compute_attention


def _function_call(original: Any) -> Any:
    @functools.wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch = _watch.get()
        if watch is None or watch.thread != threading.get_ident() or watch.engine.symbolic():
            return original(self, *args, **kwargs)
        # a compiled graph shows nothing of the layers in it; of one that was read from a SavedModel there is no code
        if type(self).__name__ == "RestoredFunction":
            watch.restored.add((watch.stack[-1].place if watch.stack else ROOT).path)
            return original(self, *args, **kwargs)
        return self.python_function(*args, **kwargs)

    return __call__


WATCHES: dict[str, Callable[[Any], Any]] = {
    "layer": _layer_call, "operation": _operation_call, "write": _write, "function": _function_call,
    "attention": _attention_call,
}  # fmt: skip


@contextlib.contextmanager
def _patched(watched: list[Watched]) -> Iterator[None]:
    """The watched methods on the classes while at least one run lasts, in any thread."""
    with _lock:
        for owner, name, sort in watched:
            if not _users[owner, name]:
                _originals[owner, name] = vars(owner)[name]
                setattr(owner, name, WATCHES[sort](vars(owner)[name]))
            _users[owner, name] += 1
    try:
        yield
    finally:
        with _lock:
            for owner, name, _ in watched:
                _users[owner, name] -= 1
                if not _users[owner, name]:
                    setattr(owner, name, _originals.pop((owner, name)))


def run(
    model: Any,
    engine: Engine,
    forward: Callable[[], Any],
    ended: Callable[[Call], Any],
    wanted: Callable[[str], bool] = lambda path: False,
) -> Watch:
    """Run `forward`, give each call to `ended`, put back what the run changed, and return the `Watch`.

    `wanted` says of which paths attention weights are needed.
    """
    watch = Watch(model, engine, ended, attention=wanted, names=Names(engine.numbers()))
    with _patched(engine.watched()), _watching(watch), _as_found(model, watch), contextlib.suppress(Stop):
        forward()
    return watch


@contextlib.contextmanager
def _watching(watch: Watch | None) -> Iterator[None]:
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


@contextlib.contextmanager
def _as_found(model: Any, watch: Watch) -> Iterator[None]:
    """Variables, losses, modes of torch modules and random state as they were, whatever happens inside."""
    before = {id(each) for each in watch.engine.variables(model)}
    layers = list(model._flatten_layers())
    losses = [watch.engine.kept(each) for each in layers]
    modes = [
        (module, module.training) for each in layers if is_a(each, "TorchModuleWrapper") for module in each.modules()
    ]
    python, legacy = random.getstate(), np.random.get_state()
    try:
        with watch.engine.inference():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
        for module, training in modes:
            module.training = training
        for put_back in losses:
            put_back()
        # what the run itself built has no state to go back to
        built = {id(each) for each in watch.engine.variables(model)} - before
        for variable, content in watch.written.values():
            if id(variable) not in built:
                variable.assign(content)
