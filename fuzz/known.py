"""Findings that can't be closed here, each with its reason; they are counted apart, and printed."""

from __future__ import annotations

import re

# (family, verdict, place or message as a regular expression) -> why it stays.
KNOWN: dict[tuple[str, str, str], str] = {}


def reason(family: str, verdict: str, place: str, message: str) -> str:
    """Why a finding is known, `""` for a new one."""
    for (of, what, where), why in KNOWN.items():
        if (of, what) == (family, verdict) and re.search(where, f"{place}\n{message}"):
            return why
    return ""
