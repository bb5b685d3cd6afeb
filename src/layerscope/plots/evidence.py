"""Many photos with the map of one channel on each, such as the images of a data set that excite it most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..checks import one_of, optional_whole
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..errors import BadOption
from ..picture.canvas import Canvas, Frame
from ..picture.codes import GAP
from ..picture.font import readable_text, small
from ..picture.numbers import reading
from ..picture.palette import marks_of, palette
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.shapes import Cell
from .contours import draw_contour
from .ground import Ground
from .overlay_paint import Paint, PhotoGrid, lay
from .rgb import paper

SIDE, SPACE, COMFORTABLE = 176, 12, 1000
ALPHA = 0.85
LEFT = 0.25  # of the light of what a mask hides
EDGE = 112  # the least light of the line around what it shows, which else ends unseen on black
HALF = 0.5


class Example(NamedTuple):
    """One photo: the map of one channel on it, a name, the value that it is here for, its place and rank."""

    fm: FeatureMap
    name: str
    value: float
    place: tuple[int, int] | None = None
    rank: int | None = None

    @property
    def peak(self) -> tuple[int, int]:
        """The row and the column of the largest value: as given, else of the map, the first of several."""
        if self.place is not None:
            return self.place
        plane = self.fm.values[0, ..., 0]
        flat = int(np.nanargmax(plane)) if not np.isnan(plane).all() else 0
        return flat // plane.shape[1], flat % plane.shape[1]


@dataclass(frozen=True)
class Style:
    """How the evidence is shown: the view, the scale that all photos share, and the least value that counts as active.

    `view` is a key of `VIEWS`. Where `level` is `None`, half of the largest value on each photo counts as active. `columns` and
    `text` are as in every picture.
    """

    view: str
    rule: Scale
    level: float | None = None
    columns: int | None = None
    text: float | None = None

    def least(self, example: Example) -> float:
        """The value from which on a map is active."""
        return self.level if self.level is not None else HALF * float(np.nanmax(example.fm.values))


def draw_examples(
    examples: Sequence[Example], frame: Frame, style: Style, provenance: dict[str, Any] | None = None
) -> Picture:
    """The photos in rows, each with its rank and value, and its name below."""
    draw = VIEWS[one_of("view", style.view, VIEWS)]
    if not examples:
        raise BadOption("there is no photo to show")
    across, rule = _columns(len(examples), optional_whole("columns", style.columns)), style.rule
    size = readable_text(across * (SIDE + SPACE)) if style.text is None else style.text
    letters, space, side = small(size), round(SPACE * size), round(SIDE * max(1.0, size))
    photos = [draw(example, side, style) for example in examples]
    lines = 2 * letters.height + space // 2
    highs = [max(map(len, photos[start : start + across])) + lines for start in range(0, len(photos), across)]
    body = sum(highs) + space * (len(highs) - 1), across * (side + space) - space
    if style.view == "overlay":
        frame = replace(frame, bar=rule, marks=marks_of(rule.codes(np.stack([one.fm.values for one in examples]))))
    canvas = replace(frame, text=size).around(*body, beside=(letters.height, highs[0] - lines + letters.height))
    corners = []
    for index, example in enumerate(examples):
        row, column = divmod(index, across)
        x, y = column * (side + space), sum(highs[:row]) + row * space
        corners.append((canvas.x + x, canvas.y + y + letters.height))
        _name(canvas, example, index, (x, y, side, len(photos[index])), rule=rule)
    pixels = paper(canvas, rule.palette())
    cells = []
    for index, (example, photo, (x, y)) in enumerate(zip(examples, photos, corners, strict=True)):
        high, wide = photo.shape[:2]
        pixels[y : y + high, x : x + wide] = photo
        canvas.own(x, y, wide, high)
        channel, (least, most) = example.fm.channels[0], rule.limits
        cells.append(Cell(x, y, wide, high, index, channel, least, most, example.name))
    return canvas.picture(cells, rule, provenance or {}, pixels)


def _columns(count: int, columns: int | None) -> int:
    """Photos in a row: as given, else as many as fit, all rows about equally long."""
    if columns is not None:
        return min(count, columns)
    fit = max(1, COMFORTABLE // (SIDE + SPACE))
    return ceil(count / ceil(count / fit))


def _name(canvas: Canvas, example: Example, index: int, box: tuple[int, int, int, int], *, rule: Scale) -> None:
    """Rank and value above a photo, its name below."""
    x, y, wide, high = box
    letters, rank = canvas.letters, str(example.rank or index + 1)
    canvas.write(x, y, rank, tile=index, bold=True)
    canvas.write(x + letters.width(f"{rank}0"), y, reading(example.value, *rule.limits), muted=True, tile=index)
    below = y + letters.height + high + letters.height // 6
    canvas.write(x, below, letters.cut_text(example.name, wide, 1)[0], muted=True, tile=index)


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of a photo of that size, enlarged or reduced to fit a square."""
    share = side / max(size)
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _ground(example: Example, side: int, tone: tuple[int, int] | None = None) -> Ground:
    """The photo of an example at the size at which it is drawn, in its own colours where no tone is given."""
    assert example.fm.photos is not None
    on, levels = ("grey", tone) if tone else ("photo", (0, 255))
    ground = Ground.of(example.fm, on, 1, levels)
    return ground.resized(*_within(ground.photo.shape[:2], side))


