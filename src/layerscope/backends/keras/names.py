"""What the layers of a Keras model are called: `vgg16/block1_conv2`, `blocks/0`, `mha/query`.

Keras 3 and tf_keras have the same layers under the same names, so a layer is known by the names of its library's
classes, and neither library is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

LIBRARIES = ("keras", "tf_keras")


FUSING = (
    *("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "Dense", "EinsumDense"),
)


AUTOMATIC = re.compile(r"(.*?)(?:_(\d+))?", re.DOTALL)


_classes: WeakKeyDictionary[type, frozenset[str]] = WeakKeyDictionary()


def is_a(layer: Any, *names: str) -> bool:
    """Whether `layer` is a Keras layer of one of these classes, or of a class made from one of them."""
    kind = type(layer)
    known = _classes.get(kind)
    if known is None:
        own = {each.__name__ for each in kind.__mro__ if each.__module__.partition(".")[0] in LIBRARIES}
        known = _classes[kind] = frozenset(own) if "Layer" in own else frozenset()
    return not known.isdisjoint(names)


def is_layer(value: Any) -> bool:
    """Whether `value` is a layer, no bare operation."""
    return is_a(value, "Layer")


def of_library(layer: Any) -> bool:
    """Whether the layer's own class is one of the library's, not somebody's child of it."""
    return type(layer).__module__.partition(".")[0] in LIBRARIES


class Child(NamedTuple):
    """A layer inside another one: `name` there, and its own `layer.name` as another way to say it."""

    name: str
    named: str
    layer: Any


class Place(NamedTuple):
    """Where a layer is in the model: its path, and the path in which every layer goes by its own name."""

    path: str
    named: str

    def inner(self, child: Child) -> Place:
        return Place(join(self.path, child.name), join(self.named, child.named))

    @property
    def aliases(self) -> tuple[str, ...]:
        return (self.named,) if self.named != self.path else ()


ROOT = Place("", "")


def join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def kind(layer: Any) -> str:
    """The class, and the activation that is computed with it: `Conv2D+relu`."""
    name = type(layer).__name__
    activation = getattr(layer, "activation", None)
    if not is_a(layer, *FUSING) or activation is None:
        return name
    label = getattr(activation, "__name__", type(activation).__name__).strip("<>").lower()
    return name if label == "linear" else f"{name}+{label}"


def is_graph(layer: Any) -> bool:
    """Whether the layer is a Functional or Sequential model, whose parts go by their own names."""
    return is_a(layer, "Functional", "Sequential")


def children(layer: Any) -> list[Child]:
    """The layers right inside `layer`, each once, in the order in which they were put there."""
    found: dict[int, Child] = {}
    if is_graph(layer):
        parts = getattr(layer, "operations", None)
        for each in layer.layers if parts is None or is_a(layer, "Sequential") else parts:
            found.setdefault(id(each), Child(each.name, each.name, each))
    held = dict(vars(layer))
    # on torch a layer is a torch.nn.Module, which keeps its modules there
    held.update(held.get("_modules") or {})
    for attribute, value in held.items():
        if not attribute.startswith("_"):
            for name, each in _layers_in(value, attribute):
                found.setdefault(id(each), Child(name, each.name, each))
    # what else a subclassed layer tracks is held by private attributes; a Sequential tracks its own Functional too
    for each in () if is_graph(layer) else tracked(layer):
        found.setdefault(id(each), Child(each.name, each.name, each))
    return list(found.values())


def tracked(layer: Any) -> list[Any]:
    """The layers right inside `layer` that Keras itself knows of."""
    if hasattr(layer, "_self_tracked_trackables"):  # tf_keras
        return list(layer._flatten_layers(include_self=False, recursive=False))
    return list(getattr(layer, "_layers", ()))


def _layers_in(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if is_layer(value):
        yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _layers_in(each, f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for at, each in enumerate(value):
            yield from _layers_in(each, f"{name}/{at}")


def walk(layer: Any, place: Place = ROOT, around: tuple[int, ...] = ()) -> Iterator[tuple[Place, Any]]:
    """Every layer inside `layer` with its place, each before what is inside it."""
    around = (*around, id(layer))
    for child in children(layer):
        if id(child.layer) not in around:
            inner = place.inner(child)
            yield inner, child.layer
            if is_layer(child.layer):
                yield from walk(child.layer, inner, around)


class Names:
    """The places of the layers of one run. Two layers never share a place.

    `numbers` says how often the library had given each automatic name before the run.
    """

    def __init__(self, numbers: Mapping[str, int] | None = None) -> None:
        self._numbers = numbers or {}
        self._known: dict[int, dict[int, Child]] = {}
        self._owner: dict[str, int] = {}

    def place(self, parent: Any, at: Place, layer: Any) -> Place:
        """Where `layer` is when `parent`, itself at `at`, calls it."""
        known = self._known.get(id(parent), {})
        if id(layer) not in known:
            known = self._known[id(parent)] = self._inside(parent)
        if id(layer) not in known:
            known[id(layer)] = Child(self._lasting(layer.name), layer.name, layer)
        child = known[id(layer)]
        return self.claim(at.inner(child), layer)

    def _lasting(self, name: str) -> str:
        """The name, without the library's count where that began with this run: `pad_7` would be `pad_8` in the next one."""
        stem, number = AUTOMATIC.fullmatch(name).groups()  # type: ignore[union-attr]  # it matches every name
        return stem if int(number or 0) >= self._numbers.get(stem, 0) else name

    def claim(self, place: Place, layer: Any) -> Place:
        """The place, or the next free one (`dense_2`) where another layer has it."""
        number = 1
        free = place
        while self._owner.setdefault(free.path, id(layer)) != id(layer):
            number += 1
            free = Place(f"{place.path}_{number}", f"{place.named}_{number}")
        return free

    def _inside(self, parent: Any) -> dict[int, Child]:
        known = self._known.get(id(parent), {})
        found = {id(each.layer): each for each in children(parent)}
        for place, layer in walk(parent):
            found.setdefault(id(layer), Child(place.path, place.named, layer))
        return {**found, **known}
