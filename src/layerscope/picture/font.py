"""Text as strengths of ink: one monospaced font, drawn once for each size and character, then copied."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import resources

import numpy as np

from ..safe_text import printable

SMALL, LARGE = 11, 16
BASIC_PLANE = 1 << 16


class Font:
    """Characters of one size as uint8 cells `[height, width]` with 0 (paper) to 3 (full ink)."""

    def __init__(self, size: int) -> None:
        from PIL import ImageFont

        self.size = size
        data = resources.files("layerscope").joinpath("assets", "DejaVuSansMono.ttf").read_bytes()
        # One letter at a time needs no shaping, and the engine for it fails on control characters.
        self._font = ImageFont.truetype(io.BytesIO(data), size, layout_engine=ImageFont.Layout.BASIC)
        ascent, descent = self._font.getmetrics()
        self.width = round(self._font.getlength("0"))
        self.ascent = ascent
        self.height = ascent + descent
        # For each character its index among the letters drawn so far, -1 before it is drawn.
        self._indices = np.full(BASIC_PLANE, -1, np.int32)
        self._letters = np.empty((0, self.height, self.width), np.uint8)
        self._adding = threading.Lock()

    def __reduce__(self) -> tuple[Callable[[int], Font], tuple[int]]:
        # A copy, and a picture in another process, have the font of that size there.
        return font, (self.size,)

    def line(self, text: str) -> np.ndarray:
        """One line of text, `[height, width * len(text)]`."""
        return self.lines([text], len(text))[0]

    def lines(self, texts: Sequence[str], length: int, right: bool = False) -> np.ndarray:
        """Many lines cut or padded to `length` characters, `[line, height, width * length]`."""
        padded = "".join(text[:length].rjust(length) if right else text[:length].ljust(length) for text in texts)
        points = np.frombuffer(padded.encode("utf-32-le", "replace"), np.uint32)
        # The font draws nothing beyond the basic plane (emoji, rare scripts), and no line breaks or control characters.
        known = (points < BASIC_PLANE) & (points >= 32) & ((points < 127) | (points > 159))
        points = np.where(known & (points != 0x2028) & (points != 0x2029), points, ord("?"))
        indices = self._indices[points]
        if (indices < 0).any():
            with self._adding:  # several threads may draw at once
                self._add(np.unique(points[self._indices[points] < 0]))
            indices = self._indices[points]
        cells = self._letters[indices].reshape(len(texts), length, self.height, self.width)
        return cells.transpose(0, 2, 1, 3).reshape(len(texts), self.height, length * self.width)

    def _add(self, points: np.ndarray) -> None:
        """Draw the letters of these code points. An index is written once its letter is there, so that readers need no lock."""
        from PIL import Image, ImageDraw

        letters = []
        for sign in map(chr, points.tolist()):
            image = Image.new("L", (self.width, self.height))
            # What can't be printed (line ends, controls in the name of a file) is drawn as what it is: unreadable.
            ImageDraw.Draw(image).text((0, 0), sign if sign.isprintable() else "?", fill=255, font=self._font)
            letters.append((np.asarray(image).astype(np.uint16) * 3 + 127) // 255)
        if letters:
            count = len(self._letters)
            self._letters = np.concatenate([self._letters, np.array(letters, np.uint8)])
            self._indices[points] = count + np.arange(len(points))


@lru_cache(maxsize=8)
def font(size: int) -> Font:
    """The font of that size in pixels."""
    return Font(size)


def wrap(text: str, length: int) -> list[str]:
    """`text` in lines of at most `length` characters, broken at ` · ` first, then at spaces, then anywhere.

    >>> wrap("one · two three · four", 10)
    ['one', 'two three', 'four']
    """
    lines: list[str] = []
    for part in text.split(" · "):
        if lines and len(lines[-1]) + 3 + len(part) <= length:
            lines[-1] += " · " + part
        elif len(part) <= length:
            lines.append(part)
        else:
            lines.extend(_wrap_words(part, length))
    return lines


def cut_text(text: str, length: int, lines: int) -> list[str]:
    """`text` in at most so many lines of that length; its middle gives way to `…` where it is too long.

    >>> cut_text("vgg16/block5_conv3", 8, 2), cut_text("block5", 8, 2)
    (['vgg16/bl', '…5_conv3'], ['block5'])
    """
    text, length, lines = printable(text), max(3, length), max(1, lines)
    parts = wrap(text, length)
    if len(parts) <= lines:
        return parts
    room = length * lines - 1
    cut = f"{text[: room - room // 2]}…{text[len(text) - room // 2 :]}"
    return [cut[start : start + length] for start in range(0, len(cut), length)]


def _wrap_words(text: str, length: int) -> list[str]:
    """`text` in lines of at most `length` characters, broken at spaces, else anywhere."""
    lines = [""]
    for word in text.split(" "):
        while len(word) > length:
            lines.append(word[:length])
            word = word[length:]
        if not lines[-1]:
            lines[-1] = word
        elif len(lines[-1]) + 1 + len(word) <= length:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return [line for line in lines if line]
