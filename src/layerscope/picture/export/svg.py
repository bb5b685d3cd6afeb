"""A picture as SVG: tiles as embedded PNGs that stay sharp, text as text, bar and marks as boxes; nothing from outside."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from ...safe_text import printable
from .. import png
from ..codes import GAP
from ..font import font
from ..numbers import number
from ..palette import see_through
from ..shapes import Box, Cell, Text
from .rasters import Raster, rasters

if TYPE_CHECKING:
    from ..picture import Picture

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
FONTS = "Inter, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
WORDS = re.compile(r"\S+(?: \S+)*")


def svg(picture: Picture, dpi: float | None = None) -> str:
    """The SVG file of a picture, its pixels those of CSS, or `dpi` of them an inch."""
    width, height = picture.width, picture.height
    size = [f"{side}" if dpi is None else f"{side / dpi:.6g}in" for side in (width, height)]
    colors, drawing = picture.palette(), picture.drawing
    # Written as text: a tree of elements takes four times as long.
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="{SVG}" xmlns:xlink="{XLINK}" version="1.1" width="{size[0]}" height="{size[1]}"'
        f' viewBox="0 0 {width} {height}" role="img" aria-label={quoteattr(printable(picture.title))}>',
        _element("title", picture.title),
        _element("desc", picture.alt()),
    ]
    if picture.theme != "transparent":
        lines.append(f'<rect width="{width}" height="{height}" fill="{_hex(colors[GAP])}"/>')
    if drawing is not None:
        ramps = (*drawing.ramps, *((drawing.bar.ramp,) if drawing.bar else ()))
        boxes = (*drawing.patches(), *(box for ramp in ramps for box in ramp.boxes()))
        ticks = drawing.bar.ticks if drawing.bar else ()
        lines += ['<g shape-rendering="crispEdges">', *_boxes((*boxes, *ticks), colors), "</g>"]
    table = see_through(colors) if picture.theme == "transparent" else colors
    lines += [_image(raster, table) for raster in rasters(picture)]
    if drawing is not None:
        texts = (*picture.texts, *(drawing.bar.labels if drawing.bar else ()))
        lines += [
            f'<g font-family="{FONTS}" xml:space="preserve" style="white-space:pre;font-variant-numeric:tabular-nums">',
            *_texts(texts, colors),
            "</g>",
        ]
    return "\n".join((*lines, "</svg>", ""))


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(printable(text))}</{name}>"


def _tooltip(cell: Cell) -> str:
    """What a viewer shows over a tile."""
    span = f": {number(cell.low)}…{number(cell.high)}" if np.isfinite(cell.low) and np.isfinite(cell.high) else ""
    return f"channel {cell.channel}{span}" + (f", {cell.note}" if cell.note else "")


def _image(raster: Raster, colors: np.ndarray) -> str:
    x, y, width, height, pixels, cell = raster
    table = colors[: int(pixels.max()) + 1] if pixels.ndim == 2 else None
    data = b64encode(png.encode(np.ascontiguousarray(pixels), table)).decode()
    title = _element("title", _tooltip(cell)) if cell is not None else ""
    # Of the two ways to keep pixels sharp the first is what SVG 1.1 knows, the second what browsers know.
    return (
        f'<image x="{x}" y="{y}" width="{width}" height="{height}" preserveAspectRatio="none" image-rendering="optimizeSpeed"'
        f' style="image-rendering:pixelated" xlink:href="data:image/png;base64,{data}">{title}</image>'
    )


def _boxes(boxes: Iterable[Box], colors: np.ndarray) -> Iterator[str]:
    for x, y, width, height, color in boxes:
        fill = _hex(colors[color] if isinstance(color, int) else np.array(color))
        yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"/>'


def _texts(texts: Iterable[Text], colors: np.ndarray) -> Iterator[str]:
    fills: dict[int, str] = {}  # of a few inks, asked for at each of many tiles
    for x, y, line, size, ink, _, bold in texts:
        letters, weight = font(size, bold), ' font-weight="600"' if bold else ""
        fill = fills.get(ink) or fills.setdefault(ink, _hex(colors[ink]))
        # Browsers collapse spaces, so words further apart than one space are placed by themselves.
        for words in WORDS.finditer(shown := letters.shown(line)):
            left, width = x + letters.width(shown[: words.start()]), letters.width(words[0])
            # Another font must not run into the next tile, hence the length.
            yield (
                f'<text x="{left}" y="{y + letters.ascent}" font-size="{size}"{weight} textLength="{width}"'
                f' lengthAdjust="spacingAndGlyphs" fill="{fill}">{escape(words[0])}</text>'
            )


def _hex(color: np.ndarray) -> str:
    return "#" + bytes(color.tolist()).hex()
