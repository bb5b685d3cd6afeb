"""The layers of a model as text, as HTML and as JSON: the tree of their paths, and what its signs mean."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..safe_text import json_text, printable
from ..surface import by_surface
from .columns import aligned, columns_within, widths_of
from .layer import Layer
from .receptive_field import Field, describe

HEADER = ("index", "path", "kind", "output", "axes", "channels", "calls", "parameters", "field", "mark", "note")
RIGHT = {0, 3, 5, 6, 7}  # columns aligned to the right
GLYPHS = {"picture": "▦", "volume": "▧", "strip": "▤", "scalar": "·", "none": ""}
LEGEND = "▦ picture  ▧ volume  ▤ strip  · scalar"
# Columns that may be folded, with the width that they keep.
FOLDED = {"path": 20, "kind": 8, "note": 24}
# What the table of a narrow terminal goes without, first what the shape holds too; notes stand below it then.
SPARE = tuple(
    HEADER.index(name) for name in ("note", "axes", "channels", "calls", "field", "parameters", "kind", "index", "mark")
)


@dataclass
class Node:
    """One line of the tree: a layer, one of its calls, or a name that only groups layers (`layer` is then `None`)."""

    name: str
    layer: Layer | None = None
    inner: dict[str, Node] = field(default_factory=dict)


def tree(layers: Sequence[Layer]) -> list[tuple[int, str, Layer | None]]:
    """The lines of the tree: how deep, the name there, and the layer (`None`: a name that only groups others).

    Each comes after what it is inside of; otherwise in the order of the first call.

    >>> layers = [Layer("a/b/conv", "Conv"), Layer("a/b/relu", "ReLU"), Layer("a", "Model")]
    >>> [(depth, name) for depth, name, _ in tree(layers)]
    [(0, 'a'), (1, 'b'), (2, 'conv'), (2, 'relu')]
    """
    root = Node("")
    separator = "/" if any("/" in layer.path for layer in layers) else "."
    for layer in layers:
        node = root
        for name in _names(layer.path, separator) if layer.path else ["(output)"]:
            node = node.inner.setdefault(name, Node(name))
        node.layer = layer
    return [line for node in root.inner.values() for line in _lines(node, 0, separator)]


def _names(path: str, separator: str) -> list[str]:
    """The parts of a path; a separator in front or doubled stays with the part after it."""
    return [name for name in re.split(rf"(?<=[^{separator}])[{separator}]", path) if name]


def _lines(node: Node, depth: int, separator: str) -> Iterator[tuple[int, str, Layer | None]]:
    while node.layer is None and len(node.inner) == 1:
        (only,) = node.inner.values()
        node = Node(f"{node.name}{separator}{only.name}", only.layer, only.inner)
    yield depth, node.name, node.layer
    calls = node.layer.per_call if node.layer else ()
    for number, call in enumerate(calls):
        yield depth + 1, f":{number}", call
    for inner in node.inner.values():
        yield from _lines(inner, depth + 1, separator)


def row(layer: Layer, name: str | None = None) -> tuple[str, ...]:
    """The cells of a layer's line, in the order of `HEADER`; `name` in place of the full path."""
    return (
        str(layer.index),
        printable(name or layer.path or "(output)"),
        printable(layer.kind),
        "×".join(map(str, layer.shape)) if layer.shape else "–",
        layer.axes or "–",
        "–" if layer.channels is None else str(layer.channels),
        str(layer.calls),
        short(layer.parameters),
        describe(layer.receptive) if layer.receptive else "–",
        GLYPHS[layer.mark],
        printable(layer.note),
    )


def tree_rows(layers: Sequence[Layer]) -> list[tuple[tuple[str, ...], Layer | None]]:
    """The lines of the tree as cells, the name indented."""
    rows: list[tuple[tuple[str, ...], Layer | None]] = []
    for depth, name, layer in tree(layers):
        indented = "  " * depth + name
        if layer is None:
            rows.append((("", printable(indented), *[""] * (len(HEADER) - 2)), None))
            continue
        cells = row(layer, indented)
        if name.startswith(":") and layer.path.endswith(name):
            cells = ("", printable(indented), "", *cells[3:6], "", "", *cells[8:])
        rows.append((cells, layer))
    return rows


def tree_text(layers: Sequence[Layer], title: str = "", width: int | None = None) -> str:
    """The tree as text with what its signs mean; in a terminal of that width the columns that fit."""
    rows = [HEADER, *(cells for cells, _ in tree_rows(layers))]
    kept = columns_within(widths_of(rows), width, SPARE)
    head = [printable(title)] if title else []
    return "\n".join([*head, *aligned(rows, RIGHT, kept), *footer(layers, kept)])


