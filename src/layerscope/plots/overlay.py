"""`overlay` and `beside`: a map on the photo, at the photo's own size and on the pixels that the model saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..checks import flag, is_positive, keywords, one_of, real
from ..combinations.class_map import is_class_map
from ..core.feature_map import FeatureMap, as_map
from ..core.note import Note, kind_of
from ..errors import BadLayout, BadOption
from ..picture.canvas import Canvas, Frame
from ..picture.caption import about, caption, quantity, special, title_of
from ..picture.codes import BELOW, NAN, NEG_INF, POS_INF
from ..picture.font import small
from ..picture.palette import marks_of
from ..picture.picture import Picture
from ..picture.scale_rules import Beyond
from ..picture.shapes import Cell
from ..surface import option
from .caveats import faint_overlay
from .contours import contour_levels, levels_text
from .ground import GROUNDS, Ground
from .groups import grouped_overlay, is_grouped
from .heatmap import one_range
from .on_photo import check_on_photo, on_photo
from .options import DrawOptions, frozen
from .overlay_paint import Paint, PhotoGrid, lay, opacity_text, place_text
from .rgb import is_rgb, key_quantity, paper, rgb_key, rgb_limits, rgb_text

GAP_BETWEEN = 10
PANELS = ("photo", "map", "overlay")
INTERPOLATIONS = ("nearest", "smooth")
# The greatest opacity, where none is given: of values, and of colours that cover the whole photo alike.
ALPHA, EVEN_ALPHA = 0.85, 0.6
PERCENTAGE = "the percentage of units to colour, above 0 and up to 100"


@dataclass(frozen=True, kw_only=True)
class OverlayOptions(DrawOptions):
    """What an overlay has besides: what it lies on, how much the map covers, whether units blend, contours, a threshold.

    `smooth` is another word for `interpolation`, which has its value in the end.
    """

    on: str = "grey"
    alpha: float | None = None
    even: bool = False
    interpolation: str | None = None
    smooth: bool | None = None
    contours: Any = None
    top: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("on", self.on, GROUNDS)
        if self.alpha is not None:
            real("alpha", self.alpha, 0, 1, unit=": 0 is the photo alone, with 1 the strongest values hide it")
        if self.interpolation is not None:
            one_of("interpolation", self.interpolation, INTERPOLATIONS)
        if self.smooth is not None:
            named = "smooth" if flag("smooth", self.smooth) else "nearest"
            if self.interpolation not in (None, named):
                both = f"{option('smooth', self.smooth)} and {option('interpolation', self.interpolation)}"
                raise BadOption(f"{both} contradict each other: give one of them")
            self._set("interpolation", named)
            self._set("smooth", None)
        self._set("contours", frozen(self.contours))
        if self.top is not None and not is_positive(self.top):
            raise BadOption(f"{option('top', self.top)}: use how many channels, or of an overlay {PERCENTAGE}")

    def check_percentage(self) -> None:
        """Raises `BadOption` where `top` isn't a percentage: of an overlay it is, of sheets and bars a number of channels."""
        if self.top is not None and self.top > 100:
            raise BadOption(f"{option('top', self.top)}: use {PERCENTAGE}")

    def smooth_for(self, one: FeatureMap) -> bool:
        """Whether units blend: where nothing is asked for, those of a class activation map do."""
        return self.interpolation == "smooth" or (self.interpolation is None and is_class_map(one))


