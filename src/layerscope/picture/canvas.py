"""The canvas of a picture: title above, colour bar beside, notes below; drawn in codes, and remembered while it is drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np

from ..core.note import Note, kind_of
from ..errors import BadOption
from ..memory import amount, available_text, is_little, limit
from ..safe_text import capitalised, legible
from .codes import BELOW, GAP, INK, INK_MIDDLE, OWN, TOP
from .colorbar import BAR_GAP, ColorBar, ColorKey, DrawnBar, TileKey
from .drawing import Drawing, TileLabels
from .edges import edge_boxes, near_paper
from .font import Font, font, small
from .heading import MARGIN, Heading, Notes, key_width
from .palette import MARKS, palette
from .picture import Picture
from .scale import Scale
from .scale_rules import below_text
from .shapes import Bar, Box, Cell, Ramp, Text

NARROWEST = 440


@dataclass(frozen=True)
class Frame:
    """What surrounds a map: title, a line of what it is and where from, notes, the scale of its bar, the marks of its legend.

    `reach` is how far the values themselves go, printed at the ends of the bar that they exceed, `quantity` what the bar
    measures ("activation"). Letters, gaps and the bar are `text` times as large as on a screen, drawn at that size.
    `ranges` is the scale of tiles that have ranges of their own, which names what lies below them.
    `key` are colours with names, in place of a bar and of a note on the variance; `tiles` is what the colours of tiles with
    ranges of their own mean, which stands in the legend in place of the note on them. `heading` stands in place of the title;
    without `caption` it is all that is written, without `colorbar` no bar and no key is drawn. Text has at least `narrowest`
    pixels of a screen.
    """

    title: str
    subject: str = ""
    notes: Sequence[str] = ()
    bar: Scale | None = None
    marks: Collection[int] = ()
    reach: tuple[float, float] | None = None
    text: float = 1
    quantity: str = ""
    key: tuple[tuple[tuple[int, int, int], str], ...] = ()
    tiles: TileKey | None = None
    ranges: Scale | None = None
    heading: str | None = None
    caption: bool = True
    colorbar: bool = True
    narrowest: int = NARROWEST

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", legible(self.heading or self.title))
        object.__setattr__(self, "subject", _legible_note(self.subject))
        object.__setattr__(self, "notes", [_sentence(_legible_note(note)) for note in self.notes])

    @property
    def lines(self) -> tuple[str, ...]:
        """The caption, line by line."""
        return tuple(filter(None, (self.subject, *self.notes)))

    def around(self, height: int, width: int, beside: tuple[int, int] | None = None) -> Canvas:
        """A canvas for a map of `height` × `width` pixels with title, notes, legend and bar drawn.

        The bar stands beside the rows from one to another of the map, by default all.
        """
        text = self.text
        bar = ColorBar(self.bar, self.marks, self.reach, text, self.quantity) if self.bar and self.colorbar else None
        bar = bar if bar and bar.measures else None
        key = ColorKey(self.key, text, self.quantity) if self.key and self.colorbar else None
        title = self.title if self.heading or (self.heading is None and self.caption) else ""
        subject, marks, under = (self.subject, self.marks, self.notes) if self.caption else ("", (), ())
        elsewhere = {"scale": self.tiles, "variance": key}
        under = [note for note in under if not elsewhere.get(kind_of(note))]
        margin = round(MARGIN * text) if title or self.caption or self.colorbar else 0
        whole_width = width + (bar.width if bar else key.width if key else 0)
        if title or self.caption:
            whole_width = max(whole_width, round(self.narrowest * text))
        if self.tiles:
            whole_width = max(whole_width, key_width(self.tiles, text))
        heading = Heading(title, subject, width=whole_width, text=text)
        top, (first, last) = margin + heading.height, beside or (0, height)
        if bar:
            top += max(0, bar.above - first)
            last = max(last, first + bar.least)
        if key:
            last = max(last, first + key.height)
        bottom = top + max(height, last if bar or key else 0)
        legend = {mark: MARKS[mark][0] for mark in marks}
        if BELOW in legend and (ranges := self.bar or self.ranges):
            legend[BELOW] = below_text(ranges)
        notes = Notes(under, legend, width=whole_width, top=bottom, text=text, key=self.tiles)
        codes = _paper(bottom + notes.height + margin, whole_width + 2 * margin)
        _draw_texts(codes, (*heading.texts(), *notes.texts()))
        # After the names, whose blanks reach over the boxes.
        for box in notes.boxes():
            _fill(codes, box)
        colorbar = bar.draw(margin + width + round(BAR_GAP * text), top + first, last - first) if bar else None
        if colorbar:
            _draw_bar(codes, colorbar)
        canvas = Canvas(codes, margin, top, width, height, self, heading, notes, colorbar)
        if key:
            canvas._draw_key(key, margin + width + round(BAR_GAP * text), top + first)
        return canvas


@dataclass(frozen=True)
class Canvas:
    """A picture in the making: all codes, and the part of them that the map goes into, `body`.

    What its methods draw is remembered for `Picture.drawing`; what belongs to a tile may be written straight into `body`.
    """

    codes: np.ndarray
    x: int
    y: int
    width: int
    height: int
    frame: Frame
    heading: Heading
    foot: Notes
    colorbar: DrawnBar | None
    lines: list[Text] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    ramps: list[Ramp] = field(default_factory=list)
    labels: list[TileLabels] = field(default_factory=list)

    @property
    def text(self) -> float:
        """How many times as large as on a screen its letters are."""
        return self.frame.text

    @property
    def letters(self) -> Font:
        return small(self.text)

    @property
    def bar(self) -> Bar | None:
        return self.colorbar.bar if self.colorbar else None

    @property
    def body(self) -> np.ndarray:
        return self.codes[self.y : self.y + self.height, self.x : self.x + self.width]

    def write(self, x: int, y: int, text: str, *, muted: bool = False, tile: int = -1, bold: bool = False) -> None:
        """Write a line from `x`, `y` of the body on; `tile` is the number of the cell that it names, if it does."""
        ink = INK_MIDDLE if muted else INK
        line = Text(self.x + x, self.y + y, legible(text), self.letters.size, ink, tile, bold)
        draw_text(self.codes, line)
        self.lines.append(line)

    def write_all(self, words: Sequence[tuple[int, int, str]], *, muted: bool = False) -> None:
        """Many lines of (x, y, text) in one go."""
        ink = INK_MIDDLE if muted else INK
        lines = [Text(self.x + x, self.y + y, legible(text), self.letters.size, ink) for x, y, text in words]
        _draw_texts(self.codes, lines)
        self.lines.extend(lines)

    def fill(self, x: int, y: int, width: int, height: int, *, color: int) -> None:
        """A box of one code at `x`, `y` of the body."""
        box = Box(self.x + x, self.y + y, width, height, color)
        _fill(self.codes, box)
        self.boxes.append(box)

    def paint(self, box: Box) -> None:
        """A box (of the whole picture) in a colour of its own, which `picture` paints into its RGB pixels."""
        self.own(*box[:4])
        self.boxes.append(box)

    def draw_ramp(self, x: int, y: int, codes: np.ndarray, height: int) -> None:
        """The colours of a bar that lies, from `x`, `y` of the body to the right."""
        ramp = Ramp(self.x + x, self.y + y, len(codes), height, codes, across=True)
        self.codes[ramp.y : ramp.y + height, ramp.x : ramp.x + len(codes)] = codes
        self.ramps.append(ramp)

    def draw_bar(self, x: int, y: int, height: int, bar: ColorBar) -> None:
        """One more bar, at `x`, `y` of the body."""
        colorbar = bar.draw(self.x + x, self.y + y, height)
        _draw_bar(self.codes, colorbar)
        self.ramps.append(colorbar.ramp)
        self.boxes.extend((*colorbar.ticks, *colorbar.caps))
        self.lines.extend((*colorbar.labels, *colorbar.beyond))

    def _draw_key(self, key: ColorKey, x: int, y: int) -> None:
        """The key at `x`, `y` of the whole picture; `picture` paints its boxes, in colours of their own."""
        for line in key.texts(x, y):
            draw_text(self.codes, line)
            self.lines.append(line)
        for box in key.boxes(x, y):
            self.paint(box)

    def with_bar(self, x: int, y: int, height: int, bar: ColorBar) -> Canvas:
        """The canvas whose one bar stands at `x`, `y` of the body."""
        colorbar = bar.draw(self.x + x, self.y + y, height)
        _draw_bar(self.codes, colorbar)
        return replace(self, colorbar=colorbar)

    def own(self, x: int, y: int, width: int, height: int) -> None:
        """Mark a box (of the whole picture) that is painted in colours of its own, which no theme changes."""
        self.codes[y : y + height, x : x + width] = OWN

    def drawing(self) -> Drawing:
        """What was drawn so far."""
        return Drawing(
            self.codes.shape,
            self.heading,
            self.foot,
            self.colorbar,
            tuple(self.boxes),
            tuple(self.ramps),
            tuple(self.lines),
            tuple(self.labels),
        )

    def picture(
        self,
        cells: Sequence[Cell],
        scale: Scale | None,
        provenance: Mapping[str, Any],
        pixels: np.ndarray | None = None,
        **more: Any,
    ) -> Picture:
        """The finished picture; RGB `pixels` in place of the codes, which are its frame then. `more`: fields of `Picture`."""
        self._draw_edges(cells, scale, pixels)
        if pixels is not None:
            for x, y, width, height, color in (*self.boxes, *self.foot.boxes()):
                if not isinstance(color, int):
                    pixels[y : y + height, x : x + width] = color
        return Picture(
            self.codes if pixels is None else pixels,
            tuple(cells),
            scale,
            self.frame.title,
            self.frame.lines,
            provenance,
            self.bar,
            frame=None if pixels is None else self.codes,
            text=self.text,
            drawing=self.drawing(),
            **more,
        )

    def _draw_edges(self, cells: Sequence[Cell], scale: Scale | None, pixels: np.ndarray | None) -> None:
        """Lines around tiles that would run into the paper."""
        table = scale.palette() if scale is not None else palette(None)
        if pixels is None and not near_paper(table[: TOP + 1]).any():
            return
        shown, line = table if pixels is None else pixels, max(1, round(self.text))
        for box in [*edge_boxes(cells, self.codes, shown, line)]:
            _fill(self.codes, box)
            self.boxes.append(box)
            if pixels is not None:
                pixels[box.y : box.y + box.height, box.x : box.x + box.width] = table[box.color]


def _paper(height: int, width: int) -> np.ndarray:
    """Codes without anything on them. Raises `BadOption` where they don't fit into memory."""
    most = None if is_little(height * width) else limit()
    if most is not None and height * width > most:
        raise BadOption(
            f"a picture of {height} × {width} pixels takes {amount(height * width)}, and {available_text(most)}:"
            " give a smaller zoom="
        )
    return np.full((height, width), GAP, np.uint8)


