"""Text for messages and pictures: foreign names (paths, labels, whatever is in a file) made safe to print, counted nouns."""

from __future__ import annotations

import re

# C0 and C1 controls, marks and overrides of writing direction, line and paragraph separators, and what neither UTF-8 nor
# XML can hold: halves of surrogate pairs (bytes of a file name that isn't UTF-8), two non-characters.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, which has an `s` in the plural where no `plural` is given.

    >>> counted(1, "channel"), counted(0, "channel"), counted(2, "class", "classes")
    ('1 channel', '0 channels', '2 classes')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def printable(text: str) -> str:
    r"""`text` with visible escapes for what steers a terminal, turns the direction of writing, or can't be encoded.

    >>> print(printable("conv\x1b[2J·\u202e1"))
    conv\x1b[2J·\u202e1
    """
    return text if text.isprintable() else UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