@keywords
def overlay(
    fm: Any,
    *,
    image: int | str = 0,
    photo: Any = None,
    on: str = "grey",
    alpha: float | None = None,
    even: bool = False,
    scale: Any = "layer",
    colors: Any = None,
    clip: tuple[float, float] | None = None,
    norm: str | None = None,
    interpolation: str | None = None,
    smooth: bool | None = None,
    contours: int | Sequence[float] | None = None,
    top: float | None = None,
    zoom: int | None = None,
    text: float | None = None,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    theme: str = "light",
) -> Picture:
    """The map laid on the original photo, at the photo's own size, with its colour bar.

    The colour says the value as in the bar, and the opacity follows its strength: it grows with the distance from 0 (from the
    centre of the scale, or from the limit nearest to 0). The photo is greyed, dimmed under light colours and lightened under
    dark ones; a thin frame shows what the model saw of it. Each unit lies at the centre of its receptive field and covers
    the photo halfway to its neighbours; the rest stays bare. The caption says where that isn't known.

    >>> import layerscope as ls, numpy as np
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> photo = np.full((16, 16, 3), 128, np.uint8)
    >>> scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit")
    >>> picture = overlay(ls.mean(scope.capture(photo, "conv1")["conv1"]), contours=3)
    >>> picture.cells[0].width, picture.cells[0].height  # a small photo is enlarged by a whole number
    (448, 448)

    Args:
        fm: A `FeatureMap` of one channel, or of `pca`, `nmf` or `clusters`, that comes from `Scope.capture` of an image; or an
            array of your own with its `photo`.
        image: Which image of `fm`: its number, counted from 0, or its id.
        photo: Where `fm` is an array of your own, the photo that it lies on, the whole of it: what `Scope.capture` takes as one
            image.
        on: What the map lies on: `"grey"`, the photo without its colours, or `"photo"`, with them.
        alpha: The greatest opacity, that of the strongest values, from 0 (the photo alone) to 1 (they hide it). By default
            0.85, and 0.6 where colours cover the photo evenly, as those of `pca` and `clusters` always do.
        even: Whether all values cover the photo alike, as in the overlays of other tools; else the strong ones do.
        scale: `"layer"` (the range of this image), `"images"` (of all images of `fm`), `(low, high)` or a `Scale`.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours. By default viridis, or vik
            centred on 0 for values of both signs and for class activation maps.
        clip: Two percentiles, such as `(1, 99)`, to which the range is clipped.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        interpolation: `"nearest"`, each unit one flat area, or `"smooth"`, neighbouring units blend linearly. By default
            those of class activation maps blend, and the caption says so.
        smooth: `True` for `interpolation="smooth"`, `False` for `"nearest"`.
        contours: Levels to draw a line at, or how many, evenly between the limits: white on the higher side.
        top: Per cent of the units to colour, above 0 and up to 100: the highest ones. All by default.
        zoom: Pixels of the picture per pixel of the photo, in either direction; by default 1, and more for a small photo.
        text: Size of letters and bar, from 1 (screen) to 4; 3 is for print at 300 dpi. By default letters can be read where
            the picture is shown 900 pixels wide.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bar is drawn. Without `caption` and `bar` the map stands alone.
        theme: `"light"`, `"dark"` or `"transparent"` paper.

    Raises:
        BadLayout: Several channels that haven't been combined, or attention weights, which can't be laid on it.
        BadScale: A scale, percentiles or colours that don't exist.
        BadOption: The map has no photo, or has one already where `photo` is given, or another option is invalid.
        ImageNotReadable: A `photo` that can't be read.
    """
    options = OverlayOptions.among(locals())
    return draw_overlay(on_photo(as_map(fm), photo), options).themed(theme)


def draw_overlay(whole: FeatureMap, options: OverlayOptions) -> Picture:
    """The overlay of one image of a map, whatever its channels are."""
    options.check_numbers(whole)
    options.check_percentage()
    if is_grouped(whole):
        return _draw_groups(whole, options)
    sketch = Sketch.of(whole, options)
    height, width = sketch.ground.size
    canvas = sketch.canvas(height, width)
    pixels = paper(canvas, sketch.paint.table, hollow=True)
    sketch.draw(pixels[canvas.y : canvas.y + height, canvas.x : canvas.x + width])
    return sketch.picture(canvas, pixels, (sketch.cell(canvas.x, canvas.y),))


