"""Flax NNX: a copy of the model at rest, whose modules know their paths and report each call."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from flax import nnx

from .jax_model import Given, at_rest, taken_apart
from .jax_outputs import fed, floating_leaf
from .jax_watch import Watch, noted, watching

TAG = "_layerscope_path"
Steps = tuple[Any, ...]


class NnxModel:
    """An `nnx.Module`, a bound method of one, or a `functools.partial` of either."""

    library = "flax"
    channels_first = False

    def __init__(self, given: Given) -> None:
        self.given = given
        self.name = type(given.module).__name__
        self._places: dict[int, tuple[Any, list[Steps]]] = {}
        for steps, module in _walk(given.module, (), []):
            self._places.setdefault(id(module), (module, []))[1].append(steps)

    @classmethod
    def read(cls, model: Any) -> NnxModel | None:
        given = taken_apart(model)
        return cls(given) if isinstance(given.module, nnx.Module) else None

    def run(self, batch: Any, watch: Watch) -> Any:
        # Whatever a run changes (statistics, streams of random numbers, attributes), it changes in the copy.
        copy = nnx.clone(self.given.module)
        copy.eval()
        for _, ways in self._places.values():
            _tag(_at(copy, ways[0]), ".".join(map(str, ways[0])))
        function = getattr(copy, self.given.method)
        args, kwargs = fed(batch, floating_leaf(nnx.state(copy, nnx.Param)))
        args, kwargs = (*self.given.args, *args), {**self.given.keywords, **kwargs}
        kwargs |= at_rest(copy, function, args, kwargs)
        with watching(watch):
            if self.given.method != "__call__":
                return watch.through("", copy, function, args, kwargs)
            return function(*args, **kwargs)

    def modules(self) -> dict[str, Any]:
        return {".".join(map(str, ways[0])): module for module, ways in self._places.values()}

    def aliases(self) -> dict[str, tuple[str, ...]]:
        found = {}
        for _, (first, *others) in self._places.values():
            found[".".join(map(str, first))] = tuple(".".join(map(str, each)) for each in others)
        return found

    def leaves(self) -> Iterator[tuple[str, Any]]:
        state = nnx.state(self.given.module, nnx.Not(nnx.RngState))
        for steps, variable in nnx.to_flat_state(state):
            yield ".".join(map(str, steps)), variable[...]

    def parameters(self, path: str) -> int | None:
        module = self.modules().get(path)
        if module is None:
            return None
        return sum(each.size for each in jax.tree.leaves(nnx.state(module, nnx.Param)))

    def first(self) -> tuple[str, Any, tuple[int, ...]] | None:
        for path, module in self.modules().items():
            kernel = getattr(module, "kernel", None)
            if isinstance(module, nnx.Conv | nnx.Linear) and kernel is not None:
                return path, module, tuple(kernel.shape)
        return None


def _walk(node: Any, steps: Steps, way: list[int]) -> Iterator[tuple[Steps, Any]]:
    """Every module with each way to it, in the order of the attributes; rings are walked once."""
    if id(node) in way:
        return
    members: Any = ()
    if isinstance(node, nnx.Module):
        yield steps, node
        members = ((name, each) for name, each in vars(node).items() if not name.startswith("_"))
    elif isinstance(node, Mapping):
        members = node.items()
    elif isinstance(node, list | tuple):
        members = enumerate(node)
    for name, each in members:
        yield from _walk(each, (*steps, name), [*way, id(node)])


def _at(node: Any, steps: Steps) -> Any:
    for step in steps:
        node = vars(node)[step] if isinstance(node, nnx.Module) else node[step]
    return node


def _tag(module: Any, path: str) -> None:
    """A module of the copy, from now on one that reports its calls."""
    object.__setattr__(module, TAG, path)
    kind: Any = type(module)
    if callable(module):
        object.__setattr__(module, "__class__", _reporting(kind))


@functools.lru_cache(maxsize=1024)
def _reporting(kind: Any) -> Any:
    """A class like `kind` whose calls are seen. The user's own class stays as it is, for other threads too."""
    call = noted(lambda module: vars(module).get(TAG), _as_function(kind))
    names = {"__call__": call, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind)(kind.__name__, (kind,), names)


def _as_function(kind: Any) -> Any:
    """`kind.__call__` as a function of self: what `nnx.jit` and others leave there may be an object."""
    original = kind.__call__

    @functools.wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **kwargs)

    return __call__
