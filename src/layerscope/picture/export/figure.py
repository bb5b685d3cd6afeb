"""A picture as a matplotlib figure, and from it as PDF. Neither pyplot nor the active backend is touched."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.progress import work
from ...errors import BackendMissing, BadOption
from ...safe_text import printable
from ..codes import ABOVE, BELOW, GAP, INK, INKS, NAN, TOP, ends
from ..colorbar import DrawnBar, bar_ticks, placed_ticks
from ..font import FALLBACK, SMALL, font, font_file, wrap
from ..palette import colors_text, lut
from ..scale import Scale
from ..shapes import Bar, Box, Cell, Ramp, Text
from .rasters import Raster, pixels_of, rasters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.image import AxesImage

    from ..picture import Picture

POINTS, SMALLEST_TITLE = 72, 6
PIXELS: dict[str, Any] = {"interpolation": "none", "origin": "upper"}  # whatever the user's settings are
LETTERS: dict[str, Any] = {"parse_math": False, "usetex": False}  # a `$` or `_` in a layer's name is no formula
BESIDE_BAR = 0.7  # of the width, where no layout makes room for the bar


def figure_of(picture: Picture, dpi: float = 100) -> Figure:
    """The picture as a figure whose dots at `dpi` are the picture's pixels; the rules stand at `Picture.to_matplotlib`."""
    page = _Page.of(picture, dpi)
    page.surroundings(page.tiles())
    return page.figure


def draw_into(picture: Picture, ax: Axes) -> Figure:
    """The picture's one tile in the caller's axes, with the title and the colour bar that it has."""
    _require_matplotlib()
    if len(picture.cells) != 1:
        raise BadOption(
            f"ax= takes a picture of one tile (a heat map, an overlay), this one has {len(picture.cells)}: leave ax= out"
        )
    (cell,) = picture.cells
    image = _show_tile(ax, picture, cell)
    rows, columns = image.get_size()
    ax.set_aspect(cell.height / rows * columns / cell.width)
    ax.set_axis_off()
    if not picture.indexed:
        image.set_interpolation("antialiased")  # lines on the photo go through where it is drawn smaller
    scale, drawing = picture.scale, picture.drawing
    if picture.bar is not None and scale is not None and scale.single:
        owner: Any = image if picture.indexed else _mappable(scale)
        if ax.figure.get_layout_engine() is None:
            box = ax.get_position(original=True)
            ax.set_position((box.x0, box.y0, box.width * BESIDE_BAR, box.height))
            ax.set_in_layout(True)
        # Inside of the axes' own box, so that it is as tall whatever proportions those keep, and layouts make room for it.
        bar = ax.figure.colorbar(owner, cax=ax.inset_axes((1.04, 0, 0.05, 1)))
        size = float(bar.ax.yaxis.get_ticklabels()[0].get_fontsize())
        _settle(ax)
        lines = ax.get_window_extent().height / ax.figure.dpi * POINTS / size
        room = Bar(0, 0, 0, max(1, int(lines * font(SMALL).height * 0.8)), *scale.limits)
        kept = {label.text for _, label in placed_ticks(room, scale)}
        _set_ticks(bar, scale, [tick for tick in bar_ticks(scale) if tick[1] in kept])
    _settle(ax)
    if drawing is None or drawing.heading.title:
        _set_title(ax, printable(picture.title))
    return ax.figure  # type: ignore[return-value] # a subfigure's axes give the subfigure, which draws alike


def _settle(ax: Axes) -> None:
    """Give the axes the place that it has when it is drawn, beside its bar and in its proportions."""
    locator: Any = ax.get_axes_locator()
    ax.apply_aspect(locator(ax, None) if locator else None)


