"""One run of a Keras model with every call of a layer seen, and everything restored afterwards.

`Layer.__call__` and `Operation.__call__` are watched on the class while the model runs eagerly: that reaches layers at
any depth and in every kind of model, on every framework under Keras, where a sub-model reaches only flat ones.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..common.fault import call_model
from ..common.run import Stop, keep_random_state, others_running
from .attention import NAME, AttentionMap, attention_weights
from .engine import Engine, WatchedMethod
from .model import KerasModel
from .state import State
from .tree import ROOT, Child, Location, Names, is_a, is_graph, is_layer, is_library_class


class Call(NamedTuple):
    """One call of a layer that ended: where, its number there (from 0), its arguments, and what it returned."""

    layer: Any
    parent: Any
    location: Location
    number: int
    arguments: Any
    output: Any


class Frame(NamedTuple):
    """A call of a layer that has not ended."""

    layer: Any
    location: Location


@dataclass
class Watch:
    """The state of one run. `on_call` receives each `Call` when it ends; what it returns, if not `None`, replaces the output.

    `attention` tells of which paths attention weights are wanted: they can cost as much as the layer. `traced` and
    `restored` collect the paths of layers in a compiled loop or a SavedModel's graph, `written` what variables held before.
    """

    model: KerasModel
    on_call: Callable[[Call], Any]
    attention: Callable[[str], bool]
    names: Names
    counts: Counter[str] = field(default_factory=Counter)
    traced: set[str] = field(default_factory=set)
    restored: set[str] = field(default_factory=set)
    written: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    stack: list[Frame] = field(default_factory=list)
    thread: int = field(default_factory=threading.get_ident)
    silent: bool = False
    maps: dict[int, AttentionMap] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        """The engine of the model's library."""
        return self.model.engine

    @property
    def frame(self) -> Frame:
        """The innermost call that has not ended, else the model itself."""
        return self.stack[-1] if self.stack else Frame(self.model.root, ROOT)

    def applies(self) -> bool:
        """Whether the code that runs now is this run's own: no other thread's, no inference of shapes."""
        return self.thread == threading.get_ident() and not self.silent and not self.engine.infers_shapes()

    def call(self, layer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What `original(*args, **kwargs)` returns, noted as a call of `layer`."""
        if not self.applies():
            return call_model(original, *args, **kwargs)
        parent, location = self.frame
        if not is_layer(layer) and is_library_class(type(parent)) and not is_graph(parent):
            # how a layer of the library computes, such as the padding in a ZeroPadding2D
            return call_model(original, *args, **kwargs)
        root = layer is self.model.root and not self.stack
        location = ROOT if root else self.names.locate(parent, location, layer)
        self.stack.append(Frame(layer, location))
        try:
            with self.watch_wrapped(layer):
                output = call_model(original, *args, **kwargs)
        finally:
            self.stack.pop()
        return self.report(Call(layer, parent, location, self.counts[location.path], (args, kwargs), output))

    def report(self, call: Call) -> Any:
        """The value passed on after a call."""
        if not self.is_result(call.output, call.location):
            return call.output
        self.counts[call.location.path] += 1
        replaced = self.on_call(call)
        return call.output if replaced is None else replaced

    def call_attention(self, compute: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What the inside of an attention returns, with its weights noted as a call of `attention_map`."""
        layer = args[0]
        output, weights = call_model(compute, *args, **kwargs)
        location = self.frame.location.inner(Child(NAME, NAME, layer))
        own = self.frame.layer is layer and self.is_result(output, location)
        if not own or not self.attention(location.path):
            return output, weights
        # What runs again to find the weights is not a call of the model's.
        with _watching(None):
            attention = attention_weights(compute, args, kwargs, weights)
        if len(attention.weights.shape) != 4:
            return output, weights
        stand_in = self.maps.setdefault(id(layer), AttentionMap())
        stand_in.note = attention.note
        number = self.counts[location.path]
        after = self.report(Call(stand_in, layer, location, number, (attention.inputs, {}), attention.weights))
        if self.engine.gradients or after is not attention.weights:
            return self.engine.einsum(layer._combine_equation, after, attention.value), weights
        return output, weights

    def call_function(self, function: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A compiled function by its Python code, since a graph shows nothing of its layers."""
        if type(function).__name__ == "RestoredFunction":  # read from a SavedModel: there is no code
            self.restored.add(self.frame.location.path)
            return call_model(original, function, *args, **kwargs)
        return call_model(function.python_function, *args, **kwargs)

    def is_result(self, output: Any, location: Location) -> bool:
        """Whether an output holds numbers, or something that isn't a tensor of a graph or a compiled loop."""
        engine = self.engine
        for leaf in engine.flatten(output):
            if engine.is_placeholder(leaf):
                return False
            if isinstance(leaf, engine.tensor) and not engine.has_values(leaf):
                self.traced.add(location.path)
                return False
        return True

    @contextlib.contextmanager
    def watch_wrapped(self, layer: Any) -> Iterator[None]:
        """Wrappers such as TimeDistributed run `inner.call` without calling the inner layer: watched as well."""
        inner: Any = layer.layer if is_a(layer, "Wrapper") else None
        if not is_layer(inner) or "call" in vars(inner):
            yield
            return
        original = inner.call

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.stack and self.stack[-1].layer is inner:
                return call_model(original, *args, **kwargs)
            return self.call(inner, original, args, kwargs)

        vars(inner)["call"] = call
        try:
            yield
        finally:
            vars(inner).pop("call", None)

    def save_variable(self, variable: Any) -> None:
        """Note what a variable holds before it is written to for the first time."""
        if self.thread == threading.get_ident() and id(variable) not in self.written:
            self.written[id(variable)] = (variable, self.engine.snapshot(variable))


_current: ContextVar[Watch | None] = ContextVar("layerscope_keras_watch", default=None)


_lock = threading.RLock()  # a run that was interrupted may be left wherever garbage is collected


_originals: dict[tuple[type, str], Any] = {}


_runs: defaultdict[tuple[type, str], set[object]] = defaultdict(set)


Method = Callable[..., Any]


def _call_layer(watch: Watch, original: Method, args: Any, kwargs: Any) -> Any:
    """`Layer.__call__`."""
    return watch.call(args[0], functools.partial(original, args[0]), args[1:], kwargs)


def _call_operation(watch: Watch, original: Method, args: Any, kwargs: Any) -> Any:
    """`Operation.__call__`."""
    # a layer comes here from its own `__call__`
    return call_model(original, *args, **kwargs) if is_layer(args[0]) else _call_layer(watch, original, args, kwargs)


def _write(watch: Watch, original: Method, args: Any, kwargs: Any) -> Any:
    """A write to a variable."""
    watch.save_variable(args[0])
    return call_model(original, *args, **kwargs)


def _call_attention(watch: Watch, original: Method, args: Any, kwargs: Any) -> Any:
    """`_compute_attention`, the inside of an attention layer."""
    return watch.call_attention(original, args, kwargs) if watch.applies() else call_model(original, *args, **kwargs)


def _call_function(watch: Watch, original: Method, args: Any, kwargs: Any) -> Any:
    """The call of a compiled function."""
    applies = watch.applies()
    return (
        watch.call_function(args[0], original, args[1:], kwargs) if applies else call_model(original, *args, **kwargs)
    )


WATCHES: dict[str, Callable[[Watch, Method, Any, Any], Any]] = {
    "layer": _call_layer,
    "operation": _call_operation,
    "write": _write,
    "function": _call_function,
    "attention": _call_attention,
}


def _watch(original: Method, kind: str) -> Method:
    """A method that tells the watch in force of each call."""
    through = WATCHES[kind]

    @functools.wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        watch = _current.get()
        return call_model(original, *args, **kwargs) if watch is None else through(watch, original, args, kwargs)

    return method


@contextlib.contextmanager
def _patch(methods: list[WatchedMethod]) -> Iterator[None]:
    """The watched methods on the classes while at least one run lasts, in any thread."""
    run = object()
    try:
        try:
            with _lock:
                for owner, name, kind in methods:
                    _runs[owner, name].add(run)
                    if (owner, name) not in _originals:
                        _originals[owner, name] = vars(owner)[name]
                        setattr(owner, name, _watch(vars(owner)[name], kind))
            yield
        finally:
            _unpatch(methods, run)
    finally:
        _unpatch(methods, run)  # a Ctrl-C may have come there


def _unpatch(methods: list[WatchedMethod], run: object) -> None:
    with _lock:
        for owner, name, _ in methods:
            _runs[owner, name].discard(run)
            if not _runs[owner, name] and (owner, name) in _originals:
                setattr(owner, name, _originals[owner, name])
                _originals.pop((owner, name), None)


def run(
    model: KerasModel,
    forward: Callable[[], Any],
    on_call: Callable[[Call], Any],
    attention: Callable[[str], bool] = lambda path: False,
) -> None:
    """Run `forward`, give each call to `on_call`, and restore what the run changed.

    `attention` tells of which paths attention weights are needed.
    """
    with watched_run(model, forward, on_call, attention):
        pass


@contextlib.contextmanager
def watched_run(
    model: KerasModel,
    forward: Callable[[], Any],
    on_call: Callable[[Call], Any],
    attention: Callable[[str], bool] = lambda path: False,
) -> Iterator[Watch]:
    """As `run`; inside, the model is as the run left it, with all layers built that ran."""
    watch = Watch(model, on_call, attention, Names(model.engine.name_counts()))
    with _restore(watch):
        with _patch(model.engine.watched_methods()), _watching(watch), contextlib.suppress(Stop):
            forward()
        yield watch


@contextlib.contextmanager
def _watching(watch: Watch | None) -> Iterator[None]:
    """Inside, `watch` is told of each call in this thread; `None` for nobody."""
    token = _current.set(watch)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def silent(layer: Any) -> Iterator[None]:
    """Inside, calls are layerscope's own, and aren't reported; writes to variables are noted as ever.

    The attributes of `layer` are put back at once, since the run goes on.
    """
    watch = _current.get()
    if watch is None:
        yield
        return
    state = State(layer, watch.engine)
    watch.silent = True
    try:
        yield
    finally:
        watch.silent = False
        state.restore()


@contextlib.contextmanager
def _restore(watch: Watch) -> Iterator[None]:
    """Variables, attributes of layers, automatic names and random state as they were, whatever happens inside."""
    root, engine = watch.model.root, watch.engine
    before = {id(variable): engine.reference(variable) for variable in engine.variables(root)}
    names, state = engine.name_counts(), State(root, engine)
    try:
        with keep_random_state(), engine.inference():
            yield
    finally:
        # what the run itself built has no state to go back to
        built = {id(variable) for variable in engine.variables(root)} - before.keys()
        state.restore()
        if not others_running():
            engine.restore_name_counts(names)
        for variable, content in watch.written.values():
            if id(variable) not in built:
                # on JAX, `predict` moves the contents into arrays of its own while it runs, and then back
                content = before.get(id(variable)) if content is None else content
                if content is not None and not engine.is_gone(content):
                    variable.assign(content)
