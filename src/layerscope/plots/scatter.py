"""Images as points: each where its vector lies, a small photo where there is room, else a dot in the colour of its class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from ..core.note import Note
from ..errors import BadOption
from ..picture.canvas import Canvas, Frame
from ..picture.codes import INK_LIGHT, OWN
from ..picture.font import readable_text, small
from ..picture.palette import palette
from ..picture.picture import Picture
from ..picture.shapes import Cell
from ..safe_text import counted
from .groups import SAFE
from .rgb import paper

SIDE, THUMB, DOT, BORDER = 720, 44, 3, 2
PLAIN = ImageColor.getrgb("#3D6DB5")
# Those of Okabe and Ito without grey, and the three farthest from them (in Oklab) with any colour vision on both papers.
COLORS = tuple(map(ImageColor.getrgb, (*SAFE[:-1], "#773300", "#9955FF", "#0033BB")))
OTHERS = ImageColor.getrgb("#AAAAAA")

Color = tuple[int, ...]


@dataclass(frozen=True)
class Points:
    """The images of a scatter plot: float `places` `[image, 2]`, both axes in one unit, and the `names` of the images.

    `photo` gives that of an image by its number, `None` for none; it is asked where there is room. `groups` name the class
    of each image, `None` for none.
    """

    places: np.ndarray
    names: Sequence[str]
    axes: tuple[str, str]
    photo: Callable[[int], np.ndarray | None] | None = None
    groups: Sequence[str | None] | None = None


def draw_scatter(
    points: Points, frame: Frame, *, text: float | None = None, provenance: dict[str, Any] | None = None
) -> Picture:
    """The images as points; the cells have their names."""
    count = len(points.places)
    if not count:
        raise BadOption("there is no image to show")
    size = readable_text(SIDE) if text is None else text
    side, thumb = round(SIDE * size), round(THUMB * size)
    colors, key, left_out = _colors(points.groups, count)
    letters = small(size)
    least = letters.width(f"→ {points.axes[0]}") + letters.height, 4 * letters.height
    centres, (wide, high) = _fit(points.places, side, thumb, least)
    placed = {} if points.photo is None else _room(centres, points.photo, thumb)
    notes = [*frame.notes, *_notes(bool(placed), left_out)]
    frame = replace(frame, notes=notes, key=key, text=size)
    canvas = frame.around(high + letters.height + round(6 * size), wide)
    _draw_axes(canvas, points.axes, wide, high)
    pixels = paper(canvas, palette(None))
    cells = [
        _dot(canvas, pixels, centre, color=colors[index], radius=max(1, round(DOT * size)))
        for index, centre in enumerate(centres)
    ]
    for index, photo in placed.items():
        color = colors[index] if points.groups else None
        cells[index] = _photo(canvas, pixels, centres[index], (photo, thumb), color=color)
    boxes = [
        Cell(*box, index, -1, 0.0, 0.0, name) for index, (box, name) in enumerate(zip(cells, points.names, strict=True))
    ]
    return canvas.picture(boxes, None, provenance or {}, pixels)


def _colors(
    groups: Sequence[str | None] | None, count: int
) -> tuple[list[Color], tuple[tuple[tuple[int, int, int], str], ...], int]:
    """The colour of each image, the key, and how many classes share the grey of the others."""
    if groups is None:
        return [PLAIN] * count, (), 0
    sizes: dict[str, int] = {}
    for group in groups:
        if group is not None:
            sizes[group] = sizes.get(group, 0) + 1
    order = list(sizes)
    if len(order) > len(COLORS):  # the largest classes have colours
        largest = sorted(order, key=lambda name: -sizes[name])[: len(COLORS) - 1]
        order = [name for name in order if name in largest]
    chosen = dict(zip(order, COLORS, strict=False))
    left_out = len(sizes) - len(order)
    others = left_out > 0 or None in groups
    key = [(color, name) for name, color in chosen.items()]
    key += (
        [(OTHERS, f"{counted(left_out, 'other class', 'other classes')}" if left_out else "no class")] if others else []
    )
    rgb = tuple(((color[0], color[1], color[2]), name) for color, name in key)
    return [OTHERS if group is None else chosen.get(group, OTHERS) for group in groups], rgb, left_out


def _notes(photos: bool, left_out: int) -> list[Note]:
    notes = []
    if photos:
        notes.append(
            Note("photos", "A photo stands at its point, where it covers no other; every other image is a dot")
        )
    if left_out:
        notes.append(Note("classes", "The largest classes have colours"))
    return notes


def _draw_axes(canvas: Canvas, axes: tuple[str, str], wide: int, high: int) -> None:
    """A thin frame, the name of the first axis below it and of the second at its upper left corner."""
    for x, y, width, height in ((0, 0, wide, 1), (0, high - 1, wide, 1), (0, 0, 1, high), (wide - 1, 0, 1, high)):
        canvas.fill(x, y, width, height, color=INK_LIGHT)
    gap = canvas.letters.height // 3
    across = f"→ {axes[0]}"
    canvas.write(wide - canvas.letters.width(across), high + gap, across, muted=True)
    canvas.write(2 * gap, gap, f"↑ {axes[1]}", muted=True)


def _fit(points: np.ndarray, side: int, thumb: int, least: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """int `[image, (x, y)]`: where the points lie in a frame that reaches as far as they do, and its width and height.

    Both axes have one scale; there is room for half a photo at the edges. `least` is the smallest frame.
    """
    low, high = points.min(0), points.max(0)
    edge = thumb + 2 * BORDER + thumb // 2
    scale = (side - edge) / max(float((high - low).max()), 1e-12)
    wide, tall = (max(round(span * scale) + edge, few) for span, few in zip((high - low).tolist(), least, strict=True))
    middle = (points - (low + high) / 2) * scale
    return np.round(middle * (1, -1) + (wide / 2, tall / 2)).astype(int), (wide, tall)


def _room(centres: np.ndarray, photo_of: Callable[[int], np.ndarray | None], thumb: int) -> dict[int, np.ndarray]:
    """The photos that are drawn, by the numbers of their images: from the outermost inwards, what covers none drawn before."""
    step = thumb + 2 * BORDER
    taken: dict[tuple[int, int], list[np.ndarray]] = {}
    chosen: dict[int, np.ndarray] = {}
    for index in np.argsort(-np.square(centres - centres.mean(0)).sum(1), kind="stable").tolist():
        centre = centres[index]
        column, row = (int(number) // step for number in centre)
        near = [other for x in (-1, 0, 1) for y in (-1, 0, 1) for other in taken.get((column + x, row + y), [])]
        if any(np.abs(centre - other).max() < step for other in near):
            continue
        if (photo := photo_of(index)) is not None:
            taken.setdefault((column, row), []).append(centre)
            chosen[index] = photo
    return chosen


def _dot(
    canvas: Canvas, pixels: np.ndarray, centre: np.ndarray, *, color: Color, radius: int
) -> tuple[int, int, int, int]:
    x, y = canvas.x + int(centre[0]) - radius, canvas.y + int(centre[1]) - radius
    across = np.arange(2 * radius + 1) - radius
    disc = np.hypot(across[:, None], across) <= radius + 0.2
    part = np.s_[y : y + len(disc), x : x + len(disc)]
    pixels[part][disc] = color
    canvas.codes[part][disc] = OWN
    inset = len(disc) // 2 - int(radius * 0.7)  # a square within the disc, so that no edge is drawn around it
    return x + inset, y + inset, len(disc) - 2 * inset, len(disc) - 2 * inset


def _photo(
    canvas: Canvas, pixels: np.ndarray, centre: np.ndarray, shown: tuple[np.ndarray, int], *, color: Color | None
) -> tuple[int, int, int, int]:
    photo, thumb = shown
    share = thumb / max(photo.shape[:2])
    wide, high = (max(1, round(side * share)) for side in photo.shape[1::-1])
    x, y = canvas.x + int(centre[0]) - wide // 2, canvas.y + int(centre[1]) - high // 2
    if color is not None:
        pixels[y - BORDER : y + high + BORDER, x - BORDER : x + wide + BORDER] = color
        canvas.own(x - BORDER, y - BORDER, wide + 2 * BORDER, high + 2 * BORDER)
    pixels[y : y + high, x : x + wide] = np.asarray(Image.fromarray(photo).resize((wide, high), Image.Resampling.BOX))
    canvas.own(x, y, wide, high)
    return x, y, wide, high
