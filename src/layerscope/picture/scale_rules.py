"""The scale that a caller means by a rule's name, by limits or by a `Scale`, and what lies beyond its limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of, percentiles
from ..core.feature_map import FeatureMap, as_map
from ..errors import BadScale, near
from .codes import within_float32
from .numbers import beyond_text, reading
from .scale import RULES, Scale

ALLOWED = "use 'channel', 'layer', 'images', (low, high) or a Scale"


def make_scale(
    whole: FeatureMap, one: FeatureMap, scale: Any, colors: str | None, extent: np.ndarray, clip: Any = None
) -> Scale:
    """The scale asked for: a rule's name, limits, or a `Scale`. `extent` is that of all channels of the one image."""
    if isinstance(scale, str):
        if scale not in RULES:
            raise BadScale(f"scale={scale!r}: {ALLOWED}.{near(scale, RULES)}")
        values = one.values
        if scale == "images" and len(whole.ids) > 1:
            values, extent = whole.values, extent_of(whole.values)
        return Scale.fit(values, scale, clip, colors, extent)
    return given_scale(scale, colors, clip)


def given_scale(scale: Any, colors: str | None = None, clip: Any = None) -> Scale:
    """The one range that a `Scale` or `(low, high)` stands for."""
    if clip is not None:
        raise BadScale(f"clip={clip!r} cuts limits that are found from the values: leave it out with scale={scale!r}")
    if isinstance(scale, Scale):
        if not scale.single:
            raise BadScale("a Scale with a range for each tile fits only the map it was made for: give one range")
        return scale if colors is None else replace(scale, colors=colors)
    try:
        low, high = (float(each) for each in scale)
    except (TypeError, ValueError) as error:
        raise BadScale(f"scale={scale!r}: {ALLOWED}") from error
    if not low < high:
        raise BadScale(f"scale=({low:g}, {high:g}): the lower limit comes first and the two differ")
    return Scale.within((low, high), colors)


def shared_scale(*maps: Any, clip: Any = None, colors: str | None = None, center: float | None = None) -> Scale:
    """One `Scale` over all the values of several maps, for `scale=` of every picture of them.

    `maps` are feature maps, arrays, or lists and mappings of them such as what `capture` gives; of layers, images or models
    alike, but combined first where combinations are to be drawn. `clip`: two percentiles of all the values together, in place
    of minimum and maximum. Values of both signs get diverging colours centred on 0, or on `center`. Raises `BadScale` where no
    value is finite, or where a map's channels are colours.

    >>> import numpy as np
    >>> shared_scale(np.array([[0.0, 1.0]]), np.array([[2.0, 5.0]])).limits
    (0.0, 5.0)
    """
    found = [*_each(maps)]
    if not found:
        raise BadScale("shared_scale() needs at least one map, such as shared_scale(first, second)")
    for fm in found:
        if fm.role in ("rgb", "labels"):
            raise BadScale(
                f"{fm.rule or fm.layer.path!r} holds {'colours' if fm.role == 'rgb' else 'labels'}: no scale"
            )
    extents = np.concatenate([extent_of(fm.values).reshape(-1, 2) for fm in found])
    if np.isnan(extents).all():
        raise BadScale("no value in these maps is finite, so no scale can be made: give (low, high)")
    limits = np.array([np.nanmin(extents[:, 0]), np.nanmax(extents[:, 1])])
    if clip is not None:
        cut = percentiles(np.concatenate([fm.values.ravel() for fm in found]), clip)
        limits, clip = (cut, clip) if cut[0] < cut[1] else (limits, None)
    return Scale.within(limits, colors, center, "shared", clip)


def _each(maps: Any) -> Iterator[FeatureMap]:
    for each in maps:
        if isinstance(each, Mapping):
            yield from _each(each.values())
        elif isinstance(each, list | tuple) and any(isinstance(one, FeatureMap) for one in each):
            yield from _each(each)
        else:
            yield as_map(each)


@dataclass(frozen=True)
class Beyond:
    """What of the values shown lies outside the limits: how many, and how far all the values go."""

    below: int = 0
    above: int = 0
    least: float = np.inf
    most: float = -np.inf

    @classmethod
    def of(cls, values: np.ndarray, limits: Any) -> Beyond:
        """`limits` is `(low, high)`, or an array `[channel, 2]` for the last axis. ±inf and NaN have marks of their own."""
        limits = np.asarray(limits, np.float64)
        # The same comparison without going through float64.
        limits = within_float32(limits) if values.dtype == np.float32 else limits
        low, high = limits[..., 0], limits[..., 1]
        least, most = values.min(initial=np.inf), values.max(initial=-np.inf)
        if np.isfinite(least) and np.isfinite(most):
            return cls(int((values < low).sum()), int((values > high).sum()), float(least), float(most))
        finite = np.isfinite(values)
        if not finite.any():
            return cls()
        below, above = (values < low) & finite, (values > high) & finite
        least, most = values.min(where=finite, initial=np.inf), values.max(where=finite, initial=-np.inf)
        return cls(int(below.sum()), int(above.sum()), float(least), float(most))

    def words(self, rule: Scale, asked: Any = None) -> tuple[str, ...]:
        """What the caption says of them; also where no range was left to cut at the percentiles `asked` for."""
        said = []
        for count, side, at, far in ((self.below, "below", 0, self.least), (self.above, "above", 1, self.most)):
            if count:
                units = f"{count:,} unit{'s' if count > 1 else ''} {side} "
                if rule.single:
                    low, high = rule.limits
                    way = "down" if side == "below" else "up"
                    units += f"{reading(rule.limits[at], low, high)} ({way} to {beyond_text(far, rule.limits[at], low, high)})"
                else:
                    units += f"the {'lower' if side == 'below' else 'upper'} limits"
                said.append(units)
        if said and rule.clip:
            said[-1] += (
                ", drawn in the last colour of that side"
                if len(said) == 1
                else ", drawn in the last colours of both sides"
            )
        if asked is not None and rule.clip is None:
            said.append(f"no range is left between the percentiles {asked[0]:g} and {asked[1]:g}, so nothing is cut")
        return (" · ".join(said),) if said else ()
