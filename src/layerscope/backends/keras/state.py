"""What the layers of a Keras model hold besides variables (attributes, and what is in them), to be put back after a run.

That a layer wasn't built is part of it: what a run builds goes with it.
"""

from __future__ import annotations

import copyreg
import functools
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any

import numpy as np

from .engine import Engine
from .tree import is_library_class

# What can't change, or is nobody's own.
ATOMIC = frozenset({type(None), bool, int, float, complex, str, bytes, range, slice, type, np.float32, np.float64})
# Of libraries: what they keep in their own objects is theirs, but for layers, and for the lists of what a layer has.
LIBRARIES = frozenset(
    {"builtins", "functools", "h5py", "jax", "jaxlib", "keras", "layerscope", "logging", "numpy", "tensorflow"}
    | {"tf_keras", "threading", "torch", "types", "weakref"}
)
LISTS_OF_LAYERS = frozenset({"Tracker", "ObjectIdentityDictionary", "ObjectIdentitySet"})
# Of what the library itself keeps in a layer, this changes in a run of one that is built.
CHANGES = frozenset(
    {
        "_thread_local",
        "_buffers",
        "_modules",
        "_eager_losses",
        "_inbound_nodes",
        "_loss_ids",
        "_losses",
        "_outbound_nodes",
    }
)
# A training, which may run in another thread, has these attributes of a model for itself.
OF_TRAINING = frozenset(
    {
        *("optimizer", "stop_training", "history", "train_function", "test_function", "predict_function"),
        *("loss", "compiled", "_lock", "_run_eagerly", "_jit_compile", "_loss_tracker", "_compile_loss"),
        *("_compile_metrics", "_initial_epoch", "train_tf_function"),
    }
)
# What a graph is made of is replaced as a whole, if at all, so nobody looks into it.
KEPT = OF_TRAINING | {"_nodes", "_nodes_by_depth", "_operations", "_operations_by_depth"}
MOST_VALUES = 50_000  # that are looked at

Undo = Callable[[], None]


