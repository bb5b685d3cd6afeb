"""Pictures in the terminal, by the best protocol that it has: kitty's or iTerm2's images, sixel, half blocks, else words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from ..checks import one_of, optional_whole
from ..safe_text import printable
from . import blocks, encoders
from .probe import Window, window
from .protocol import Choice, choose, depth, passes_through

if TYPE_CHECKING:
    from ..picture.picture import Picture

PROTOCOLS = ("auto", "kitty", "iterm", "sixel", "blocks", "none")


def draw(picture: Picture, file: TextIO | None = None, protocol: str = "auto", width: int | None = None) -> str:
    """Draw a picture in the terminal; returns the protocol that was used.

    Pictures wider than the terminal are made smaller. Sixel and the two image protocols show all others pixel by pixel,
    half blocks show the tiles alone, with the caption as text.

    >>> import io, layerscope as ls, numpy as np
    >>> from layerscope import terminal
    >>> pipe = io.StringIO()
    >>> terminal.draw(ls.heatmap(np.eye(2)), pipe)
    'none'
    >>> pipe.getvalue().splitlines()[0]
    'array'

    Args:
        picture: What is drawn.
        file: The stream that the terminal is behind, `sys.stdout` by default.
        protocol: `"auto"` takes the first of `"kitty"`, `"iterm"`, `"sixel"`, `"blocks"` that the terminal supports,
            else `"none"`, which describes the picture in words. Any other name is used as it is, for a pipe as well.
        width: The most columns that the picture may take; by default all of the terminal's.

    Raises:
        BadOption: For a protocol or a width that doesn't exist.
    """
    stream = sys.stdout if file is None else file
    one_of("protocol", protocol, PROTOCOLS)
    optional_whole("width", width)
    choice = choose(stream) if protocol == "auto" else Choice(protocol, passes_through(protocol))
    room = window(stream)
    text = _encode(picture, choice, room, width or room.columns)
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()
    return choice.protocol


def drawn_by(file: TextIO | None = None) -> str:
    """The protocol that `draw` would take: `"none"` where there is no terminal, or one that can't draw.

    >>> import io
    >>> from layerscope import terminal
    >>> terminal.drawn_by(io.StringIO())
    'none'

    Args:
        file: The stream that the terminal is behind, `sys.stdout` by default.
    """
    return choose(sys.stdout if file is None else file).protocol


def _encode(picture: Picture, choice: Choice, room: Window, columns: int) -> str:
    most = columns * room.cell_width
    # The columns to shrink it to, where it doesn't fit as it is.
    fitting = columns if picture.width > most else None
    if choice.protocol == "kitty":
        return encoders.kitty(picture.png(), fitting, choice.through_tmux) + "\n"
    if choice.protocol == "iterm":
        return encoders.iterm(picture.png(), picture.width, fitting, choice.through_tmux) + "\n"
    if choice.protocol == "sixel":
        return encoders.sixel(picture, most if fitting else None) + "\n"
    caption = _caption_lines(picture, columns)
    if choice.protocol == "blocks":
        return "\n".join((*caption, *blocks.lines(picture, columns, depth() or 256), ""))
    reason = f" ({choice.reason})" if choice.reason else ""
    return "\n".join((*caption, _tile_count(picture) + reason, ""))


def _caption_lines(picture: Picture, columns: int) -> list[str]:
    from ..picture.font import wrap

    return [part for line in (picture.title, *picture.lines) for part in wrap(printable(line), columns)]


def _tile_count(picture: Picture) -> str:
    channels = [cell.channel for cell in picture.cells]
    if len(channels) == 1:
        return f"one tile of {picture.cells[0].width}×{picture.cells[0].height} pixels, not drawn here"
    return f"{len(channels)} tiles, channels {min(channels, default=0)} to {max(channels, default=0)}, not drawn here"


__all__ = ["PROTOCOLS", "draw", "drawn_by"]
