"""Foreign names made safe to print and to write: paths of layers, names of files, labels and whatever else is in a file."""

from __future__ import annotations

import re

# C0 and C1 controls, marks and overrides of writing direction, line and paragraph separators, and what neither UTF-8 nor
# XML can hold: halves of surrogate pairs (bytes of a file name that isn't UTF-8), two non-characters.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    r"""`text` with visible escapes for what steers a terminal, turns the direction of writing, or can't be encoded.

    >>> print(printable("conv\x1b[2J·\u202e1"))
    conv\x1b[2J·\u202e1
    """
    return text if text.isprintable() else UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
