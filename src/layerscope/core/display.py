"""What a notebook shows of a feature map: its line of text, and below it a small picture that is quick to draw."""

from __future__ import annotations

import html
import math
from typing import Any

from ..errors import LayerscopeError

# At most so many are drawn: channels, values of maps, values of a dense layer.
CHANNELS, VALUES, NUMBERS = 32, 1 << 22, 1 << 12


def as_html(fm: Any) -> str:
    """The line that `repr` has, and of the first image the first channels; the line alone where that takes long."""
    line = f"<div><code>{html.escape(repr(fm))}</code></div>"
    places = math.prod(fm.spatial)
    count = min(CHANNELS, VALUES // places) if fm.spatial else NUMBERS
    if not count:
        return line
    from .. import heatmap, sheet  # public names: pictures lie above

    one = fm.image(0)
    draw = heatmap if fm.role and len(fm.spatial) == 2 else sheet
    try:
        picture = draw(one if fm.role else one.select(one.channels[:count]))
        data, size = picture._repr_mimebundle_()
    except LayerscopeError:
        return line
    shown = size["image/png"]
    alternative = html.escape(shown["alt"], quote=True)
    source = f"data:image/png;base64,{data['image/png']}"
    return f'{line}<img src="{source}" width="{shown["width"]}" height="{shown["height"]}" alt="{alternative}">'
