"""How the values of a channel are spread, as an SVG that takes its colours from the page."""

from __future__ import annotations

import html

import numpy as np

from ...picture.colorbar import round_numbers
from ...picture.numbers import number, reading
from ..table import Table

WIDTH, HEIGHT, BARS = 320, 72, 64
BELOW = 18  # for the numbers


def histogram(table: Table, title: str) -> str:
    """Bars of equal width whose heights are logarithms of counts; numbers below. `title` says it to those who don't see it.

    >>> table = Table({"low": np.array([0.0, 1.0]), "high": np.array([0.0, 2.0]), "count": np.array([3, 1])})
    >>> histogram(table, "channel 1").startswith('<svg viewBox="0 0 320 90" role="img" aria-label="channel 1')
    True
    """
    lows, highs, counts = (np.asarray(table[name], float) for name in ("low", "high", "count"))
    low, high = float(lows.min()), float(highs.max())
    edges = np.linspace(low, high, BARS + 1)
    heights = np.log1p(spread(lows, highs, counts, edges=edges))
    heights *= (HEIGHT - 4) / max(float(heights.max()), 1e-9)
    step = WIDTH / BARS
    bars = "".join(
        f"M{at * step:.5g} {HEIGHT}v-{max(1.0, height):.4g}h{step - 1:.4g}V{HEIGHT}z"
        for at, height in enumerate(heights.tolist())
        if height > 0
    )
    label = f"{title}: from {number(low)} to {number(high)}"
    between = [_text(value, low, high) for value in round_numbers(low, high, 4) if low < value < high]
    texts = [_text(low, low, high), *between, *([_text(high, low, high)] if high > low else [])]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + BELOW}" role="img" aria-label="{html.escape(label)}">'
        f'<path class="bars" d="{bars}"/><path class="axis" d="M0 {HEIGHT}.5H{WIDTH}"/>{"".join(texts)}</svg>'
    )


def spread(lows: np.ndarray, highs: np.ndarray, counts: np.ndarray, *, edges: np.ndarray) -> np.ndarray:
    """Counts of bins of any width, spread evenly over bins of equal width.

    >>> spread(np.array([0.0, 2.0]), np.array([0.0, 4.0]), np.array([3.0, 2.0]), edges=np.linspace(0, 4, 5)).tolist()
    [3.0, 0.0, 1.0, 1.0]
    """
    wide = highs > lows
    shared = np.minimum(highs[wide, None], edges[1:]) - np.maximum(lows[wide, None], edges[:-1])
    result = (np.clip(shared, 0, None) / (highs - lows)[wide, None] * counts[wide, None]).sum(0)
    places = np.clip(np.searchsorted(edges, lows[~wide], side="right") - 1, 0, len(edges) - 2)
    np.add.at(result, places, counts[~wide])
    return np.asarray(result)


def _text(value: float, low: float, high: float) -> str:
    """A number below its place; nothing where it would stand in that of an end."""
    share = (value - low) / (high - low) if high > low else 0.0
    anchor = "start" if value == low else "end" if value == high else "middle"
    if anchor == "middle" and not 0.17 < share < 0.83:
        return ""
    x = share * WIDTH
    return f'<text x="{x:.5g}" y="{HEIGHT + 14}" text-anchor="{anchor}">{reading(value, low, high)}</text>'
