"""What a report of a store is put together from: tables, photos, pictures for light and dark paper, as HTML."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ...picture.codes import TOP
from ...picture.numbers import number, reading
from ...picture.picture import Picture
from ...picture.scale import Scale
from ...plots.evidence import VIEWS, Example, Style
from ...safe_text import printable
from ..table import Table

SIDE = 168  # pixels of a photo
FEW = 64
QUALITY = 82


def text(value: Any) -> str:
    """Any text as HTML shows it.

    >>> text("<b>")
    '&lt;b&gt;'
    """
    return html.escape(printable(str(value)))


def image(pixels: np.ndarray, *, exact: bool = False) -> str:
    """An image as a `data:` address, WebP."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=exact, quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def picture(light: Picture, dark: Picture, alt: str) -> str:
    """A picture that follows the paper."""
    images = [image(each.rgb()) for each in (light, dark)]
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{images[1]}">'
        f'<img src="{images[0]}" alt="{text(alt)}" width="{light.pixels.shape[1]}" height="{light.pixels.shape[0]}"></picture>'
    )


def photos(examples: Sequence[Example], style: Style, views: Sequence[str], *, ranked: bool) -> str:
    """A row of photos, each in every view, with its rank where it has one, its value and its name."""
    cells = []
    for index, example in enumerate(examples):
        value = reading(example.value, *style.rule.limits)
        rank = f"<b>{example.rank or index + 1}</b> " if ranked else ""
        shown = "".join(_photo(example, style, view, value) for view in views)
        cells.append(f'<li>{shown}<span>{rank}{value}</span><span class="name">{text(example.name)}</span></li>')
    return f'<ol class="photos">{"".join(cells)}</ol>'


def _photo(example: Example, style: Style, view: str, value: str) -> str:
    pixels = VIEWS[view](example, SIDE, style)
    words = {
        "overlay": "with the map",
        "crop": "what the unit with the largest value sees",
        "photo": "as the model saw it",
    }
    height, width = pixels.shape[:2]
    exact = max(example.fm.photos[0].shape[:2]) <= FEW if example.fm.photos else False
    return (
        f'<img src="{image(pixels, exact=exact and view != "overlay")}" width="{width}" height="{height}" loading="lazy"'
        f' alt="{text(example.name)}, {words[view]}, {value}">'
    )


def bar(rule: Scale) -> str:
    """The colours of the maps on photos, from the lowest value to the highest."""
    low, high = (reading(limit, *rule.limits) for limit in rule.limits)
    colors = rule.palette()[None, : TOP + 1]
    return (
        f'<p class="bar"><span>{low}</span><img src="{image(np.ascontiguousarray(colors), exact=True)}" width="160" height="10"'
        f' alt="colours from {low} to {high}"><span>{high}</span></p>'
    )


def table(rows: Table, caption: str, most: int) -> str:
    """A table whose first column names its rows, of which at most so many are shown."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in rows.columns)
    body = []
    for row in rows.take(np.arange(min(most, len(rows)))):
        first, *others = (_cell(value) for value in row.values())
        body.append(f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table><caption>{text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return number(value) if isinstance(value, float) else "" if value is None else text(value)
