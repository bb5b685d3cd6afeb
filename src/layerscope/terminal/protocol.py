"""Which protocol a terminal gets: by its environment, then by its own answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any, NamedTuple

from .probe import descriptor, query

KITTY_TERMS = ("xterm-kitty", "xterm-ghostty")
ITERM_PROGRAMS = ("iTerm.app", "WezTerm")

# Terminals without 256 colours.
POOR = ("", "dumb", "linux", "ansi", "vt100", "vt102", "vt220", "cygwin")
SECONDS = 2


class Choice(NamedTuple):
    """The protocol, whether tmux has to let it through, and why there is none."""

    protocol: str
    through_tmux: bool = False
    reason: str = ""


def choose(stream: Any) -> Choice:
    """The best protocol of the terminal behind `stream`."""
    term = os.environ.get("TERM", "")
    if descriptor(stream) is None:
        return Choice("none", reason="not a terminal")
    if term == "dumb":
        return Choice("none", reason="a dumb terminal")
    protocol = _by_environment()
    if _inside_tmux():
        protocol = _outside_tmux(protocol)
        if protocol and _tmux_passes_through():
            return Choice(protocol, True)
    elif protocol:
        return Choice(protocol)
    answer = query(stream)
    if answer.kitty or answer.sixel:
        return Choice("kitty" if answer.kitty else "sixel")
    if os.environ.get("NO_COLOR"):
        return Choice("none", reason="NO_COLOR is set")
    if not depth():
        return Choice("none", reason=f"TERM={term} has too few colours")
    if not _writes_blocks(stream):
        return Choice("none", reason=f"{stream.encoding} has no block characters")
    return Choice("blocks")


def depth() -> int:
    """Colours of the terminal by its environment: 24 (bits), 256 (colours) or 0."""
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") or "WT_SESSION" in os.environ:
        return 24
    term = os.environ.get("TERM", "")
    if term.endswith("-direct") or term in KITTY_TERMS:
        return 24
    return 0 if term in POOR else 256


def passes_through(protocol: str) -> bool:
    """Whether a protocol that is asked for by name has to be wrapped for tmux."""
    return protocol in ("kitty", "iterm") and _inside_tmux()


def _by_environment() -> str:
    """The image protocol that the environment points to; `""` for none."""
    variable = os.environ.get
    program = variable("TERM_PROGRAM", "")
    if variable("KITTY_WINDOW_ID") or variable("TERM") in KITTY_TERMS or program == "ghostty":
        return "kitty"
    if program in ITERM_PROGRAMS or variable("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return ""


def _inside_tmux() -> bool:
    return bool(os.environ.get("TMUX")) or os.environ.get("TERM", "").startswith(("tmux", "screen"))


def _outside_tmux(protocol: str) -> str:
    """The protocol of the terminal that tmux runs in; the environment is that of the terminal where tmux was started."""
    client = _tmux("display-message", "-p", "#{client_termname}")
    if client in KITTY_TERMS:
        return "kitty"
    return "" if client and protocol == "kitty" else protocol


def _tmux_passes_through() -> bool:
    return _tmux("show-options", "-gv", "allow-passthrough") in ("on", "all")


def _tmux(*arguments: str) -> str:
    """The output of a command to the running tmux; `""` where there is none."""
    program = shutil.which("tmux")
    if program is None or not os.environ.get("TMUX"):
        return ""
    try:
        process = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout.strip()


def _writes_blocks(stream: Any) -> bool:
    try:
        "▀".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
