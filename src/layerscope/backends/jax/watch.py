"""One run of a model of a JAX library with every call of a module seen, with the values that it really computes.

Compiled functions run as plain Python (`jax.disable_jit`). Inside `vmap` a module sees one example of many: there its
output goes through a function with a batching rule of its own, which is given the whole batch.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from ..common.fault import call_model
from ..common.run import Stop
from .outputs import parts_of, with_arrays


class Call(NamedTuple):
    """A call of a module that ended.

    `arguments` are its (args, kwargs); `parts` are the arrays of its output by subpath, as the module sees them, and `values`
    the same with the axes of `mapped` surrounding vmaps in front. `number` counts the calls of this path.
    """

    path: str
    module: Any
    arguments: Any
    parts: Mapping[str, Any]
    values: Mapping[str, Any] = {}
    number: int = 0
    mapped: int = 0


OnCall = Callable[[Call], Mapping[str, Any] | None]


@dataclass
class Watch:
    """The state of one run. `on_call` receives each `Call` when it ends; what it returns by subpath replaces the output.

    `on_start` receives each module before it runs, `on_call` those of the paths that `wants` names; `ran` are all that did.
    `reads` tells whether the model took numbers of an array to Python, in a run in which that is told. `marker` is set while a
    batch runs example by example under one vmap: a value that has the batch's axis for sure. While `differentiating`,
    what `on_call` returns must become part of what JAX traces; else the values of a traced function (`jax.checkpoint`)
    are waited for.
    """

    on_call: OnCall
    on_start: Callable[[str, Any], None] = lambda path, module: None
    wants: Callable[[str], bool] = lambda path: True
    marker: Any = None
    differentiating: bool = False
    late: Stop | None = None
    counts: Counter[str] = field(default_factory=Counter)
    traced: set[str] = field(default_factory=set)
    ran: set[str] = field(default_factory=set)
    reads: bool = False
    reporting: bool = False

    def note_read(self) -> None:
        """Note that the numbers of an array were taken to Python: by the model, unless a call is being reported."""
        self.reads = self.reads or not self.reporting

    def call(self, path: str, module: Any, function: Callable[..., Any], arguments: tuple[Any, Any]) -> Any:
        """What `function` returns for the (args, kwargs) of `arguments`, noted as a call of `module`."""
        if self.late is not None:
            raise self.late
        self.on_start(path, module)
        args, kwargs = arguments
        output = call_model(function, *args, **kwargs)
        self.ran.add(path)
        if not self.wants(path):
            return output
        parts = parts_of(output)
        arrays = list(parts.values())
        take = functools.partial(self._take, Call(path, module, arguments, parts))
        if self.marker is not None or any(isinstance(array, tracers().batched) for array in arrays):
            after = _unmap(jnp.zeros(()) if self.marker is None else self.marker, arrays, take)
        else:
            after = take(arrays, 0)
        replaced = {id(old): new for old, new in zip(arrays, after, strict=True) if new is not old}
        return with_arrays(output, replaced) if replaced else output

    def _take(self, call: Call, values: Sequence[Any], mapped: int) -> Sequence[Any]:
        """What replaces `values`, which have the axes of `mapped` vmaps; a traced function has its values later."""
        if any(type(value).__name__ == "JaxprTracer" for value in values):
            # linen's scan traces its body once more, to see what doesn't change
            return values
        if not self.differentiating and any(isinstance(value, tracers().staged) for value in values):
            self.traced.add(call.path)
            jax.debug.callback(functools.partial(self._report_late, call, mapped), *values)
            return values
        return self._report(call, values, mapped)

    def _report_late(self, call: Call, mapped: int, *values: Any) -> None:
        """Report values that JAX sends when a traced function runs."""
        try:
            self._report(call, values, mapped)
        except Stop as stop:
            # JAX would print what comes out of a callback.
            self.late = stop

    def _report(self, call: Call, values: Sequence[Any], mapped: int) -> Sequence[Any]:
        """Give a call to `on_call`, and return the values passed on."""
        number = self.counts[call.path]
        self.counts[call.path] += 1
        by_subpath = dict(zip(call.parts, values, strict=True))
        self.reporting = True
        try:
            replaced = self.on_call(call._replace(values=by_subpath, number=number, mapped=mapped))
        finally:
            self.reporting = False
        return list({**by_subpath, **replaced}.values()) if replaced else values


class Tracers(NamedTuple):
    """The types of the values inside `vmap`, and inside a function that is only traced."""

    batched: type
    staged: type


@functools.cache
def tracers() -> Tracers:
    """The types of JAX's tracers, as JAX itself makes them."""
    types: list[type] = []

    def note_type(value: Any) -> Any:
        types.append(type(value))
        return value

    with jax.ensure_compile_time_eval():
        jax.vmap(note_type)(jnp.zeros(1))
        jax.eval_shape(note_type, jnp.zeros(1))
    return Tracers(*types)


def _unmap(
    marker: Any, arrays: Sequence[Any], take: Callable[[Sequence[Any], int], Sequence[Any]], mapped: int = 0
) -> Sequence[Any]:
    """`take` with the values of all examples of the surrounding vmaps, the outermost axis first."""

    @custom_vmap
    def identity(*values: Any) -> tuple[Any, ...]:
        return values

    @identity.def_vmap
    def rule(size: int, batched: Sequence[bool], *values: Any) -> tuple[tuple[Any, ...], tuple[bool, ...]]:
        first, *rest = values
        whole = [
            value if of_batch else jnp.broadcast_to(value, (size, *value.shape))
            for value, of_batch in zip(rest, batched[1:], strict=True)
        ]
        if any(isinstance(value, tracers().batched) for value in (first, *whole)):
            after = _unmap(first, whole, take, mapped + 1)
        else:
            after = take(whole, mapped + 1)
        return (first, *after), (batched[0], *(True for _ in after))

    return list(identity(marker, *arrays))[1:]


_current: ContextVar[Watch | None] = ContextVar("layerscope_jax_watch", default=None)


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Inside, modules with a `reporting` call tell `watch`, and nothing is compiled."""
    token = _current.set(watch)
    try:
        with jax.disable_jit():
            yield
    finally:
        _current.reset(token)


def current() -> Watch | None:
    """The watch in force."""
    return _current.get()


def reporting_call(cls: Any, path_of: Callable[[Any], str | None]) -> Callable[..., Any]:
    """A `__call__` that does what that of `cls` does, which may be an object (`nnx.jit`), and tells the watch in force."""
    original = cls.__call__

    @functools.wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch, path = _current.get(), path_of(self)
        if watch is None or path is None:
            return call_model(original, self, *args, **kwargs)
        return watch.call(path, self, functools.partial(original, self), (args, kwargs))

    return __call__
