"""Pictures as the escape sequences of sixel, of kitty's graphics protocol and of iTerm2's inline images."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..picture.picture import Picture

BAND, COLORS, EMPTY = 6, 256, 63
REPEATED = re.compile(rb"(.)\1{3,}", re.DOTALL)


def sixel(picture: Picture, width: int | None = None) -> str:
    """The picture as sixel, pixel by pixel, or shrunk to `width` pixels."""
    if picture.indexed and width is None:
        return encode_sixel(picture.pixels, picture.palette())
    image: Image = picture.to_pil().convert("RGB")
    if width is not None:
        from PIL import Image as pillow

        image = image.resize((width, max(1, round(picture.height * width / picture.width))), pillow.Resampling.BOX)
    few = image.quantize(COLORS)
    palette = np.array(few.getpalette(), np.uint8).reshape(-1, 3)
    return encode_sixel(np.asarray(few), palette)


def encode_sixel(codes: np.ndarray, palette: np.ndarray) -> str:
    """Codes `[height, width]` with a palette `[color, 3]`, of at most 256 colours, as sixel.

    Colours keep a hundredth of each of red, green and blue. Six rows make a band; in a band each colour draws the columns where
    it occurs, one character for six pixels. https://vt100.net/docs/vt3xx-gp/chapter14.html
    """
    height, width = codes.shape
    parts = [b'\x1bP0;1;0q"1;1;%d;%d' % (width, height)]
    for code in np.unique(codes).tolist():
        red, green, blue = (round(level * 100 / 255) for level in palette[code].tolist())
        parts.append(b"#%d;2;%d;%d;%d" % (code, red, green, blue))
    weights = np.array([1, 2, 4, 8, 16, 32], np.uint8)
    for top in range(0, height, BAND):
        rows = codes[top : top + BAND]
        colors = np.unique(rows)
        where = rows[None] == colors[:, None, None]
        sixels = (where * weights[None, : len(rows), None]).sum(1, dtype=np.uint8) + np.uint8(EMPTY)
        lines = [
            b"#%d" % code + _run_lengths(line.tobytes()) for code, line in zip(colors.tolist(), sixels, strict=True)
        ]
        parts.append(b"$".join(lines) + b"-")
    parts.append(b"\x1b\\")
    return b"".join(parts).decode("ascii")


def _run_lengths(line: bytes) -> bytes:
    """A line without its empty end, runs of four and more as `!count`."""
    return REPEATED.sub(lambda run: b"!%d%b" % (len(run.group()), run.group(1)), line.rstrip(b"?"))


CHUNK = 4096


def kitty(png: bytes, columns: int | None = None, through_tmux: bool = False) -> str:
    """A PNG in kitty's graphics protocol, in chunks; shrunk to `columns` where given. The terminal is asked to stay silent.

    https://sw.kovidgoyal.net/kitty/graphics-protocol/
    """
    data = b64encode(png).decode()
    parts = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    first = "a=T,f=100,q=2," + (f"c={columns}," if columns else "")
    pieces = []
    for number, part in enumerate(parts):
        more = int(number + 1 < len(parts))
        pieces.append(_for_tmux(f"\x1b_G{first if number == 0 else 'q=2,'}m={more};{part}\x1b\\", through_tmux))
    return "".join(pieces)


def iterm(png: bytes, width: int, columns: int | None = None, through_tmux: bool = False) -> str:
    """A PNG as an inline image of iTerm2, `width` pixels or `columns` wide.

    https://iterm2.com/documentation-images.html
    """
    wide = str(columns) if columns else f"{width}px"
    about = f"inline=1;size={len(png)};width={wide};preserveAspectRatio=1"
    return _for_tmux(f"\x1b]1337;File={about}:{b64encode(png).decode()}\x07", through_tmux)


def _for_tmux(sequence: str, tmux: bool) -> str:
    """The sequence as tmux hands it on to the terminal that it runs in."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\" if tmux else sequence
