"""Flax NNX: a copy of the model in inference mode, whose modules know their paths and report each call."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from ...errors import ModelNotReadable
from ..common.fault import call_model
from ..common.run import others_inside
from ..protocol import Kernel
from . import linen
from .model import FirstLayer, Unwrapped, flax_kernel, inference_arguments, unwrap
from .outputs import call_arguments, floating_leaf
from .state import own
from .watch import Watch, current, reporting_call, watching

# as NNX names what is no part of the tree; a bridge to linen would take it for a variable
TAG = "_pytree__layerscope_path"
ATTEMPTS = 100
OPTIMIZERS = str(Path(nnx.__file__).parent / "training")


# What `nnx.Module.eval` sets on every module that has them.
INFERENCE_ATTRIBUTES = {"deterministic": True, "use_running_average": True}


class NnxModel:
    """An `nnx.Module`, a bound method of one, or a `functools.partial` of either."""

    library = "flax"
    channels_first = False

    def __init__(self, unwrapped: Unwrapped) -> None:
        self.unwrapped = unwrapped
        self.name = type(unwrapped.module).__name__
        self._tree = Tree(unwrapped.module)
        self._by_id = self._tree.by_id

    @classmethod
    def read(cls, model: Any) -> NnxModel | None:
        """The model, `None` for what isn't one."""
        unwrapped = unwrap(model)
        return cls(unwrapped) if isinstance(unwrapped.module, nnx.Module) else None

    def at_one_moment(self) -> NnxModel:
        if threading.active_count() == 1:
            return self
        for _ in range(ATTEMPTS):
            before = self._tree.arrays()
            copy = self._tree.copy()
            time.sleep(1e-3)  # a step that has replaced half of the arrays goes on meanwhile, and is seen
            if not others_inside(OPTIMIZERS) and all(
                one is other for one, other in zip(before, self._tree.arrays(), strict=True)
            ):
                return NnxModel(replace(self.unwrapped, module=copy))
        raise ModelNotReadable(
            "the weights of this model change all the time, in another thread: capture between two steps of the training, or"
            " from a copy of the model (nnx.clone)"
        )

    def run(self, batch: Any, watch: Watch) -> Any:
        # Whatever a run changes (statistics, streams of random numbers, attributes), it changes in the copy.
        copy = self._inference_copy()
        function = getattr(copy, self.unwrapped.method)
        args, kwargs = call_arguments(batch, self._floating_parameter())
        args, kwargs = (*self.unwrapped.args, *args), {**self.unwrapped.keywords, **kwargs}
        if isinstance(copy, nnx.bridge.ToNNX) and self.unwrapped.method == "__call__":
            inner = copy.to_nnx__module
            kwargs |= inference_arguments(inner, inner.__call__, args, kwargs)
        kwargs |= inference_arguments(copy, function, args, kwargs)
        with watching(watch):
            if self.unwrapped.method != "__call__":
                return watch.call("", copy, function, (args, kwargs))
            return call_model(function, *args, **kwargs)

    def _inference_copy(self) -> Any:
        """The copy in evaluation mode, its modules tagged."""
        cls = type(self.unwrapped.module)
        copy = self._tree.copy()
        custom = any(getattr(cls, name) is not getattr(nnx.Module, name) for name in ("eval", "set_attributes"))
        if custom or self._tree.beyond:
            copy.eval()
        for module, routes in self._by_id.values():
            copied = follow(copy, routes[0])
            if copied is module:
                # NNX shares what it takes for static.
                continue
            for name, value in () if custom else INFERENCE_ATTRIBUTES.items():
                if hasattr(copied, name):
                    setattr(copied, name, value)
            _tag(copied, _path(routes[0]))
        return copy

    def _floating_parameter(self) -> Any:
        """A floating array of the parameters."""
        parameters = (variable for _, variable in self._tree.variables() if isinstance(variable, nnx.Param))
        arrays = (floating_leaf([leaf for _, leaf in arrays_of(parameter)]) for parameter in parameters)
        return next((array for array in arrays if array is not None), None)

    @functools.cached_property
    def modules(self) -> dict[str, Any]:
        return {_path(routes[0]): module for module, routes in self._by_id.values()}

    @functools.cached_property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        return {_path(routes[0]): tuple(map(_path, routes[1:])) for _, routes in self._by_id.values()}

    def settings(self) -> list[Any]:
        """The modules, with the plain values and functions that they keep as attributes."""
        return [
            (id(module), {name: value for name, value in vars(module).items() if type(value) in SETTINGS})
            for module in self.modules.values()
        ]

    def leaves(self) -> Iterator[tuple[str, Any]]:
        for steps, variable in self._tree.variables():
            if not isinstance(variable, nnx.RngState):
                for name, leaf in arrays_of(variable):
                    yield _path(steps) + name, leaf

    def parameters(self, path: str) -> int | None:
        module = self.modules.get(path)
        if module is None:  # inside a bridge to linen
            inner = [leaf for name, leaf in self.leaves() if name.startswith(f"{path}.")]
            return sum(array.size for array in inner) if inner else None
        return sum(array.size for array in jax.tree.leaves(nnx.state(module, nnx.Param)))

    def kernel(self, path: str, image: Any) -> Kernel | None:
        module = self.modules.get(path)
        if not isinstance(module, nnx.Conv | nnx.ConvTranspose):
            return None
        return flax_kernel(module, module.kernel[...], isinstance(module, nnx.ConvTranspose))

    def first_layer(self) -> FirstLayer | None:
        for module in self.modules.values():
            kernel = getattr(module, "kernel", None)
            if isinstance(module, nnx.Conv | nnx.Linear) and kernel is not None:
                return FirstLayer(module, tuple(kernel.shape))
        return None