def _sentence(note: str) -> str:
    """A note with a capital, unless it begins with a name, and a full stop."""
    if not note or kind_of(note) == "frame":
        return note
    text = capitalised(str(note))
    return Note(kind_of(note), text if text.endswith((".", "!", "?", "…")) else text + ".")


def _legible_note(line: str) -> str:
    safe = legible(line)
    return line if safe == line else Note(kind_of(line), safe)


def draw_text(codes: np.ndarray, line: Text) -> None:
    """Draw a line of text, cut at the edge of the picture."""
    _write(codes, line, font(line.size, line.bold).line(line.text, line.ink))


def _write(codes: np.ndarray, line: Text, letters: np.ndarray) -> None:
    box = codes[line.y : line.y + letters.shape[0], line.x : line.x + letters.shape[1]]
    box[:] = letters[: box.shape[0], : box.shape[1]]


def _draw_texts(codes: np.ndarray, lines: Sequence[Text]) -> None:
    """Many lines; those of one kind in one go, as a call for each would take longer than the letters."""
    for (size, ink, bold), group in groupby(lines, lambda line: (line.size, line.ink, line.bold)):
        alike, letters = list(group), font(size, bold)
        drawn = letters.lines([line.text for line in alike], ink=ink)
        for line, part in zip(alike, drawn, strict=True):
            _write(codes, line, part[:, : letters.width(line.text)])