def plain_text(layers: Sequence[Layer], title: str = "") -> str:
    """One line per layer, each with its full path and with a word for the mark."""
    rows = [HEADER, *((*(cells := row(layer))[:9], layer.mark, cells[10]) for layer in layers)]
    return "\n".join([printable(title)] * bool(title) + aligned(rows, RIGHT, range(len(HEADER))))


def footer(layers: Sequence[Layer], kept: Sequence[int] = range(len(HEADER))) -> list[str]:
    """What the signs of a table mean, why fields are unknown, and what stood in the columns that aren't `kept`."""
    left_out = [name for column, name in enumerate(HEADER) if column not in kept]
    lines = []
    if "note" in left_out:
        lines += [f"note on {layer.index}: {printable(layer.note)}" for layer in layers if layer.note]
        left_out.remove("note")
    if left_out:
        whole = by_surface(
            "a wider terminal, plain() and json() have them", "a wider terminal, a pipe or --json has them"
        )
        lines.append(f"left out at this width: {', '.join(left_out)}; {whole}")
    legend = [LEGEND] if "mark" not in left_out else []
    legend += (
        ["field: size /stride @centre of the first unit, in pixels of the input"] if "field" not in left_out else []
    )
    lines += ["; ".join(legend)] if legend else []
    reasons: dict[str, list[str]] = {}
    for layer in layers:
        reason = layer.receptive[0].unknown if layer.receptive else ""
        if reason:
            reasons.setdefault(reason, []).append(layer.path or "(output)")
    for reason, paths in reasons.items():
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        lines.append(printable(f"field ? from {paths[0]!r}{more}: {reason}"))
    return lines


def html_table(layers: Sequence[Layer], title: str = "") -> str:
    """The tree as an HTML table."""
    head = "".join(f"<th>{name}</th>" for name in HEADER)
    body = "".join(f"<tr>{_cells(cells, layer)}</tr>" for cells, layer in tree_rows(layers))
    caption = f"<caption>{html.escape(printable(title))}</caption>" if title else ""
    foot = "<br>".join(html.escape(line) for line in footer(layers))
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{foot}</p>"


def _cells(cells: Sequence[str], layer: Layer | None) -> str:
    columns = []
    for column, cell in enumerate(cells):
        style = ' style="text-align:right"' if column in RIGHT else ""
        if column == 1:
            full = html.escape(printable(layer.path if layer else cell.strip()) or "(output)", quote=True)
            depth = (len(cell) - len(cell.lstrip())) // 2
            style = f' style="text-align:left;padding-left:{depth + 0.5}em" title="{full}"'
        columns.append(f"<td{style}>{html.escape(cell.strip())}</td>")
    return "".join(columns)


def columns(layers: Sequence[Layer]) -> dict[str, list[Any]]:
    """The table by columns, with numbers in full; `None` for what isn't known."""
    axes = [layer.receptive[0] if layer.receptive else None for layer in layers]
    return {
        **{
            name: [getattr(layer, name) for layer in layers]
            for name in ("index", "path", "kind", "axes", "shape", "channels", "calls", "parameters")
        },
        "field": [axis and axis.size for axis in axes],
        "stride": [axis and axis.stride for axis in axes],
        "mark": [layer.mark for layer in layers],
        "note": [layer.note for layer in layers],
    }


def as_json(layers: Sequence[Layer]) -> str:
    """A JSON list with one object per layer."""
    return json_text([_object(layer) for layer in layers], indent=1, ensure_ascii=True)


def _object(layer: Layer) -> dict[str, Any]:
    return {
        "path": layer.path,
        "kind": layer.kind,
        "axes": layer.axes,
        "shape": list(layer.shape) if layer.shape else None,
        "index": layer.index,
        "channels": layer.channels,
        "spatial": list(layer.spatial),
        "calls": layer.calls,
        "call_shapes": [list(call.shape or ()) for call in layer.per_call],
        "note": layer.note,
        "aliases": list(layer.aliases),
        "mark": layer.mark,
        "parameters": layer.parameters,
        "receptive": None if layer.receptive is None else [_field(axis) for axis in layer.receptive],
    }


def _field(axis: Field) -> dict[str, Any]:
    return {name: getattr(axis, name) for name in ("size", "stride", "offset", "whole", "unknown")}


def short(count: int | None) -> str:
    """A number of parameters to read at a glance.

    >>> short(1792), short(138357544), short(0), short(None)
    ('1.79k', '138M', '0', '–')
    """
    if count is None:
        return "–"
    for size, sign in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.{max(0, 3 - len(str(count // size)))}f}{sign}"
    return str(count)
