"""`overlay` and `beside`: a map on the photo, at the photo's own size and on the pixels that the model saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of, raw_extent
from ..combinations.pca import BACKGROUND
from ..combinations.similarity import query_place
from ..core.feature_map import FeatureMap, as_map
from ..core.placement import Placement
from ..errors import BadLayout, BadOption
from ..picture.canvas import Canvas, Frame, check_text, outline
from ..picture.caption import about, caption, special, title_of
from ..picture.codes import GAP, INK, NAN, NEG_INF, POS_INF, encode
from ..picture.font import SMALL, font
from ..picture.numbers import reading
from ..picture.picture import Picture
from ..picture.scale import Scale, marks_of, palette
from ..picture.scale_rules import Beyond, make_scale
from ..picture.shapes import Cell
from .contours import contour_levels, draw_contour, levels_said
from .groups import grouped_overlay, is_grouped
from .heatmap import one_range
from .rgb import colored, is_rgb, paper, rgb_colors, rgb_limits, rgb_said

BLOCK_PIXELS = 1 << 16


GAP_BETWEEN = 10


# Above this many pixels on the shorter side a contour is two pixels wide on either side.
LARGE_PHOTO = 1000


def overlay(
    fm: Any,
    *,
    image: int = 0,
    alpha: float = 0.5,
    scale: Any = "layer",
    colors: str | None = None,
    clip: tuple[float, float] | None = None,
    smooth: bool = False,
    contours: int | Sequence[float] | None = None,
    top: float | None = None,
    text: int = 1,
) -> Picture:
    """The map laid on the original photo, at the photo's own size, with its colour bar.

    `fm` has one channel, or the three of `pca`, and comes from `Scope.capture`, which knows where the model's input lies
    on the photo: what was cropped away stays bare. `alpha` is the share of the map's colour. Each unit covers its equal
    part of the input; `smooth=True` blends linearly between units instead. `clip` as in `heatmap`.

    `contours` draws lines between the places below and above some levels, given as numbers or as how many (evenly between
    the limits): white on the higher side, black on the lower. `top=20` colours the highest 20 % of the units alone.
    `text` (1 to 4) draws letters and bar so many times as large; the photo keeps its size.
    Raises `BadOption` where there is no photo, `BadLayout` where channels wait to be combined.

    ```python
    ls.overlay(ls.mean(scope.capture("cat.jpg", "layer4")["layer4"]), contours=3)
    ```
    """
    whole = as_map(fm)
    check_text(text)
    if is_grouped(whole):
        one = whole.image(image)
        _check(one, True, alpha)
        if contours is not None or top is not None or clip is not None:
            raise BadOption(
                "contours, top and clip need one number at each place; this map holds groups with colours of their own"
            )
        return grouped_overlay(whole, one, image % len(whole.ids), alpha, scale, colors, text)
    laid = _Laid.of(whole, image, scale, colors, clip, smooth, alpha, contours, top)
    height, width = laid.photo.shape[:2]
    canvas = laid.frame(height, width, text)
    pixels = paper(canvas, laid.table, hollow=True)
    laid.paint(pixels[canvas.y : canvas.y + height, canvas.x : canvas.x + width], laid.photo)
    return laid.picture(canvas, pixels, (laid.cell(canvas.x, canvas.y, image % len(whole.ids)),))


def beside(
    fm: Any,
    *,
    image: int = 0,
    alpha: float = 0.5,
    scale: Any = "layer",
    colors: str | None = None,
    clip: tuple[float, float] | None = None,
    smooth: bool = False,
    contours: int | Sequence[float] | None = None,
    top: float | None = None,
    text: int = 1,
) -> Picture:
    """The photo, the map alone and the overlay in one picture, each at the photo's own size and in its geometry.

    The options are those of `overlay`; contours and `top` show on the overlay alone. `Picture.cells` holds the three, with
    `note` "photo", "map" and "overlay". Where the model saw nothing of the photo, the map alone is bare.

    ```python
    ls.beside(ls.grad_cam(scope.capture("cat.jpg", "layer4", target=281)["layer4"])).save("cat.png")
    ```
    """
    check_text(text)
    whole = as_map(fm)
    laid = _Laid.of(whole, image, scale, colors, clip, smooth, alpha, contours, top)
    height, width = laid.photo.shape[:2]
    letters = font(SMALL * text)
    # A panorama reads better in rows.
    down, across = (height + letters.height + GAP_BETWEEN, 0) if width > 2 * height else (0, width + GAP_BETWEEN)
    canvas = laid.frame(2 * down + height + letters.height, 2 * across + width, text)
    places = []
    for at, name in enumerate(("photo", "map", "overlay")):
        canvas.write(at * across, at * down, name[: width // letters.width], muted=True, tile=at)
        places.append((canvas.y + at * down + letters.height, canvas.x + at * across, name))
    pixels = paper(canvas, laid.table)
    cells = []
    for y, x, name in places:
        box = pixels[y : y + height, x : x + width]
        if name == "photo":
            box[:] = laid.photo
        elif name == "map":
            laid.alone().paint(box, None)
        else:
            laid.paint(box, laid.photo)
        cells.append(laid.cell(x, y, image % len(whole.ids), name))
    return laid.picture(canvas, pixels, tuple(cells))


@dataclass(frozen=True)
class _Laid:
    """A map and where it lies on its photo, with everything asked for worked out."""

    one: FeatureMap
    photo: np.ndarray
    place: Placement
    rule: Scale | None
    ends: tuple[np.ndarray, np.ndarray]
    alpha: float
    smooth: bool
    levels: tuple[float, ...]
    least: float | None
    lines: tuple[str, ...]

    @classmethod
    def of(
        cls,
        fm: Any,
        image: int,
        scale: Any,
        colors: str | None,
        clip: Any,
        smooth: bool,
        alpha: float,
        contours: Any,
        top: float | None,
    ) -> _Laid:
        whole = as_map(fm)
        if is_grouped(whole):
            raise BadLayout(
                "beside() draws one number a place, this map holds groups: overlay() and heatmap() draw those"
            )
        one = whole.image(image)
        colored = is_rgb(whole)
        _check(one, colored, alpha)
        assert one.photos is not None
        assert one.placement is not None
        if colored and (contours is not None or top is not None):
            raise BadOption("contours and top need one number at each place; this map's three channels are colours")
        rule = None if colored else make_scale(whole, one, one_range(scale), colors, extent_of(one.values), clip)
        levels = () if rule is None else contour_levels(contours, rule)
        least, kept = _threshold(one.values, top)
        photo = one.photos[0]
        lines = caption(one, rule, "")
        between = "blended between units" if smooth else "one flat area a unit"
        lines += (f"on the photo, {photo.shape[0]}×{photo.shape[1]} · map {alpha:.0%} · {between}",)
        if rule is None:
            lines += (rgb_said(clip),)
        else:
            lines += special(one.values, "the map") + Beyond.of(one.values, rule.limits).words(rule, clip)
            lines += levels_said(levels, one.values, rule)
            if least is not None:
                lines += (_top_said(top, kept, one.values) + f", from {reading(least, *rule.limits)} up",)
        ends = rgb_limits(whole, clip) if colored else (np.zeros(3), np.zeros(3))
        return cls(one, photo, one.placement[0], rule, ends, alpha, smooth, levels, least, lines)

    def alone(self) -> _Laid:
        """The map without contours and without a threshold, opaque."""
        return _Laid(self.one, self.photo, self.place, self.rule, self.ends, 1.0, self.smooth, (), None, self.lines)

    @property
    def table(self) -> np.ndarray:
        return self.rule.palette() if self.rule else palette(None)

    @property
    def rows(self) -> np.ndarray:
        return self.place.rows(self.one.spatial[0])

    @property
    def columns(self) -> np.ndarray:
        return self.place.cols(self.one.spatial[1])

    @property
    def _step(self) -> int:
        """Rows of the photo in a block."""
        return max(1, BLOCK_PIXELS // self.photo.shape[1])

    def frame(self, height: int, width: int, text: int) -> Canvas:
        if self.rule is None:
            broken = {NAN} if np.isnan(self.one.values).any() else set()
            return Frame(title_of(self.one), self.lines, marks=broken, text=text).around(height, width)
        values = self.one.values
        # Only the units that lie on the photo have a colour there: those on the padding of a letterbox don't.
        seen = values[0, ..., 0][
            np.ix_(np.unique(self.rows[self.rows >= 0]), np.unique(self.columns[self.columns >= 0]))
        ]
        marks = marks_of(self.rule.codes(seen))
        if self.smooth and {POS_INF, NEG_INF} <= marks:
            marks.add(NAN)  # between the two
        extent = extent_of(values)[0, 0]
        reach = float(extent[0]), float(extent[1])
        return Frame(title_of(self.one), self.lines, self.rule, marks, reach, text).around(height, width)

    def cell(self, x: int, y: int, image: int, note: str = "") -> Cell:
        height, width = self.photo.shape[:2]
        low, high = self.rule.range() if self.rule and note != "photo" else (0.0, 0.0)
        return Cell(x, y, width, height, image, -1 if note == "photo" else 0, low, high, note)

    def picture(self, canvas: Canvas, pixels: np.ndarray, cells: tuple[Cell, ...]) -> Picture:
        rows, columns = np.flatnonzero(self.rows >= 0), np.flatnonzero(self.columns >= 0)
        for cell in cells:
            if cell.note == "map":  # bare where the model saw nothing of the photo
                y, x = cell.y + int(rows[0]), cell.x + int(columns[0])
                canvas.own(x, y, int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1)
            else:
                canvas.own(*cell[:4])
        return canvas.picture(cells, self.rule, about(self.one, self.rule), pixels)

    def paint(self, box: np.ndarray, photo: np.ndarray | None) -> None:
        """Write the overlay into `box` `[height, width, 3]`; without a photo the part that the model didn't see stays."""
        if photo is not None:
            box[:] = photo
        rows, columns = np.flatnonzero(self.rows >= 0), np.flatnonzero(self.columns >= 0)
        part = box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        under_share, over_share = np.uint16(256 - round(self.alpha * 256)), np.uint16(round(self.alpha * 256))
        # Taken once: fresh memory for every block would cost as much as the arithmetic.
        one, two = np.empty((2, self._step, *part.shape[1:]), np.uint16)
        for at, paint, hidden in self._blocks():
            under = part[at]
            mixed, over = one[: len(under)], two[: len(paint)]
            np.multiply(under, under_share, out=mixed)
            np.multiply(paint, over_share, out=over)
            mixed += over
            mixed >>= 8
            np.copyto(under, mixed, casting="unsafe", where=True if hidden is None else ~hidden[..., None])
        if self.levels:
            values = np.empty(part.shape[:2], np.float32)
            for at, placed in self._placed(self.one.values[0, ..., 0]):
                values[at] = placed
            for level in self.levels:
                draw_contour(part, values, level, 2 if min(box.shape[:2]) > LARGE_PHOTO else 1)
        if (query := query_place(self.one)) is not None:
            size = (self.one.spatial[0], self.one.spatial[1])
            y, x, high, wide = map(round, self.place.cell_box(*query, size))
            outline(box, (y, x, high, wide), palette(None)[INK], palette(None)[GAP])

    def _blocks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
        """(rows, colours `[rows or 1, width, 3]`, where the photo stays bare) of the part that the model saw."""
        values = self.one.values[0]
        if not self.smooth or self.rule is None:
            # Without blending there is one colour a unit: a whole row of units is painted at once.
            for at, placed in self._placed(values):
                hidden = None if self.least is None else ~(placed[..., 0] >= self.least)
                if self.rule is None:
                    hidden = (placed == BACKGROUND).all(-1)
                yield at, self._painted(placed), hidden
            return
        table = self.table
        for at, placed in self._placed(values[..., 0]):
            hidden = None if self.least is None else ~(placed >= self.least)
            yield at, colored(table, self._codes(placed)), hidden

    def _painted(self, placed: np.ndarray) -> np.ndarray:
        if self.rule is None:
            return rgb_colors(placed, *self.ends)
        return np.take(self.table, self.rule.codes(placed[..., 0]), axis=0)

    def _codes(self, placed: np.ndarray) -> np.ndarray:
        assert self.rule is not None
        raw = raw_extent(self.one.values)[0]
        limits = np.array([self.rule.limits])
        exact = ~np.isfinite(raw).all(1) | (limits[:, 0] == limits[:, 1])
        out = np.empty((1, 1, *placed.shape), np.uint8)
        encode(placed[..., None], out, limits, center=self.rule.center, exact=exact, extent=raw)
        return out[0, 0]

    def _placed(self, values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The values `[y, x, …]` on the photo's pixels that the model saw, a block of rows at a time.

        Without blending each block is one row of pixels, which stands for all rows of the slice.
        """
        height, width = self.one.spatial
        rows, columns = self.rows[self.rows >= 0], self.columns[self.columns >= 0]
        if not self.smooth:
            across = values[:, columns]
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
                for top in range(start, stop, self._step):
                    yield slice(top, min(top + self._step, stop)), across[rows[start]][None]
            return
        ys = self.place.row_positions(height)[self.rows >= 0].clip(0, height - 1)
        xs = self.place.col_positions(width)[self.columns >= 0].clip(0, width - 1)
        across = _linear(values, xs, 1)
        for top in range(0, len(rows), self._step):
            yield slice(top, min(top + self._step, len(rows))), _linear(across, ys[top : top + self._step], 0)


def _check(one: FeatureMap, colored: bool, alpha: float) -> None:
    if one.photos is None or one.placement is None:
        raise BadOption("this map has no photo to lie on: overlay() needs a map from capture() of an image")
    if one.layer.attention:
        raise BadLayout(
            f"{one.layer.path!r} holds attention weights, whose rows are query tokens and whose columns are key tokens, so it"
            " has no place on the photo: ls.attention(fm) gives where a token looks"
        )
    if not isinstance(alpha, int | float | np.number) or not 0 <= alpha <= 1:
        raise BadOption(f"alpha={alpha!r}: use a share from 0 (photo alone) to 1 (map alone)")
    if len(one.spatial) != 2 or (one.shape[-1] != 1 and not colored):
        raise BadLayout(
            f"an overlay needs one map of pixels, this has the shape {one.shape}: combine the channels first (mean, …)"
        )


def _threshold(values: np.ndarray, top: float | None) -> tuple[float | None, float]:
    """The least value that is coloured, and the per cent of the units that reach it: more than `top` where units are equal."""
    if top is None:
        return None, 100.0
    if isinstance(top, bool) or not isinstance(top, int | float | np.number) or not 0 < top <= 100:
        raise BadOption(f"top={top!r}: use how many per cent of the units to colour, above 0 and up to 100")
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise BadOption(f"top={top:g}: no unit of this map is finite, so none is the highest")
    least = float(np.percentile(finite, 100 - top, method="higher"))
    return least, 100.0 * np.count_nonzero(finite >= least) / values.size


def _top_said(top: float | None, kept: float, values: np.ndarray) -> str:
    """What is coloured; and why it is more than was asked for, where it is more than the one unit that rounding adds."""
    said = f"coloured: the highest {kept:.3g} % of the units"
    more = top is not None and kept > top + 100 / values.size
    return said + (f" (asked for: {top:.3g} %; equal units are all coloured)" if more else "")


def _linear(values: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (at - low).astype(np.float32).reshape([-1 if each == axis else 1 for each in range(values.ndim)])
    before, after = np.take(values, low, axis), np.take(values, high, axis)
    with np.errstate(invalid="ignore"):  # inf beside −inf
        return np.where(share == 0, before, before * (1 - share) + after * share)
