"""Equinox: a copy of the tree in inference mode, whose modules know their paths, under one vmap over the batch."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...errors import ModelNotReadable
from ..protocol import Kernel
from .model import SPACE, Given, at_rest, taken_apart
from .outputs import fed, floating_leaf
from .watch import Watch, noted, watching

TAG = "layerscope_path"


class EquinoxModel:
    """An `eqx.Module` that takes one example, or (module, state); a bound method or a partial of one."""

    library = "equinox"
    channels_first = True

    def __init__(self, given: Given, state: Any = None) -> None:
        self.given, self.state = given, state
        self.name = type(given.module).__name__

    @functools.cached_property
    def _places(self) -> dict[int, tuple[Any, list[str]]]:
        """Each callable module with its paths."""
        found: dict[int, tuple[Any, list[str]]] = {}
        for path, module in _walk(self.given.module, ""):
            found.setdefault(id(module), (module, []))[1].append(path)
        return found

    @classmethod
    def read(cls, model: Any) -> EquinoxModel | None:
        state = None
        if isinstance(model, tuple) and len(model) == 2 and isinstance(model[1], eqx.nn.State):
            model, state = model
        given = taken_apart(model)
        return cls(given, state) if isinstance(given.module, eqx.Module) else None

    def run(self, batch: Any, watch: Watch) -> Any:
        paths = {id(module): names[0] for module, names in self._places.values()}
        model = eqx.nn.inference_mode(_tagged(self.given.module, paths))
        function = getattr(model, self.given.method)
        # Equinox leaves types as they are, and JAX has no convolution of one type with another.
        args, named = jax.tree.map(_typed(floating_leaf(model)), fed(batch, floating_leaf(model)))
        count = jax.tree.leaves((args, named))[0].shape[0]

        def one(marker: Any, args: Any, named: Any) -> Any:
            watch.marker = marker
            kwargs = {**self.given.keywords, **named}
            inputs = (*self.given.args, *args)
            if self.state is not None:
                inputs = (*inputs, self.state)
            kwargs |= at_rest(model, function, inputs, kwargs)
            kwargs |= _key(function, inputs, kwargs)
            if self.state is None and "state" in _lacking(function, inputs, kwargs):
                raise ModelNotReadable(
                    f"{self.name} is called with a state: give (model, state), as eqx.nn.make_with_state returns them"
                )
            if self.given.method != "__call__":
                return self._output(watch.through("", model, function, inputs, kwargs))
            return self._output(function(*inputs, **kwargs))

        try:
            with watching(watch):
                return jax.vmap(one, axis_name=self._axis_name())(jnp.arange(count), args, named)
        finally:
            watch.marker = None

    def _output(self, output: Any) -> Any:
        """The output without the new state beside it."""
        if self.state is None or not isinstance(output, tuple):
            return output
        kept = tuple(each for each in output if not isinstance(each, eqx.nn.State))
        return kept[0] if len(kept) == 1 else kept

    def _axis_name(self) -> Any:
        """The name that the model's own BatchNorm gives the axis of the batch."""
        names = (getattr(module, "axis_name", None) for module, _ in self._places.values())
        return next((each for each in names if isinstance(each, str)), None)

    def modules(self) -> dict[str, Any]:
        return {names[0]: module for module, names in self._places.values()}

    def aliases(self) -> dict[str, tuple[str, ...]]:
        return {names[0]: tuple(names[1:]) for _, names in self._places.values()}

    def leaves(self) -> Iterator[tuple[str, Any]]:
        for steps, leaf in jax.tree_util.tree_leaves_with_path((self.given.module, self.state)):
            if eqx.is_array_like(leaf):
                yield jax.tree_util.keystr(steps), leaf

    def parameters(self, path: str) -> int | None:
        module = self.modules().get(path)
        if module is None:
            return None
        held = {id(each): each.size for each in jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array))}
        return sum(held.values())

    def kernel(self, path: str, image: Any) -> Kernel | None:
        module = self.modules().get(path)
        if not isinstance(module, eqx.nn.Conv | eqx.nn.ConvTranspose):
            return None
        values = np.asarray(module.weight).astype(np.float32)
        return Kernel(values, "oi" + SPACE[values.ndim - 2], module.groups)

    def first(self) -> tuple[str, Any, tuple[int, ...]] | None:
        for path, module in self.modules().items():
            if isinstance(module, eqx.nn.Conv | eqx.nn.Linear) and module.weight is not None:
                return path, module, tuple(module.weight.shape)
        return None


def _typed(like: Any) -> Callable[[Any], Any]:
    """Casts floating arrays to the type of the model's own, where that is one to compute in."""

    def cast(value: Any) -> Any:
        floats = jnp.issubdtype(value.dtype, jnp.floating)
        return value.astype(like.dtype) if floats and like is not None and like.dtype.itemsize > 1 else value

    return cast


def _lacking(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[str]:
    """The arguments that a call can't do without and that aren't given."""
    signature = inspect.signature(function)
    given = signature.bind_partial(*args, **kwargs).arguments
    return {name for name, each in signature.parameters.items() if each.default is each.empty and name not in given}


def _key(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A random key, where the call can't do without one; in inference mode it decides nothing."""
    return {"key": jax.random.PRNGKey(0)} if "key" in _lacking(function, args, kwargs) else {}


def _joined(path: str, steps: Any) -> str:
    inner = jax.tree_util.keystr(steps, simple=True, separator=".")
    return f"{path}.{inner}".strip(".")


def _fields(module: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a module that are part of the tree."""
    for each in dataclasses.fields(module):
        if not each.metadata.get("static", False) and each.name in vars(module):
            yield each.name, vars(module)[each.name]


def _is_module(value: Any) -> bool:
    return isinstance(value, eqx.Module)


def _walk(module: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The callable modules of a tree with their paths."""
    if callable(module) and not isinstance(module, jax.tree_util.Partial):
        yield path, module
    for name, value in _fields(module):
        if value is None or isinstance(value, jax.Array | str | int | float):
            continue
        for steps, each in jax.tree_util.tree_leaves_with_path(value, is_leaf=_is_module):
            if _is_module(each):
                yield from _walk(each, _joined(_joined(path, ()) + "." + name, steps).strip("."))


def _tagged(module: Any, paths: dict[int, str]) -> Any:
    """A copy of a tree whose callable modules are of classes that report. The arrays are shared, they can't change."""

    def inner(value: Any) -> Any:
        return _tagged(value, paths) if _is_module(value) else value

    fields = {name: jax.tree.map(inner, value, is_leaf=_is_module) for name, value in _fields(module)}
    path = paths.get(id(module))
    kind: Any = type(module)
    copy: Any = object.__new__(kind if path is None else _reporting(kind))
    for name, value in {**vars(module), **fields}.items():
        object.__setattr__(copy, name, value)
    if path is not None:
        object.__setattr__(copy, TAG, path)
    return copy


@functools.lru_cache(maxsize=1024)
def _reporting(kind: Any) -> Any:
    """A class like `kind` whose calls are seen. Its path is static, so it outlives jit, scan and other transformations."""

    def original(self: Any, *args: Any, **kwargs: Any) -> Any:
        return kind.__call__(self, *args, **kwargs)

    functools.update_wrapper(original, kind.__call__)
    names = {
        "__annotations__": {TAG: str},
        TAG: eqx.field(static=True, default=""),
        "__call__": noted(lambda module: getattr(module, TAG, None), original),
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
    }
    return type(kind)(kind.__name__, (kind,), names)