def _draw_groups(whole: FeatureMap, options: OverlayOptions) -> Picture:
    one, _ = options.pick(whole)
    check_on_photo(one)
    if options.contours is not None or options.top is not None or options.clip is not None:
        raise BadOption("contours, top and clip need a map of numbers; this one holds groups, each with its own colour")
    if options.interpolation == "smooth":
        raise BadOption("groups don't blend, each has its own colour: leave out " + option("interpolation", "smooth"))
    ground = Ground.of(one, options.on, options.zoom)
    usual = EVEN_ALPHA if one.role == "labels" or options.even else ALPHA
    return grouped_overlay(whole, options, ground, _alpha(options, usual), even=options.even)


@keywords
def beside(
    fm: Any,
    *,
    image: int | str = 0,
    photo: Any = None,
    on: str = "grey",
    alpha: float | None = None,
    even: bool = False,
    scale: Any = "layer",
    colors: Any = None,
    clip: tuple[float, float] | None = None,
    norm: str | None = None,
    interpolation: str | None = None,
    smooth: bool | None = None,
    contours: int | Sequence[float] | None = None,
    top: float | None = None,
    zoom: int | None = None,
    text: float | None = None,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    theme: str = "light",
) -> Picture:
    """The photo, the map alone and the overlay in one picture, each at the photo's own size and in its geometry.

    Contours and `top` show on the overlay alone. `Picture.cells` holds the three, with `note` "photo", "map" and
    "overlay". Where the model saw nothing of the photo, the map alone is bare.

    >>> import layerscope as ls, numpy as np
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> photo = np.full((16, 16, 3), 128, np.uint8)
    >>> scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit")
    >>> picture = beside(ls.mean(scope.capture(photo, "conv1")["conv1"]))
    >>> [cell.note for cell in picture.cells]
    ['photo', 'map', 'overlay']

    Args:
        fm: A `FeatureMap` of one channel, or of `pca`, from `Scope.capture`; or an array of your own with its `photo`.
        image: Which image of `fm`: its number, counted from 0, or its id.
        photo: Where `fm` is an array of your own, the photo that it lies on, the whole of it: what `Scope.capture` takes as one
            image.
        on: What the map lies on in the overlay: `"grey"` or `"photo"`.
        alpha: The greatest opacity in the overlay, from 0 to 1.
        even: Whether all values cover the photo alike.
        scale: `"layer"`, `"images"`, `(low, high)` or a `Scale`.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours.
        clip: Two percentiles, such as `(1, 99)`, to which the range is clipped.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        interpolation: `"nearest"` or `"smooth"`, as in `overlay`.
        smooth: `True` for `interpolation="smooth"`, `False` for `"nearest"`.
        contours: Levels to draw a line at, or how many.
        top: Per cent of the units to colour, above 0 and up to 100.
        zoom: Pixels of the picture per pixel of the photo; by default 1, and more for a small photo.
        text: Size of letters and bar, 1 to 4, as in `overlay`.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bar is drawn. Without `caption` and `bar` the map stands alone.
        theme: `"light"`, `"dark"` or `"transparent"` paper.

    Raises:
        BadLayout: Several channels that haven't been combined, or groups, which `overlay` draws.
        BadScale: A scale, percentiles or colours that don't exist.
        BadOption: The map has no photo, or has one already where `photo` is given, or another option is invalid.
        ImageNotReadable: A `photo` that can't be read.
    """
    options = OverlayOptions.among(locals())
    return draw_beside(on_photo(as_map(fm), photo), options).themed(theme)


