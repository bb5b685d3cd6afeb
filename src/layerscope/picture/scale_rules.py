"""The scale that a caller means by a rule's name, by limits or by a `Scale`, and what lies beyond its limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of, union
from ..checks import keywords
from ..core.feature_map import FeatureMap, as_map
from ..core.note import Note
from ..errors import BadScale
from ..surface import option
from .codes import BELOW, within_float32
from .norms import check_norm, positive, require_positive
from .numbers import beyond_text
from .palette import MARKS
from .scale import Scale

# What `scale=` of a picture of one map may be.
ALLOWED = "use 'channel', 'layer', 'images', (low, high) or a Scale"


def given_scale(scale: Any, colors: Any = None, clip: Any = None, norm: str | None = None) -> Scale:
    """The one range that a `Scale` or `(low, high)` stands for."""
    if clip is not None:
        raise BadScale(
            f"{option('clip', clip)} is for limits found from the values: leave it out with {option('scale', scale)}"
        )
    if isinstance(scale, Scale):
        if not scale.single:
            raise BadScale("a Scale with a range for each tile fits only the map it was made for: give one range")
        others = {"colors": colors, "norm": norm}
        asked = {name: value for name, value in others.items() if value is not None}
        return replace(scale, **asked) if asked else scale
    try:
        low, high = map(float, scale)
    except (TypeError, ValueError) as error:
        raise BadScale(f"{option('scale', scale)}: {ALLOWED}") from error
    if not low < high:
        raise BadScale(f"{option('scale', scale)}: give two different limits, the lower one first")
    return Scale.within((low, high), colors, norm=norm or "linear")


@keywords
def shared_scale(
    *maps: Any, clip: Any = None, colors: Any = None, center: float | None = None, norm: str = "linear"
) -> Scale:
    """One `Scale` over all the values of several maps, for `scale=` of every picture of them.

    >>> import numpy as np
    >>> shared_scale(np.array([[0.0, 1.0]]), np.array([[2.0, 5.0]])).limits
    (0.0, 5.0)

    Args:
        maps: Feature maps, arrays, or lists and mappings of them; combined first where combinations are drawn.
        clip: Two percentiles of all the values together, such as `(1, 99)`, in place of minimum and maximum.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours.
        center: The value in the middle of the colours; values of both signs are centred on 0 without it.
        norm: `"linear"`, `"log"` or `"symlog"`, as in `Scale`.

    Raises:
        BadScale: Where no value is finite, or by `"log"` none is above 0, or where a map's channels are colours or labels.
    """
    every = [*_flatten(maps)]
    if not every:
        raise BadScale("shared_scale() needs at least one map, such as shared_scale(first, second)")
    for fm in every:
        if fm.role in ("rgb", "labels"):
            raise BadScale(
                f"{fm.rule or fm.layer.path!r} holds {'colours' if fm.role == 'rgb' else 'labels'}, which have no scale"
            )
    check_norm(norm)
    extents = [extent_of(fm.values) for fm in every]
    if all(np.isnan(extent).all() for extent in extents):
        raise BadScale("no value in these maps is finite, so no scale can be made: give (low, high)")
    if clip is not None:
        together = np.concatenate([fm.values.ravel() for fm in every])[None, :, None]
        fitted = Scale.fit(together, "layer", clip, colors, None, center, norm)
        limits, clip = fitted.limits, fitted.clip
    else:
        if norm == "log":
            extents = [positive(fm.values, extent) for fm, extent in zip(every, extents, strict=True)]
        limits = union(np.concatenate([extent.reshape(-1, 2) for extent in extents]), norm)
    if norm == "log":
        require_positive(every[0].values, limits)
    return Scale.within(limits, colors, center, "shared", clip, norm)


def _flatten(maps: Any) -> Iterator[FeatureMap]:
    """The feature maps in lists and mappings of them."""
    for item in maps:
        if isinstance(item, Mapping):
            yield from _flatten(item.values())
        elif isinstance(item, list | tuple) and any(isinstance(part, FeatureMap) for part in item):
            yield from _flatten(item)
        else:
            yield as_map(item)


@dataclass(frozen=True)
class Beyond:
    """Which of the values shown lie outside the limits: how many, and how far they reach."""

    below: int = 0
    above: int = 0
    least: float = np.inf
    most: float = -np.inf
    size: int = 0

    @classmethod
    def of(cls, values: np.ndarray, limits: Any) -> Beyond:
        """`limits` is `(low, high)`, or an array `[channel, 2]` for the last axis. ±inf and NaN have marks of their own."""
        limits = np.asarray(limits, np.float64)
        # The same comparison without going through float64.
        limits = within_float32(limits) if values.dtype == np.float32 else limits
        low, high = limits[..., 0], limits[..., 1]
        least, most = values.min(initial=np.inf), values.max(initial=-np.inf)
        if np.isfinite(least) and np.isfinite(most):
            below, above = int((values < low).sum()), int((values > high).sum())
            return cls(below, above, float(least), float(most), values.size)
        finite = np.isfinite(values)
        if not finite.any():
            return cls()
        below, above = (values < low) & finite, (values > high) & finite
        least, most = values.min(where=finite, initial=np.inf), values.max(where=finite, initial=-np.inf)
        return cls(int(below.sum()), int(above.sum()), float(least), float(most), values.size)

    def words(self, rule: Scale, asked: Any = None) -> tuple[str, ...]:
        """The notes on them; also where the percentiles `asked` for leave no range."""
        sides = [
            _units_beyond(rule, count, upper, farthest)
            for count, upper, farthest in ((self.below, False, self.least), (self.above, True, self.most))
            if count
        ]
        without = bool(sides) and rule.norm == "log" and self.below > 0 and self.least <= 0
        if without:
            sides[0] += f", {100 * self.below / self.size:.2g}% of all"
        if sides and rule.clip:
            colors = "the end colour" if len(sides) == 1 else "the end colours"
            sides[-1] += f", drawn in {colors}"
        if without:
            sides[-1] += "; 0 and below have no logarithm" if rule.single or rule.clip else "; they have no logarithm"
        notes = [Note("beyond", " and ".join(sides))] if sides else []
        if asked is not None and rule.clip is None:
            text = f"no range is left between the percentiles {asked[0]:g} and {asked[1]:g}, so nothing is clipped"
            notes.append(Note("no-clip", text))
        return tuple(notes)


def below_text(rule: Scale) -> str:
    """What the legend says of the mark of values below the limits: with `"log"` they are mostly those without a logarithm."""
    if rule.norm != "log":
        return MARKS[BELOW][0]
    if rule.clip:
        return "0 or below, or under the lower percentile"
    return "0 or below, or below the limits" if rule.per == "fixed" else "0 or below"


def _units_beyond(rule: Scale, count: int, upper: bool, farthest: float) -> str:
    """How many values lie on one side of the limits, and how far."""
    text = f"{count:,} {'value' if count == 1 else 'values'} {'above' if upper else 'below'} "
    if not rule.single and rule.norm == "log" and not (upper or rule.clip):
        return f"{count:,} {'value is' if count == 1 else 'values are'} 0 or below"
    if not rule.single:
        return text + f"the {'upper' if upper else 'lower'} limits"
    low, high = rule.limits
    limit = high if upper else low
    way = "up" if upper else "down"
    return text + f"{rule.reading(limit)} ({way} to {beyond_text(farthest, limit, low, high)})"
