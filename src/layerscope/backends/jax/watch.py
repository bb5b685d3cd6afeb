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

from .outputs import packed, parts_of


class Stop(BaseException):
    """Ends a run that has given all that was asked for. Not an `Exception`, which models catch."""

    def __init__(self, of: object) -> None:
        self.of = of


class Call(NamedTuple):
    """A call of a module that ended.

    `number` counts the calls of this path; `parts` are the arrays of its output by place, as the module sees them, and
    `values` the same with the axes of `mapped` surrounding vmaps in front.
    """

    path: str
    module: Any
    number: int
    arguments: Any
    parts: Mapping[str, Any]
    values: Mapping[str, Any]
    mapped: int


Ended = Callable[[Call], Mapping[str, Any] | None]


@dataclass
class Watch:
    """What is known during one run. `ended` gets each `Call`; what it returns by place, the model goes on with.

    `marker` is set while a batch runs example by example under one vmap: a value that has the batch's axis for sure.
    `started` hears of each call before it runs, `ended` of those of the paths that `wants` names; `ran` are all that
    did. While `differentiating`, what `ended` returns must become part of what JAX traces; else the values of a traced
    function (`jax.checkpoint`) are waited for.
    """

    ended: Ended
    started: Callable[[str, Any], None] = lambda path, module: None
    wants: Callable[[str], bool] = lambda path: True
    marker: Any = None
    differentiating: bool = False
    late: Stop | None = None
    counts: Counter[str] = field(default_factory=Counter)
    traced: set[str] = field(default_factory=set)
    ran: set[str] = field(default_factory=set)

    def through(self, path: str, module: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What `call(*args, **kwargs)` returns, noted as a call of `module`."""
        if self.late is not None:
            raise self.late
        self.started(path, module)
        output = call(*args, **kwargs)
        self.ran.add(path)
        if not self.wants(path):
            return output
        parts = parts_of(output)
        leaves = list(parts.values())

        def take(values: Sequence[Any], mapped: int) -> Sequence[Any]:
            if any(type(each).__name__ == "JaxprTracer" for each in values):
                # linen's scan traces its body once more, to see what doesn't change
                return values
            if not self.differentiating and any(isinstance(each, tracers().staged) for each in values):
                self.traced.add(path)
                jax.debug.callback(functools.partial(later, mapped), *values)
                return values
            return told(values, mapped)

        def later(mapped: int, *values: Any) -> None:
            try:
                told(values, mapped)
            except Stop as stop:
                # JAX would print what comes out of a callback.
                self.late = stop

        def told(values: Sequence[Any], mapped: int) -> Sequence[Any]:
            number = self.counts[path]
            self.counts[path] += 1
            by_place = dict(zip(parts, values, strict=True))
            replaced = self.ended(Call(path, module, number, (args, kwargs), parts, by_place, mapped))
            return list({**by_place, **replaced}.values()) if replaced else values

        if self.marker is not None or any(isinstance(each, tracers().batched) for each in leaves):
            after = _unmapped(jnp.zeros(()) if self.marker is None else self.marker, leaves, take)
        else:
            after = take(leaves, 0)
        new = {id(old): each for old, each in zip(leaves, after, strict=True) if each is not old}
        return packed(output, new) if new else output


class Tracers(NamedTuple):
    batched: type
    staged: type


@functools.cache
def tracers() -> Tracers:
    """The types of the values inside `vmap` and inside a function that is only traced, asked of JAX itself."""
    found: list[type] = []

    def seen(value: Any) -> Any:
        found.append(type(value))
        return value

    with jax.ensure_compile_time_eval():
        jax.vmap(seen)(jnp.zeros(1))
        jax.eval_shape(seen, jnp.zeros(1))
    return Tracers(*found)


def _unmapped(
    marker: Any, leaves: Sequence[Any], take: Callable[[Sequence[Any], int], Sequence[Any]], mapped: int = 0
) -> Sequence[Any]:
    """`take` with the values of all examples of the surrounding vmaps, the outermost axis first."""

    @custom_vmap
    def passed(*given: Any) -> tuple[Any, ...]:
        return given

    @passed.def_vmap
    def rule(size: int, batched: Sequence[bool], *given: Any) -> tuple[tuple[Any, ...], tuple[bool, ...]]:
        first, *rest = given
        whole = [
            each if of_batch else jnp.broadcast_to(each, (size, *each.shape))
            for each, of_batch in zip(rest, batched[1:], strict=True)
        ]
        if any(isinstance(each, tracers().batched) for each in (first, *whole)):
            after = _unmapped(first, whole, take, mapped + 1)
        else:
            after = take(whole, mapped + 1)
        return (first, *after), (batched[0], *(True for _ in after))

    return list(passed(marker, *leaves))[1:]


_current: ContextVar[Watch | None] = ContextVar("layerscope_jax_watch", default=None)


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Inside, modules that are `noted` report to `watch`, and nothing is compiled."""
    token = _current.set(watch)
    try:
        with jax.disable_jit():
            yield
    finally:
        _current.reset(token)


def noted(path_of: Callable[[Any], str | None], original: Callable[..., Any]) -> Callable[..., Any]:
    """A `__call__` that reports to the watch in force."""

    @functools.wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch, path = _current.get(), path_of(self)
        if watch is None or path is None:
            return original(self, *args, **kwargs)
        return watch.through(path, self, functools.partial(original, self), args, kwargs)

    return __call__
