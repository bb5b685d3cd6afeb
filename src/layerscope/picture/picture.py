"""`Picture`: the pixels that it holds (`Pixels`), and what becomes of them: files, figures, single tiles, the screen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import keywords
from ..safe_text import counted, printable, writable
from . import png
from .export import files, tiles
from .export.files import check_dpi
from .numbers import span_text
from .palette import see_through, without_paper
from .pixels import Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image


@dataclass(frozen=True, eq=False, repr=False)
class Picture(Pixels):
    """A finished picture: its pixels, where each tile lies in them, and the scale by which they read back as values.

    A notebook displays it; `save` writes it. Drawing functions such as `sheet`, `heatmap` and `overlay` make one.

    >>> import layerscope as ls, numpy as np
    >>> picture = ls.sheet(np.random.default_rng(0).random((1, 8, 8, 4)))
    >>> picture.pixels.dtype, picture.pixels.ndim, len(picture.cells), picture.cells[3].channel
    (dtype('uint8'), 2, 4, 3)

    Attributes:
        pixels: uint8, read-only: `[height, width]` codes of `scale` (palette indices), or RGB `[height, width, 3]`.
        cells: Where each tile lies, with its image, channel and range of values.
        scale: The rule from values to colours; `None` where the colours stand for no values.
        title: What the picture shows.
        lines: The caption, line by line; those of a kind of their own are `Note`s (`"subject"`, `"scale"`, `"notes"` …).
        provenance: What the file remembers: model, layer, images, versions.
        bar: Where the colour bar lies; `None` where there is none.
        page: The number of this page, from 0.
        pages: How many pages there are.
        zoom: How many pixels a unit of the map has on either side.
        zooms: The same for each cell, where they differ.
        talls: The same in height for each cell, where that is another number than in width.
        notes: The part of the caption that warns of what is easily misread, each a `Note` with its kind.
        theme: `"light"`, `"dark"` or `"transparent"` (dark ink, no paper).
        frame: uint8 `[height, width]`: the codes around the map of an RGB picture, by which it can change its theme. One that
            isn't as large as `pixels` becomes `None`.
        tall: How many pixels a unit has in height where that is another number than in width; else 0.
        text: How many times as large as on a screen its letters are.
        drawing: The record of what was drawn around the tiles, for files that hold text as text. `None` where unknown, as in
            pictures that you make yourself: SVG and PDF then hold the pixels as one image. With other `pixels` of the same
            size, as by `dataclasses.replace`, give `drawing=None` unless the same text is on them; the record is
            dropped where the size or the tiles are others, or a bar has lost its scale.
    """

    def png(self, dpi: float | None = None) -> bytes:
        """The PNG file, with title, caption and provenance in it.

        >>> import layerscope as ls, numpy as np
        >>> ls.heatmap(np.eye(4)).png()[:4]
        b'\\x89PNG'

        Args:
            dpi: Pixels per inch on paper, from 1 to 100,000; it changes no pixel.

        Raises:
            BadOption: For another `dpi`.
        """
        pixels, colors = self.pixels, self.palette() if self.indexed else None
        if self.theme == "transparent":
            pixels, colors = (
                (pixels, see_through(colors))
                if colors is not None
                else (without_paper(pixels, self.frame, self.palette()), None)
            )
        return png.encode(
            pixels, colors, files.metadata(self), None if dpi is None else check_dpi(dpi), zoomed=self.zoom > 1
        )

    def svg(self, dpi: float | None = None) -> str:
        """The SVG file as text: tiles as pixels that stay sharp, text that can be searched, a bar of boxes.

        >>> import layerscope as ls, numpy as np
        >>> file = ls.sheet(np.random.default_rng(0).random((1, 8, 8, 4))).svg()
        >>> file.count("<image"), ">3</text>" in file
        (4, True)

        Args:
            dpi: Pixels of the picture per inch on paper, 1 to 100,000; by default a pixel is one of CSS, 96 per inch.

        Raises:
            BadOption: For another `dpi`.
        """
        from .export.svg import svg

        return svg(self, None if dpi is None else check_dpi(dpi))

    def pdf(self, dpi: float | None = None) -> bytes:
        """The PDF file, drawn by matplotlib: text as text, the tiles' own pixels.

        >>> import layerscope as ls, numpy as np
        >>> ls.heatmap(np.eye(4)).pdf()[:4]
        b'%PDF'

        Args:
            dpi: Pixels of the picture per inch on paper, 1 to 100,000; by default a pixel is one point, 72 per inch.

        Raises:
            BackendMissing: Without matplotlib.
            BadOption: For another `dpi`.
        """
        from .export.figure import POINTS, pdf

        return pdf(self, POINTS if dpi is None else check_dpi(dpi))

    @keywords
    def save(self, path: str | Path, dpi: float | None = None, *, width_mm: float | None = None) -> Path:
        """Write the picture to a file and return its path.

        >>> import layerscope as ls, numpy as np, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ls.heatmap(np.eye(4)).save(f"{folder}/eye.png", width_mm=85).name
        'eye.png'

        Args:
            path: The file, `.png` (keeps every value), `.svg`, `.pdf`, or another format that Pillow writes (`.jpg`,
                `.webp`, `.tiff` …).
            dpi: Pixels per inch on paper, 1 to 100,000: 300 for a picture with `text=3`. It changes no pixel.
            width_mm: In place of `dpi`, the width on paper in millimetres, 1 to 10,000: 85 for a column of a journal.

        Raises:
            BadOption: Where the format is unknown, the size invalid or given twice, or the file can't be written.
            BackendMissing: For `.pdf` without matplotlib.
        """
        return files.save(self, path, dpi, width_mm)

    def tile(self, channel: int, image: int | None = None) -> Picture:
        """One tile alone, without paper, number or bar; it decodes to the same values.

        >>> import layerscope as ls, numpy as np
        >>> picture = ls.sheet(np.random.default_rng(0).random((1, 8, 8, 4)), zoom=2)
        >>> picture.tile(3).rgb().shape
        (16, 16, 3)

        Args:
            channel: The true number of the channel.
            image: Which image, where the picture shows that channel of several.

        Raises:
            BadOption: Where there is no such tile on this page, or several.
        """
        return tiles.tile(self, channel, image)

    @keywords
    def save_tiles(
        self, folder: str | Path, suffix: str = ".png", dpi: float | None = None, *, width_mm: float | None = None
    ) -> list[Path]:
        """Write every tile to a file of its own, named by its channel, and return the paths.

        >>> import layerscope as ls, numpy as np, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = ls.sheet(np.random.default_rng(0).random((1, 8, 8, 12))).save_tiles(folder)
        >>> len(paths), paths[3].name
        (12, 'channel-03.png')

        Args:
            folder: Where the files go; made where it isn't there.
            suffix: The format, as in `save`.
            dpi: As in `save`.
            width_mm: The width of a tile on paper, as in `save`.

        Raises:
            BadOption: As `save` does.
        """
        return tiles.save_tiles(self, folder, suffix, dpi=dpi, width_mm=width_mm)

    def show(self) -> None:
        """The picture on the screen: in the notebook that runs, else as a file in the system's viewer of images.

        Where there is no display, as over SSH, a `LayerscopeWarning` says which file it is in.

        >>> import layerscope as ls, numpy as np
        >>> ls.heatmap(np.eye(4)).show()  # doctest: +SKIP
        """
        from .display import show

        show(self)

    def to_pil(self) -> Image:
        """A `PIL.Image`: mode `P` with the picture's palette where it is indexed, else `RGB`; `RGBA` where it is transparent.

        >>> import layerscope as ls, numpy as np
        >>> ls.heatmap(np.eye(4)).to_pil().mode
        'P'
        """
        from PIL import Image

        image = Image.fromarray(
            without_paper(self.pixels, self.frame, self.palette()) if self.theme == "transparent" else self.pixels
        )
        if image.mode == "L":
            image.putpalette(self.palette().tobytes())
        return image

    @keywords
    def to_matplotlib(self, dpi: float = 100, ax: Axes | None = None) -> Figure:
        """A `matplotlib.figure.Figure` with an axes for each tile and, where there is one range, a true colour bar.

        An axes shows the tile's values (to half a step of its range, as `decode` gives them) with their own norm and
        colours; its title is the channel number. A picture whose `drawing` is `None` is one image. Above 256 tiles
        one axes holds them all as an image, with the numbers as text. pyplot isn't imported, and the active backend
        isn't touched.

        >>> import layerscope as ls, numpy as np
        >>> figure = ls.sheet(np.random.default_rng(0).random((1, 8, 8, 4))).to_matplotlib()
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['0', '1', '2', '3']

        Args:
            dpi: Dots per inch of the figure, from 1 to 100,000; a dot is a pixel of the picture.
            ax: Your own axes, for a picture of one tile, which keeps its proportions there, with the title and the bar
                that the picture has; paper and letters stay those of the figure, which is the one that they belong to.

        Raises:
            BackendMissing: Without matplotlib.
            BadOption: For another `dpi`, and for `ax` where the picture has several tiles.
        """
        from .export.figure import draw_into, figure_of

        return figure_of(self, check_dpi(dpi)) if ax is None else draw_into(self, ax)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The pixels as RGB, by which `np.asarray(picture)` and `plt.imshow(picture)` work.

        >>> import layerscope as ls, numpy as np
        >>> picture = ls.heatmap(np.eye(4))
        >>> np.asarray(picture).shape == (picture.height, picture.width, 3)
        True
        """
        return np.array(self.rgb(), dtype=dtype)

    def alt(self) -> str:
        """What the picture shows as one line of text: title and caption, for people who can't see it.

        >>> import layerscope as ls, numpy as np
        >>> ls.heatmap(np.array([[0.0, 4.0]])).alt().partition(" · ")[0]
        'array'
        """
        return printable(" · ".join(filter(None, (self.title, *self.lines))))

    def about(self) -> dict[str, Any]:
        """What the file remembers: provenance, title, caption, scale, page and limits, ready for JSON.

        >>> import layerscope as ls, numpy as np
        >>> about = ls.heatmap(np.array([[0.0, 4.0]])).about()
        >>> about["title"], about["limits"], about["images"]
        ('array', [0.0, 4.0], ['image 0'])
        """
        return files.about(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        from .display import mime_bundle

        return mime_bundle(self)

    def __repr__(self) -> str:
        limits = ""
        if self.scale is not None and self.scale.single:
            limits = f", {span_text(*self.scale.limits)}"
        cells = counted(len(self.cells), "cell")
        return writable(f"<Picture {self.width}×{self.height}, {cells}{limits}: {printable(self.title)}>")
