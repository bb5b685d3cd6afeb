"""`LayerTable`: the layers of a model, as a table to read and to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..safe_text import printable, writable
from . import selection, tables
from .columns import terminal_width
from .layer import Layer, split_call
from .table_text import as_json, columns, html_table, plain_text, tree_text

if TYPE_CHECKING:
    import pandas


class LayerTable(Sequence[Layer]):
    """The layers of a model in execution order; prints as a tree, in a terminal and in a notebook.

    A sequence of `Layer`: `len(table)`, `table[3]`, `for layer in table`.

    >>> layers = [Layer("net/conv", "Conv2D", "bhwc", (1, 7, 7, 64), 0, 1), Layer("net/fc", "Dense", "bc", (1, 10), 1, 1)]
    >>> print(str(LayerTable(layers)).partition("▦ picture")[0].rstrip())  # doctest: +NORMALIZE_WHITESPACE
    index  path    kind    output  axes  channels  calls  parameters  field  mark  note
           net
        0    conv  Conv2D  1×7×7×64  bhwc      64      1           –  –      ▦
        1    fc    Dense       1×10  bc        10      1           –  –      ·

    Args:
        layers: The rows, in execution order.
        title: A heading for the printed table.
    """

    def __init__(self, layers: Iterable[Layer], title: str = "") -> None:
        self._layers = tuple(layers)
        self.title = title
        self._chosen: dict[Any, tuple[Layer, ...]] = {}

    @cached_property
    def several(self) -> frozenset[str]:
        """The paths of the calls of layers that ran more than once.

        >>> calls = (Layer("relu:0", "ReLU", calls=1), Layer("relu:1", "ReLU", calls=1))
        >>> sorted(LayerTable([Layer("relu", "ReLU", calls=2, per_call=calls)]).several)
        ['relu:0', 'relu:1']
        """
        return frozenset(call.path for layer in self for call in layer.per_call)

    def single(self, path: str) -> str:
        """The address of a layer's only call: a backend that is asked for `path:0` can stop the run after it.

        Args:
            path: The path of a layer that ran once, or of one call.

        >>> LayerTable([Layer("conv", "Conv2D", calls=1)]).single("conv")
        'conv:0'
        """
        if not path or path in self.several:
            return path
        base, number = split_call(path)
        of_another_run = number is not None and path not in self._paths and base in self._paths
        return path if of_another_run else f"{path}:0"

    @cached_property
    def _paths(self) -> frozenset[str]:
        return frozenset(layer.path for layer in self)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> LayerTable: ...
    def __getitem__(self, index: int | slice) -> Layer | LayerTable:
        if isinstance(index, slice):
            return LayerTable(self._layers[index], self.title)
        return self._layers[index]

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    def __repr__(self) -> str:
        return writable(tree_text(self._layers, self.title, terminal_width()))

    def _repr_html_(self) -> str:
        return html_table(self._layers, self.title)

    def plain(self) -> str:
        """One line per layer with its full path, in columns for `grep` and `awk`.

        >>> LayerTable([Layer("net/conv", "Conv2D")]).plain().splitlines()[1].split()[:2]
        ['-1', 'net/conv']
        """
        return plain_text(self._layers, self.title)

    def json(self) -> str:
        """The table as a JSON list with one object per layer; docs/layers.md says what its keys mean.

        >>> import json
        >>> json.loads(LayerTable([Layer("conv", "Conv2D")]).json())[0]["kind"]
        'Conv2D'
        """
        return as_json(self._layers)

    def to_dataframe(self) -> pandas.DataFrame:
        """The table as a `pandas.DataFrame` with a row for each layer, every number in full.

        The columns are those of the printed table, with the path as a whole, `shape` as a tuple, `field` and `stride` of the
        receptive field along the first axis of the image, and the mark as a word; what isn't known is `<NA>` or NaN.

        >>> table = LayerTable([Layer("conv", "Conv2D", "bhwc", (1, 7, 7, 64), 0, 1, parameters=1792)])
        >>> table.to_dataframe().parameters.sum()  # doctest: +SKIP
        1792

        Raises:
            LibraryMissing: pandas isn't installed.
        """
        frame = tables.pandas().DataFrame(columns(self._layers))
        return frame.astype({"channels": "Int64", "parameters": "Int64", "field": "Int64", "stride": "float64"})

    @overload
    def to_csv(self, path: None = None) -> str: ...
    @overload
    def to_csv(self, path: str | Path) -> Path: ...
    def to_csv(self, path: str | Path | None = None) -> str | Path:
        """The table as CSV with a line of names, its columns as in `to_dataframe`; what isn't known is left blank.

        >>> table = LayerTable([Layer("conv", "Conv2D", "bhwc", (1, 7, 7, 64), 0, 1, parameters=1792)])
        >>> print(table.to_csv(), end="")
        index,path,kind,axes,shape,channels,calls,parameters,field,stride,mark,note
        0,conv,Conv2D,bhwc,1×7×7×64,64,1,1792,,,picture,

        Args:
            path: A file to write it to, whose path is returned; `None` for the text itself.

        Raises:
            BadOption: The file can't be written.
        """
        shown = columns(self._layers)
        shown["shape"] = ["×".join(map(str, shape or ())) for shape in shown["shape"]]
        return tables.as_csv(map(tables.csv_line, [list(shown), *zip(*shown.values(), strict=True)]), path)

    def choose(self, layers: Any) -> list[Layer]:
        """The layers that `layers` names, one entry per call, in execution order.

        A name is taken as the first of these that fits: an exact path (or another name of the layer), one call
        `path:1`, one of the words `last` (the last layer whose picture has more than one pixel), `stages` (the last layer
        of each resolution) and `output`, the end of one path only (`block1_conv2`), `kind:Conv2D`, an index as text
        (`19`, `#19`), a glob (`block5_*`). A container whose own name is one of the words is found by its index or as a
        `Layer`.

        >>> table = LayerTable([Layer(f"net/conv{n}", "Conv2D", "bhwc", (1, 9, 9, 8), n, 1, step=n) for n in range(3)])
        >>> [layer.path for layer in table.choose(["last", "conv0"])]
        ['net/conv0', 'net/conv2']

        Args:
            layers: A name, an index, a `Layer`, a function of a `Layer` that says whether it is wanted; or a list of these.

        Raises:
            LayerNotFound: Nothing answers to a name; near names are given.
            LayerNotCalled: The layer exists and produced nothing; the reason is given.
        """
        key = tuple(layers) if isinstance(layers, list) else layers
        if not isinstance(key, str) and not (isinstance(key, tuple) and all(isinstance(name, str) for name in key)):
            return selection.choose(self._layers, layers)
        if key not in self._chosen:  # the same words for every batch of a stream
            self._chosen[key] = tuple(selection.choose(self._layers, layers))
        return list(self._chosen[key])

    def by_rule(self, layers: Any) -> frozenset[str]:
        """The paths among `choose(layers)` that come from a rule (`*`, `stages`, `kind:`, a function), not from a name.

        >>> table = LayerTable([Layer(f"conv{n}", "Conv2D", "bhwc", (1, 9, 9, 8), n, 1, step=n) for n in range(3)])
        >>> sorted(table.by_rule(["conv*", "conv1"]))
        ['conv0', 'conv2']

        Args:
            layers: As for `choose`.
        """
        single = isinstance(layers, str | int | Layer) or callable(layers)
        names: list[Any] = []
        rules: list[Any] = []
        for choice in [layers] if single else list(layers):
            (rules if self._is_rule(choice) else names).append(choice)
        ruled = {layer.path for layer in self.choose(rules)} if rules else set()
        return frozenset(ruled - {layer.path for layer in self.choose(names)} if names else ruled)

    def by_number(self, layers: Any) -> frozenset[str]:
        """The paths among `choose(layers)` that name a call by its number.

        >>> calls = (Layer("relu:0", "ReLU", "bc", (1, 9), calls=1), Layer("relu:1", "ReLU", "bc", (1, 9), calls=1))
        >>> table = LayerTable([Layer("relu", "ReLU", "bc", (1, 9), calls=2, per_call=calls)])
        >>> sorted(table.by_number(["relu:1"])), sorted(table.by_number("relu"))
        (['relu:1'], [])

        Args:
            layers: As for `choose`.
        """
        single = isinstance(layers, str | int | Layer) or callable(layers)
        named: list[Any] = []
        others: list[Any] = []
        for choice in [layers] if single else list(layers):
            (named if self._is_number(choice) else others).append(choice)
        numbered = {layer.path for layer in self.choose(named)} if named else set()
        return frozenset(numbered - {layer.path for layer in self.choose(others)} if numbered and others else numbered)

    def _is_number(self, choice: Any) -> bool:
        if isinstance(choice, Layer):
            return choice.path in self.several
        return isinstance(choice, str) and split_call(choice)[1] is not None and choice not in self._paths

    def _is_rule(self, choice: Any) -> bool:
        if not isinstance(choice, str):
            return callable(choice)
        text = choice == "stages" or choice.startswith("kind:") or any(sign in choice for sign in "*?[")
        return text and all(layer.path != choice for layer in self._layers)

    def explained(self, word: str) -> str:
        """Which layer a word such as `last` is here, and what else could be looked at, in one line.

        >>> LayerTable([Layer("conv", "Conv2D", "bhwc", (1, 7, 7, 64), calls=1)]).explained("last")
        "last is 'conv' (Conv2D, 7×7)"

        Args:
            word: `"last"`, or anything else that `choose` takes.
        """
        return printable(selection.explain(self._layers, word))