def _tag(module: Any, path: str) -> None:
    """Make a module of the copy report its calls."""
    object.__setattr__(module, TAG, path)
    cls: Any = type(module)
    if callable(module):
        object.__setattr__(module, "__class__", _reporting_class(cls))


@functools.lru_cache(maxsize=1024)
def _reporting_class(cls: Any) -> Any:
    """A class like `cls` whose calls are seen. The user's own class stays as it is, for other threads too."""
    call = reporting_call(
        _bridge(cls) if issubclass(cls, nnx.bridge.ToNNX) else cls, lambda module: vars(module).get(TAG)
    )
    attributes = {"__call__": call, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls)(cls.__name__, (cls,), attributes)


def _bridge(cls: Any) -> Any:
    """What calls a linen module inside a `ToNNX` as that does, and reports the calls of the modules inside it."""

    class Bridge:
        @functools.wraps(cls.__call__)
        def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
            watch, path = current(), vars(self)[TAG]

            def path_of(inner: Any, called: str) -> str | None:
                steps = (*([path] if path else []), *inner.path)
                return ".".join(steps) if called == "__call__" and inner.path else None

            with contextlib.nullcontext() if watch is None else linen.reporting(watch, path_of):
                return call_model(cls.__call__, self, *args, **kwargs)

    return Bridge


Steps = tuple[Any, ...]


STATE = "_pytree__state"


PLAIN = (dict, list, tuple)
SETTINGS = frozenset({bool, int, float, str, type(None), types.FunctionType})  # what calls of layers may depend on


class Tree:
    """What a module holds. `by_id`: each module with every route to it, in the order of the attributes.

    `beyond` says that modules lie in a container that no step leads into (a pytree of another library).
    """

    def __init__(self, root: Any) -> None:
        self.by_id: dict[int, tuple[Any, list[Steps]]] = {}
        self.beyond = False
        self._root = root
        self._variables: dict[int, tuple[Steps, Any]] = {}
        self._kinds: dict[type, str] = {}
        self._parents: set[int] = set()
        self._simple = True
        self._walk(root, (), False)

    def variables(self) -> list[tuple[Steps, Any]]:
        """Each variable or bare array with the first of the routes to it, in the order of the routes."""
        return sorted(self._variables.values(), key=lambda variable: _order(variable[0]))

    def arrays(self) -> list[Any]:
        """What the variables hold now; a write replaces an array, since arrays can't change."""
        return [
            variable.get_raw_value() if isinstance(variable, nnx.Variable) else variable
            for _, variable in self._variables.values()
        ]

    def copy(self) -> Any:
        """What `nnx.clone` gives: modules and variables of its own, the same arrays. Faster where that is simple."""
        if self._simple:
            return self._copy(self._root, {})
        copy = nnx.clone(self._root)
        memo: dict[int, Any] = {}
        for module, routes in self.by_id.values():
            copied = follow(copy, routes[0])
            for name, value in vars(copied).items() if copied is not module else ():
                if self._kinds.get(type(value), "leaf") == "leaf" or isinstance(value, np.ndarray):
                    object.__setattr__(copied, name, own(value, memo))
        return copy

    def _copy(self, node: Any, copies: dict[int, Any]) -> Any:
        """A copy of one value; `copies` holds what was copied before, by identity."""
        kind = self._kinds.get(type(node), "leaf")
        if kind in ("mapping", "sequence") and type(node) in PLAIN:
            if kind == "mapping":
                return {name: self._copy(member, copies) for name, member in node.items()}
            return type(node)(self._copy(member, copies) for member in node)
        if kind in ("leaf", "array", "mapping", "sequence"):
            return own(node, copies)
        if id(node) not in copies:
            if kind == "variable":
                copies[id(node)] = node.copy()
            else:
                self._copy_attributes(node, copies)
        return copies[id(node)]

    def _copy_attributes(self, node: Any, copies: dict[int, Any]) -> None:
        """Copy a module or pytree, which its own members may lead back to."""
        copy = copies[id(node)] = object.__new__(type(node))
        for name, member in vars(node).items():
            # The attribute by which NNX knows the trace that a module was made in must be of now.
            copied = jax.tree.map(lambda leaf: leaf, member) if name == STATE else self._copy(member, copies)
            object.__setattr__(copy, name, copied)

    def _walk(self, node: Any, steps: Steps, beyond: bool) -> None:
        """Note the modules and variables of one value and all inside it."""
        kind = self._kinds.get(type(node))
        if kind is None:
            kind = self._kinds[type(node)] = _kind_of(node)
        if kind == "leaf":
            return
        self._simple = self._simple and _is_simple(node, kind)
        if kind in ("variable", "array"):
            self._note_variable(node, steps)
        elif id(node) not in self._parents:  # a ring is walked once
            if kind == "module" and beyond:
                self.beyond = True
            elif kind == "module":
                self.by_id.setdefault(id(node), (node, []))[1].append(steps)
            self._parents.add(id(node))
            for step, member in _members(node, kind):
                if self._kinds.get(type(member)) != "leaf":
                    self._walk(member, (*steps, step), beyond or kind == "other")
            self._parents.discard(id(node))

    def _note_variable(self, variable: Any, steps: Steps) -> None:
        """Note a variable or bare array, by the first of the routes to it."""
        known = self._variables.get(id(variable))
        if known is None or _order(steps) < _order(known[0]):
            self._variables[id(variable)] = (steps, variable)