def _set_title(ax: Axes, title: str) -> None:
    """The title in lines as wide as the axes, in smaller letters where it takes more than one."""
    from matplotlib.textpath import TextToPath

    room = 0.98 * ax.get_window_extent().width / ax.figure.dpi * POINTS  # letters are drawn on whole pixels
    letters = ax.title.get_fontproperties().copy()
    size = letters.get_size_in_points()

    def width(text: str) -> float:
        return TextToPath().get_text_width_height_descent(text, letters, False)[0]

    def wrapped() -> list[str]:
        return wrap(title, int(room), lambda text: ceil(width(text)))

    # Two lines of small letters have room between the rows of a figure without a layout.
    while size > SMALLEST_TITLE and (
        len(lines := wrapped()) > 2 or max(map(width, lines)) > room or size * len(lines) > 18
    ):
        letters.set_size(size := max(SMALLEST_TITLE, size - 1))
    lines = wrapped()
    ax.set_title("\n".join(lines), fontproperties=letters, **LETTERS)


def pdf(picture: Picture, dpi: float = POINTS) -> bytes:
    """The PDF file of a picture: `dpi` of its pixels an inch, text as text, the tiles' own pixels."""
    page = _Page.of(picture, dpi)
    images = page.images()
    page.surroundings(picture.texts)
    import matplotlib

    about = {
        "Title": printable(picture.title),
        "Subject": picture.alt(),
        "Creator": "layerscope",
        "Keywords": json.dumps(dict(picture.about()), default=str),
        # The same picture gives the same file.
        "CreationDate": None,
    }
    buffer = io.BytesIO()
    # Type 42 keeps every character of the text readable for programs; Type 3 does for Latin ones alone.
    with matplotlib.rc_context({"pdf.fonttype": 42}), work(len(images), "tiles") as step:
        for image in images:
            _tell(image, step)
        whole: dict[str, Any] = {"facecolor": page.figure.get_facecolor(), "bbox_inches": page.figure.bbox_inches}
        page.figure.savefig(buffer, format="pdf", dpi=dpi, metadata=about, **whole)
    return buffer.getvalue()


def _tell(image: AxesImage, step: Callable[[int], None]) -> None:
    """Count a step when matplotlib draws the image."""
    draw = image.draw

    def drawn(renderer: Any) -> None:
        draw(renderer)
        step(1)

    image.draw = drawn  # type: ignore[method-assign]


