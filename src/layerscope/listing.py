"""The table of layers in writing: a tree for people, plain lines for `grep`, HTML for notebooks, JSON for programs."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .layer import Layer
from .receptive import Field, describe

HEADER = ("index", "path", "kind", "output", "axes", "channels", "calls", "parameters", "field", "mark", "note")
RIGHT = {0, 3, 5, 6, 7}
GLYPHS = {"picture": "▦", "volume": "▧", "strip": "▤", "scalar": "·", "none": ""}
LEGEND = "▦ picture  ▧ volume  ▤ strip  · scalar"
PLAIN_SIGNS = str.maketrans("▦▧▤·×–…", "#%=.x-~")


@dataclass
class Node:
    """One line of the tree: a layer, one of its calls, or a name that only groups layers (`layer` is then `None`)."""

    name: str
    layer: Layer | None = None
    inner: dict[str, Node] = field(default_factory=dict)


def tree(layers: Sequence[Layer]) -> list[tuple[int, str, Layer | None]]:
    """The lines of the tree: how deep, the name there, and the layer (`None`: a name that only groups others).

    Each comes after what it is inside of; otherwise in the order of the first call.

    >>> made = [Layer("a/b/conv", "Conv"), Layer("a/b/relu", "ReLU"), Layer("a", "Model")]
    >>> [(depth, name) for depth, name, _ in tree(made)]
    [(0, 'a'), (1, 'b'), (2, 'conv'), (2, 'relu')]
    """
    root = Node("")
    slashes = any("/" in each.path for each in layers)
    for each in layers:
        at = root
        for name in _names(each.path, "/" if slashes else ".") if each.path else ["(output)"]:
            at = at.inner.setdefault(name, Node(name))
        at.layer = each
    return [line for node in root.inner.values() for line in _lines(node, 0, "/" if slashes else ".")]


def _names(path: str, separator: str) -> list[str]:
    """The parts of a path; a separator in front or doubled stays with the part after it."""
    return [each for each in re.split(rf"(?<=[^{separator}])[{separator}]", path) if each]


def _lines(node: Node, depth: int, separator: str) -> Iterator[tuple[int, str, Layer | None]]:
    while node.layer is None and len(node.inner) == 1:
        (only,) = node.inner.values()
        node = Node(f"{node.name}{separator}{only.name}", only.layer, only.inner)
    yield depth, node.name, node.layer
    calls = node.layer.per_call if node.layer else ()
    for at, call in enumerate(calls):
        yield depth + 1, f":{at}", call
    for each in node.inner.values():
        yield from _lines(each, depth + 1, separator)


def row(layer: Layer, name: str | None = None) -> tuple[str, ...]:
    """The cells of a layer's line, in the order of `HEADER`; `name` in the place of the full path."""
    return (
        str(layer.index),
        name or layer.path or "(output)",
        layer.kind,
        "×".join(map(str, layer.shape)) if layer.shape else "–",
        layer.axes or "–",
        "–" if layer.channels is None else str(layer.channels),
        str(layer.calls),
        short(layer.parameters),
        describe(layer.receptive) if layer.receptive else "–",
        GLYPHS[layer.mark],
        layer.note,
    )


def tree_rows(layers: Sequence[Layer]) -> list[tuple[tuple[str, ...], Layer | None]]:
    """The lines of the tree as cells, the name indented."""
    rows: list[tuple[tuple[str, ...], Layer | None]] = []
    for depth, name, layer in tree(layers):
        indented = "  " * depth + name
        if layer is None:
            rows.append((("", indented, *[""] * (len(HEADER) - 2)), None))
            continue
        cells = row(layer, indented)
        if name.startswith(":") and layer.path.endswith(name):
            cells = ("", indented, "", *cells[3:6], "", "", *cells[8:])
        rows.append((cells, layer))
    return rows


def tree_text(layers: Sequence[Layer], title: str = "") -> str:
    """The tree as text, with what its signs mean."""
    return "\n".join([*_columns([cells for cells, _ in tree_rows(layers)], title), *footer(layers)])


def plain_text(layers: Sequence[Layer], title: str = "") -> str:
    """A line a layer, each with its full path and with a word for the mark."""
    rows = [(*(cells := row(each))[:9], each.mark, cells[10]) for each in layers]
    return "\n".join(_columns(rows, title))


def footer(layers: Sequence[Layer]) -> list[str]:
    """What the signs of a table mean, and why fields are unknown."""
    lines = [LEGEND + "; field: size /stride @centre of the first unit, in pixels of the input"]
    reasons: dict[str, list[str]] = {}
    for each in layers:
        for one in (each.receptive or ())[:1]:
            if one.unknown:
                reasons.setdefault(one.unknown, []).append(each.path or "(output)")
    for reason, paths in reasons.items():
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        lines.append(f"field ? from {paths[0]!r}{more}: {reason}")
    return lines


def html_table(layers: Sequence[Layer], title: str = "") -> str:
    """The tree as an HTML table."""
    head = "".join(f"<th>{each}</th>" for each in HEADER)
    body = "".join(f"<tr>{_cells(cells, layer)}</tr>" for cells, layer in tree_rows(layers))
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    foot = "<br>".join(html.escape(each) for each in footer(layers))
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{foot}</p>"


def _cells(cells: Sequence[str], layer: Layer | None) -> str:
    made = []
    for at, cell in enumerate(cells):
        style = ' style="text-align:right"' if at in RIGHT else ""
        if at == 1:
            full = html.escape((layer.path if layer else cell.strip()) or "(output)", quote=True)
            depth = (len(cell) - len(cell.lstrip())) // 2
            style = f' style="text-align:left;padding-left:{depth + 0.5}em" title="{full}"'
        made.append(f"<td{style}>{html.escape(cell.strip())}</td>")
    return "".join(made)


def as_json(layers: Sequence[Layer]) -> str:
    """A JSON list with one object a layer."""
    return json.dumps([_object(each) for each in layers], indent=1)


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
        "call_shapes": [list(each.shape or ()) for each in layer.per_call],
        "note": layer.note,
        "aliases": list(layer.aliases),
        "mark": layer.mark,
        "parameters": layer.parameters,
        "receptive": None if layer.receptive is None else [_field(each) for each in layer.receptive],
    }


def _field(each: Field) -> dict[str, Any]:
    return {
        "size": each.size,
        "stride": each.stride,
        "offset": each.offset,
        "whole": each.whole,
        "unknown": each.unknown,
    }


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


def _columns(rows: Sequence[Sequence[str]], title: str) -> list[str]:
    every = [HEADER, *rows]
    widths = [max(len(each[at]) for each in every) for at in range(len(HEADER))]
    lines = [
        "  ".join(
            cell.rjust(width) if at in RIGHT else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(each, widths, strict=True))
        ).rstrip()
        for each in every
    ]
    return [title, *lines] if title else lines
