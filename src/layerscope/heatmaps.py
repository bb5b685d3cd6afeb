"""`heatmap` and `overlay`: one combined map as a picture, alone or on the photo."""

from __future__ import annotations

from typing import Any

import numpy as np

from .canvas import Canvas, frame
from .encoding import NAN, extent_of
from .errors import BadLayout, BadOption
from .featuremap import FeatureMap, as_map
from .picture import Cell, Picture
from .ruling import make_scale
from .scale import Scale, marks_of, palette
from .strips import strip
from .words import about, caption, title_of

MAP_SIZE = 448
# DINO's habit of stretching to minimum and maximum lets one bright pixel darken all others.
RGB_PERCENTILES = (1, 99)


def heatmap(
    fm: Any,
    *,
    image: int = 0,
    scale: Any = "layer",
    colors: str | None = None,
    zoom: int | None = None,
    layout: str | None = None,
) -> Picture:
    """One map of one image, enlarged by a whole number, with its colour bar.

    `fm` has one channel, as every combination gives, or is the three of `pca`, which become red, green and blue.
    `scale`: `"layer"`, `"images"` (one range for all the images of `fm`), `(low, high)` or a `Scale`. Values with both
    signs get diverging colours centred on 0. A map of a dense layer or a sequence becomes a `strip`. Raises `BadLayout`
    where several channels wait to be combined.

    >>> import numpy as np
    >>> picture = heatmap(np.array([[0.0, 1.0], [2.0, 4.0]]))
    >>> picture.bar.low, picture.bar.high
    (0.0, 4.0)
    """
    whole = as_map(fm, layout)
    one = whole.image(image)
    colored = is_rgb(whole)
    if not colored and whole.shape[-1] != 1:
        raise BadLayout(
            f"a heat map shows one channel, this map has {whole.shape[-1]}: combine them first (mean, weighted, pca …),"
            " or draw them all with sheet()"
        )
    if len(whole.spatial) < 2:
        return strip(whole, image=image, scale=scale, colors=colors)
    if len(whole.spatial) == 3:
        raise BadLayout("a heat map is two-dimensional; the slices of a volume are drawn by sheet()")
    height, width = whole.spatial
    zoom = zoom or max(1, MAP_SIZE // max(height, width))
    if colored:
        return _rgb_map(whole, one, image, zoom)
    rule = make_scale(whole, one, _one_range(scale), colors, extent_of(one.values))
    codes = rule.codes(one.values[0, ..., 0])
    lines = caption(one, rule, "")
    canvas = frame(height * zoom, width * zoom, title_of(one), lines, bar=rule, marks=marks_of(codes))
    canvas.body[:] = codes.repeat(zoom, 0).repeat(zoom, 1)
    cell = Cell(canvas.x, canvas.y, width * zoom, height * zoom, image, 0, *rule.range())
    return Picture(canvas.codes, (cell,), rule, title_of(one), lines, about(one, rule), canvas.bar, zoom=zoom)


def overlay(
    fm: Any,
    *,
    image: int = 0,
    alpha: float = 0.5,
    scale: Any = "layer",
    colors: str | None = None,
    smooth: bool = False,
) -> Picture:
    """The map laid on the original photo, at the photo's own size, with its colour bar.

    `fm` has one channel, or the three of `pca`, and comes from `Scope.capture`, which knows where the model's input lies
    on the photo: what was cropped away stays bare. `alpha` is the share of the map's colour. Each unit covers its equal
    part of the input; `smooth=True` blends linearly between units instead. Raises `BadOption` where there is no photo.
    """
    whole = as_map(fm)
    one = whole.image(image)
    if one.photos is None or one.placement is None:
        raise BadOption("this map has no photo to lie on: overlay() needs a map from capture() of an image")
    if one.layer.attention:
        raise BadLayout(
            f"{one.layer.path!r} holds attention weights, whose rows are query tokens and whose columns are key tokens, so it"
            " has no place on the photo: ls.attention(fm) gives where a token looks"
        )
    if not 0 <= alpha <= 1:
        raise BadOption(f"alpha={alpha!r}: use a share from 0 (photo alone) to 1 (map alone)")
    colored = is_rgb(whole)
    if len(one.spatial) != 2 or (one.shape[-1] != 1 and not colored):
        raise BadLayout(
            f"an overlay needs one map of pixels, this has the shape {one.shape}: combine the channels first (mean, …)"
        )
    rule = None if colored else make_scale(whole, one, _one_range(scale), colors, extent_of(one.values))
    placed = _placed(one, smooth)
    if rule is None:
        paint, marks = _rgb(placed, *_rgb_limits(whole)), set()
    else:
        codes = rule.codes(placed[..., 0])
        paint, marks = np.take(rule.palette(), codes, axis=0), marks_of(codes)
    photo = one.photos[0]
    body = photo.copy()
    rows, columns = _covered(one)
    share = round(alpha * 256)
    below = photo[rows, columns].astype(np.uint16) * np.uint16(256 - share)
    body[rows, columns] = (below + paint.astype(np.uint16) * np.uint16(share)) >> np.uint16(8)
    lines = caption(one, rule, "")
    lines += (f"on the photo, {photo.shape[0]}×{photo.shape[1]} · map {alpha:.0%} · {_between(smooth)}",)
    canvas = frame(photo.shape[0], photo.shape[1], title_of(one), lines, bar=rule, marks=marks)
    cell = Cell(canvas.x, canvas.y, photo.shape[1], photo.shape[0], image, 0, *(rule.range() if rule else (0.0, 0.0)))
    return _pasted(canvas, body, (cell,), rule, one, lines)


def is_rgb(fm: FeatureMap) -> bool:
    """Whether the three channels are colours: those of a combination are, three channels of a layer aren't."""
    return fm.role == "rgb"


def _one_range(scale: Any) -> Any:
    return "layer" if isinstance(scale, str) and scale == "channel" else scale


def _between(smooth: bool) -> str:
    return "blended between units" if smooth else "one flat area a unit"


def _covered(one: FeatureMap) -> tuple[slice, slice]:
    """The rows and columns of the photo that the model saw."""
    assert one.placement is not None
    found = []
    for index in (one.placement[0].rows(one.spatial[0]), one.placement[0].cols(one.spatial[1])):
        at = np.flatnonzero(index >= 0)
        found.append(slice(int(at[0]), int(at[-1]) + 1))
    return found[0], found[1]


def _placed(one: FeatureMap, smooth: bool) -> np.ndarray:
    """The values on the photo's own pixels, `[height, width, channel]`, for the part that the model saw."""
    assert one.placement is not None
    place = one.placement[0]
    values = one.values[0]
    height, width = one.spatial
    if not smooth:
        rows, columns = place.rows(height), place.cols(width)
        return values[rows[rows >= 0]][:, columns[columns >= 0]]
    ys = place.row_positions(height)[place.rows(height) >= 0].clip(0, height - 1)
    xs = place.col_positions(width)[place.cols(width) >= 0].clip(0, width - 1)
    return _linear(_linear(values, ys, 0), xs, 1)


def _linear(values: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (at - low).astype(np.float32).reshape([-1 if each == axis else 1 for each in range(values.ndim)])
    before, after = np.take(values, low, axis), np.take(values, high, axis)
    return np.where(share == 0, before, before * (1 - share) + after * share)


def _rgb_limits(whole: FeatureMap) -> tuple[np.ndarray, np.ndarray]:
    flat = whole.values.reshape(-1, 3)
    flat = flat[np.isfinite(flat).all(1)]
    if not len(flat):
        return np.zeros(3), np.zeros(3)
    low, high = np.percentile(flat, RGB_PERCENTILES, axis=0)
    return low, high


def _rgb(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    span = np.where(high > low, high - low, 1)
    finite = np.isfinite(values).all(-1, keepdims=True)
    shares = np.where(high > low, (np.where(finite, values, 0) - low) / span, 0.5)
    colors = np.round(shares.clip(0, 1) * 255).astype(np.uint8)
    return np.where(finite, colors, palette(None)[NAN])


def _rgb_map(whole: FeatureMap, one: FeatureMap, image: int, zoom: int) -> Picture:
    height, width = one.spatial
    low, high = _rgb_limits(whole)
    colors = _rgb(one.values[0], low, high).repeat(zoom, 0).repeat(zoom, 1)
    lines = caption(one, None, "")
    lines += ("components as red, green, blue, each from its 1st to its 99th percentile",)
    canvas = frame(height * zoom, width * zoom, title_of(one), lines)
    cell = Cell(canvas.x, canvas.y, width * zoom, height * zoom, image, 0, float(low[0]), float(high[0]))
    return _pasted(canvas, colors, (cell,), None, one, lines)


def _pasted(
    canvas: Canvas,
    body: np.ndarray,
    cells: tuple[Cell, ...],
    rule: Scale | None,
    one: FeatureMap,
    lines: tuple[str, ...],
) -> Picture:
    pixels = np.take(rule.palette() if rule else palette(None), canvas.codes, axis=0)
    pixels[canvas.y : canvas.y + canvas.height, canvas.x : canvas.x + canvas.width] = body
    return Picture(pixels, cells, rule, title_of(one), lines, about(one, rule), canvas.bar)