class _Page:
    """A figure in the making, in the picture's own pixels."""

    def __init__(self, figure: Figure, picture: Picture, dpi: float) -> None:
        self.figure, self.picture, self.point = figure, picture, POINTS / dpi

    @classmethod
    def of(cls, picture: Picture, dpi: float) -> _Page:
        """Bare paper."""
        _require_matplotlib()
        from matplotlib.figure import Figure

        size = picture.width / dpi, picture.height / dpi
        figure = Figure(figsize=size, dpi=dpi, facecolor=_paper(picture))
        figure.set_layout_engine("none")
        # Several images of one axes would be resampled into one in a PDF.
        figure.suppressComposite = True
        return cls(figure, picture, dpi)

    def surroundings(self, texts: Iterable[Text]) -> None:
        """What lies around the tiles, and these texts."""
        drawing = self.picture.drawing
        if drawing is None:
            return
        self.boxes(drawing.patches())
        for ramp in drawing.ramps:
            self.ramp(ramp)
        for text in texts:
            self.write(text)
        if drawing.bar is not None:
            self.bar(drawing.bar)

    def axes(self, x: int, y: int, width: int, height: int, **options: Any) -> Axes:
        wide, tall = self.picture.width, self.picture.height
        return self.figure.add_axes((x / wide, 1 - (y + height) / tall, width / wide, height / tall), **options)

    def tiles(self) -> list[Text]:
        """Draw the tiles, each with its number as the title of its axes; the texts that are left to write."""
        titles: dict[int, Text] = {}
        texts = list(self.picture.texts)
        for text in texts:
            cell = self.picture.cells[text.tile] if text.tile >= 0 else None
            if cell is not None and text.ink == INK and text.x == cell.x and text.y < cell.y:
                titles.setdefault(text.tile, text)
        images = list(rasters(self.picture))
        with work(len(images), "tiles") as step:
            for tile, raster in enumerate(images):
                if raster.cell is None:
                    self.image(raster)
                    return texts
                self.tile(raster.cell, titles.get(tile))
                step(1)
        return [text for text in texts if titles.get(text.tile) is not text]

    def tile(self, cell: Cell, title: Text | None) -> None:
        axes = self.axes(cell.x, cell.y, cell.width, cell.height, label=f"channel {cell.channel}")
        _show_tile(axes, self.picture, cell)
        axes.set_axis_off()
        if title is not None:
            pad = (cell.y - title.y - font(title.size, title.bold).ascent) * self.point
            axes.set_title(_shown(title), loc="left", y=1, pad=pad, **self._type(title))

    def image(self, raster: Raster) -> None:
        """Many tiles, or a whole picture, as one image."""
        colors, (left, top, width, height) = self._colors(raster)
        axes = self.axes(left, top, width, height, label="all tiles")
        axes.imshow(colors, **PIXELS, aspect="auto")
        axes.set_axis_off()

    def images(self) -> list[AxesImage]:
        """The tiles as images of one axes, for a file, where nobody asks for those of each: they take most of the time."""
        from matplotlib.image import AxesImage

        wide, tall = self.picture.width, self.picture.height
        axes = self.axes(0, 0, wide, tall, xlim=(0, wide), ylim=(tall, 0))
        axes.set_axis_off()
        images = []
        for raster in rasters(self.picture):
            colors, (left, top, width, height) = self._colors(raster)
            image = AxesImage(axes, **PIXELS, extent=(left, left + width, top + height, top))
            image.set_data(colors)
            images.append(image)
            axes.add_image(image)
        return images

    def _colors(self, raster: Raster) -> tuple[np.ndarray, tuple[int, int, int, int]]:
        """The colours of an image and its box."""
        pixels = raster.pixels
        colors = pixels if pixels.ndim == 3 else self.picture.palette()[pixels]
        if raster.cell is not None:
            return colors, raster[:4]
        # A row of paper all around: some readers of PDF round the last row and column of an image away.
        colors = np.pad(colors, ((1, 1), (1, 1), (0, 0)), constant_values=0)
        colors[[0, -1]] = self.picture.palette()[GAP]
        colors[:, [0, -1]] = self.picture.palette()[GAP]
        return colors, (raster.x - 1, raster.y - 1, colors.shape[1], colors.shape[0])

    def ramp(self, ramp: Ramp) -> None:
        axes = self.axes(ramp.x, ramp.y, ramp.width, ramp.height, label="bar")
        colors = self.picture.palette()[ramp.codes]
        axes.imshow(colors[None] if ramp.across else colors[:, None], **PIXELS, aspect="auto")
        axes.set_axis_off()

    def boxes(self, boxes: Iterable[Box]) -> None:
        from matplotlib.patches import Rectangle

        wide, tall = self.picture.width, self.picture.height
        for x, y, width, height, color in boxes:
            shade = _color(self.picture, color) if isinstance(color, int) else np.array(color) / 255
            corner = (x / wide, 1 - (y + height) / tall)
            box = Rectangle(corner, width / wide, height / tall, color=shade, linewidth=0, zorder=-1)
            box.set_transform(self.figure.transFigure)
            self.figure.add_artist(box)

    def write(self, text: Text) -> None:
        corner = text.x / self.picture.width, 1 - (text.y + font(text.size, text.bold).ascent) / self.picture.height
        self.figure.text(*corner, _shown(text), ha="left", va="baseline", **self._type(text))

    def _type(self, text: Text) -> dict[str, Any]:
        return {
            "fontproperties": _properties(text.text, text.size * self.point, text.bold),
            "color": _color(self.picture, text.ink),
            **LETTERS,
        }

    def bar(self, drawn: DrawnBar) -> None:
        """A colour bar of matplotlib with the picture's own ticks."""
        scale, cell = self.picture.scale, drawn.bar
        assert scale is not None
        if cell.low == cell.high:  # matplotlib would invent a range
            self.ramp(drawn.ramp)
            self.boxes(drawn.ticks)
            for text in drawn.labels:
                self.write(text)
            return
        axes = self.axes(*cell[:4], label="colour bar")
        bar = self.figure.colorbar(_mappable(scale), cax=axes)
        kept = {label.text for label in drawn.labels}
        _set_ticks(bar, scale, [(value, text) for value, text in bar_ticks(scale) if text in kept])
        point = float(self.picture.text) * self.point
        ink = _color(self.picture, INK)
        bar.ax.tick_params(length=4 * point, pad=2 * point, labelsize=SMALL * point, width=point, color=ink)
        for label in bar.ax.get_yticklabels():
            label.set_fontproperties(_properties(label.get_text(), SMALL * point))
            label.set_color(_color(self.picture, INK))
            # As in the picture: those at the ends stay beside the bar.
            value = label.get_position()[1]
            label.set_verticalalignment(
                "bottom" if value == scale.limits[0] else "top" if value == scale.limits[1] else "center"
            )


