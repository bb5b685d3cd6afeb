"""The two protocols that take a whole PNG."""

from __future__ import annotations

from base64 import b64encode

CHUNK = 4096


def kitty(png: bytes, columns: int | None = None, through_tmux: bool = False) -> str:
    """A PNG in kitty's graphics protocol, in chunks; shrunk to `columns` where given. The terminal is asked to stay silent.

    https://sw.kovidgoyal.net/kitty/graphics-protocol/
    """
    data = b64encode(png).decode()
    parts = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    first = "a=T,f=100,q=2," + (f"c={columns}," if columns else "")
    pieces = []
    for at, part in enumerate(parts):
        more = int(at + 1 < len(parts))
        pieces.append(_through(f"\x1b_G{first if at == 0 else 'q=2,'}m={more};{part}\x1b\\", through_tmux))
    return "".join(pieces)


def iterm(png: bytes, width: int, columns: int | None = None, through_tmux: bool = False) -> str:
    """A PNG as an inline image of iTerm2, `width` pixels or `columns` wide.

    https://iterm2.com/documentation-images.html
    """
    wide = str(columns) if columns else f"{width}px"
    about = f"inline=1;size={len(png)};width={wide};preserveAspectRatio=1"
    return _through(f"\x1b]1337;File={about}:{b64encode(png).decode()}\x07", through_tmux)


def _through(sequence: str, tmux: bool) -> str:
    """The sequence as tmux hands it on to the terminal that it runs in."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\" if tmux else sequence
