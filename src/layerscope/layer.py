"""`Layer`, the table of a model's layers, and how a user's words choose among them."""

from __future__ import annotations

import fnmatch
import html
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from .axes import SPATIAL
from .errors import LayerNotCalled, LayerNotFound, near


@dataclass(frozen=True, slots=True)
class Layer:
    """One named step of a model that produces an output.

    `path` is its address, `kind` its class in the framework's words (`Conv2D+relu` where an activation is fused in).
    `axes` names the axes of `shape`, the output of a dry run with one image, both in the framework's own order; `""`
    and `None` where nothing came out. `calls` is how often it ran, `note` what there is to say of it. A layer that ran
    more than once has one `Layer` a call in `per_call`, at `path:0`, `path:1`, … `grid` is the (height, width) of
    image tokens (of the key tokens where the axes are `q` and `k`), `prefix` the names of the tokens in front of them:
    `("cls", "reg1")`. `aliases` are other names that find it. `step` is the place of its (first) call among all calls of the
    run, -1 where the backend doesn't say.
    """

    path: str
    kind: str
    axes: str = ""
    shape: tuple[int, ...] | None = None
    index: int = -1
    calls: int = 0
    note: str = ""
    grid: tuple[int, int] | None = None
    aliases: tuple[str, ...] = field(default=(), repr=False)
    per_call: tuple[Layer, ...] = field(default=(), repr=False)
    step: int = field(default=-1, repr=False)
    prefix: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def channels(self) -> int | None:
        """The number of channels, `None` where the layer can't be shown."""
        if not self.shape or not self.axes:
            return None
        return self.shape[self.axes.index("c")] if "c" in self.axes else 1

    @property
    def spatial(self) -> tuple[int, ...]:
        """The sizes of the spatial axes, e.g. `(224, 224)`; `()` for a dense layer."""
        if self.grid and "n" in self.axes:
            return self.grid
        if not self.shape:
            return ()
        return tuple(self.shape[self.axes.index(each)] for each in SPATIAL if each in self.axes)

    @property
    def attention(self) -> bool:
        """Whether it is attention weights: a row for each query token, a column for each key token, a channel a head."""
        return "q" in self.axes and "k" in self.axes

    @property
    def showable(self) -> bool:
        """Whether it produced something that has a picture."""
        return bool(self.calls and self.axes)


def split_call(path: str) -> tuple[str, int | None]:
    """`"relu:1"` as `("relu", 1)`, `"relu"` as `("relu", None)`.

    >>> split_call("block/relu:1")
    ('block/relu', 1)
    """
    found = re.fullmatch(r"(.*):(\d+)", path, re.DOTALL)
    return (found[1], int(found[2])) if found else (path, None)