def _shown(text: Text) -> str:
    return font(text.size, text.bold).shown(text.text)


def _properties(text: str, size: float, bold: bool = False) -> FontProperties:
    """The face of a text by its file, so that nothing is registered in matplotlib; DejaVu Sans where Inter lacks a letter."""
    from matplotlib.font_manager import FontProperties

    if not font(SMALL, bold).is_plain(text):
        return FontProperties(family=FALLBACK, size=size)
    return FontProperties(fname=str(font_file("bold" if bold else "regular")), size=size)


def _show_tile(axes: Axes, picture: Picture, cell: Cell) -> AxesImage:
    """One tile as an image of values with its norm and colours; what has a mark of its own is laid over it."""
    scale = picture.scale
    if not picture.indexed or scale is None:
        return axes.imshow(pixels_of(picture, cell), **PIXELS, aspect="auto")
    codes = picture.codes(cell)
    if np.isin(codes, (GAP, *INKS)).all():
        # A blank cell: nothing of it is a value.
        return axes.imshow(picture.palette()[codes], **PIXELS, aspect="auto")
    finite = bool(np.isfinite(cell.low) and np.isfinite(cell.high))
    own = replace(scale, limits=(cell.low, cell.high) if finite else (0.0, 0.0), clip=None)
    norm, colors = _norm(own), _colormap(own)
    values = own.decode(codes)
    # A rounded last step may lie an ulp beyond its own limit.
    values = np.where(np.isfinite(values), np.clip(values, norm.vmin, norm.vmax), values)
    image = axes.imshow(values, norm=norm, cmap=colors, **PIXELS, aspect="auto")
    if (codes > TOP).any():
        marks = np.zeros((*codes.shape, 4), np.uint8)
        marks[..., :3] = picture.palette()[codes]
        marks[..., 3] = np.where(codes > TOP, 255, 0)
        axes.imshow(marks, **PIXELS, aspect="auto")
    return image


def _norm(scale: Scale) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize, SymLogNorm

    low, high = map(float, ends(*scale.range(), scale.center))
    if low == high or scale.norm == "linear":
        return Normalize(low, high)
    if scale.norm == "log":
        return LogNorm(low, high)
    return SymLogNorm(float(scale.curve.over(*scale.range()).within), 1, low, high, base=10)


def _colormap(scale: Scale) -> Colormap:
    from matplotlib.colors import ListedColormap

    colors = ListedColormap(lut(scale.colors) / 255, name=colors_text(scale.colors))
    return colors.with_extremes(bad=_color(scale, NAN), under=_color(scale, BELOW), over=_color(scale, ABOVE))


def _mappable(scale: Scale) -> ScalarMappable:
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(_norm(scale), _colormap(scale))


def _set_ticks(bar: Any, scale: Scale, ticks: list[tuple[float, str]]) -> None:
    """The bar from limit to limit: with a centre, the colours may reach beyond one of them."""
    low, high = scale.limits
    if low < high:
        bar.ax.set_ylim(low, high)
        bar.set_ticks([value for value, _ in ticks], labels=[label for _, label in ticks], **LETTERS)
    bar.minorticks_off()
    bar.outline.set_visible(False)


def _paper(picture: Picture) -> Any:
    return "none" if picture.theme == "transparent" else _color(picture, GAP)


def _color(source: Picture | Scale, code: int) -> tuple[float, float, float]:
    """The colour of a code in a picture, or by a scale."""
    red, green, blue = (source.palette()[code] / 255).tolist()
    return red, green, blue


def _require_matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401 # tells whether it's there, before the functions above use it
    except ImportError as error:
        raise BackendMissing(f'this needs matplotlib ({error}): pip install "layerscope[matplotlib]"') from error
