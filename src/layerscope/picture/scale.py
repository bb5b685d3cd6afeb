"""`Scale`: the rule that maps numbers to colours, and the code by which a pixel can be read back.

A picture of one scale holds codes, not colours:

    0 … 240   the values from the lower end of the scale to the upper end, in equal steps
    241 … 250 GAP, NAN, POS_INF, NEG_INF, CONSTANT, BELOW, ABOVE, and three strengths of INK for text

A palette of 256 colours turns codes into what is seen. The same `Scale` writes the codes of the map and of the colour
bar beside it, so the two can't disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..arrays.ranges import checked_clip, extent_of, percentiles
from ..errors import BadOption, BadScale, near
from .codes import ABOVE, BELOW, CONSTANT, GAP, INK, INK_LIGHT, INK_MIDDLE, NAN, NEG_INF, POS_INF, TOP, ends, marked
from .numbers import number, span_text

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


SEQUENTIAL, DIVERGING = "viridis", "vik"


RULES = ("channel", "layer", "images")


# What `describe` says of where the limits came from.
WORDS = {
    "channel": "each channel has its own range",
    "layer": "one range for the layer in this image",
    "images": "one range for all images",
    "fixed": "fixed range",
    "shared": "one range shared by several maps",
    "all": "one range for all cells",
    "row": "one range for each row",
    "column": "one range for each column",
    "cell": "each cell has its own range",
}


@dataclass(frozen=True, eq=False)
class Scale:
    """The rule from numbers to colours.

    `limits` is one `(low, high)` for all, or an array `[image, channel, 2]` with a range for each tile. `colors` names a
    colour map of the cmap catalogue; without a name it is viridis, or vik where there is a centre. With `center`, that value
    has the middle colour and both sides the same step, so the limits need not lie evenly around it. `per` says where the
    limits came from: `channel`, `layer`, `images`, `shared`, `fixed`, or in a comparison `all`, `row`, `column`, `cell`.
    `clip` holds the percentiles if the limits are cut there: what lies beyond keeps the codes BELOW and ABOVE, whose colours
    are then the two ends of the colour map.

    >>> scale = Scale((0.0, 2.0))
    >>> scale.codes(np.array([0.0, 1.0, 2.0, 3.0, np.nan])).tolist()
    [0, 120, 240, 247, 242]
    >>> scale.decode(np.array([0, 120, 240])).tolist()
    [0.0, 1.0, 2.0]
    """

    limits: Any
    colors: str = ""
    center: float | None = None
    per: str = "fixed"
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        limits = np.array(self.limits, np.float64)
        if limits.shape[-1:] != (2,) or limits.ndim not in (1, 3):
            raise BadScale(f"limits={self.limits!r}: use (low, high), or an array [image, channel, 2]")
        if limits.ndim == 1:
            if not np.isfinite(limits).all() or limits[0] > limits[1]:
                raise BadScale(f"limits {tuple(limits.tolist())}: use two finite numbers, the lower one first")
            object.__setattr__(self, "limits", tuple(limits.tolist()))
        else:
            limits.flags.writeable = False
            object.__setattr__(self, "limits", limits)
        number_given = isinstance(self.center, int | float | np.number)
        if self.center is not None and not (number_given and np.isfinite(self.center)):
            raise BadScale(f"center={self.center!r}: use a finite number or None")
        if self.per not in WORDS:
            raise BadScale(f"per={self.per!r}: use {', '.join(map(repr, WORDS))}.{near(str(self.per), WORDS)}")
        if self.clip is not None:
            object.__setattr__(self, "clip", checked_clip(self.clip))
        if not self.colors:
            object.__setattr__(self, "colors", SEQUENTIAL if self.center is None else DIVERGING)
        lut(self.colors)

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        per: str = "layer",
        clip: tuple[float, float] | None = None,
        colors: str | None = None,
        extent: np.ndarray | None = None,
        center: float | None = None,
    ) -> Scale:
        """The scale that fits `values` `[image, *spatial, channel]`.

        `per`: a range for each `"channel"` of each image, or one for the whole (`"layer"`, `"images"`). `clip`: two
        percentiles, such as `(1, 99)`, in place of minimum and maximum, except where both are the same number and so no
        range would be left. Where values have both signs the colours diverge from 0, or from `center` if one is given. NaN
        and ±inf don't count. `extent` is `extent_of(values)` if it is known already.
        """
        if per not in RULES:
            raise BadScale(
                f"scale={per!r}: use 'channel', 'layer', 'images', (low, high) or a Scale.{near(per, RULES)}"
            )
        limits = extent_of(values) if extent is None else extent
        if per != "channel":
            limits = _union(limits)
        if clip is not None:
            cut = percentiles(values, clip, per == "channel")
            kept = cut[..., 0] < cut[..., 1]
            limits = np.where(kept[..., None], cut, limits)
            clip = checked_clip(clip) if kept.any() else None
        return cls.within(limits, colors, center, per, clip)

    @classmethod
    def within(
        cls,
        limits: Any,
        colors: str | None = None,
        center: float | None = None,
        per: str = "fixed",
        clip: tuple[float, float] | None = None,
    ) -> Scale:
        """The scale of these limits: centred on `center`, or on 0 where they have both signs."""
        limits = np.asarray(limits, np.float64)
        signed = bool((limits[..., 0] < 0).any() and (limits[..., 1] > 0).any())
        return cls(limits, colors or "", 0.0 if signed and center is None else center, per, clip)

    @property
    def single(self) -> bool:
        """Whether one range holds for the whole picture, so that it has a colour bar."""
        return isinstance(self.limits, tuple)

    def range(self, image: int = 0, channel: int = 0) -> tuple[float, float]:
        """The limits of one tile."""
        if self.single:
            return self.limits
        low, high = self.limits[image, channel]
        return float(low), float(high)

    def codes(self, values: Any, image: int = 0, channel: int = 0) -> np.ndarray:
        """The codes of `values` (any shape), uint8; `image` and `channel` choose among ranges per tile."""
        low, high = self.range(image, channel)
        return marked(np.asarray(values), low, high, self.center)

    def decode(self, codes: Any, image: int = 0, channel: int = 0) -> np.ndarray:
        """The values that `codes` stand for, float64: the middle of the step, ±inf, NaN for every other mark.

        A value within the limits comes back within half a step, `(upper end − lower end) / 480`.
        """
        low, high = self.range(image, channel)
        start, end = ends(low, high, self.center)
        codes = np.asarray(codes)
        values = start + codes * ((end - start) / TOP)
        values = np.where(codes > TOP, np.nan, values)
        values = np.where(codes == POS_INF, np.inf, values)
        values = np.where(codes == NEG_INF, -np.inf, values)
        return np.where(codes == CONSTANT, low, values)

    def palette(self, theme: str = "light") -> np.ndarray:
        """uint8 `[256, 3]`: the colour of each code."""
        table = palette(self.colors, theme)
        if self.clip is None:
            return table
        # Cut at percentiles, the peaks of a map lie beyond: they keep their place in the order of the colours.
        table = table.copy()
        table[BELOW], table[ABOVE] = table[0], table[TOP]
        table.flags.writeable = False
        return table

    def describe(self) -> str:
        """The rule in words, as it stands on every picture."""
        rule = f"scale: {WORDS[self.per]}"
        if self.single:
            rule += f" {span_text(*self.limits)}"
        if self.clip:
            rule += f", cut at the percentiles {self.clip[0]:g} and {self.clip[1]:g}"
            rule += "" if self.single else " where that leaves a range"
        if self.center is not None:
            rule += f", centred on {number(self.center)}"
        return f"{rule} · colours {self.colors}"


@lru_cache(maxsize=64)
def lut(colors: str) -> np.ndarray:
    """uint8 `[241, 3]` of a colour map in the cmap catalogue; raises `BadScale` with near names."""
    import cmap

    try:
        table = cmap.Colormap(colors).lut(TOP + 1)
    except (ValueError, TypeError, KeyError) as error:
        hint = near(str(colors), {name.split(":")[-1] for name in cmap.Catalog()})
        raise BadScale(f"no colours {colors!r}.{hint} Use a name of the cmap catalogue, such as 'viridis'") from error
    result = np.round(table[:, :3] * 255).astype(np.uint8)
    result.flags.writeable = False
    return result


def check_theme(theme: Any) -> None:
    """Raises `BadOption` with near names for a theme that doesn't exist."""
    if theme not in tuple(THEMES):
        raise BadOption(f"theme={theme!r}: use {', '.join(map(repr, THEMES))}.{near(str(theme), THEMES)}")


@lru_cache(maxsize=64)
def palette(colors: str | None, theme: str = "light") -> np.ndarray:
    """uint8 `[256, 3]`: a colour map, the marks, and the paper and ink of a theme. `None` leaves the map black."""
    table = np.zeros((256, 3), np.uint8)
    if colors is not None:
        table[: TOP + 1] = lut(colors)
    paper, pen = (np.array(each, float) for each in THEMES[theme])
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


def _union(limits: np.ndarray) -> np.ndarray:
    """One range that holds all the ranges; (0, 0) where there is no finite value."""
    low, high = limits[..., 0], limits[..., 1]
    if np.isnan(low).all():
        return np.zeros(2)
    return np.array([np.nanmin(low), np.nanmax(high)])
