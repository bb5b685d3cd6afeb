"""Flax NNX: a copy of the model at rest, whose modules know their paths and report each call."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
from flax import nnx

from . import Kernel
from .jax_model import Given, at_rest, flax_kernel, taken_apart
from .jax_nnx_tree import Tree, at, values
from .jax_outputs import fed, floating_leaf
from .jax_watch import Watch, noted, watching

TAG = "_layerscope_path"
# What `nnx.Module.eval` sets on every module that has them.
RESTING = {"deterministic": True, "use_running_average": True}


class NnxModel:
    """An `nnx.Module`, a bound method of one, or a `functools.partial` of either."""

    library = "flax"
    channels_first = False

    def __init__(self, given: Given) -> None:
        self.given = given
        self.name = type(given.module).__name__
        self._tree = Tree(given.module)
        self._places = self._tree.places

    @classmethod
    def read(cls, model: Any) -> NnxModel | None:
        given = taken_apart(model)
        return cls(given) if isinstance(given.module, nnx.Module) else None

    def run(self, batch: Any, watch: Watch) -> Any:
        # Whatever a run changes (statistics, streams of random numbers, attributes), it changes in the copy.
        copy = self._resting()
        function = getattr(copy, self.given.method)
        args, kwargs = fed(batch, self._floating())
        args, kwargs = (*self.given.args, *args), {**self.given.keywords, **kwargs}
        kwargs |= at_rest(copy, function, args, kwargs)
        with watching(watch):
            if self.given.method != "__call__":
                return watch.through("", copy, function, args, kwargs)
            return function(*args, **kwargs)

    def _resting(self) -> Any:
        """The copy in evaluation mode, its modules tagged."""
        original = self.given.module
        copy = self._tree.copied()
        own = any(getattr(type(original), each) is not getattr(nnx.Module, each) for each in ("eval", "set_attributes"))
        if own or self._tree.beyond:
            copy.eval()
        for module, ways in self._places.values():
            copied = at(copy, ways[0])
            if copied is module:
                # NNX shares what it takes for static.
                continue
            for name, value in () if own else RESTING.items():
                if hasattr(copied, name):
                    setattr(copied, name, value)
            _tag(copied, ".".join(map(str, ways[0])))
        return copy

    def _floating(self) -> Any:
        """A floating array of the parameters."""
        for _, variable in self._tree.variables():
            found = floating_leaf([leaf for _, leaf in values(variable)]) if isinstance(variable, nnx.Param) else None
            if found is not None:
                return found
        return None

    def modules(self) -> dict[str, Any]:
        return {".".join(map(str, ways[0])): module for module, ways in self._places.values()}

    def aliases(self) -> dict[str, tuple[str, ...]]:
        found = {}
        for _, (first, *others) in self._places.values():
            found[".".join(map(str, first))] = tuple(".".join(map(str, each)) for each in others)
        return found

    def leaves(self) -> Iterator[tuple[str, Any]]:
        for steps, variable in self._tree.variables():
            if not isinstance(variable, nnx.RngState):
                for name, leaf in values(variable):
                    yield ".".join(map(str, steps)) + name, leaf

    def parameters(self, path: str) -> int | None:
        module = self.modules().get(path)
        if module is None:
            return None
        return sum(each.size for each in jax.tree.leaves(nnx.state(module, nnx.Param)))

    def kernel(self, path: str, image: Any) -> Kernel | None:
        module = self.modules().get(path)
        if not isinstance(module, nnx.Conv | nnx.ConvTranspose):
            return None
        return flax_kernel(module, module.kernel[...], isinstance(module, nnx.ConvTranspose))

    def first(self) -> tuple[str, Any, tuple[int, ...]] | None:
        for path, module in self.modules().items():
            kernel = getattr(module, "kernel", None)
            if isinstance(module, nnx.Conv | nnx.Linear) and kernel is not None:
                return path, module, tuple(kernel.shape)
        return None


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
