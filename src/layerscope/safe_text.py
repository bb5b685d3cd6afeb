"""Text for messages and pictures: foreign names (paths, labels, whatever is in a file) made safe to print, counted nouns.

Whatever reaches a terminal, a log, HTML, SVG, PDF or the text of a PNG passes `printable`, or `json_text` where it is data;
markup is escaped beyond that as each format wants it. Errors and warnings of layerscope do it by themselves.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from typing import Any

# What steers a terminal, turns or breaks lines, is invisible in every script, or can't be encoded. Kept are the joiners
# U+200C and U+200D and the variation selectors, which Persian, Indic scripts and emoji need, and visible format characters.
UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0 and C1 controls: ESC, newlines, tabs, and CSI and OSC in one byte
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of writing direction
    "\u2028\u2029"  # separators of lines and paragraphs
    "\xad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff"  # soft hyphen, spaces without width, invisible operators
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # a joiner, vowels and fillers that show nothing
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # marks of annotations, shorthand and music
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"  # tags, in which whole texts can hide
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # halves of pairs (bytes of a name that isn't UTF-8), non-characters
    "]"
)


# For streams without such signs; those of tables are as wide.
PLAIN = dict(zip("▦▧▤·×–−—’“”µ", '#%=.x---\'""u', strict=True))
PLAIN |= {"…": "...", "→": "->", "±": "+-", "≤": "<=", "≥": ">=", "∞": "inf", "²": "^2", "√": "sqrt "}


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, which has an `s` in the plural where no `plural` is given.

    >>> counted(1, "channel"), counted(0, "channel"), counted(2048, "class", "classes")
    ('1 channel', '0 channels', '2,048 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def capitalised(text: str) -> str:
    """Prose with a capital letter; a text that begins with a name or a sign as it is.

    >>> capitalised("mean of 64 channels"), capitalised("block1_conv2 is dead")
    ('Mean of 64 channels', 'block1_conv2 is dead')
    """
    first = text.partition(" ")[0].rstrip(",:")
    plain = first.isalpha() and first.islower() and first.isascii()
    return text[:1].upper() + text[1:] if plain else text


def sentence(text: str) -> str:
    """Prose with a capital letter and a full stop.

    >>> sentence("there is no layer 'l9' here"), sentence("layer 'l9'? Did you mean 'l8'?")
    ("There is no layer 'l9' here.", "Layer 'l9'? Did you mean 'l8'?")
    """
    text = capitalised(text)
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."


def legible(text: str) -> str:
    r"""`text` as it is drawn: printable, and its accents in one character with their letter.

    >>> print(legible("e\u0301\n"))
    é\x0a
    """
    return printable(unicodedata.normalize("NFC", text))


def printable(text: str) -> str:
    r"""`text` with visible escapes for what steers a terminal, turns the direction of writing, or can't be seen or encoded.

    >>> print(printable("conv\x1b[2J·\u202e1"))
    conv\x1b[2J·\u202e1
    """
    return text if text.isascii() and text.isprintable() else UNSAFE.sub(_escape, text)


def writable(text: str, stream: Any = None) -> str:
    r"""`text` in signs that the stream (by default standard output) can write: plain ones for `×` and such, else escapes.

    >>> import io
    >>> print(writable("conv · 3×3 → 漢", io.TextIOWrapper(io.BytesIO(), "ascii")))
    conv . 3x3 -> \u6f22
    """
    encoding = getattr(sys.stdout if stream is None else stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        return "".join(map(functools.partial(_plain, encoding), text))


def _plain(encoding: str, sign: str) -> str:
    try:
        sign.encode(encoding)
        return sign
    except UnicodeEncodeError:
        return PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode()


def json_text(value: Any, **options: Any) -> str:
    r"""`value` as JSON that can be printed and holds exactly the same: what `printable` escapes is escaped as JSON does.

    >>> print(json_text("é\u202e"))
    "é\u202e"
    """
    import json

    return UNSAFE.sub(_json_escape, json.dumps(value, **{"ensure_ascii": False, **options}))


def _json_escape(match: re.Match[str]) -> str:
    """A character as JSON escapes it, in UTF-16; the line breaks are those of an indented text."""
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "\n" if match[0] == "\n" else re.sub("(....)", r"\\u\1", units.hex())


def _escape(match: re.Match[str]) -> str:
    return escape(match[0])


def escape(sign: str) -> str:
    r"""One character as its visible escape.

    >>> print(escape("漢"), escape("\n"))
    \u6f22 \x0a
    """
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