def draw_beside(whole: FeatureMap, options: OverlayOptions) -> Picture:
    """Photo, map and overlay of one image of a map."""
    options.check_numbers(whole)
    options.check_percentage()
    sketch = Sketch.of(whole, options)
    height, width = sketch.ground.size
    in_rows = width > 2 * height  # a panorama reads better so
    sketch = replace(sketch, text=options.letters(width if in_rows else 3 * width))
    letters = small(sketch.text)
    gap, line = round(GAP_BETWEEN * sketch.text), letters.height + round(2 * sketch.text)  # that of the bar's own name
    room = max(width, letters.widest(PANELS))
    down, across = (height + line + gap, 0) if in_rows else (0, room + gap)
    size = 2 * down + height + line, 2 * across + room
    sketch = sketch.within(size[1], "overlay: ")
    canvas = sketch.canvas(*size, beside=(line, line + height))
    parts = tuple(zip(PANELS, (None, sketch.paint.alone(), sketch.paint), strict=True))
    for index, (name, _) in enumerate(parts):
        canvas.write(index * across, index * down, name, muted=True, tile=index)
    pixels = paper(canvas, sketch.paint.table)
    cells = []
    for index, (name, paint) in enumerate(parts):
        x, y = canvas.x + index * across, canvas.y + index * down + line
        box = pixels[y : y + height, x : x + width]
        if name == "photo":
            sketch.ground.draw_photo(box)
            sketch.ground.draw_frame(box)
        elif name == "map" and paint is not None:
            lay(box, sketch.grid, paint)
        else:
            sketch.draw(box)
        cells.append(sketch.cell(x, y, name))
    return sketch.picture(canvas, pixels, tuple(cells))


@dataclass(frozen=True)
class Sketch:
    """An overlay before it is drawn: the map of one image, where it lies on its photo, its paint, and its caption."""

    one: FeatureMap
    image: int
    ground: Ground
    grid: PhotoGrid
    paint: Paint
    lines: tuple[str, ...]
    text: float
    options: OverlayOptions

    @classmethod
    def of(cls, whole: FeatureMap, options: OverlayOptions) -> Sketch:
        if is_grouped(whole):
            raise BadLayout("beside() draws maps of numbers; this one holds groups, which overlay() and heatmap() draw")
        one, image = options.pick(whole)
        check_on_photo(one)
        paint = _rgb_paint(whole, one, options) if is_rgb(whole) else _scaled_paint(whole, one, options)
        ground = Ground.of(one, options.on, options.zoom, paint.tone)
        grid = PhotoGrid(ground.size, ground.units(one))
        lines = _lines(one, paint, options, _photo_lines(ground, grid, paint))
        if paint.rule is not None:
            alike = len(set(grid.line_widths(len(paint.levels)))) < 2
            lines += levels_text(paint.levels, one.values, paint.rule, alike=alike)
        return cls(one, image, ground, grid, paint, lines, options.letters(ground.size[1]), options)

    def resized(self, height: int, width: int) -> Sketch:
        """The overlay on the photo of that size in the picture."""
        ground = self.ground.resized(height, width)
        return replace(self, ground=ground, grid=PhotoGrid(ground.size, ground.units(self.one)))

    def within(self, across: int, name: str = "") -> Sketch:
        """The overlay with the caption of a picture so many pixels wide, in which strips of the photo are narrower."""
        photo, *_ = _photo_lines(self.ground, self.grid, self.paint, across)
        photo = Note("photo", name + photo[0].lower() + photo[1:] if name else photo)
        return replace(self, lines=tuple(photo if kind_of(line) == "photo" else line for line in self.lines))

    def draw(self, box: np.ndarray) -> None:
        """Draw photo, map and frame into `box`."""
        lay(box, self.grid, self.paint, self.ground)
        self.ground.draw_frame(box)

    def canvas(self, height: int, width: int, beside: tuple[int, int] | None = None) -> Canvas:
        """The paper for pictures of `height` × `width` pixels, with caption, legend and bar."""
        rule, values = self.paint.rule, self.one.values
        subject, *notes = self.lines
        if rule is None:
            broken = {NAN} if np.isnan(values).any() else set()
            frame = Frame(title_of(self.one), subject, notes, marks=broken, text=self.text)
            frame = replace(frame, key=rgb_key(self.one), quantity=key_quantity(self.one))
            return self.options.framed(frame).around(height, width, beside)
        # Only the units that lie on the photo have a colour there: those on the padding of a letterbox don't.
        marks = marks_of(rule.codes(values[0, ..., 0][self.grid.units()]))
        if beside is None and rule.norm == "log" and rule.clip is None:
            marks.discard(BELOW)  # bare
        if self.paint.smooth and {POS_INF, NEG_INF} <= marks:
            marks.add(NAN)  # between the two
        low, high = extent_of(values)[0, 0].tolist()
        measured = quantity(self.one)
        frame = Frame(title_of(self.one), subject, notes, rule, marks, (low, high), self.text, measured)
        return self.options.framed(frame).around(height, width, beside)

    def cell(self, x: int, y: int, note: str = "") -> Cell:
        height, width = self.grid.size
        rule = self.paint.rule
        low, high = rule.range() if rule and note != "photo" else (0.0, 0.0)
        return Cell(x, y, width, height, self.image, -1 if note == "photo" else 0, low, high, note)

    def picture(self, canvas: Canvas, pixels: np.ndarray, cells: tuple[Cell, ...]) -> Picture:
        for cell in cells:
            if cell.note == "map":  # bare where the model saw nothing of the photo
                rows, columns = self.grid.seen
                height, width = rows.stop - rows.start, columns.stop - columns.start
                canvas.own(cell.x + columns.start, cell.y + rows.start, width, height)
            else:
                canvas.own(*cell[:4])
        return canvas.picture(cells, self.paint.rule, about(self.one, self.paint.rule), pixels)


