"""Caption notes for pictures that are true but easily misread."""

from __future__ import annotations

import numpy as np

from ..channels.statistics import AXES, listed
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..core.words import channel_word
from ..picture.caption import is_combined
from ..picture.numbers import number
from ..picture.scale import Scale
from ..safe_text import counted

# A tile with less than this share of the layer's range is mostly its own noise, stretched.
FAINT = 1e-3

# One unit that takes this share of the range leaves the others hardly any colours.
TAKEN, FEWEST_UNITS = 0.9, 100

# Enlarged at least so many times, a map of at most so many units looks as if it had detail.
BLOCKS, COARSE = 4, 16


def cautions(one: FeatureMap, rule: Scale, extent: np.ndarray, shown: np.ndarray, *, zoom: int) -> tuple[str, ...]:
    """The warnings for a sheet of one image. `extent` `[channel, 2]` is the whole layer's, `shown` are the positions drawn."""
    ranges = outlier(one, rule, extent)
    if rule.per == "channel" and rule.norm == "linear":
        ranges = faint(one, extent, shown)
    # Nobody takes the weights of a kernel for detail.
    coarse = "" if one.role == "weights" else blocks(one.spatial, zoom)
    return tuple(warning for warning in (ranges, coarse) if warning)


def faint(one: FeatureMap, extent: np.ndarray, shown: np.ndarray) -> str:
    """Whether tiles in their own ranges show hardly anything of what the layer has."""
    with np.errstate(invalid="ignore"):
        span = extent[:, 1] - extent[:, 0]
        whole = np.nanmax(extent[:, 1]) - np.nanmin(extent[:, 0]) if np.isfinite(extent).any() else 0
        faintest = shown[(span[shown] > 0) & (span[shown] < FAINT * whole)]
    if not len(faintest):
        return ""
    which, word = listed([one.channels[index] for index in sorted(faintest.tolist())]), channel_word(one)
    text = (
        f"{word.capitalize()} {which} spans" if len(faintest) == 1 else f"{counted(len(faintest), word)} ({which}) span"
    )
    return Note("faint", f"{text} less than 0.1% of the layer's range.")


def outlier(one: FeatureMap, rule: Scale, extent: np.ndarray) -> str:
    """Whether one unit of the layer takes nearly the whole range for itself."""
    low, high = np.nanmin(extent[:, 0], initial=np.inf), np.nanmax(extent[:, 1], initial=-np.inf)
    # Limits from elsewhere (other images, the user) are not this unit's doing.
    own = rule.per in ("layer", "images") and rule.limits == (low, high) and rule.norm == "linear"
    if not own or one.values.size < FEWEST_UNITS:
        return ""
    for column, sign, end in ((1, 1, "ends"), (0, -1, "begins")):
        ends = sign * extent[:, column]
        channel = int(np.nanargmax(ends))
        plane = sign * one.values[0, ..., channel]
        flat = np.where(np.isfinite(plane), plane, -np.inf).reshape(-1)
        unit = int(flat.argmax())
        rest = np.delete(flat, unit).max(initial=-np.inf)
        rest = max(float(rest), float(np.nanmax(np.delete(ends, channel), initial=-np.inf)))
        if np.isfinite(rest) and float(ends[channel]) - rest >= TAKEN * (float(high) - float(low)) > 0:
            position = ", ".join(map("{} {}".format, AXES[len(one.spatial)], np.unravel_index(unit, one.spatial)))
            share = (float(ends[channel]) - rest) / (float(high) - float(low))
            where = position if is_combined(one) else f"channel {one.channels[channel]} at {position}"
            return Note(
                "outlier",
                f"One position ({where}) takes {int(share * 100)}% of the range,"
                f" which {end} at {number(sign * rest)} without it.",
            )
    return ""


def blocks(spatial: tuple[int, ...], zoom: int) -> str:
    """Whether a small map is enlarged so far that its units look like shapes."""
    if zoom < BLOCKS or max(spatial) > COARSE:
        return ""
    return Note("blocks", f"Each block of {zoom} × {zoom} pixels is one position of the map.")
