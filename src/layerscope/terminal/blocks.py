"""A picture in half blocks: two pixels per character, one in the letter's colour, one in its background's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..picture.codes import GAP
from ..picture.numbers import number

if TYPE_CHECKING:
    from ..picture.picture import Picture

BLOCK, RESET = "▀", "\x1b[0m"
COMFORTABLE, BAR = 64, 32
LEVELS = np.array([0, 95, 135, 175, 215, 255])


def lines(picture: Picture, columns: int, colors: int = 24) -> list[str]:
    """The tiles as lines of half blocks, at most `columns` wide, then the bar where there is one range.

    A single map that fits is shown unit by unit, enlarged by a whole number; anything wider is averaged. `colors`: 24
    (bits) or 256 (the terminal's fixed palette).
    """
    pixels = _fit(_tile_pixels(picture), columns)
    if len(pixels) % 2:
        paper = picture.palette()[GAP]
        pixels = np.concatenate([pixels, np.broadcast_to(paper, (1, *pixels.shape[1:]))])
    names = _color_names(pixels, colors)
    rows = [_line(top, bottom) for top, bottom in zip(names[::2], names[1::2], strict=True)]
    scale = picture.scale
    if scale is not None and scale.single and scale.limits[0] < scale.limits[1]:
        low, high = scale.limits
        codes = scale.codes(scale.at(np.linspace(0, 1, BAR)))
        bar = _color_names(picture.palette()[codes][None], colors)[0]
        rows.append(f"{number(low)} {_line(bar, bar)} {number(high)}")
    return rows


def _tile_pixels(picture: Picture) -> np.ndarray:
    """RGB of what the tiles cover, of all where there are none; of a single map at its own resolution."""
    cells = picture.cells
    if not cells:
        return picture.rgb()
    if len(cells) == 1 and picture.indexed:
        return picture.palette()[picture.codes(cells[0])]
    left, top = min(cell.x for cell in cells), min(cell.y for cell in cells)
    right, bottom = max(cell.x + cell.width for cell in cells), max(cell.y + cell.height for cell in cells)
    return picture.rgb()[top:bottom, left:right]


def _fit(pixels: np.ndarray, columns: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    if width <= columns:
        times = max(1, min(columns, COMFORTABLE) // max(width, height))
        return pixels.repeat(times, 0).repeat(times, 1)
    from PIL import Image

    size = columns, max(1, round(height * columns / width))
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BOX))


def _color_names(pixels: np.ndarray, colors: int) -> list[list[str]]:
    """What stands for each colour in an escape sequence."""
    if colors == 24:
        return [[f"2;{red};{green};{blue}" for red, green, blue in row] for row in pixels.tolist()]
    return [[f"5;{number}" for number in row] for row in nearest(pixels).tolist()]


def nearest(pixels: np.ndarray) -> np.ndarray:
    """The number of the nearest of the 240 fixed colours: a cube of 6 × 6 × 6 from 16, and greys from 232."""
    rgb = pixels.astype(int)
    steps = np.abs(rgb[..., None] - LEVELS).argmin(-1)
    cube = LEVELS[steps]
    grey = np.clip(np.round((rgb.mean(-1) - 8) / 10), 0, 23).astype(int)
    distances = [((rgb - color) ** 2).sum(-1) for color in (cube, (8 + 10 * grey)[..., None])]
    return np.where(distances[1] < distances[0], 232 + grey, 16 + steps @ np.array([36, 6, 1]))


def _line(top: list[str], bottom: list[str]) -> str:
    """One line of letters; a colour is named only where it changes."""
    parts, before = [], ("", "")
    for pair in zip(top, bottom, strict=True):
        changed = [f"{which};{name}" for which, name, old in zip((38, 48), pair, before, strict=True) if name != old]
        parts.append((f"\x1b[{';'.join(changed)}m" if changed else "") + BLOCK)
        before = pair
    return "".join(parts) + RESET