def _rgb_paint(whole: FeatureMap, one: FeatureMap, options: OverlayOptions) -> Paint:
    if options.contours is not None or options.top is not None:
        raise BadOption("contours and top need a map of numbers; the three channels of this one are colours")
    return Paint(one, None, _alpha(options, EVEN_ALPHA), options.smooth_for(one), rgb_limits(whole, options.clip))


def _scaled_paint(whole: FeatureMap, one: FeatureMap, options: OverlayOptions) -> Paint:
    rule = one_range(options).fit_scale(whole, one, extent_of(one.values))
    alpha = _alpha(options, EVEN_ALPHA if options.even else ALPHA)
    paint = Paint(one, rule, alpha, options.smooth_for(one), even=options.even)
    least = None if options.top is None else _threshold(one.values, options.top)
    return replace(paint, levels=contour_levels(options.contours, rule), least=least)


def _alpha(options: OverlayOptions, usual: float) -> float:
    return usual if options.alpha is None else options.alpha


def _photo_lines(ground: Ground, grid: PhotoGrid, paint: Paint, across: int = 0) -> tuple[str, ...]:
    """What the caption of a picture says of the photo, and of how the map covers it."""
    parts = [*ground.words(grid.place, across), opacity_text(paint)]
    if paint.smooth:
        rows, columns = paint.one.spatial
        parts.append(f"Interpolated between the {columns} × {rows} positions of the map")
    stated = any(kind_of(note) == "placement" for note in paint.one.notes)
    return (Note("photo", ". ".join(parts) + "."), *(() if stated else place_text(grid.place)))


def _lines(one: FeatureMap, paint: Paint, options: OverlayOptions, photo: tuple[str, ...]) -> tuple[str, ...]:
    """The caption."""
    rule = paint.rule
    lines = (*caption(one, rule, ""), *photo)
    if rule is None:
        return (*lines, rgb_text(options.clip))
    lines += special(one.values, "the map") + (() if paint.even else faint_overlay(one, rule, paint.zero))
    lines += Beyond.of(one.values, rule.limits).words(rule, options.clip)
    if paint.least is not None and options.top is not None:
        text = _top_text(options.top, paint.least, one.values)
        lines += (Note("top", f"{text}, from {rule.reading(paint.least)} up"),)
    return lines


def _threshold(values: np.ndarray, top: float) -> float:
    """The least value that is coloured, so that `top` per cent of the units are, or more where units are equal."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise BadOption(f"top={top:g}: no unit of this map is finite, so none is the highest")
    return float(np.percentile(finite, 100 - top, method="higher"))


def _top_text(top: float, least: float, values: np.ndarray) -> str:
    """What is coloured; and why it is more than was asked for, where it is more than the one unit that rounding adds."""
    share = 100.0 * np.count_nonzero(values[np.isfinite(values)] >= least) / values.size
    text = f"coloured: the highest {share:.3g}% of the positions"
    more = share > top + 100 / values.size
    return text + (f" (requested: {top:.3g}%; equal values are all coloured)" if more else "")
