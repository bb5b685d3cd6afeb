"""Pictures in the terminal, by the best way that it knows: kitty's or iTerm2's images, sixel, half blocks, else words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from ..errors import BadOption, near
from ..safe_text import printable
from . import blocks, encoders
from .probe import Window, window
from .protocol import Choice, choose, depth, passes_through

if TYPE_CHECKING:
    from ..picture.picture import Picture

PROTOCOLS = ("auto", "kitty", "iterm", "sixel", "blocks", "none")


def draw(picture: Picture, file: TextIO | None = None, protocol: str = "auto", width: int | None = None) -> str:
    """Draw a picture in the terminal behind `file` (default: `sys.stdout`); returns the protocol that was used.

    `protocol`: `"auto"` takes the first of `"kitty"`, `"iterm"`, `"sixel"`, `"blocks"` that the terminal says it knows, else
    `"none"`, which writes in words what the picture shows. Any other name is used as it is, for a pipe as well. `width`: at
    most so many columns (default: the terminal's). Wider pictures are made smaller; sixel and the two image protocols show
    all others pixel by pixel, half blocks show the tiles alone, with the caption as text.

    Raises `BadOption`.
    """
    stream = sys.stdout if file is None else file
    if protocol not in PROTOCOLS:
        raise BadOption(
            f"protocol={protocol!r}: use {', '.join(map(repr, PROTOCOLS))}.{near(str(protocol), PROTOCOLS)}"
        )
    if width is not None and (not isinstance(width, int) or width < 1):
        raise BadOption(f"width={width!r}: use a whole number of columns from 1")
    choice = choose(stream) if protocol == "auto" else Choice(protocol, passes_through(protocol))
    room = window(stream)
    text = _made(picture, choice, room, width or room.columns)
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()
    return choice.protocol


def drawn_by(file: TextIO | None = None) -> str:
    """The protocol that `draw` would take for the terminal behind `file`: `"none"` where it can't draw."""
    return choose(sys.stdout if file is None else file).protocol


def _made(picture: Picture, choice: Choice, room: Window, columns: int) -> str:
    most = columns * room.cell_width
    # The columns to shrink it to, where it doesn't fit as it is.
    fitting = columns if picture.width > most else None
    if choice.protocol == "kitty":
        return encoders.kitty(picture.png(), fitting, choice.through_tmux) + "\n"
    if choice.protocol == "iterm":
        return encoders.iterm(picture.png(), picture.width, fitting, choice.through_tmux) + "\n"
    if choice.protocol == "sixel":
        return encoders.of_picture(picture, most if fitting else None) + "\n"
    words = _words(picture, columns)
    if choice.protocol == "blocks":
        return "\n".join((*words, *blocks.lines(picture, columns, depth() or 256), ""))
    reason = f" ({choice.reason})" if choice.reason else ""
    return "\n".join((*words, _counted(picture) + reason, ""))


def _words(picture: Picture, columns: int) -> list[str]:
    from ..picture.font import wrap

    return [part for line in (picture.title, *picture.lines) for part in wrap(printable(line), columns)]


def _counted(picture: Picture) -> str:
    channels = [cell.channel for cell in picture.cells]
    if len(channels) == 1:
        return f"one tile of {picture.cells[0].width}×{picture.cells[0].height} pixels, not drawn here"
    return f"{len(channels)} tiles, channels {min(channels, default=0)} to {max(channels, default=0)}, not drawn here"


__all__ = ["PROTOCOLS", "draw", "drawn_by"]