def _fill(codes: np.ndarray, box: Box) -> None:
    color = box.color if isinstance(box.color, int) else OWN
    codes[box.y : box.y + box.height, box.x : box.x + box.width] = color


def _draw_bar(codes: np.ndarray, drawn: DrawnBar) -> None:
    ramp = drawn.ramp
    codes[ramp.y : ramp.y + ramp.height, ramp.x : ramp.x + ramp.width] = ramp.codes[:, None]
    for box in (*drawn.caps, *drawn.ticks):
        _fill(codes, box)
    for line in (*drawn.beyond, *drawn.labels):
        draw_text(codes, line)


SMALLEST = 8


def outline(body: np.ndarray, box: tuple[int, int, int, int], dark: Any, light: Any) -> None:
    """Two lines inside a `box` (top, left, height, width) of `body`, away from its edge; nothing where there is no room."""
    top, left, height, width = box
    bottom, right = min(top + height, body.shape[0]), min(left + width, body.shape[1])
    top, left = max(top, 0), max(left, 0)
    if min(bottom - top, right - left) < SMALLEST:
        return
    for inset, color in ((1, dark), (2, light)):
        edge = body[top + inset : bottom - inset, left + inset : right - inset]
        edge[[0, -1]] = color
        edge[:, [0, -1]] = color
