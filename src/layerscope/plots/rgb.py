"""Three channels that are meant as colours: their ranges, their pixels, and the paper around them."""

from __future__ import annotations

import numpy as np

from ..arrays.ranges import checked_clip
from ..channels.statistics import percent
from ..combinations.pca import BACKGROUND
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..picture.canvas import Canvas
from ..picture.codes import BLOCK, GAP, NAN
from ..picture.palette import palette

# DINO's habit of stretching to minimum and maximum lets one bright pixel darken all others.
RGB_PERCENTILES = (1, 99)

# What each component gives where it is at its top and the others are at their bottom.
PRIMARIES = (((255, 0, 0), "PC1"), ((0, 255, 0), "PC2"), ((0, 0, 255), "PC3"))


def is_rgb(fm: FeatureMap) -> bool:
    """Whether the three channels are colours: those of a combination are, three channels of a layer aren't."""
    return fm.role == "rgb"


def rgb_limits(whole: FeatureMap, clip: tuple[float, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """For each of the three channels the values of its darkest and its brightest colour, at the percentiles `clip`."""
    clip = RGB_PERCENTILES if clip is None else checked_clip(clip)
    flat = whole.values.reshape(-1, 3)
    flat = flat[np.isfinite(flat).all(1)]
    if not len(flat):
        return np.zeros(3), np.zeros(3)
    low, high = np.percentile(flat, clip, axis=0)
    return low, high


def rgb_colors(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """uint8 colours of values `[..., 3]`; what isn't finite has the colour of NaN."""
    span = np.where(high > low, high - low, 1)
    finite = np.isfinite(values).all(-1, keepdims=True)
    shares = np.where(high > low, (np.where(finite, values, 0) - low) / span, 0.5)
    colors = np.round(shares.clip(0, 1) * 255).astype(np.uint8)
    background = (values == BACKGROUND).all(-1, keepdims=True)
    return np.where(finite, colors, np.where(background, palette(None)[GAP], palette(None)[NAN]))


def paper(canvas: Canvas, table: np.ndarray, hollow: bool = False) -> np.ndarray:
    """uint8 `[height, width, 3]`: the canvas in colours; `hollow` leaves its body unwritten."""
    codes = canvas.codes
    pixels = np.empty((*codes.shape, 3), np.uint8)
    bottom, right = canvas.y + canvas.height, canvas.x + canvas.width
    middle = slice(canvas.y, bottom)
    sides = (slice(0, canvas.x), slice(right, None)) if hollow else (slice(None),)
    parts = [(slice(0, canvas.y), slice(None)), *((middle, side) for side in sides), (slice(bottom, None), slice(None))]
    for part in parts:
        step = max(1, BLOCK // codes.shape[1])
        for top in range(0, codes[part].shape[0], step):
            # Codes fit: "clip" spares their check, and the copy that the check needs.
            pixels[part][top : top + step] = np.take(table, codes[part][top : top + step], axis=0, mode="clip")
    return pixels


def rgb_key(fm: FeatureMap) -> tuple[tuple[tuple[int, int, int], str], ...]:
    """Which component has which colour, and its share of the variance where that is known: `PC1 · 41%`."""
    shares = fm.provenance.get("variance") or (None,) * len(PRIMARIES)
    return tuple(
        (color, name if share is None else f"{name} · {percent(share)}")
        for (color, name), share in zip(PRIMARIES, shares, strict=True)
    )


def key_quantity(fm: FeatureMap) -> str:
    """What the numbers in the key are."""
    return "" if fm.provenance.get("variance") is None else "share of variance"


def rgb_text(clip: tuple[float, float] | None) -> str:
    """What a caption says of three channels as colours."""
    low, high = RGB_PERCENTILES if clip is None else checked_clip(clip)
    return Note("colors", f"components as red, green, blue, each between its percentiles {low:g} and {high:g}")
