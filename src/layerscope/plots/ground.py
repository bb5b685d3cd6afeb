"""The photo under a map: greyed, darker or lighter than the map's strong colours, with a frame around what the model saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from PIL import Image

from ..core.feature_map import FeatureMap
from ..core.placement import Placement
from ..core.unit_grid import UnitGrid
from ..picture.codes import GAP, INK
from ..picture.palette import palette

GROUNDS = ("grey", "photo")

# The levels of black and of white: strong colours that are light stand out from a dark photo, dark ones from a pale one.
DIMMED, MIDDLE, PALE = (0, 180), (50, 220), (140, 255)

TONES = {DIMMED: "darkened", PALE: "lightened"}

# Of a position cut at an edge, the least share beyond it that is worth a word.
CUT = 0.25

# An overlay is looked at about this wide, whatever its pixels are: lines of a wider one are thicker.
SEEN_WIDTH = 1000
# A reader sees a strip of so many pixels there.
STRIP = 4
# A smaller photo is enlarged by a whole number, up to this many pixels.
SMALL_PHOTO = 448
MOST_BLENDED = 3
BLOCK_PIXELS = 1 << 20


@dataclass(frozen=True)
class Ground:
    """The photo of a map of one image, each of its pixels `zoom` × `zoom` of the picture; `tone`: its darkest and lightest."""

    photo: np.ndarray
    placement: Placement
    on: str
    tone: tuple[int, int]
    zoom: int

    @classmethod
    def of(cls, one: FeatureMap, on: str, zoom: int | None, tone: tuple[int, int] = MIDDLE) -> Ground:
        """The ground under a map of one image that has a photo; `zoom=None` enlarges one that is small."""
        assert one.photos is not None and one.placement is not None
        photo, (place,) = one.photos[0], one.placement
        zoom = zoom or max(1, SMALL_PHOTO // max(photo.shape[:2]))
        height, width = place.photo
        top, left, tall, wide = (side * zoom for side in place.box)
        return cls(
            photo, Placement((height * zoom, width * zoom), place.input, (top, left, tall, wide)), on, tone, zoom
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the picture."""
        return self.placement.photo

    def resized(self, height: int, width: int) -> Ground:
        """The ground whose photo has that size in the picture."""
        down, across = height / self.placement.photo[0], width / self.placement.photo[1]
        top, left, tall, wide = self.placement.box
        box = top * down, left * across, tall * down, wide * across
        # A photo of few pixels keeps them.
        few = min(height / self.photo.shape[0], width / self.photo.shape[1]) > MOST_BLENDED
        way = Image.Resampling.NEAREST if few else Image.Resampling.LANCZOS
        photo = np.asarray(Image.fromarray(self.photo).resize((width, height), way, reducing_gap=2))
        return replace(self, photo=photo, placement=Placement((height, width), self.placement.input, box), zoom=1)

    def units(self, one: FeatureMap) -> UnitGrid:
        """Where the units of the map lie on the pixels of the picture."""
        return replace(one, placement=(self.placement,)).unit_grid()

    @property
    def tones(self) -> np.ndarray:
        """uint8 `[256]`: what becomes of each level."""
        return np.round(np.linspace(*self.tone, 256)).astype(np.uint8)

    def levels(self, rows: slice) -> np.ndarray:
        """uint8 `[row, column]`: how light these rows of the picture are, before its tones are changed."""
        top, bottom = rows.start // self.zoom, -(-rows.stop // self.zoom)
        levels = np.asarray(Image.fromarray(self.photo[top:bottom]).convert("L"))
        if self.zoom == 1:
            return levels
        return levels.repeat(self.zoom, 0).repeat(self.zoom, 1)[rows.start - top * self.zoom :][
            : rows.stop - rows.start
        ]

    def draw(self, box: np.ndarray) -> None:
        """Draw the photo into `box`, uint8 `[height, width, 3]`, a block of rows at a time."""
        step = max(1, BLOCK_PIXELS // self.photo.shape[1])
        for top in range(0, len(self.photo), step):
            rows = Image.fromarray(self.photo[top : top + step])
            toned = (
                rows.convert("L").point(self.tones.tolist()).convert("RGB")
                if self.on == "grey"
                else rows.point(3 * self.tones.tolist())
            )
            self._enlarge(np.asarray(toned), box[top * self.zoom : (top + step) * self.zoom])

    def draw_photo(self, box: np.ndarray) -> None:
        """Draw the photo as it is."""
        self._enlarge(self.photo, box)

    def _enlarge(self, rows: np.ndarray, box: np.ndarray) -> None:
        box[:] = rows if self.zoom == 1 else rows.repeat(self.zoom, 0).repeat(self.zoom, 1)

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the pixels that the model saw, the last two beyond them."""
        top, left, height, width = self.placement.box
        rows, columns = self.size
        ends = (top, rows), (left, columns), (top + height, rows), (left + width, columns)
        first, second, third, fourth = (min(max(ceil(end - 0.5), 0), most) for end, most in ends)
        return first, second, third, fourth

    def draw_frame(self, box: np.ndarray) -> None:
        """A white line, and a dark one outside of it, along the sides of what the model saw that aren't the photo's own."""
        top, left, bottom, right = self.seen
        height, width = self.size
        line, paper, ink = line_width(width), palette(None)[GAP], palette(None)[INK]
        for out in range(2 * line):
            color = paper if out < line else ink
            rows = slice(max(top - 1 - out, 0), bottom + 1 + out)
            columns = slice(max(left - 1 - out, 0), right + 1 + out)
            for row, inner in ((top - 1 - out, top), (bottom + out, bottom)):
                if 0 < inner < height and 0 <= row < height:
                    box[row, columns] = color
            for column, inner in ((left - 1 - out, left), (right + out, right)):
                if 0 < inner < width and 0 <= column < width:
                    box[rows, column] = color

    def words(self, place: UnitGrid, across: int = 0) -> list[str]:
        """What a caption says of the photo: that it is grey here only and enlarged, the frame, and edges without units.

        Strips outside of the frame and along an edge count where they are seen in a picture of `across` pixels.
        """
        strip = self._strip(across)
        grey, toned = self.on == "grey", TONES.get(self.tone, "")
        shown = " and ".join(filter(None, ["shown in grey" if grey else "", toned]))
        parts = [f"The photo is {shown}"] if shown else []
        if self.zoom > 1:
            parts.append(f"Each pixel of the photo is drawn {self.zoom} × {self.zoom}")
        reason = self.reason(place, across)
        (top, left, bottom, right), (height, width) = self.seen, self.size
        if max(top, left, height - bottom, width - right) >= strip:
            parts.append("The frame marks what the model saw" + (f"; {reason}" if reason else ""))
        elif reason:
            parts.append(reason[0].upper() + reason[1:])
        return parts

    def reason(self, place: UnitGrid, across: int = 0) -> str:
        """Why some edges have no colour in a picture of `across` pixels, or colours that are cut; `""` for none."""
        strip = self._strip(across)
        return stops_short(self._bare_sides(place, strip), self._cut_sides(place, strip))

    def _strip(self, across: int) -> float:
        return STRIP * max(1.0, max(across, self.size[1]) / SEEN_WIDTH)

    def _bare_sides(self, place: UnitGrid, strip: float) -> str:
        """The sides on which the model saw more of the photo than units lie on, by a strip of at least so many pixels."""
        top, left, bottom, right = self.seen
        rows, columns = np.flatnonzero(place.rows >= 0), np.flatnonzero(place.columns >= 0)
        if not len(rows) or not len(columns):
            return ""
        gaps = {
            "upper": rows[0] - top,
            "lower": bottom - 1 - rows[-1],
            "left": columns[0] - left,
            "right": right - 1 - columns[-1],
        }
        return edges([name for name, gap in gaps.items() if gap >= strip])

    def _cut_sides(self, place: UnitGrid, strip: float) -> str:
        """The sides on which the outermost units reach beyond what the model saw, by a strip of at least so many pixels."""
        cut = []
        for names, cells, axis in ((("upper", "lower"), place.rows, 2), (("left", "right"), place.columns, 3)):
            units = cells[cells >= 0]
            for name, unit in zip(names, units[[0, -1]].tolist() if len(units) else (), strict=False):
                whole = place.cell_box(*((unit, 0) if axis == 2 else (0, unit)))[axis]
                if whole - np.count_nonzero(units == unit) >= max(strip, CUT * whole):
                    cut.append(name)
        return edges(cut)


def edges(sides: Sequence[str]) -> str:
    """`upper and left edges`; `""` for none."""
    return f"{' and '.join(sides)} edge{'s' * (len(sides) > 1)}" if sides else ""


def stops_short(bare: str, cut: str) -> str:
    """Why some edges of what the model saw have no colour, or colours of positions that reach beyond; `""` for none."""
    ends = filter(None, [f"stops short of the {bare}" if bare else "", f"is cut at the {cut}" if cut else ""])
    what = " and ".join(ends)
    return f"each position is drawn at the centre of its receptive field, so the map {what}" if what else ""


def line_width(width: int) -> int:
    """The pixels of a thin line on a picture of this width."""
    return max(1, ceil(width / SEEN_WIDTH))
