"""The colour of each code: a colour map of the cmap catalogue, the marks of special values, paper and ink of a theme."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..errors import BadScale, near
from .codes import ABOVE, BELOW, CONSTANT, GAP, INK, INK_LIGHT, INK_MIDDLE, NAN, NEG_INF, POS_INF, TOP

MARKS = {
    NAN: ("NaN", (255, 0, 255)),
    POS_INF: ("+inf", (255, 140, 0)),
    NEG_INF: ("−inf", (0, 190, 255)),
    CONSTANT: ("dead or constant", (176, 163, 187)),
    BELOW: ("below the limits", (92, 64, 51)),
    ABOVE: ("above the limits", (140, 196, 140)),
}

# Paper and pen. The marks lie among the colours of the map, which are the same in every theme, so they are as well.
THEMES = {"light": ((241, 243, 245), (28, 32, 38)), "dark": ((22, 24, 28), (232, 234, 237))}
STRENGTHS_OF_INK = ((INK_LIGHT, 0.33), (INK_MIDDLE, 0.66), (INK, 1.0))


@lru_cache(maxsize=64)
def lut(colors: str) -> np.ndarray:
    """uint8 `[241, 3]` of a colour map in the cmap catalogue; raises `BadScale` with near names."""
    import cmap

    try:
        table = cmap.Colormap(colors).lut(TOP + 1)
    except (ValueError, TypeError, KeyError) as error:
        hint = near(str(colors), {name.split(":")[-1] for name in cmap.Catalog()}) or "."
        raise BadScale(f"no colour map {colors!r}{hint} Use one from the cmap catalogue, such as 'viridis'") from error
    result = np.round(table[:, :3] * 255).astype(np.uint8)
    result.flags.writeable = False
    return result


@lru_cache(maxsize=64)
def palette(colors: str | None, theme: str = "light") -> np.ndarray:
    """uint8 `[256, 3]`: a colour map, the marks, and the paper and ink of a theme. `None` leaves the map black."""
    table = np.zeros((256, 3), np.uint8)
    if colors is not None:
        table[: TOP + 1] = lut(colors)
    paper, pen = (np.array(color, float) for color in THEMES[theme])
    table[GAP] = paper
    for code, (_, color) in MARKS.items():
        table[code] = color
    for code, strength in STRENGTHS_OF_INK:
        table[code] = np.round(paper + (pen - paper) * strength)
    table.flags.writeable = False
    return table


def marks_of(codes: np.ndarray) -> set[int]:
    """The special codes that occur, for the legend."""
    return {mark for mark in MARKS if (codes == mark).any()}
