"""Flax NNX: a copy of the model at rest, whose modules know their paths and report each call."""

from __future__ import annotations

import functools

# MOVED
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from ..protocol import Kernel
from .model import Given, at_rest, flax_kernel, taken_apart
from .outputs import fed, floating_leaf
from .watch import Watch, noted, watching

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


Steps = tuple[Any, ...]


STATE = "_pytree__state"


PLAIN = (dict, list, tuple)


class Tree:
    """`places`: each module with every way to it, in the order of the attributes.

    `beyond` says that modules lie in a container that no step leads into (a pytree of another library).
    """

    def __init__(self, root: Any) -> None:
        self.places: dict[int, tuple[Any, list[Steps]]] = {}
        self.beyond = False
        self._root = root
        self._variables: dict[int, tuple[Steps, Any]] = {}
        self._kinds: dict[type, str] = {}
        self._way: set[int] = set()
        self._simple = True
        self._walk(root, (), False)

    def variables(self) -> list[tuple[Steps, Any]]:
        """Each variable or bare array with the least of the ways to it, in the order of the ways."""
        return sorted(self._variables.values(), key=lambda each: _order(each[0]))

    def copied(self) -> Any:
        """What `nnx.clone` gives: modules and variables of its own, the same arrays. Quicker where that is simple."""
        return self._copied(self._root, {}) if self._simple else nnx.clone(self._root)

    def _copied(self, node: Any, copies: dict[int, Any]) -> Any:
        kind = self._kinds.get(type(node), "leaf")
        if kind in ("leaf", "array") or (kind in ("mapping", "sequence") and type(node) not in PLAIN):
            return node
        if kind == "mapping":
            return {name: self._copied(each, copies) for name, each in node.items()}
        if kind == "sequence":
            return type(node)(self._copied(each, copies) for each in node)
        if id(node) not in copies and kind == "variable":
            copies[id(node)] = node.copy()
        elif id(node) not in copies:
            new = copies[id(node)] = object.__new__(type(node))
            for name, each in vars(node).items():
                # The attribute by which NNX knows the trace that a module was made in must be of now.
                own = jax.tree.map(lambda leaf: leaf, each) if name == STATE else self._copied(each, copies)
                object.__setattr__(new, name, own)
        return copies[id(node)]

    def _walk(self, node: Any, steps: Steps, beyond: bool) -> None:
        kind = self._kinds.get(type(node))
        if kind is None:
            kind = self._kinds[type(node)] = _kind_of(node)
        if kind == "leaf":
            return
        self._simple = self._simple and _is_simple(node, kind)
        if kind in ("variable", "array"):
            known = self._variables.get(id(node))
            if known is None or _order(steps) < _order(known[0]):
                self._variables[id(node)] = (steps, node)
            return
        if id(node) in self._way:
            # A ring is walked once.
            return
        if kind == "module" and beyond:
            self.beyond = True
        elif kind == "module":
            self.places.setdefault(id(node), (node, []))[1].append(steps)
        self._way.add(id(node))
        for step, each in _members(node, kind):
            if self._kinds.get(type(each)) != "leaf":
                self._walk(each, (*steps, step), beyond or kind == "other")
        self._way.discard(id(node))


def at(node: Any, steps: Steps) -> Any:
    """What `steps` lead to."""
    for step in steps:
        node = vars(node)[str(step)] if isinstance(node, nnx.Pytree) else node[step]
    return node


def values(variable: Any) -> Iterator[tuple[str, Any]]:
    """The arrays that a variable holds: one with the name `""`, or those of a pytree by their keys."""
    value = variable.get_raw_value() if isinstance(variable, nnx.Variable) else variable
    if hasattr(value, "shape"):
        yield "", value[...] if isinstance(value, jax.Ref) else value
        return
    for keys, leaf in jax.tree_util.tree_leaves_with_path(value):
        yield jax.tree_util.keystr(keys), leaf


def _members(node: Any, kind: str) -> Iterable[tuple[Any, Any]]:
    if kind in ("module", "pytree"):
        held = vars(node).items()
        # nnx.List keeps its members as attributes "0", "1", ...
        return [(int(name) if name.isdigit() else name, each) for name, each in held if name[:9] != "_pytree__"]
    if kind == "mapping":
        return node.items()
    if kind == "sequence":
        return enumerate(node)
    children, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda each: each is not node)
    return [(jax.tree_util.keystr(keys, simple=True), each) for keys, each in children]


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
    return type(node) in PLAIN or all(_kind_of(each) == "leaf" for _, each in _members(node, kind))


def _order(steps: Steps) -> tuple[tuple[bool, Any], ...]:
    """Numbers before names."""
    return tuple((not isinstance(each, int), each if isinstance(each, int) else str(each)) for each in steps)
