"""The paths of the layers of a Keras model: `vgg16/block1_conv2`, `blocks/0`, `mha/query`.

Keras 3 and tf_keras have the same layers under the same names, so a layer is recognised by the names of its library's
classes, and neither library is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ...core.layer import rectifier

LIBRARIES = ("keras", "tf_keras")


# layers with a kernel, which may compute an activation as well
WITH_KERNEL = (
    *("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "Dense", "EinsumDense"),
)


AUTOMATIC_NAME = re.compile(r"(.*?)(?:_(\d+))?", re.DOTALL)


_classes: WeakKeyDictionary[type, frozenset[str]] = WeakKeyDictionary()


def is_a(layer: Any, *names: str) -> bool:
    """Whether `layer` is a Keras layer of one of these classes, or of a class derived from one of them."""
    cls = type(layer)
    classes = _classes.get(cls)
    if classes is None:
        library = frozenset(base.__name__ for base in cls.__mro__ if is_library_class(base))
        classes = _classes[cls] = library if "Layer" in library else frozenset()
    return not classes.isdisjoint(names)


def is_layer(value: Any) -> bool:
    """Whether `value` is a layer, not a bare operation."""
    return is_a(value, "Layer")


def is_library_class(cls: type) -> bool:
    """Whether a class is one of the library's own, not derived from it by somebody else."""
    return cls.__module__.partition(".")[0] in LIBRARIES


class Child(NamedTuple):
    """A layer inside another one: its `name` there, and its own `layer.name` as an alias."""

    name: str
    own_name: str
    layer: Any


class Location(NamedTuple):
    """Where a layer is in the model: its path, and the path in which every layer goes by its own name."""

    path: str
    own_path: str

    def inner(self, child: Child) -> Location:
        """The location of a child of the layer at this location."""
        return Location(join(self.path, child.name), join(self.own_path, child.own_name))

    @property
    def aliases(self) -> tuple[str, ...]:
        """The other paths that find the layer."""
        return (self.own_path,) if self.own_path != self.path else ()


ROOT = Location("", "")


def join(path: str, name: str) -> str:
    """`path/name`, `name` alone at the root."""
    return f"{path}/{name}" if path else name


def kind(layer: Any) -> str:
    """The class, and the activation that is computed with it: `Conv2D+relu`."""
    name = type(layer).__name__
    activation = getattr(layer, "activation", None)
    if not is_a(layer, *WITH_KERNEL) or activation is None:
        return name
    label = getattr(activation, "__name__", type(activation).__name__).strip("<>").lower()
    return name if label == "linear" else f"{name}+{label}"


def usual_name(layer: Any) -> str:
    """What a layer is called elsewhere: a `ReLU` that ends at 6 is ReLU6, an `Activation` is called by its function."""
    if is_a(layer, "Activation"):
        label = getattr(getattr(layer, "activation", None), "__name__", "")
        return {"relu": "ReLU", "relu6": "ReLU6"}.get(label, label.strip("<>"))
    if type(layer).__name__ != "ReLU" or layer.negative_slope or layer.threshold or layer.max_value is None:
        return ""
    return rectifier(0, layer.max_value)


def is_graph(layer: Any) -> bool:
    """Whether the layer is a Functional or Sequential model, whose parts go by their own names."""
    return is_a(layer, "Functional", "Sequential")


def children(layer: Any) -> list[Child]:
    """The layers right inside `layer`, each once, in the order in which they were put there."""
    inside: dict[int, Child] = {}
    for name, child in (*_of_graph(layer), *_of_attributes(layer), *_of_private_attributes(layer)):
        inside.setdefault(id(child), Child(name, child.name, child))
    return list(inside.values())


def _of_graph(layer: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a Functional or Sequential model, by their own names."""
    if is_graph(layer):
        operations = getattr(layer, "operations", None)
        for child in layer.layers if operations is None or is_a(layer, "Sequential") else operations:
            yield child.name, child


def _of_attributes(layer: Any) -> Iterator[tuple[str, Any]]:
    """The layers in public attributes, by the names of these."""
    attributes = dict(vars(layer))
    # on torch a layer is a torch.nn.Module, which keeps its modules there
    attributes.update(attributes.get("_modules") or {})
    for name, value in attributes.items():
        if not name.startswith("_"):
            yield from _layers_in(value, name)


def _of_private_attributes(layer: Any) -> Iterator[tuple[str, Any]]:
    """What else a subclassed layer tracks; a Sequential would track its own Functional too."""
    for child in () if is_graph(layer) else _tracked_layers(layer):
        yield child.name, child


def _tracked_layers(layer: Any) -> list[Any]:
    """The layers right inside `layer` that Keras itself knows of."""
    if hasattr(layer, "_self_tracked_trackables"):  # tf_keras
        return list(layer._flatten_layers(include_self=False, recursive=False))
    return list(getattr(layer, "_layers", ()))


def _layers_in(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The layers in a value, also in its lists and dicts, each with its path."""
    if is_layer(value):
        yield name, value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _layers_in(member, f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _layers_in(member, f"{name}/{index}")


def walk(layer: Any, location: Location = ROOT, parents: tuple[int, ...] = ()) -> Iterator[tuple[Location, Any]]:
    """Every layer inside `layer` with its location, each before what is inside it."""
    parents = (*parents, id(layer))
    for child in children(layer):
        if id(child.layer) not in parents:
            inner = location.inner(child)
            yield inner, child.layer
            if is_layer(child.layer):
                yield from walk(child.layer, inner, parents)


class Names:
    """The locations of the layers of one run. Two layers never share a location.

    `counts` tells how often the library had given each automatic name before the run.
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts = counts or {}
        self._children: dict[int, dict[int, Child]] = {}
        self._owner: dict[str, int] = {}

    def locate(self, parent: Any, parent_location: Location, layer: Any) -> Location:
        """Where `layer` is when `parent` calls it."""
        inside = self._children.get(id(parent), {})
        if id(layer) not in inside:
            inside = self._children[id(parent)] = self._children_of(parent)
        if id(layer) not in inside:
            inside[id(layer)] = Child(self._stable(layer.name), layer.name, layer)
        return self.claim(parent_location.inner(inside[id(layer)]), layer)

    def _stable(self, name: str) -> str:
        """The name, without the library's count where that began with this run: `pad_7` would be `pad_8` in the next one."""
        stem, number = AUTOMATIC_NAME.fullmatch(name).groups()  # type: ignore[union-attr]  # it matches every name
        return stem if int(number or 0) >= self._counts.get(stem, 0) else name

    def claim(self, location: Location, layer: Any) -> Location:
        """The location, or the next free one (`dense_2`) where another layer has it."""
        number = 1
        free = location
        while self._owner.setdefault(free.path, id(layer)) != id(layer):
            number += 1
            free = Location(f"{location.path}_{number}", f"{location.own_path}_{number}")
        return free

    def _children_of(self, parent: Any) -> dict[int, Child]:
        """What `parent` may call: its own layers, those further inside it, and what it has called so far."""
        inside = {id(child.layer): child for child in children(parent)}
        for location, layer in walk(parent):
            inside.setdefault(id(layer), Child(location.path, location.own_path, layer))
        return {**inside, **self._children.get(id(parent), {})}
