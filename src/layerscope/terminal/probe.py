"""What a terminal answers: its size, and which graphics it supports. It's left in the mode it was in."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

# Kitty's own way to ask (a picture of one pixel that is never shown), then what every terminal answers: primary device
# attributes. When the second answer is there, the first won't come any more.
# https://sw.kovidgoyal.net/kitty/graphics-protocol/#querying-support-and-available-transmission-mediums
QUERY = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
KITTY = re.compile(rb"\x1b_Gi=31;OK\x1b\\")
SIXEL = b"4"
TIMEOUT = 0.5

# Where a terminal doesn't tell the size of its letters.
CELL_WIDTH, COLUMNS = 10, 80


class Window(NamedTuple):
    """A terminal's columns, and how many pixels wide each is."""

    columns: int
    cell_width: int


class Answer(NamedTuple):
    """Which graphics the terminal supports by its own answer; neither where it doesn't answer."""

    kitty: bool = False
    sixel: bool = False


def descriptor(stream: Any) -> int | None:
    """The stream's file descriptor where it's a terminal, else `None`."""
    try:
        file = int(stream.fileno())
        return file if os.isatty(file) else None
    except (AttributeError, OSError, ValueError):
        # No file behind it: a notebook's or a test's stream.
        return None


def window(stream: Any) -> Window:
    """The size of the terminal behind `stream`; 80 columns where there is none."""
    file = descriptor(stream)
    if file is None:
        return Window(COLUMNS, CELL_WIDTH)
    try:
        columns = os.get_terminal_size(file).columns or COLUMNS
    except OSError:
        return Window(COLUMNS, CELL_WIDTH)
    return Window(columns, (_width_in_pixels(file) // columns) or CELL_WIDTH)


def _width_in_pixels(file: int) -> int:
    """The terminal's width in pixels, 0 where it doesn't tell."""
    try:
        import fcntl
        import struct
        import termios
    except ImportError:
        # Windows has none of these.
        return 0
    try:
        _, _, width, _ = struct.unpack("HHHH", fcntl.ioctl(file, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return 0
    return int(width)


def query(stream: Any, timeout: float = TIMEOUT) -> Answer:
    """Ask the terminal; at most `timeout` seconds, and only where both sides are a terminal and it's ours to read from."""
    screen, keys = descriptor(stream), descriptor(sys.stdin)
    if screen is None or keys is None or not _in_foreground(keys):
        return Answer()
    with _raw_mode(keys) as settled:
        if not settled:
            return Answer()
        stream.flush()
        os.write(screen, QUERY)
        answer = _read_answer(keys, timeout)
        attributes = ATTRIBUTES.search(answer)
        if attributes is None:
            # A late answer must not end up as typed text.
            settled.append("late")
            return Answer()
        return Answer(KITTY.search(answer) is not None, SIXEL in attributes.group(1).split(b";"))


def _in_foreground(keys: int) -> bool:
    """Whether the process may read what is typed: one in the background would be stopped for it."""
    try:
        return os.tcgetpgrp(keys) == os.getpgrp()
    except AttributeError:
        return False
    except OSError:
        # Not the terminal that controls this process, so nobody stops it.
        return True


@contextmanager
def _raw_mode(keys: int) -> Iterator[list[str]]:
    """The terminal hands over every byte at once and shows none of them; afterwards it's as it was."""
    try:
        import termios
    except ImportError:
        # Windows; an empty list says so.
        yield []
        return
    before = termios.tcgetattr(keys)
    settled = ["quiet"]
    try:
        during = [*before[:3], before[3] & ~(termios.ECHO | termios.ICANON), *before[4:6], list(before[6])]
        during[6][termios.VMIN], during[6][termios.VTIME] = 0, 0
        termios.tcsetattr(keys, termios.TCSANOW, during)
        yield settled
    finally:
        termios.tcsetattr(keys, termios.TCSAFLUSH if "late" in settled else termios.TCSANOW, before)


def _read_answer(keys: int, timeout: float) -> bytes:
    """What comes until the device attributes are there or the time is over."""
    answer, end = b"", time.monotonic() + timeout
    while ATTRIBUTES.search(answer) is None:
        left = end - time.monotonic()
        if left <= 0 or not select.select([keys], [], [], left)[0]:
            break
        part = os.read(keys, 1024)
        if not part:
            break
        answer += part
    return answer
