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
from ..common.axes import SPACE
from ..common.fault import call_model
from ..common.run import count_images, map_batch
from ..protocol import Kernel
from .model import FirstLayer, Unwrapped, inference_arguments, unwrap
from .outputs import call_arguments, floating_leaf
from .state import own
from .watch import Watch, reporting_call, watching

TAG = "layerscope_path"


class EquinoxModel:
    """An `eqx.Module` that takes one example, or (module, state); a bound method or a partial of one."""

    library = "equinox"
    channels_first = True

    def __init__(self, unwrapped: Unwrapped, state: Any = None) -> None:
        self.unwrapped, self.state = unwrapped, state
        self.name = type(unwrapped.module).__name__

    @functools.cached_property
    def _by_id(self) -> dict[int, tuple[Any, list[str]]]:
        """Each callable module with its paths."""
        by_id: dict[int, tuple[Any, list[str]]] = {}
        for path, module in _walk(self.unwrapped.module, ""):
            by_id.setdefault(id(module), (module, []))[1].append(path)
        return by_id

    @classmethod
    def read(cls, model: Any) -> EquinoxModel | None:
        """The model, `None` for what isn't one."""
        state = None
        if isinstance(model, tuple) and len(model) == 2 and isinstance(model[1], eqx.nn.State):
            model, state = model
        unwrapped = unwrap(model)
        return cls(unwrapped, state) if isinstance(unwrapped.module, eqx.Module) else None

    def at_one_moment(self) -> EquinoxModel:
        return self  # its arrays can't change

    def run(self, batch: Any, watch: Watch) -> Any:
        paths = {id(module): names[0] for module, names in self._by_id.values()}
        model = eqx.nn.inference_mode(_tag(self.unwrapped.module, paths, {}))
        function = getattr(model, self.unwrapped.method)
        args, named = call_arguments(map_batch(batch, self._typed(batch)), floating_leaf(model))
        count = count_images(batch)
        # What has no row for each image (embeddings of classes, a grid) is the same for all.
        axes = jax.tree.map(lambda leaf: 0 if np.shape(leaf)[:1] == (count,) else None, (args, named))

        def run_example(marker: Any, args: Any, named: Any) -> Any:
            watch.marker = marker
            inputs, kwargs = self._arguments(model, function, args, named)
            if self.unwrapped.method != "__call__":
                return self._output(watch.call("", model, function, (inputs, kwargs)))
            return self._output(call_model(function, *inputs, **kwargs))

        try:
            with watching(watch):
                mapped = jax.vmap(run_example, (0, *axes), axis_name=self._axis_name())
                return call_model(mapped, jnp.arange(count), args, named)
        finally:
            watch.marker = None

    def _typed(self, batch: Any) -> Callable[[Any], Any]:
        """Gives numpy's pictures the type of the first layer: numpy has no bfloat16, and JAX no convolution of two types.

        JAX's arrays have the type that their owner chose, and other numbers (a time step) may need more digits.
        """
        first = self.first_layer()
        like = floating_leaf(self.unwrapped.module if first is None else first.module)

        def typed(value: Any) -> Any:
            picture = isinstance(value, np.ndarray) and (value is batch or value.ndim > 2)
            floats = picture and value.dtype.kind == "f"
            return value.astype(like.dtype) if floats and like is not None and like.dtype.itemsize > 1 else value

        return typed

    def _arguments(self, model: Any, function: Any, args: Any, named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The (args, kwargs) of a call on one example."""
        # a State can be written to once, so each run has its own
        own, keywords, state = map(_fresh, (self.unwrapped.args, self.unwrapped.keywords, self.state))
        kwargs = {**keywords, **named}
        inputs = (*own, *args, *(() if state is None else (state,)))
        kwargs |= inference_arguments(model, function, inputs, kwargs)
        kwargs |= _key(function, inputs, kwargs)
        if self.state is None and "state" in _missing(function, inputs, kwargs):
            raise ModelNotReadable(
                f"{self.name} is called with a state: give (model, state), as eqx.nn.make_with_state returns them"
            )
        return inputs, kwargs

    def _output(self, output: Any) -> Any:
        """The output without the new state beside it."""
        if self.state is None or not isinstance(output, tuple):
            return output
        values = tuple(value for value in output if not isinstance(value, eqx.nn.State))
        return values[0] if len(values) == 1 else values

    def _axis_name(self) -> Any:
        """The name that the model's own BatchNorm gives the axis of the batch."""
        names = (getattr(module, "axis_name", None) for module, _ in self._by_id.values())
        return next((name for name in names if isinstance(name, str)), None)

    @functools.cached_property
    def modules(self) -> dict[str, Any]:
        return {names[0]: module for module, names in self._by_id.values()}

    @functools.cached_property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        return {names[0]: tuple(names[1:]) for _, names in self._by_id.values()}

    def leaves(self) -> Iterator[tuple[str, Any]]:
        for steps, leaf in jax.tree_util.tree_leaves_with_path((self.unwrapped.module, self.state)):
            if eqx.is_array_like(leaf):
                yield jax.tree_util.keystr(steps), leaf

    def parameters(self, path: str) -> int | None:
        module = self.modules.get(path)
        if module is None:
            return None
        arrays = {id(array): array for array in jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array))}
        return sum(array.size for array in arrays.values())

    def kernel(self, path: str, image: Any) -> Kernel | None:
        module = self.modules.get(path)
        if not isinstance(module, eqx.nn.Conv | eqx.nn.ConvTranspose):
            return None
        values = np.asarray(module.weight).astype(np.float32)
        return Kernel(values, "oi" + SPACE[values.ndim - 2], module.groups)

    def first_layer(self) -> FirstLayer | None:
        for module in self.modules.values():
            if isinstance(module, eqx.nn.Conv | eqx.nn.Linear) and module.weight is not None:
                return FirstLayer(module, tuple(module.weight.shape))
        return None


