"""`Pixels`: what a picture holds: pixels, where each cell lies in them, and the scale by which they read back as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from ..checks import one_of
from ..errors import BadOption
from .codes import CONSTANT, INKS, OWN
from .drawing import Drawing
from .palette import THEMES, palette
from .scale import Scale
from .shapes import Bar, Cell, Text

Own = TypeVar("Own", bound="Pixels")


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of a picture, how they read back as values, and its themes; the fields are described at `Picture`."""

    pixels: np.ndarray
    cells: tuple[Cell, ...]
    scale: Scale | None
    title: str
    lines: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    bar: Bar | None = None
    page: int = 0
    pages: int = 1
    zoom: int = 1
    zooms: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    theme: str = "light"
    frame: np.ndarray | None = None
    tall: int = 0
    text: float = 1
    drawing: Drawing | None = None
    talls: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        size = self.pixels.shape[:2]
        if self.drawing is not None:
            fits = self.drawing.belongs_to(size, self.cells, self.scale)
            object.__setattr__(self, "drawing", replace(self.drawing, cells=self.cells) if fits else None)
        if self.frame is not None and self.frame.shape != size:
            object.__setattr__(self, "frame", None)
        self.pixels.flags.writeable = False
        if self.frame is not None:
            self.frame.flags.writeable = False

    @property
    def width(self) -> int:
        """The width in pixels.

        >>> import layerscope as ls, numpy as np
        >>> picture = ls.heatmap(np.eye(4))
        >>> picture.width == picture.pixels.shape[1]
        True
        """
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """The height in pixels.

        >>> import layerscope as ls, numpy as np
        >>> picture = ls.heatmap(np.eye(4))
        >>> picture.height == picture.pixels.shape[0]
        True
        """
        return self.pixels.shape[0]

    @property
    def indexed(self) -> bool:
        """Whether the pixels are codes that can be read back as values; if not, they are RGB.

        >>> import layerscope as ls, numpy as np
        >>> ls.heatmap(np.eye(4)).indexed, ls.heatmap(ls.pca(np.random.default_rng(0).random((1, 5, 5, 6)))).indexed
        (True, False)
        """
        return self.pixels.ndim == 2

    @property
    def texts(self) -> tuple[Text, ...]:
        """Every line of text with its position in pixels, besides the ticks of the bar; empty where `drawing` is `None`.

        >>> import layerscope as ls, numpy as np
        >>> [line.text for line in ls.sheet(np.zeros((1, 8, 8, 3))).texts if line.tile >= 0]
        ['0', '1', '2', 'dead', 'dead', 'dead']
        """
        return self.drawing.texts(self.cells) if self.drawing else ()

    def palette(self) -> np.ndarray:
        """The colour of each code in the picture's theme, uint8 `[256, 3]`.

        >>> import layerscope as ls, numpy as np
        >>> ls.heatmap(np.array([[0.0, 1.0]])).palette()[[0, 240]].tolist()  # the two ends of viridis
        [[68, 1, 84], [253, 231, 37]]
        """
        return self._colors(self.theme)

    def _colors(self, theme: str) -> np.ndarray:
        return self.scale.palette(theme) if self.scale else palette(None, theme)

    def dark(self: Own) -> Own:
        """The same picture with light ink on dark paper; the map's colours and what they decode to stay as they are.

        >>> import layerscope as ls, numpy as np
        >>> ls.heatmap(np.eye(4)).dark().rgb()[0, 0].tolist()
        [22, 24, 28]

        Raises:
            BadOption: Where the picture is RGB and has no `frame`.
        """
        return self.themed("dark")

    def light(self: Own) -> Own:
        """The same picture with dark ink on light paper.

        >>> import layerscope as ls, numpy as np
        >>> ls.heatmap(np.eye(4)).dark().light().rgb()[0, 0].tolist()
        [255, 255, 255]

        Raises:
            BadOption: Where the picture is RGB and has no `frame`.
        """
        return self.themed("light")

    def themed(self: Own, theme: str) -> Own:
        """The same picture in the theme of that name.

        >>> import layerscope as ls, numpy as np
        >>> ls.heatmap(np.eye(4)).themed("dark").theme
        'dark'

        Args:
            theme: `"light"`, `"dark"`, or `"transparent"`: dark ink and no paper in PNG, SVG and PDF files.

        Raises:
            BadOption: For another name, and where the picture is RGB and has no `frame`.
        """
        one_of("theme", theme, THEMES)
        if self.indexed or theme == self.theme:
            return replace(self, theme=theme)
        if self.frame is None:
            raise BadOption("this RGB picture has no frame, so its theme can't be changed")
        around = np.take(self._colors(theme), self.frame, axis=0)
        if self.scale is not None and self.scale.mixed:
            for cell in self.cells:
                paint_cell(around, self.frame, cell, self.scale, theme=theme)
        own = self.frame == OWN
        around[own] = self.pixels[own]
        return replace(self, pixels=around, theme=theme)

    def rgb(self) -> np.ndarray:
        """The colours of all pixels, uint8 `[height, width, 3]`.

        >>> import layerscope as ls, numpy as np
        >>> picture = ls.heatmap(np.eye(4))
        >>> picture.rgb().shape == (picture.height, picture.width, 3)
        True
        """
        return np.take(self.palette(), self.pixels, axis=0) if self.indexed else self.pixels

    def codes(self, cell: Cell) -> np.ndarray:
        """The codes of one cell at the map's own resolution, uint8 `[height, width]`.

        >>> import layerscope as ls, numpy as np
        >>> picture = ls.heatmap(np.array([[0.0, 1.0], [2.0, 4.0]]))
        >>> picture.codes(picture.cells[0]).tolist()
        [[0, 60], [120, 240]]

        Args:
            cell: One of `cells`.

        Raises:
            BadOption: Where the cell is a photo, colours, or a map that is blended with a photo.
        """
        source = self.pixels if self.indexed else self.frame
        box = None if source is None else source[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
        if box is None or (not self.indexed and (box == OWN).any()):
            raise BadOption("this picture is RGB: this cell of it holds colours and no codes")
        index = self.cells.index(cell) if self.zooms else 0
        zoom = self.zooms[index] if self.zooms else self.zoom
        codes = box[:: self.talls[index] if self.talls else self.tall or zoom, ::zoom]
        # A word stands on a tile without a range.
        worded = cell.low == cell.high and (codes == CONSTANT).any()
        return np.where(codes < INKS[0], codes, CONSTANT).astype(np.uint8) if worded else codes

    def decode(self, cell: Cell) -> np.ndarray:
        """The values that one cell shows, float64 `[height, width]`, to half a step (1/480) of its range.

        >>> import layerscope as ls, numpy as np
        >>> picture = ls.heatmap(np.array([[0.0, 1.0], [2.0, 4.0]]))
        >>> picture.decode(picture.cells[0]).tolist()
        [[0.0, 1.0], [2.0, 4.0]]

        Args:
            cell: One of `cells`.

        Raises:
            BadOption: As for `codes`, and where the picture has no scale.
        """
        if self.scale is None:
            raise BadOption("this picture has no scale, so its colours don't stand for values")
        known = np.isfinite(cell.low) and np.isfinite(cell.high)
        return self.scale.alone((cell.low, cell.high) if known else (0.0, 0.0)).decode(self.codes(cell))


def paint_cell(pixels: np.ndarray, codes: np.ndarray, cell: Cell, scale: Scale, *, theme: str = "light") -> None:
    """Paint one cell of a picture, given by its codes, into the RGB `pixels` in the colours of its own range."""
    if np.isfinite(cell.low) and np.isfinite(cell.high):
        box = slice(cell.y, cell.y + cell.height), slice(cell.x, cell.x + cell.width)
        pixels[box] = np.take(scale.alone((cell.low, cell.high)).palette(theme), codes[box], axis=0)
