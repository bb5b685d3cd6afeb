"""`LayerTable`: the layers of a model, as a table to read and to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, overload

from . import choosing, listing
from .layer import Layer


class LayerTable(Sequence[Layer]):
    """The layers of a model in execution order; prints as a tree, in a terminal and in a notebook."""

    def __init__(self, layers: Iterable[Layer], title: str = "") -> None:
        self._layers = tuple(layers)
        self.title = title
        self._chosen: dict[Any, tuple[Layer, ...]] = {}

    @cached_property
    def several(self) -> frozenset[str]:
        """The paths of the calls of layers that ran more than once."""
        return frozenset(call.path for layer in self for call in layer.per_call)

    def single(self, path: str) -> str:
        """The address of a layer's only call: a backend that is asked for `path:0` can stop the run after it."""
        return path if path in self.several or not path else f"{path}:0"

    @overload
    def __getitem__(self, at: int) -> Layer: ...
    @overload
    def __getitem__(self, at: slice) -> LayerTable: ...
    def __getitem__(self, at: int | slice) -> Layer | LayerTable:
        if isinstance(at, slice):
            return LayerTable(self._layers[at], self.title)
        return self._layers[at]

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    def __repr__(self) -> str:
        return listing.tree_text(self._layers, self.title)

    def _repr_html_(self) -> str:
        return listing.html_table(self._layers, self.title)

    def plain(self) -> str:
        """One line a layer with its full path, in columns for `grep` and `awk`."""
        return listing.plain_text(self._layers, self.title)

    def json(self) -> str:
        """The table as a JSON list with one object a layer; docs/layers.md says what its keys mean."""
        return listing.as_json(self._layers)

    def choose(self, layers: Any) -> list[Layer]:
        """The layers that `layers` names, one entry a call, in execution order.

        A name is taken as the first of these that fits: an exact path (or another name of the layer), one call
        `path:1`, one of the words `last` (the last layer whose picture has more than one pixel), `stages` (the last layer
        of each resolution) and `output`, a part of a path that ends it and ends only one (`block1_conv2`), `kind:Conv2D`,
        an index as text (`19`, `#19`), a glob (`block5_*`). An int is an index, a function keeps what it says yes to, a
        list adds its entries up. A module that holds others and is called as one of the words is found by its index or as a
        `Layer`.

        Raises `LayerNotFound` with near names, or `LayerNotCalled` with the reason.
        """
        key = tuple(layers) if isinstance(layers, list) else layers
        if not isinstance(key, str) and not (isinstance(key, tuple) and all(isinstance(each, str) for each in key)):
            return choosing.choose(self._layers, layers)
        if key not in self._chosen:  # the same words for every batch of a stream
            self._chosen[key] = tuple(choosing.choose(self._layers, layers))
        return list(self._chosen[key])

    def explained(self, word: str) -> str:
        """Which layer `last` is here, and what else could be looked at."""
        return choosing.explained(self._layers, word)
