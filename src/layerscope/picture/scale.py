"""`Scale`: the rule that maps numbers to colours, and the code by which a pixel can be read back.

A picture with one scale holds codes (palette indices), not colours:

    0 … 240   the values from the lower end of the scale to the upper end, in equal steps
    241 … 255 GAP, NAN, POS_INF, NEG_INF, CONSTANT, BELOW, ABOVE, what has colours of its own, and seven strengths of INK

A palette of 256 colours turns codes into what is seen. The same `Scale` writes the codes of the map and of the colour
bar beside it, so the two can't disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays.ranges import checked_clip, evenly, extent_of, percentiles, union
from ..core.note import Note
from ..errors import BadScale, near
from ..surface import option
from .codes import ABOVE, BELOW, CONSTANT, NEG_INF, POS_INF, TOP, ends, marked
from .norms import Curve, check_limits, check_norm, positive
from .numbers import number, reading
from .palette import DIVERGING, SEQUENTIAL, as_colors, lut, palette
from .scale_text import WORDS, scale_notes, scale_text

RULES = ("channel", "layer", "images")


@dataclass(frozen=True, eq=False)
class Scale:
    """The rule from numbers to colours, and back.

    >>> import numpy as np
    >>> scale = Scale((0.0, 2.0))
    >>> scale.codes(np.array([0.0, 1.0, 2.0, 3.0, np.nan])).tolist()
    [0, 120, 240, 247, 242]
    >>> scale.decode(np.array([0, 120, 240])).tolist()
    [0.0, 1.0, 2.0]

    Args:
        limits: One `(low, high)` for all, both finite, or an array `[image, channel, 2]` with a range for each tile.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours; without one viridis, or vik
            where there is a centre.
        center: The value that has the middle colour. Both sides have the same step, so the limits need not lie evenly
            around.
        per: What shares a range: `"channel"`, `"layer"`, `"images"`, `"shared"` (several maps), `"fixed"` (given
            limits), or in a comparison `"all"`, `"row"`, `"column"`, `"cell"`.
        clip: The two percentiles to which the limits are clipped, if they are: values beyond keep the codes BELOW and
            ABOVE, drawn in the colours of the limits.
        norm: `"linear"`; `"log"`, equal steps for equal ratios, with limits above 0; or `"symlog"`, logarithmic on both
            sides of 0 and linear within a thousandth of the limit that is farther from it.

    Raises:
        BadScale: For limits, colours or another argument that isn't allowed.
    """

    limits: Any
    colors: Any = ""
    center: float | None = None
    per: str = "fixed"
    clip: tuple[float, float] | None = None
    norm: str = "linear"

    def __post_init__(self) -> None:
        limits = np.array(self.limits, np.float64)  # None becomes NaN, as `from_dict` needs it
        if limits.shape[-1:] != (2,) or limits.ndim not in (1, 3):
            raise BadScale(f"limits={self.limits!r}: use (low, high), or an array [image, channel, 2]")
        if limits.ndim == 1:
            if not np.isfinite(limits).all() or limits[0] > limits[1]:
                raise BadScale(f"limits {tuple(limits.tolist())}: use two finite numbers, the lower one first")
            object.__setattr__(self, "limits", tuple(limits.tolist()))
        else:
            limits.flags.writeable = False
            object.__setattr__(self, "limits", limits)
        is_number = isinstance(self.center, int | float | np.number)
        if self.center is not None and not (is_number and np.isfinite(self.center)):
            raise BadScale(f"center={self.center!r}: use a finite number or None")
        if self.per not in WORDS:
            raise BadScale(f"per={self.per!r}: use {', '.join(map(repr, WORDS))}{near(str(self.per), WORDS)}")
        if self.clip is not None:
            object.__setattr__(self, "clip", checked_clip(self.clip))
        check_norm(self.norm)
        check_limits(self.norm, limits, self.center)
        usual = SEQUENTIAL if self.center is None else DIVERGING
        unset = self.colors is None or (isinstance(self.colors, str) and not self.colors)
        object.__setattr__(self, "colors", usual if unset else as_colors(self.colors))
        lut(self.colors)

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        per: str = "layer",
        clip: tuple[float, float] | None = None,
        colors: Any = None,
        extent: np.ndarray | None = None,
        center: float | None = None,
        norm: str = "linear",
    ) -> Scale:
        """The scale that fits some values; where they have both signs, its colours diverge from 0. NaN and ±inf don't count.

        >>> import numpy as np
        >>> Scale.fit(np.array([[[0.0, 5.0], [2.0, 7.0]]])).limits
        (0.0, 7.0)

        Args:
            values: An array `[image, *spatial, channel]`.
            per: `"channel"` for a range for each channel of each image, `"layer"` or `"images"` for one for the whole.
            clip: Two percentiles, such as `(1, 99)`, in place of minimum and maximum, where they leave a range.
            colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours.
            extent: Minimum and maximum of each channel, `[image, channel, 2]`, where they are known already.
            center: The value in the middle of the colours, in place of 0.
            norm: As in `Scale`. For `"log"` only values above 0 count, and a channel without any has the range (0, 0).

        Raises:
            BadScale: For a rule, percentiles or colours that don't exist.
        """
        if per not in RULES:
            raise BadScale(
                f"{option('scale', per)}: use 'channel', 'layer', 'images', (low, high) or a Scale{near(per, RULES)}"
            )
        limits = extent_of(values) if extent is None else extent
        if norm == "log":
            limits = positive(values, limits)
        if per != "channel":
            limits = union(limits, norm)
        if clip is not None:
            if norm == "log":
                values = np.where(values > 0, values, np.nan)
            cut = percentiles(values, clip, per == "channel")
            kept = cut[..., 0] < cut[..., 1]
            whole, limits = limits, np.where(kept[..., None], cut, limits)
            clip = checked_clip(clip) if kept.any() else None
        scale = cls.within(limits, colors, center, per, clip, norm)
        return replace(scale, limits=evenly(scale.limits, whole, scale.center)) if clip and not scale.single else scale

    @classmethod
    def within(
        cls,
        limits: Any,
        colors: Any = None,
        center: float | None = None,
        per: str = "fixed",
        clip: tuple[float, float] | None = None,
        norm: str = "linear",
    ) -> Scale:
        """The scale of these limits: centred on `center`, or on 0 where they have both signs.

        >>> Scale.within((-1.0, 3.0)).center, Scale.within((1.0, 3.0)).center
        (0.0, None)

        Args:
            limits: As in `Scale`.
            colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours.
            center: The value in the middle of the colours.
            per: As in `Scale`.
            clip: As in `Scale`.
            norm: As in `Scale`.

        Raises:
            BadScale: As `Scale` does.
        """
        limits = np.asarray(limits, np.float64)
        signed = norm != "log" and bool((limits[..., 0] < 0).any() and (limits[..., 1] > 0).any())
        center = 0.0 if signed and center is None else center
        return cls(limits, "" if colors is None else colors, center, per, clip, norm)

    def to_dict(self) -> dict[str, Any]:
        """The scale as plain numbers, strings and lists, for JSON; `from_dict` makes it again. NaN becomes `None`.

        >>> Scale((0.0, 2.0)).to_dict()
        {'limits': [0.0, 2.0], 'colors': 'viridis', 'center': None, 'per': 'fixed', 'clip': None, 'norm': 'linear'}
        """
        limits = np.asarray(self.limits)
        values: Any = limits.astype(object)
        values[np.isnan(limits)] = None
        clip = None if self.clip is None else list(self.clip)
        center = None if self.center is None else float(self.center)
        colors = self.colors if isinstance(self.colors, str) else list(self.colors)
        known = {"limits": values.tolist(), "colors": colors, "center": center, "per": self.per, "clip": clip}
        return {**known, "norm": self.norm}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Scale:
        """The scale that `to_dict` wrote.

        >>> Scale.from_dict({"limits": [0.0, 2.0], "colors": "magma"}).colors
        'magma'

        Args:
            fields: `limits`, and where they aren't the defaults of `Scale` the others.

        Raises:
            BadScale: For fields that a scale doesn't have, and as `Scale` does.
        """
        unknown = set(fields) - set(cls.__dataclass_fields__)
        if unknown or "limits" not in fields:
            raise BadScale(f"a scale has the fields {', '.join(cls.__dataclass_fields__)}, not {sorted(unknown)}")
        return cls(**fields)

    @property
    def single(self) -> bool:
        """Whether one range holds for the whole picture, so that it has a colour bar.

        >>> Scale((0.0, 2.0)).single
        True
        """
        return isinstance(self.limits, tuple)

    @property
    def curve(self) -> Curve:
        """Its norm and its centre.

        >>> Scale((-1.0, 3.0), norm="symlog", center=0.0).curve[:2]
        ('symlog', 0.0)
        """
        return Curve(self.norm, self.center)

    def range(self, image: int = 0, channel: int = 0) -> tuple[float, float]:
        """The limits of one tile.

        >>> Scale([[(0.0, 1.0), (0.0, 5.0)]], per="channel").range(image=0, channel=1)
        (0.0, 5.0)

        Args:
            image: The index of the image in `limits`.
            channel: The index of the channel in `limits`.
        """
        if self.single:
            return self.limits
        low, high = self.limits[image, channel]
        return float(low), float(high)

    @property
    def mixed(self) -> bool:
        """Whether some cells of a comparison diverge from the centre and others don't, each kind in its usual colours.

        >>> Scale([[(-1.0, 1.0)], [(0.0, 1.0)]], center=0.0, per="row").mixed
        True
        """
        if self.single or self.per not in ("row", "column", "cell") or self.center is None or self.colors != DIVERGING:
            return False
        low, high = self.limits[..., 0], self.limits[..., 1]
        return not ((low < self.center) & (self.center < high))[low < high].all()

    def alone(self, limits: tuple[float, float]) -> Scale:
        """The scale of a tile that has these limits.

        >>> Scale([[(-1.0, 1.0)], [(0.0, 1.0)]], center=0.0, per="row").alone((0.0, 1.0)).colors
        'viridis'

        Args:
            limits: The tile's range, two finite numbers.
        """
        straight = self.center is not None and self.mixed and not limits[0] < self.center < limits[1]
        return replace(self, limits=limits, colors="", center=None) if straight else replace(self, limits=limits)

    def codes(self, values: Any, image: int = 0, channel: int = 0) -> np.ndarray:
        """The codes of some values, uint8 of the same shape: 0 to 240 within the limits, marks above.

        >>> Scale((0.0, 2.0)).codes([0.0, 0.5, 2.0]).tolist()
        [0, 60, 240]

        Args:
            values: Numbers of any shape.
            image: The index of the image, where there is a range for each tile.
            channel: The index of the channel, where there is a range for each tile.
        """
        low, high = self.range(image, channel)
        if self.mixed:
            return self.alone((low, high)).codes(values)
        return marked(np.asarray(values), low, high, self.curve)

    def decode(self, codes: Any, image: int = 0, channel: int = 0) -> np.ndarray:
        """The values that codes stand for, float64: the middle of the step, ±inf, NaN for every other mark.

        A value within the limits comes back within half a step, by a linear norm `(upper end − lower end) / 480`.

        >>> Scale((0.0, 2.0)).decode([0, 60, 242]).tolist()
        [0.0, 0.5, nan]

        Args:
            codes: Codes of any shape.
            image: The index of the image, where there is a range for each tile.
            channel: The index of the channel, where there is a range for each tile.
        """
        low, high = self.range(image, channel)
        if self.mixed:
            return self.alone((low, high)).decode(codes)
        curve, (start, end) = self.curve.over(low, high), ends(low, high, self.center)
        codes = np.asarray(codes)
        first, last = map(curve.forward, (start, end)) if low < high else (low, low)
        values = curve.inverse(first + codes * ((last - first) / TOP))
        if self.norm != "linear":
            # The curve there and back may miss its two ends by a rounding.
            values = np.where(codes == 0, start, np.where(codes == TOP, end, values))
        values = np.where(codes > TOP, np.nan, values)
        values = np.where(codes == POS_INF, np.inf, values)
        values = np.where(codes == NEG_INF, -np.inf, values)
        return np.where(codes == CONSTANT, low, values)

    def places(self, values: Any, down: bool = False) -> np.ndarray:
        """Where values lie along a bar with one range, float64: 0 at its lower limit, 1 at its upper one.

        >>> Scale((1.0, 100.0), norm="log").places([1.0, 10.0, 100.0]).tolist()
        [0.0, 0.5, 1.0]

        Args:
            values: Numbers of any shape, within the limits.
            down: Whether they are counted from the upper limit down: 0 there, 1 at the lower one.
        """
        values, (low, high) = np.asarray(values, np.float64), self.limits
        if low == high:
            return np.zeros(values.shape)
        curve = self.curve.over(low, high)
        first, last, places = (curve.forward(each) / 2 for each in (low, high, values))
        return np.asarray((last - places if down else places - first) / (last - first))

    def at(self, places: Any) -> np.ndarray:
        """The values at places along a bar with one range, float64; the inverse of `places`.

        >>> Scale((1.0, 100.0), norm="log").at([0.0, 0.5, 1.0]).round(9).tolist()
        [1.0, 10.0, 100.0]

        Args:
            places: Numbers of any shape, from 0 (the lower limit) to 1 (the upper one).
        """
        places, (low, high) = np.asarray(places, np.float64), self.limits
        if low == high:
            return np.full(places.shape, low)
        curve = self.curve.over(low, high)
        # From the two ends inwards, so that the ends stay right where `high - low` overflows.
        values = curve.inverse(curve.forward(low) * (1 - places) + curve.forward(high) * places)
        return np.asarray(values if self.norm == "linear" else np.clip(values, low, high))

    def reading(self, value: float) -> str:
        """A number as it stands beside the bar: with the digits that its range needs, or those that it needs itself.

        >>> Scale((1e-6, 100.0), norm="log").reading(0.01), Scale((0.9998, 1.0002)).reading(0.99985)
        ('0.01', '0.99985')

        Args:
            value: The number.
        """
        low, high = self.limits
        wide = self.norm != "linear" and (low <= 0 <= high or max(low / high, high / low) > 10)
        return number(value) if wide else reading(value, low, high)

    @property
    def end_codes(self) -> tuple[int, int]:
        """The codes whose colours values beyond the limits have: those of the limits, where the bar ends.

        >>> Scale((0.0, 2.0)).end_codes, Scale((-1.0, 2.0), center=0.0).end_codes
        ((0, 240), (60, 240))
        """
        if not self.single or self.limits[0] == self.limits[1]:
            return 0, TOP
        low, high = self.codes(self.limits).tolist()
        return low, high

    def palette(self, theme: str = "light") -> np.ndarray:
        """The colour of each code, uint8 `[256, 3]`.

        >>> Scale((0.0, 2.0), "gray").palette()[[0, 120, 240]].tolist()
        [[0, 0, 0], [128, 128, 128], [255, 255, 255]]

        Args:
            theme: `"light"`, `"dark"` or `"transparent"`: the colours of paper and ink.
        """
        table = palette(self.colors, theme)
        if self.clip is None:
            return table
        # Cut at percentiles, the peaks of a map lie beyond: they keep their place in the order of the colours.
        table = table.copy()
        table[[BELOW, ABOVE]] = table[[*self.end_codes]]
        table.flags.writeable = False
        return table

    def notes(self) -> tuple[Note, ...]:
        """What a picture says of the rule besides its bar.

        >>> Scale((0.0, 2.0)).notes(), Scale((0.0, 2.0), per="images").notes()
        ((), ('one range for all images',))
        """
        return scale_notes(self)

    def describe(self) -> str:
        """The rule in words, as the file of a picture keeps it.

        >>> Scale((0.0, 2.0)).describe()
        'scale: fixed range 0…2 · colours viridis'
        """
        return scale_text(self)
