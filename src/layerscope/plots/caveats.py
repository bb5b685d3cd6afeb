"""Caption notes for pictures that are true but easily misread."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from ..channels.statistics import AXES, listed, percent
from ..combinations.class_map import is_class_map
from ..core.feature_map import FeatureMap
from ..core.layer import kind_in_words
from ..core.note import Note
from ..core.words import MAXIMUM, channel_word
from ..errors import LayerscopeWarning, caller_level
from ..picture.caption import is_combined
from ..picture.numbers import number
from ..picture.scale import Scale
from ..safe_text import counted
from ..surface import by_surface

# A tile with less than this share of the layer's range is mostly its own noise, stretched.
FAINT = 1e-3

# The largest value of a ReLU6, and the least share of values there that is worth a word.
RELU6, SATURATED = 6, 0.01

# One unit that takes this share of the range leaves the others hardly any colours.
TAKEN, FEWEST_UNITS = 0.9, 100

# Enlarged at least so many times, a map of at most so many units looks as if it had detail.
BLOCKS, COARSE = 4, 16

# Where all but so many per cent of the positions have less than this share of the opacity, an overlay looks blank.
STRONGEST, WEAK = 2, 0.4


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


def saturated(one: FeatureMap, shown: Sequence[int] | np.ndarray) -> tuple[Note, ...]:
    """Whether many values of a ReLU6 in the channels at these positions, or of their maxima, are at its limit."""
    if kind_in_words(one.layer) != "ReLU6" or (one.rule and one.method != MAXIMUM) or not one.values.size:
        return ()
    values = one.values if len(shown) == one.shape[-1] else one.values[..., shown]
    share = np.count_nonzero(values == RELU6) / values.size
    if share < SATURATED:
        return ()
    text = f"{min(share, 0.999):.1%}" if 0.99 < share < 1 else percent(share)
    return (Note("saturated", f"{text} of the values are {RELU6}, the limit of ReLU6"),)


def negligible_text(filters: Sequence[int]) -> str:
    """That some filters of a layer have weights of next to nothing."""
    one = len(filters) == 1
    which = f"filter {filters[0]} has" if one else f"{counted(len(filters), 'filter')} have"
    named = "" if one else f": {listed(filters)}"
    return f"{which} no weight above 0.1% of the layer's largest{named}"


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


def faint_overlay(one: FeatureMap, rule: Scale, zero: float) -> tuple[str, ...]:
    """Whether a few positions of a signed map take the opacity, so that the others hardly show; warns of it too.

    A class activation map is to show where few positions are strong.
    """
    low, high = rule.limits
    own = rule.per in ("layer", "images") and rule.norm == "linear" and rule.clip is None
    if not own or not low < zero < high or is_class_map(one) or one.values.size < FEWEST_UNITS:
        return ()
    strength = np.abs(one.values[np.isfinite(one.values)] - zero)
    usual = float(np.percentile(strength, 100 - STRONGEST)) / max(high - zero, zero - low)
    if usual >= WEAK:
        return ()
    text = (
        f"{STRONGEST}% of the positions take the strong colours; all others have less than {usual:.0%} of the opacity"
    )
    hint = by_surface("clip=(1, 99)", "--clip 1:99", "a Range clipped at percentiles")
    warnings.warn(LayerscopeWarning(f"{text}: {hint} lets them show"), stacklevel=caller_level())
    return (Note("faint", text),)


def blocks(spatial: tuple[int, ...], zoom: int) -> str:
    """Whether a small map is enlarged so far that its units look like shapes."""
    if zoom < BLOCKS or max(spatial) > COARSE:
        return ""
    return Note("blocks", "Each square is one position of the map, enlarged.")
