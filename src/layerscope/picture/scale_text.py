"""A scale in words: what a picture says of it besides its bar, and what the picture's file keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.note import Note
from .numbers import number
from .palette import SEQUENTIAL, colors_text

if TYPE_CHECKING:
    from .scale import Scale

# Where the limits came from.
WORDS = {
    "channel": "each channel has its own range",
    "layer": "one range for the layer in this image",
    "images": "one range for all images",
    "fixed": "fixed range",
    "shared": "one range shared by several maps",
    "all": "one range for all maps",
    "row": "one range for each row",
    "column": "one range for each column",
    "cell": "each map has its own range",
}

# What a picture says besides its bar, which shows one range by itself.
NOTES = {
    "channel": "each channel has its own range",
    "images": "one range for all images",
    "shared": "one range shared by several maps",
    "all": "one range for all maps",
    "row": "one range per row: colours compare along a row, not between rows",
    "column": "one range per column: colours compare down a column, not between columns",
    "cell": "each map has its own range",
}


def scale_notes(scale: Scale) -> tuple[Note, ...]:
    """What a picture says of a scale besides its bar."""
    bare = scale.per not in NOTES or (scale.per == "channel" and scale.single)
    rule = () if bare else (Note("scale", NOTES[scale.per]),)
    if scale.norm != "linear":
        rule = (*rule, Note("norm", _norm_text(scale)))
    if scale.clip is None:
        return rule
    of = " of the values above 0" if scale.norm == "log" else " of the values"
    return (*rule, Note("clip", f"colours end at {_clip_text(scale, of)}"))


def scale_text(scale: Scale) -> str:
    """The whole rule, as the file of a picture keeps it."""
    rule = f"scale: {WORDS[scale.per]}"
    if scale.single:
        rule += f" {'…'.join(map(scale.reading, scale.limits))}"
    if scale.clip:
        rule += f", clipped at {_clip_text(scale)}"
    if scale.center is not None:
        rule += f", centred on {number(scale.center)}"
    if scale.norm != "linear":
        rule += f", {_norm_text(scale)}"
    others = f" and {SEQUENTIAL}" if scale.mixed else ""
    return f"{rule} · colours {colors_text(scale.colors)}{others}"


def _clip_text(scale: Scale, of: str = "") -> str:
    low, high = scale.clip or (0, 100)
    even = scale.per == "channel" and scale.center is not None
    where = " where that leaves a range" + (f", as far on both sides of {number(scale.center or 0)}" if even else "")
    return f"the percentiles {low:g} and {high:g}{of}" + ("" if scale.single else where)


def _norm_text(scale: Scale) -> str:
    """A norm in words; symlog's with the values that it shows linearly."""
    if scale.norm == "log":
        return "logarithmic scale"
    within = "a thousandth of the largest magnitude of each range"
    if scale.single:
        within = f"±{number(float(scale.curve.over(*scale.limits).within))}"
    return f"symmetric logarithmic scale, linear within {within}"
