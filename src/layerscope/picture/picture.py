"""`Picture`: pixels, where each cell lies in them, and where they come from."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadOption, first_line
from ..files import write
from . import png
from .codes import OWN
from .drawing import Drawing
from .numbers import span_text
from .scale import Scale, check_theme, palette
from .shapes import Bar, Cell, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image


def _dpi(dpi: Any) -> float:
    if isinstance(dpi, bool) or not isinstance(dpi, int | float) or not 1 <= dpi <= 100_000:
        raise BadOption(f"dpi={dpi!r}: use the number of pixels in an inch, such as 300")
    return dpi


@dataclass(frozen=True, eq=False)
class Picture:
    """A finished picture. `pixels` is uint8: `[height, width]` codes of `scale`, or RGB `[height, width, 3]`.

    `cells` says where each tile lies, `bar` where the colour bar does (`None`: there is none). `lines` is the caption,
    `notes` the part of it that warns of what is easily misread, `provenance` what the file remembers. `page` of `pages`
    where a sheet has several. `zoom` is how many pixels a unit has on either side, `zooms` for each cell where they differ;
    `tall` how many it has in height where that is another number than in width. `theme` is `"light"` or `"dark"`; `frame`
    holds the codes around the map of an RGB picture, with `OWN` where the colours are its own, so that it can change its
    theme. `text` is the size of its letters, `drawing` the record of what was drawn around its tiles (`None`: unknown), for
    files that hold text as text. In a notebook it shows itself.
    """

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
    text: int = 1
    drawing: Drawing | None = None

    def __post_init__(self) -> None:
        self.pixels.flags.writeable = False
        if self.frame is not None:
            self.frame.flags.writeable = False

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def indexed(self) -> bool:
        """Whether the pixels are codes that can be read back as values."""
        return self.pixels.ndim == 2

    @property
    def texts(self) -> tuple[Text, ...]:
        """Every line of text besides the ticks of the bar, with its place; empty where the picture has no record of them."""
        return self.drawing.texts(self.cells) if self.drawing else ()

    def palette(self) -> np.ndarray:
        """uint8 `[256, 3]`: the colour of each code."""
        return self._colors(self.theme)

    def _colors(self, theme: str) -> np.ndarray:
        return self.scale.palette(theme) if self.scale else palette(None, theme)

    def dark(self) -> Picture:
        """The same picture with light ink on dark paper; the map's colours and what they decode to stay as they are."""
        return self.themed("dark")

    def light(self) -> Picture:
        """The same picture with dark ink on light paper."""
        return self.themed("light")

    def themed(self, theme: str) -> Picture:
        """The same picture in the theme of that name. Raises `BadOption` with near names."""
        check_theme(theme)
        if self.indexed or theme == self.theme:
            return replace(self, theme=theme)
        if self.frame is None:
            raise BadOption("this RGB picture holds no frame, so its paper and ink can't be told from its colours")
        around = np.take(self._colors(theme), self.frame, axis=0)
        own = self.frame == OWN
        around[own] = self.pixels[own]
        return replace(self, pixels=around, theme=theme)

    def rgb(self) -> np.ndarray:
        """uint8 `[height, width, 3]`."""
        return np.take(self.palette(), self.pixels, axis=0) if self.indexed else self.pixels

    def codes(self, cell: Cell) -> np.ndarray:
        """The codes of one cell at the map's own resolution, uint8 `[height, width]`."""
        if not self.indexed:
            raise BadOption("this picture is RGB: only pictures of one scale hold codes")
        box = self.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
        zoom = self.zooms[self.cells.index(cell)] if self.zooms else self.zoom
        return box[:: self.tall or zoom, ::zoom]

    def decode(self, cell: Cell) -> np.ndarray:
        """The values that one cell shows, float64 `[height, width]`, to half a step of its range."""
        if self.scale is None:
            raise BadOption("this picture has no scale, so its colours stand for no values")
        known = np.isfinite(cell.low) and np.isfinite(cell.high)
        tile = Scale((cell.low, cell.high) if known else (0.0, 0.0), self.scale.colors, self.scale.center)
        return tile.decode(self.codes(cell))

    def png(self, dpi: float | None = None) -> bytes:
        """The PNG file. `dpi` says how many of its pixels make an inch on paper; it changes no pixel."""
        colors = self.palette() if self.indexed else None
        return png.encode(self.pixels, colors, self._text(), None if dpi is None else _dpi(dpi))

    def svg(self) -> str:
        """The SVG file as text: tiles as pixels that stay sharp, text that can be searched, a bar of boxes."""
        from .export.svg import svg

        return svg(self)

    def pdf(self) -> bytes:
        """The PDF file, drawn by matplotlib: text as text, the tiles' own pixels. Raises `BackendMissing` without it."""
        from .export.figure import pdf

        return pdf(self)

    def save(self, path: str | Path, dpi: float | None = None) -> Path:
        """Write the picture; the suffix is the format: `.png`, `.svg`, `.pdf`, or what Pillow writes. Returns the path.

        `dpi` is written into the file and says how large it prints: 300 for a picture with `text=3`. Raises `BadOption` where
        the format isn't known or the file can't be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in FORMATS:
            return write(path, self.png(dpi) if suffix == ".png" else FORMATS[suffix](self))
        size: dict[str, Any] = {} if dpi is None else {"dpi": (_dpi(dpi), _dpi(dpi))}
        encoded = io.BytesIO()
        encoded.name = path.name  # Pillow takes the format from the suffix
        try:
            self.to_pil().convert("RGB").save(encoded, **size)
        except (ValueError, OSError) as error:
            raise BadOption(
                f"can't write {path}: {first_line(error)}. Use .png, which keeps every value, .svg, .pdf, or a suffix of"
                " Pillow's"
            ) from error
        return write(path, encoded.getvalue())

    def to_pil(self) -> Image:
        """A `PIL.Image`, mode `P` or `RGB`."""
        from PIL import Image

        if not self.indexed:
            return Image.fromarray(self.pixels)
        image = Image.fromarray(self.pixels)
        image.putpalette(self.palette().tobytes())
        return image

    def to_matplotlib(self, dpi: float = 100, ax: Axes | None = None) -> Figure:
        """A `matplotlib.figure.Figure` with an axes for each tile and, where there is one range, a true colour bar.

        At `dpi` a dot of the figure is a pixel of the picture. An axes shows the tile's values (to half a step of its range,
        as `decode` gives them) with their own norm and colours, its title is the channel number. Above 256 tiles one axes
        holds them all as an image, with the numbers as text. `ax`: an axes of yours for a picture of one tile. pyplot isn't
        imported, the backend in force isn't touched. Raises `BackendMissing` without matplotlib, `BadOption`.
        """
        from .export.figure import figure_of, onto

        return figure_of(self, _dpi(dpi)) if ax is None else onto(self, ax)

    def alt(self) -> str:
        """What the picture shows, in words."""
        return " · ".join((self.title, *self.lines))

    def about(self) -> dict[str, Any]:
        """What the file remembers: provenance, title, caption, scale, page and limits."""
        about = {
            **self.provenance,
            "title": self.title,
            "caption": list(self.lines),
            "scale": self.scale.describe() if self.scale else None,
            "page": [self.page, self.pages],
            "zoom": self.zoom,
        }
        if self.theme != "light":
            about["theme"] = self.theme
        if self.scale is not None and self.scale.single:
            about["limits"] = list(self.scale.limits)
        return about

    def _text(self) -> dict[str, str]:
        return {
            "Title": self.title,
            "Description": self.alt(),
            "Software": "layerscope",
            "layerscope": json.dumps(self.about(), ensure_ascii=False, default=str),
        }

    def _repr_png_(self) -> bytes:
        return self.png()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"image/png": self.png(), "text/plain": repr(self)}

    def _repr_html_(self) -> str:
        from base64 import b64encode

        return f'<img alt="{html.escape(self.alt())}" src="data:image/png;base64,{b64encode(self.png()).decode()}">'

    def __repr__(self) -> str:
        limits = ""
        if self.scale is not None and self.scale.single:
            limits = f", {span_text(*self.scale.limits)}"
        return f"<Picture {self.width}×{self.height}, {len(self.cells)} cells{limits}: {self.title}>"


FORMATS: Mapping[str, Callable[[Picture], bytes]] = {
    ".png": Picture.png,
    ".svg": lambda picture: picture.svg().encode(),
    ".pdf": Picture.pdf,
}