def _fresh(arguments: Any) -> Any:
    """The same arguments, where a State is a copy."""

    def copy(value: Any) -> Any:
        return jax.tree.unflatten(*reversed(jax.tree.flatten(value))) if isinstance(value, eqx.nn.State) else value

    return jax.tree.map(copy, arguments, is_leaf=lambda value: isinstance(value, eqx.nn.State))


def _missing(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[str]:
    """The arguments that a call can't do without and that aren't given."""
    signature = inspect.signature(function)
    bound = signature.bind_partial(*args, **kwargs).arguments
    required = {name for name, parameter in signature.parameters.items() if parameter.default is parameter.empty}
    return required - set(bound)


def _key(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A random key, where the call can't do without one; in inference mode it decides nothing."""
    return {"key": jax.random.PRNGKey(0)} if "key" in _missing(function, args, kwargs) else {}


def _fields(module: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a module that are part of the tree."""
    for field in dataclasses.fields(module):
        if not field.metadata.get("static", False) and field.name in vars(module):
            yield field.name, vars(module)[field.name]


def _is_module(value: Any) -> bool:
    """Whether a value is an Equinox module."""
    return isinstance(value, eqx.Module)


def _walk(module: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The callable modules of a tree with their paths."""
    if callable(module) and not isinstance(module, jax.tree_util.Partial):
        yield path, module
    for name, value in _fields(module):
        if value is None or isinstance(value, jax.Array | str | int | float):
            continue
        for steps, leaf in jax.tree_util.tree_leaves_with_path(value, is_leaf=_is_module):
            if _is_module(leaf):
                inner = jax.tree_util.keystr(steps, simple=True, separator=".")
                yield from _walk(leaf, f"{path}.{name}.{inner}".strip("."))


def _tag(module: Any, paths: dict[int, str], memo: dict[int, Any]) -> Any:
    """A copy of a tree whose callable modules are of classes that report. JAX's arrays are shared, they can't change."""

    def tag(value: Any) -> Any:
        return _tag(value, paths, memo) if _is_module(value) else own(value, memo)

    fields = {name: jax.tree.map(tag, value, is_leaf=_is_module) for name, value in _fields(module)}
    static = {name: own(value, memo) for name, value in vars(module).items() if name not in fields}
    path = paths.get(id(module))
    cls: Any = type(module)
    copy: Any = object.__new__(cls if path is None else _reporting_class(cls))
    for name, value in {**vars(module), **static, **fields}.items():
        object.__setattr__(copy, name, value)
    if path is not None:
        object.__setattr__(copy, TAG, path)
    return copy


@functools.lru_cache(maxsize=1024)
def _reporting_class(cls: Any) -> Any:
    """A class like `cls` whose calls are seen. Its path is static, so it outlives jit, scan and other transformations."""

    attributes = {
        "__annotations__": {TAG: str},
        TAG: eqx.field(static=True, default=""),
        "__call__": reporting_call(cls, lambda module: getattr(module, TAG, None)),
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    return type(cls)(cls.__name__, (cls,), attributes)
