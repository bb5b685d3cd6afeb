"""A picture as SVG: tiles as embedded PNGs that stay sharp, text as text, bar and marks as boxes; nothing from outside."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.etree import ElementTree as xml

import numpy as np

from .. import png
from ..codes import GAP
from ..font import font
from ..numbers import number
from ..shapes import Box, Cell, Text
from .rasters import Raster, rasters

if TYPE_CHECKING:
    from ..picture import Picture

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


FONTS = "'DejaVu Sans Mono', 'Bitstream Vera Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"


# What XML 1.0 can't hold even escaped; a file name may.
ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


WORDS = re.compile(r"\S+(?: \S+)*")


def svg(picture: Picture) -> str:
    """The SVG file of a picture."""
    size = {"width": str(picture.width), "height": str(picture.height)}
    box = {"viewBox": f"0 0 {picture.width} {picture.height}", "role": "img", "aria-label": legal(picture.title)}
    root = xml.Element("svg", {"xmlns": SVG, "xmlns:xlink": XLINK, "version": "1.1", **size, **box})
    colors = picture.palette()
    _add(root, "title", {}, picture.title)
    _add(root, "desc", {}, picture.alt())
    _add(root, "rect", {**size, "fill": _hex(colors[GAP])})
    drawing = picture.drawing
    if drawing is not None:
        ramps = (*drawing.ramps, *((drawing.bar.ramp,) if drawing.bar else ()))
        ticks = drawing.bar.ticks if drawing.bar else ()
        _add_boxes(root, (*drawing.patches(), *(box for ramp in ramps for box in ramp.boxes()), *ticks), colors)
    for raster in rasters(picture):
        _add_image(root, raster, colors)
    if drawing is not None:
        _add_texts(root, (*picture.texts, *(drawing.bar.labels if drawing.bar else ())), colors)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def legal(text: str) -> str:
    """`text` without the characters that XML forbids, each of which becomes `�`."""
    return ILLEGAL.sub("�", text)


def _add(parent: xml.Element, name: str, attributes: dict[str, str], text: str = "") -> xml.Element:
    added = xml.SubElement(parent, name, attributes)
    added.text = legal(text) or None
    return added


def _tooltip(cell: Cell) -> str:
    """What a viewer shows over a tile."""
    span = f": {number(cell.low)}…{number(cell.high)}" if np.isfinite(cell.low) and np.isfinite(cell.high) else ""
    return f"channel {cell.channel}{span}" + (f", {cell.note}" if cell.note else "")


def _add_image(root: xml.Element, raster: Raster, colors: np.ndarray) -> None:
    x, y, width, height, pixels, cell = raster
    table = colors[: int(pixels.max()) + 1] if pixels.ndim == 2 else None
    data = b64encode(png.encode(np.ascontiguousarray(pixels), table)).decode()
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
    if cell is not None:
        _add(image, "title", {}, _tooltip(cell))


def _add_boxes(root: xml.Element, boxes: Iterable[Box], colors: np.ndarray) -> None:
    group = _add(root, "g", {"shape-rendering": "crispEdges"})
    for x, y, width, height, color in boxes:
        fill = _hex(colors[color] if isinstance(color, int) else np.array(color))
        _add(group, "rect", {"x": str(x), "y": str(y), "width": str(width), "height": str(height), "fill": fill})


def _add_texts(root: xml.Element, texts: Iterable[Text], colors: np.ndarray) -> None:
    group = _add(root, "g", {"font-family": FONTS, "xml:space": "preserve", "style": "white-space:pre"})
    for x, y, line, size, ink, _ in texts:
        letters, fill = font(size), _hex(colors[ink])
        # Browsers collapse spaces, so words further apart than one space are placed by themselves.
        for words in WORDS.finditer(line):
            left, text = x + words.start() * letters.width, words[0]
            place = {"x": str(left), "y": str(y + letters.ascent), "font-size": str(size)}
            # Another font must not run into the next tile.
            fitted = {"textLength": str(len(text) * letters.width), "lengthAdjust": "spacingAndGlyphs"}
            _add(group, "text", {**place, **fitted, "fill": fill}, text)


def _hex(color: np.ndarray) -> str:
    return "#" + bytes(color.tolist()).hex()