def follow(node: Any, steps: Steps) -> Any:
    """What `steps` lead to from `node`."""
    for step in steps:
        node = vars(node)[str(step)] if isinstance(node, nnx.Pytree) else node[step]
    return node


def _path(steps: Steps) -> str:
    """The path of a module: `blocks.0.conv`."""
    return ".".join(map(str, steps))


def arrays_of(variable: Any) -> Iterator[tuple[str, Any]]:
    """The arrays that a variable holds: one with the name `""`, or those of a pytree by their keys."""
    value = variable.get_raw_value() if isinstance(variable, nnx.Variable) else variable
    if hasattr(value, "shape"):
        yield "", value[...] if isinstance(value, jax.Ref) else value
        return
    for keys, leaf in jax.tree_util.tree_leaves_with_path(value):
        yield jax.tree_util.keystr(keys), leaf


def _members(node: Any, kind: str) -> Iterable[tuple[Any, Any]]:
    """The steps that lead on from a value, each with what it leads to."""
    if kind in ("module", "pytree"):
        # nnx.List keeps its members as attributes "0", "1", ...
        named = vars(node).items()
        return [(int(name) if name.isdigit() else name, member) for name, member in named if name[:9] != "_pytree__"]
    if kind == "mapping":
        return node.items()
    if kind == "sequence":
        return enumerate(node)
    children, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda value: value is not node)
    return [(jax.tree_util.keystr(keys, simple=True), child) for keys, child in children]


def _kind_of(node: Any) -> str:
    """How the members of a value are found, the same for all of its type."""
    if isinstance(node, nnx.Variable):
        return "variable"
    if isinstance(node, jax.Array | np.ndarray | jax.Ref):
        return "array"
    if isinstance(node, nnx.Pytree):
        return "module" if isinstance(node, nnx.Module) else "pytree"
    if isinstance(node, Mapping):
        return "mapping"
    if isinstance(node, list | tuple):
        return "sequence"
    return "leaf" if node is None or jax.tree_util.all_leaves([node]) else "other"


def _is_simple(node: Any, kind: str) -> bool:
    """Whether copying this needs nothing that only NNX knows."""
    if kind == "variable":
        return isinstance(node.get_raw_value(), jax.Array | np.ndarray)
    if kind == "array":
        return isinstance(node, jax.Array | np.ndarray)
    if kind in ("module", "pytree"):
        return STATE in vars(node)
    if kind == "other":
        return False
    return type(node) in PLAIN or all(_kind_of(member) == "leaf" for _, member in _members(node, kind))


def _order(steps: Steps) -> tuple[tuple[bool, Any], ...]:
    """Numbers before names."""
    return tuple((not isinstance(step, int), step if isinstance(step, int) else str(step)) for step in steps)