class State:
    """The state of the layers inside `root` when this was made; `restore` puts it back, in place."""

    def __init__(self, root: Any, engine: Engine) -> None:
        self._engine = engine
        self._passed = (engine.own_names() | KEPT) - CHANGES
        self._held: dict[int, Any] = {}  # by identity, so that none is looked at twice, nor goes meanwhile
        self._undo: list[Undo] = []
        self._empty: list[Any] = []
        waiting = list(root._flatten_layers())
        while waiting and len(self._held) < MOST_VALUES:
            value = waiting.pop()
            kind: Any = type(value)
            rule = _rule(kind)
            if rule is not None and id(value) not in self._held:
                self._held[id(value)] = value
                waiting += [inner for inner in rule(self, value) if not _is_atomic(inner)]

    def restore(self) -> None:
        """Put everything back that is another now."""
        for undo in self._undo:
            undo()
        for container in filter(None, self._empty):
            (list if isinstance(container, list) else set).clear(container)

    def _layer(self, layer: Any) -> Iterable[Any]:
        """The attributes of a layer; once it is built, its library changes next to none of its own."""
        if not getattr(layer, "built", False):
            return self._object(layer)
        attributes, library, passed = layer.__dict__, is_library_class(type(layer)), self._passed
        self._mapping(attributes)
        return [
            value
            for name, value in attributes.items()
            if name not in passed
            and type(value) not in ATOMIC
            and (name in CHANGES or not ((library and name[0] == "_") or name[-12:] == "_initializer"))
        ]

    def _object(self, value: Any) -> Iterable[Any]:
        """An object of the user's own class: its attributes."""
        attributes = getattr(value, "__dict__", {})
        self._mapping(attributes)
        inside = [item for name, item in attributes.items() if name not in KEPT]
        slots = {name: getattr(value, name) for name in slots_of(value) if hasattr(value, name)}

        def undo() -> None:
            for name, held in slots.items():
                object.__setattr__(value, name, held)

        if slots:
            self._undo.append(undo)
        return [*inside, *slots.values()]

    def _dict(self, value: Any) -> Iterable[Any]:
        return [*self._mapping(getattr(value, "__wrapped__", value)), *self._own(value)]

    def _mapping(self, mapping: dict[Any, Any]) -> list[Any]:
        items = dict(mapping)

        def undo() -> None:
            if len(mapping) == len(items) and all(map(is_, mapping.values(), items.values())):
                return
            # no clear(): another thread may read meanwhile
            for name in [name for name in mapping if name not in items and name not in OF_TRAINING]:
                dict.__delitem__(mapping, name)
            dict.update(mapping, {name: item for name, item in items.items() if name not in OF_TRAINING})

        self._undo.append(undo)
        return list(items.values())

    def _list(self, value: list[Any]) -> Iterable[Any]:
        if _is_plain(value) and not value:
            self._empty.append(value)
            return ()
        items = list(value)

        def undo() -> None:
            if len(value) != len(items) or not all(map(is_, list.__iter__(value), items)):
                list.__setitem__(value, slice(None), items)

        self._undo.append(undo)
        return [*items, *self._own(value)]

    def _set(self, value: set[Any]) -> Iterable[Any]:
        if _is_plain(value) and not value:
            self._empty.append(value)
            return ()
        items = set(value)

        def undo() -> None:
            set.intersection_update(value, items)
            set.update(value, items)

        self._undo.append(undo)
        return [*items, *self._own(value)]

    def _queue(self, value: deque[Any]) -> Iterable[Any]:
        items = list(value)

        def undo() -> None:
            value.clear()
            value.extend(items)

        self._undo.append(undo)
        return items

    def _own(self, container: Any) -> Iterable[Any]:
        """The attributes that a container of a class of its own has besides its items."""
        if _is_plain(container):
            return ()
        own = getattr(container, "__dict__", None)
        if type(own) is not dict:
            return ()
        self._mapping(own)
        return [value for name, value in own.items() if name != "tracker"]

    def _local(self, value: threading.local) -> Iterable[Any]:
        """What this thread keeps: tf_keras has the losses of a run there."""
        return self._mapping(value.__dict__)

    def _tuple(self, value: tuple[Any, ...]) -> Iterable[Any]:
        return value

    def _array(self, array: np.ndarray) -> Iterable[Any]:
        if array.flags.writeable and array.dtype != object:
            content = array.copy()
            self._undo.append(lambda: np.copyto(array, content))
        return ()

    def _random(self, source: random.Random) -> Iterable[Any]:
        state = source.getstate()
        self._undo.append(lambda: source.setstate(state))
        return self._object(source)

    def _generator(self, source: np.random.Generator) -> Iterable[Any]:
        bits, state = source.bit_generator, source.bit_generator.state
        self._undo.append(lambda: setattr(bits, "state", state))
        return ()

    def _tf_generator(self, source: Any) -> Iterable[Any]:
        state = np.array(source.state.read_value())
        self._undo.append(lambda: source.state.assign(state))
        return ()

    def _tensor(self, tensor: Any) -> Iterable[Any]:
        """A tensor that isn't a variable's, where tensors can change."""
        self._undo.append(self._engine.undo_writes(tensor))
        return ()


def _is_plain(container: Any) -> bool:
    """Whether a container keeps nothing but its items and, in Keras 3, who is told of them."""
    return type(container).__module__ in ("builtins", "keras.src.utils.tracking")


def _is_atomic(value: Any) -> bool:
    kind = type(value)
    return kind in ATOMIC or (kind is tuple and ATOMIC.issuperset(map(type, value)))


def slots_of(value: Any) -> Iterable[str]:
    """The names of the attributes that an object keeps outside of `__dict__`."""
    return copyreg._slotnames(type(value))  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=4096)
def _rule(kind: Any) -> Callable[[State, Any], Iterable[Any]] | None:
    """How values of a type are looked at, `None` where they aren't."""
    for base, rule in RULES.items():
        if issubclass(kind, base):
            return rule
    names = {base.__name__ for base in kind.__mro__ if base.__module__.partition(".")[0] in LIBRARIES}
    if kind.__name__ == "_DictWrapper":  # TensorFlow's proxy of a dictionary
        return State._dict
    if kind.__module__.partition(".")[0] == "torch" and kind.__name__ == "Tensor":
        return State._tensor
    if "Generator" in names and kind.__module__.partition(".")[0] == "tensorflow":
        return State._tf_generator
    if "Layer" in names:
        return State._layer
    module = "Module" in names and "Operation" not in names
    own = kind.__module__.partition(".")[0] not in LIBRARIES and not names - {"object"}
    known = kind.__name__ in LISTS_OF_LAYERS or "Initializer" in names  # tf_keras warns of one that it has used before
    return State._object if (module or own or known) and not issubclass(kind, BaseException | type) else None


RULES: dict[type, Callable[[State, Any], Iterable[Any]]] = {
    dict: State._dict,
    list: State._list,
    set: State._set,
    tuple: State._tuple,
    deque: State._queue,
    np.ndarray: State._array,
    np.random.Generator: State._generator,
    random.Random: State._random,
    threading.local: State._local,
}