def _overlay(example: Example, side: int, style: Style) -> np.ndarray:
    paint = Paint(example.fm, style.rule, ALPHA, smooth=True)
    ground = _ground(example, side, paint.tone)
    box = np.empty((*ground.size, 3), np.uint8)
    lay(box, PhotoGrid(ground.size, ground.units(example.fm)), paint, ground)
    return box


def _spread(example: Example, ground: Ground) -> np.ndarray:
    """The values of a map on the pixels of its photo, NaN where no unit lies."""
    grid = PhotoGrid(ground.size, ground.units(example.fm))
    out = np.full(ground.size, np.nan, np.float32)
    part = out[grid.seen]
    for rows, values in grid.spread(example.fm.values[0, ..., 0], True):
        part[rows] = values
    return out


def _masked(example: Example, side: int, style: Style) -> np.ndarray:
    """The photo where the map is active; elsewhere grey and dark."""
    ground = _ground(example, side)
    hidden = ~(_spread(example, ground) >= style.least(example))
    grey = np.asarray(Image.fromarray(ground.photo).convert("L"), np.float32) * LEFT
    shown = ground.photo.copy()
    shown[hidden] = grey[hidden].astype(np.uint8)[:, None]
    shown[_edge(hidden) & (shown.max(-1) < EDGE)] = EDGE
    return shown


def _edge(hidden: np.ndarray) -> np.ndarray:
    """The outermost pixels of what is shown, beside hidden ones."""
    beside = np.zeros_like(hidden)
    beside[1:] |= hidden[:-1]
    beside[:-1] |= hidden[1:]
    beside[:, 1:] |= hidden[:, :-1]
    beside[:, :-1] |= hidden[:, 1:]
    return beside & ~hidden


def _contour(example: Example, side: int, style: Style) -> np.ndarray:
    """The photo with a line around what is active."""
    ground = _ground(example, side)
    shown = ground.photo.copy()
    draw_contour(shown, _spread(example, ground), style.least(example), max(1, side // 150))
    return shown


def seen_box(example: Example) -> tuple[tuple[int, int, int, int], str]:
    """(top, left, height, width) of what the unit at the peak can see of the photo, and how that is to be read.

    `"part"` of it, `"beyond"` where that reaches over its edge, `"whole"`, or `"unknown"`, which is the whole photo too.
    """
    assert example.fm.photos is not None
    high, wide = example.fm.photos[0].shape[:2]
    box = example.fm.unit_grid().receptive_box(*example.peak)
    if box is None or box[2] <= 0 or box[3] <= 0:
        return (0, 0, high, wide), "unknown"
    top, left = round(box[0]), round(box[1])
    height, width = max(1, round(box[2])), max(1, round(box[3]))
    covered = top <= 0 and left <= 0 and top + height >= high and left + width >= wide
    if covered or height > 2 * high or width > 2 * wide:  # mostly padding: the whole photo tells more
        return (0, 0, high, wide), "whole"
    within = top >= 0 and left >= 0 and top + height <= high and left + width <= wide
    return (top, left, height, width), "part" if within else "beyond"


def _crop(example: Example, side: int, _: Style) -> np.ndarray:
    """What the unit at the peak can see of the photo; all of it where that isn't known, and paper beyond its edges."""
    assert example.fm.photos is not None
    photo = example.fm.photos[0]
    top, left, height, width = seen_box(example)[0]
    part = np.full((height, width, 3), palette(None)[GAP], np.uint8)
    inside = np.s_[max(0, top) : top + height, max(0, left) : left + width]
    seen = photo[inside]
    at = max(0, -top), max(0, -left)
    part[at[0] : at[0] + seen.shape[0], at[1] : at[1] + seen.shape[1]] = seen
    few = side / max(height, width) > 3  # a few pixels are shown as what they are
    way = Image.Resampling.NEAREST if few else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(part).resize(_within((height, width), side)[::-1], way))


# What a photo is shown as, by name.
VIEWS: dict[str, Callable[[Example, int, Style], np.ndarray]] = {
    "overlay": _overlay,
    "masked": _masked,
    "crop": _crop,
    "contour": _contour,
    "photo": lambda example, side, _: _ground(example, side).photo,
}


PLACED = ("overlay", "masked", "contour")  # views that lay the map on the photo


def view_note(view: str, least: str, examples: Sequence[Example] = ()) -> Note:
    """What a caption says of a view; `least` is the value from which on a channel is active, in words."""
    seen = {seen_box(one)[1] for one in examples} if view == "crop" else set()
    crop = "What the unit with the largest value can see of each photo"
    if "unknown" in seen:
        crop = "What a unit can see isn't known for this layer: all that the model saw"
    elif seen == {"whole"}:
        crop = "The unit with the largest value can see all of each photo"
    elif "beyond" in seen:
        crop += ", with white beyond its edge"
    words = {
        "overlay": "The map on the photo in grey; all photos share the scale",
        "masked": f"Bright is where the channel has at least {least}, with a dim line around it on black",
        "contour": f"The line encloses where the channel has at least {least}, white on that side",
        "crop": crop,
        "photo": "What the model saw of each photo",
    }
    grounds = ((one, _ground(one, SIDE)) for one in examples if view in PLACED)
    short = next(filter(None, (ground.reason(ground.units(one.fm)) for one, ground in grounds)), "")
    return Note("view", "; ".join(filter(None, (words[view], short))))
