"""Which protocol a terminal gets: by what its environment says, then by what it answers."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any, NamedTuple

from .probe import ask, number_of

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
    if number_of(stream) is None:
        return Choice("none", reason="this is no terminal")
    if term == "dumb":
        return Choice("none", reason="a dumb terminal")
    told = _told()
    if _inside_tmux():
        told = _outside_tmux(told)
        if told and _tmux_lets_through():
            return Choice(told, True)
    elif told:
        return Choice(told)
    answer = ask(stream)
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


def _told() -> str:
    """The image protocol that the environment speaks for."""
    found = os.environ.get
    program = found("TERM_PROGRAM", "")
    if found("KITTY_WINDOW_ID") or found("TERM") in KITTY_TERMS or program == "ghostty":
        return "kitty"
    if program in ITERM_PROGRAMS or found("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return ""


def _inside_tmux() -> bool:
    return bool(os.environ.get("TMUX")) or os.environ.get("TERM", "").startswith(("tmux", "screen"))


def _outside_tmux(told: str) -> str:
    """The protocol of the terminal that tmux runs in; the environment is that of the terminal where tmux was started."""
    client = _tmux("display-message", "-p", "#{client_termname}")
    if client in KITTY_TERMS:
        return "kitty"
    return "" if client and told == "kitty" else told


def _tmux_lets_through() -> bool:
    return _tmux("show-options", "-gv", "allow-passthrough") in ("on", "all")


def _tmux(*arguments: str) -> str:
    """What the running tmux says; `""` where there is none."""
    program = shutil.which("tmux")
    if program is None or not os.environ.get("TMUX"):
        return ""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _writes_blocks(stream: Any) -> bool:
    try:
        "▀".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
