"""The colour of each code: a colour map of the cmap catalogue, the marks of special values, paper and ink of a theme."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import BadScale, first_line, near
from .codes import ABOVE, BELOW, CONSTANT, GAP, INKS, NAN, NEG_INF, OWN, POS_INF, STRENGTHS, TOP

# The usual colour maps: from one end to the other, and to both sides of a centre.
SEQUENTIAL, DIVERGING = "viridis", "vik"

MARKS = {
    NAN: ("NaN", (255, 0, 255)),
    POS_INF: ("+inf", (255, 140, 0)),
    NEG_INF: ("−inf", (0, 190, 255)),
    CONSTANT: ("dead or constant", (198, 189, 208)),
    BELOW: ("below the limits", (150, 110, 220)),
    ABOVE: ("above the limits", (140, 196, 140)),
}

DARK_CONSTANT = (84, 78, 110)

# Paper and pen. The marks lie among the colours of the map, which are the same in every theme, so they are as well, but for
# that of tiles with a word on them.
THEMES = {
    "light": ((255, 255, 255), (24, 27, 33)),
    "dark": ((22, 24, 28), (232, 234, 237)),
    "transparent": ((255, 255, 255), (24, 27, 33)),  # where paper has to have a colour
}

NEAR = 6  # levels of 255: matplotlib samples its maps at 256 steps, between which the catalogue blends
# A colour map as scales keep it: a name of the cmap catalogue, or colours at equal steps (`#rrggbb`) with blends between.
Colors = str | tuple[str, ...]


def as_colors(colors: Any) -> Colors:
    """A name, a colour map of matplotlib or cmap, or a list of colours, as scales keep it. Raises `BadScale`.

    >>> as_colors(["black", (1.0, 0.5, 0.0), "#fff"])
    ('#000000', '#ff8000', '#ffffff')
    """
    if isinstance(colors, str):
        return colors
    if callable(colors) and hasattr(colors, "name"):
        return _of_object(colors)
    try:
        several = [_hex(color) for color in colors]
    except (TypeError, ValueError, KeyError) as error:
        raise BadScale(
            f"colors={colors!r:.80} is no colour map: {first_line(error)}",
            "use a name of the cmap catalogue such as 'viridis', a colour map of matplotlib, or a list of colours",
        ) from error
    if len(several) < 2:
        raise BadScale(
            f"colors={colors!r:.80}: a list needs two colours or more, those of the lowest and highest value"
        )
    return tuple(several)


def _of_object(colors: Any) -> Colors:
    """The name of a colour map that the catalogue has as well, else its colours."""
    try:
        shares = np.asarray(colors(np.linspace(0, 1, TOP + 1)), np.float64)[:, :3]
        own = np.round(shares * 255).astype(np.uint8)
    except Exception as error:  # whatever an object raises that is no colour map
        raise BadScale(f"colors={colors!r:.80} is no colour map: {first_line(error)}") from error
    for name in (str(colors.name), f"matplotlib:{colors.name}"):
        with suppress(BadScale):
            if np.abs(lut(name).astype(int) - own).max() <= NEAR:
                return name
    return tuple("#" + bytes(color).hex() for color in own)


def _hex(color: Any) -> str:
    """One colour: a name, `#rrggbb`, or red, green and blue from 0 to 1 (whole numbers of an array: from 0 to 255)."""
    import cmap

    if isinstance(color, str):
        return cmap.Color(color).hex[:7].lower()
    values = np.asarray(color)
    if values.shape not in ((3,), (4,)) or values.dtype.kind not in "fiu":
        raise ValueError(f"{color!r} is no colour")
    shares = values[:3] / 255 if isinstance(color, np.ndarray) and values.dtype == np.uint8 else values[:3]
    if not (shares.min() >= 0 and shares.max() <= 1):
        raise ValueError(f"{color!r}: red, green and blue go from 0 to 1")
    return "#" + bytes(np.round(shares * 255).astype(np.uint8)).hex()


def colors_text(colors: Colors) -> str:
    """A colour map in a caption."""
    return colors if isinstance(colors, str) else f"of a list ({len(colors)})"


@lru_cache(maxsize=64)
def lut(colors: Colors) -> np.ndarray:
    """uint8 `[241, 3]` of a colour map; raises `BadScale` with near names."""
    import cmap

    try:
        table = cmap.Colormap(colors).lut(TOP + 1)
    except (ValueError, TypeError, KeyError) as error:
        hint = near(str(colors), {name.split(":")[-1] for name in cmap.Catalog()}) or "."
        raise BadScale(f"no colour map {colors!r}{hint} Use one from the cmap catalogue, such as 'viridis'") from error
    result = np.round(table[:, :3] * 255).astype(np.uint8)
    # One for categories has only so many colours: equal parts of the scale.
    result = result[np.minimum(np.arange(TOP + 1) * len(result) // TOP, len(result) - 1)]
    result.flags.writeable = False
    return result


@lru_cache(maxsize=64)
def palette(colors: Colors | None, theme: str = "light") -> np.ndarray:
    """uint8 `[256, 3]`: a colour map, the marks, and the paper and ink of a theme. `None` leaves the map black."""
    table = np.zeros((256, 3), np.uint8)
    if colors is not None:
        table[: TOP + 1] = lut(colors)
    paper, pen = (np.array(color, float) for color in THEMES[theme])
    table[GAP] = paper
    for code, (_, color) in MARKS.items():
        table[code] = color
    if theme == "dark":
        table[CONSTANT] = DARK_CONSTANT
    for code, strength in zip(INKS, STRENGTHS, strict=True):
        table[code] = np.round(paper + (pen - paper) * strength)
    table.flags.writeable = False
    return table


def see_through(table: np.ndarray) -> np.ndarray:
    """uint8 `[256, 4]`: a palette whose paper is transparent, and whose ink covers it as much as it is strong."""
    full = np.full((256, 4), 255, np.uint8)
    full[:, :3] = table
    full[GAP, 3] = 0
    for code, strength in zip(INKS, STRENGTHS, strict=True):
        full[code] = (*table[INKS[-1]], round(255 * strength))
    return full


def without_paper(pixels: np.ndarray, frame: np.ndarray | None, table: np.ndarray) -> np.ndarray:
    """uint8 `[height, width, 4]`: codes, or colours with the codes of the frame around them, without their paper."""
    codes = pixels if pixels.ndim == 2 else frame
    if codes is None:
        return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    colors = np.take(see_through(table), codes, axis=0)
    if pixels.ndim == 3:
        own = codes == OWN
        colors[own] = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])[own]
    return colors


def marks_of(codes: np.ndarray) -> set[int]:
    """The special codes that occur, for the legend."""
    return {mark for mark in MARKS if (codes == mark).any()}
