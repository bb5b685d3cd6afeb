"""A picture as SVG: tiles as embedded PNGs that stay sharp, text as text, bar and marks as boxes; nothing from outside."""

from __future__ import annotations

import re
from base64 import b64encode
from xml.etree import ElementTree as xml

import numpy as np

from .. import png
from ..codes import GAP, INK, INK_MIDDLE
from ..font import font
from ..numbers import number
from ..shapes import Cell, Swatch
from . import MOST_TILES, Drawn
from .parts import Label, Parts, parts_of

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


FONTS = "'DejaVu Sans Mono', 'Bitstream Vera Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"


# What XML 1.0 can't hold even escaped; a file name may.
ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def svg(picture: Drawn) -> str:
    """The SVG file of a picture."""
    parts = parts_of(picture)
    size = {"width": str(picture.width), "height": str(picture.height)}
    box = {"viewBox": f"0 0 {picture.width} {picture.height}", "role": "img", "aria-label": legal(picture.title)}
    root = xml.Element("svg", {"xmlns": SVG, "xmlns:xlink": XLINK, "version": "1.1", **size, **box})
    _add(root, "title", {}, picture.title)
    _add(root, "desc", {}, picture.alt())
    _add(root, "rect", {**size, "fill": _hex(picture.palette()[GAP])})
    _images(root, picture, parts)
    boxes = _add(root, "g", {"shape-rendering": "crispEdges"})
    colors = picture.palette()
    for swatch in (*parts.bar, *parts.boxes):
        _box(boxes, swatch, colors)
    _texts(root, parts.labels, colors)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def legal(text: str) -> str:
    """`text` without the characters that XML forbids, each of which becomes `�`."""
    return ILLEGAL.sub("�", text)


def _add(parent: xml.Element, name: str, attributes: dict[str, str], text: str = "") -> xml.Element:
    added = xml.SubElement(parent, name, attributes)
    added.text = legal(text) or None
    return added


def _images(root: xml.Element, picture: Drawn, parts: Parts) -> None:
    cells = picture.cells
    if len(cells) > MOST_TILES:
        left = parts.rest(())
        if left is not None:
            _image(root, left[0], left[1], left[2].shape[1], left[2].shape[0], left[2], picture)
        return
    rest = parts.rest(cells)
    if rest is not None:
        _image(root, rest[0], rest[1], rest[2].shape[1], rest[2].shape[0], rest[2], picture)
    for cell in cells:
        if picture.indexed:
            tile = picture.codes(cell)
        else:
            tile = picture.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
        _image(root, cell.x, cell.y, cell.width, cell.height, tile, picture, _said(cell))


def _said(cell: Cell) -> str:
    """What a viewer shows over a tile."""
    span = f": {number(cell.low)}…{number(cell.high)}" if np.isfinite(cell.low) and np.isfinite(cell.high) else ""
    return f"channel {cell.channel}{span}" + (f", {cell.note}" if cell.note else "")


def _image(
    root: xml.Element, x: int, y: int, width: int, height: int, pixels: np.ndarray, picture: Drawn, said: str = ""
) -> None:
    colors = picture.palette()[: int(pixels.max()) + 1] if pixels.ndim == 2 else None
    data = b64encode(png.encode(np.ascontiguousarray(pixels), colors)).decode()
    image = _add(
        root,
        "image",
        {
            "x": str(x),
            "y": str(y),
            "width": str(width),
            "height": str(height),
            "preserveAspectRatio": "none",
            # The first is what SVG 1.1 knows, the second what browsers know.
            "image-rendering": "optimizeSpeed",
            "style": "image-rendering:pixelated",
            "xlink:href": f"data:image/png;base64,{data}",
        },
    )
    if said:
        _add(image, "title", {}, said)


def _box(parent: xml.Element, swatch: Swatch, colors: np.ndarray) -> None:
    x, y, width, height, code = swatch
    numbers = {"x": str(x), "y": str(y), "width": str(width), "height": str(height)}
    _add(parent, "rect", {**numbers, "fill": _hex(colors[code])})


def _texts(root: xml.Element, labels: tuple[Label, ...], colors: np.ndarray) -> None:
    group = _add(root, "g", {"font-family": FONTS, "xml:space": "preserve", "style": "white-space:pre"})
    for label in labels:
        x, y, line, size = label.text
        letters = font(size)
        # Browsers collapse spaces, so words further apart than one space are placed by themselves.
        for words in re.finditer(r"\S+(?: \S+)*", line):
            left, text = x + words.start() * letters.width, words[0]
            place = {"x": str(left), "y": str(y + letters.ascent), "font-size": str(size)}
            # Another font must not run into the next tile.
            fitted = {"textLength": str(len(text) * letters.width), "lengthAdjust": "spacingAndGlyphs"}
            _add(group, "text", {**place, **fitted, "fill": _hex(colors[INK_MIDDLE if label.muted else INK])}, text)


def _hex(color: np.ndarray) -> str:
    return "#" + bytes(color.tolist()).hex()