class LayerTable(Sequence[Layer]):
    """The layers of a model in execution order; prints as a table, in a terminal and in a notebook."""

    def __init__(self, layers: Iterable[Layer], title: str = "") -> None:
        self._layers = tuple(layers)
        self.title = title

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

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the printed table: index, path, kind, output, axes, channels, calls, note."""
        return [
            (
                str(each.index),
                each.path or "(output)",
                each.kind,
                "×".join(map(str, each.shape)) if each.shape else "–",
                each.axes or "–",
                "–" if each.channels is None else str(each.channels),
                str(each.calls),
                each.note,
            )
            for each in self
        ]

    def __repr__(self) -> str:
        header = HEADER
        rows = [header, *self.rows()]
        widths = [max(len(row[at]) for row in rows) for at in range(len(header))]
        lines = [
            "  ".join(
                cell.rjust(width) if at in RIGHT else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([self.title, *lines] if self.title else lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{each}</th>" for each in HEADER)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows()
        )
        caption = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def json(self) -> str:
        """The table as a JSON list with one object a layer."""
        return json.dumps([_as_json(each) for each in self], indent=1)

    def choose(self, layers: Any) -> list[Layer]:
        """The layers that `layers` names, one entry a call, in execution order.

        A name is taken as the first of these that fits: an exact path (or another name of the layer), one call
        `path:1`, one of the words `last` (the last layer whose picture has more than one pixel), `stages` (the last layer
        of each resolution) and `output`, a part of a path that ends it and ends only one (`block1_conv2`), `kind:Conv2D`,
        a glob (`block5_*`). An int is an index, a function keeps what it says yes to, a list adds its entries up.

        Raises `LayerNotFound` with near names, or `LayerNotCalled` with the reason.
        """
        single = isinstance(layers, str | int | Layer) or callable(layers) or not isinstance(layers, Iterable)
        wanted = [layers] if single else list(layers)
        if not wanted:
            raise LayerNotFound("no layers asked for: layers=[] names none")
        chosen: dict[str, Layer] = {}
        for each in wanted:
            for layer in self._one(each):
                for call in layer.per_call or (layer,):
                    chosen.setdefault(call.path, call)
        order = {layer.path: at for at, layer in enumerate(self._calls())}
        return sorted(chosen.values(), key=lambda layer: order[layer.path])

    def _calls(self) -> list[Layer]:
        """Every call in execution order."""
        calls = [call for layer in self for call in layer.per_call or (layer,)]
        steps = [call.step for call in calls if call.showable]
        if -1 in steps:
            return calls
        return sorted(calls, key=lambda call: (not call.showable, call.step))

    def _one(self, wanted: Any) -> list[Layer]:
        if isinstance(wanted, Layer):
            return self._named(wanted.path)
        if isinstance(wanted, bool):
            raise LayerNotFound(f"a layer can't be {wanted!r}: use a path, an index or a function")
        if isinstance(wanted, int):
            if not -len(self) <= wanted < len(self):
                raise LayerNotFound(f"layer index {wanted} is out of range: the model has layers 0 to {len(self) - 1}")
            return [called(self[wanted], self)]
        if isinstance(wanted, str):
            return self._named(wanted)
        if callable(wanted):
            found = [each for each in self if each.showable and wanted(each)]
            if not found:
                raise LayerNotFound("the function said yes to none of the layers that produced an output")
            return found
        raise LayerNotFound(f"a layer can't be chosen by a {type(wanted).__name__}: use a path, an index or a function")

    def _named(self, name: str) -> list[Layer]:
        exact = self._exact(name)
        if exact is not None and (exact.showable or name not in WORDS):
            return [called(exact, self)]
        # A container of that name (`encoder.stages`) must not hide the word.
        if name in WORDS:
            meant = self._by_word(name)
            if meant is not None:
                return meant
        ends = [each for each in self if _ends_with(each, name)]
        if not ends and (split := split_call(name))[1] is not None:
            base = [each for each in self if _ends_with(each, split[0])]
            ends = [found for each in base if (found := _call_of(each, split[1])) is not None]
        if len(ends) == 1:
            return [called(ends[0], self)]
        if len(ends) > 1:
            raise LayerNotFound(
                f"{name!r} ends {len(ends)} paths: {_some(ends)}. Give more of the path, or the glob {'*' + name!r} for all"
            )
        for rule in (self._by_kind, self._by_glob):
            several = rule(name)
            if several is not None:
                return several
        raise LayerNotFound(self._unknown(name))

    def _exact(self, name: str) -> Layer | None:
        calls = [call for each in self for call in each.per_call]
        for test in (lambda each: each.path == name, lambda each: name in each.aliases):
            for each in (*self, *calls):
                if test(each):
                    return each
        base, call = split_call(name)
        if call is None:
            return None
        for each in self:
            if each.path == base or base in each.aliases:
                found = _call_of(each, call)
                if found is None:
                    raise LayerNotFound(
                        f"layer {base!r} ran {each.calls} times, so it has calls :0 to :{max(each.calls - 1, 0)}, not :{call}"
                    )
                return found
        return None

    def _by_word(self, name: str) -> list[Layer] | None:
        pictures = [
            each
            for each in self._calls()
            if each.path and each.showable and len(each.spatial) >= 2 and not each.attention
        ]
        if name == "output":
            root = [each for each in self if each.path == "" and each.showable]
            ran = [each for each in self if each.showable]
            return (root or ran)[-1:] or None
        if name == "last":
            found = [each for each in pictures if max(each.spatial) > 1][-1:]
            if not found:
                raise LayerNotFound("'last' means the last layer with more than one pixel, and no layer here has one")
            return found
        if name == "stages":
            last: dict[tuple[int, ...], Layer] = {}
            for each in pictures:
                # Padding before a strided convolution makes sizes of its own that are no stage.
                if max(each.spatial) > 1 and "pad" not in bare_kind(each).lower():
                    last.pop(each.spatial, None)
                    last[each.spatial] = each
            if not last:
                raise LayerNotFound("'stages' means the last layer of each resolution, and no layer here has pixels")
            return list(last.values())
        return None

    def _by_kind(self, name: str) -> list[Layer] | None:
        if not name.startswith("kind:"):
            return None
        kind = name.removeprefix("kind:")
        found = [
            each for each in self if each.showable and kind.lower() in (each.kind.lower(), bare_kind(each).lower())
        ]
        if not found:
            kinds = sorted({bare_kind(each) for each in self if each.showable})
            raise LayerNotFound(f"no layer of kind {kind!r} produced an output; kinds here: {', '.join(kinds)}")
        return found

    def _by_glob(self, name: str) -> list[Layer] | None:
        if not any(each in name for each in "*?["):
            return None
        found = [
            each
            for each in self
            if each.path
            and (fnmatch.fnmatchcase(each.path, name) or any(fnmatch.fnmatchcase(e, name) for e in ends(each.path)))
        ]
        ran = [each for each in found if each.showable]
        if found and not ran:
            raise LayerNotCalled(f"{name!r} matches {_some(found)}, none of which produced an output")
        return ran or None

    def _unknown(self, name: str) -> str:
        names = [known for each in self for known in (each.path, *each.aliases, *ends(each.path))]
        hint = near(name, names)
        if not hint:
            shown = [each for each in self if each.showable]
            hint = f" The model has {len(self)} layers: {_some(shown or list(self))}."
        return f"no layer {name!r}.{hint} `layers()` lists them all"


HEADER = ("index", "path", "kind", "output", "axes", "channels", "calls", "note")
RIGHT = {0, 3, 5, 6}
WORDS = ("last", "stages", "output")


def bare_kind(layer: Layer) -> str:
    """The kind without what is fused into it: `Conv2D` for `Conv2D+relu`."""
    return layer.kind.split("+")[0]


def ends(path: str) -> list[str]:
    """The proper endings of a path at its separators, longest first.

    >>> ends("vgg16/block1.conv2")
    ['block1.conv2', 'conv2']
    """
    return [path[found.end() :] for found in re.finditer(r"[/.]", path) if path[found.end() :]]


def called(layer: Layer, table: Sequence[Layer]) -> Layer:
    """The layer itself where it produced an output; else raises `LayerNotCalled` with the reason and a way out."""
    if layer.showable:
        return layer
    reason = layer.note or "it did not run in this forward pass"
    ran = {each.path for each in table if each.showable}
    parents = [layer.path[: found.start()] for found in re.finditer(r"[/.]", layer.path)]
    parent = next((each for each in reversed(parents) if each in ran), None)
    children = [each for each in table if each.showable and each.path.startswith((layer.path + ".", layer.path + "/"))]
    way_out = ""
    if parent is not None:
        way_out = f" The nearest layer around it that ran is {parent!r}."
    elif children:
        way_out = f" Inside it ran {_some(children)}."
    raise LayerNotCalled(f"layer {layer.path!r} ({layer.kind}) has no output: {reason}.{way_out}")


def _ends_with(layer: Layer, name: str) -> bool:
    return bool(name) and layer.path.endswith(("/" + name, "." + name))


def _call_of(layer: Layer, call: int) -> Layer | None:
    if call < len(layer.per_call):
        return layer.per_call[call]
    return layer if call == 0 and layer.calls == 1 else None


def _some(layers: Sequence[Layer], most: int = 6) -> str:
    names = ", ".join(repr(each.path) for each in layers[:most])
    return names + (f" … ({len(layers)} in all)" if len(layers) > most else "")


def _as_json(layer: Layer) -> dict[str, Any]:
    return {
        "path": layer.path,
        "kind": layer.kind,
        "axes": layer.axes,
        "shape": list(layer.shape) if layer.shape else None,
        "index": layer.index,
        "channels": layer.channels,
        "spatial": list(layer.spatial),
        "calls": layer.calls,
        "call_shapes": [list(each.shape or ()) for each in layer.per_call],
        "note": layer.note,
    }
