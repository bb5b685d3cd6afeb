"""`heatmap`: one combined map as a picture, and the colours of three channels that are meant as such."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..checks import optional_whole
from ..combinations.similarity import query_place
from ..core.feature_map import FeatureMap, as_map
from ..errors import BadLayout, BadOption
from ..picture.canvas import Frame, check_text, outline
from ..picture.caption import about, caption, special, title_of
from ..picture.codes import GAP, INK, NAN
from ..picture.picture import Picture
from ..picture.scale import marks_of, palette
from ..picture.scale_rules import Beyond, make_scale
from ..picture.shapes import Cell
from .caveats import outlier
from .groups import GROUPED, grouped_map, is_grouped
from .rgb import is_rgb, paper, rgb_colors, rgb_limits, rgb_said
from .strip import strip

MAP_SIZE = 448


def heatmap(
    fm: Any,
    *,
    image: int = 0,
    scale: Any = "layer",
    colors: str | None = None,
    clip: tuple[float, float] | None = None,
    zoom: int | None = None,
    text: int = 1,
    layout: str | None = None,
) -> Picture:
    """One map of one image, enlarged by a whole number, with its colour bar.

    `fm` has one channel, as every combination gives, or is the three of `pca`, which become red, green and blue.
    `scale`: `"layer"`, `"images"` (one range for all the images of `fm`), `(low, high)` or a `Scale`. Values with both
    signs get diverging colours centred on 0. `clip=(1, 99)` cuts the range at these percentiles of the values; what lies
    beyond has the last colour of that side, and the bar and the caption say so. A map of a dense layer or a sequence becomes a
    `strip`. `text` (1 to 4) draws letters and map so many times as large. Raises `BadLayout` where several channels wait
    to be combined.

    >>> import numpy as np
    >>> picture = heatmap(np.array([[0.0, 1.0], [2.0, 4.0]]))
    >>> picture.bar.low, picture.bar.high
    (0.0, 4.0)
    """
    whole = as_map(fm, layout)
    check_text(text)
    zoom = optional_whole("zoom", zoom)
    one, image = whole.image(image), image % len(whole.ids)
    if whole.role in GROUPED and clip is not None:
        raise BadOption("clip needs one number at each place; this map holds groups with colours of their own")
    if whole.role in GROUPED and len(whole.spatial) < 2:
        return strip(whole, image=image, scale=scale, colors=colors, text=text)
    size = zoom or text * max(1, MAP_SIZE // max(whole.spatial, default=1))
    if is_grouped(whole):
        return grouped_map(whole, one, image, size, scale, colors, text)
    colored = is_rgb(whole)
    if not colored and whole.shape[-1] != 1:
        raise BadLayout(
            f"a heat map shows one channel, this map has {whole.shape[-1]}: combine them first (mean, weighted, pca …),"
            " or draw them all with sheet()"
        )
    if len(whole.spatial) < 2:
        return strip(whole, image=image, scale=scale, colors=colors, clip=clip, text=text)
    if len(whole.spatial) == 3:
        raise BadLayout("a heat map is two-dimensional; the slices of a volume are drawn by montage()")
    height, width = whole.spatial
    if colored:
        return _rgb_map(whole, one, image, size, clip, text)
    extent = extent_of(one.values)
    rule = make_scale(whole, one, one_range(scale), colors, extent, clip)
    codes = rule.codes(one.values[0, ..., 0])
    notes = tuple(filter(None, (outlier(one, rule, extent[0]),)))
    lines = (
        caption(one, rule, "")
        + special(one.values, "the map")
        + Beyond.of(one.values, rule.limits).words(rule, clip)
        + notes
    )
    reach = (float(extent[0, 0, 0]), float(extent[0, 0, 1]))
    frame = Frame(title_of(one), lines, rule, marks_of(codes), reach, text)
    canvas = frame.around(height * size, width * size)
    canvas.body[:] = codes.repeat(size, 0).repeat(size, 1)
    if (place := query_place(one)) is not None:
        outline(canvas.body, (place[0] * size, place[1] * size, size, size), INK, GAP)
    cell = Cell(canvas.x, canvas.y, width * size, height * size, image, 0, *rule.range())
    return canvas.picture((cell,), rule, about(one, rule), zoom=size, notes=notes)


def one_range(scale: Any) -> Any:
    """The rule of a picture of one map: a range for each channel is one range there."""
    return "layer" if isinstance(scale, str) and scale == "channel" else scale


def _rgb_map(
    whole: FeatureMap, one: FeatureMap, image: int, zoom: int, clip: tuple[float, float] | None, text: int
) -> Picture:
    height, width = one.spatial
    low, high = rgb_limits(whole, clip)
    colors = rgb_colors(one.values[0], low, high).repeat(zoom, 0).repeat(zoom, 1)
    lines = (*caption(one, None, ""), rgb_said(clip))
    marks = {NAN} if np.isnan(one.values).any() else set()
    canvas = Frame(title_of(one), lines, marks=marks, text=text).around(height * zoom, width * zoom)
    cell = Cell(canvas.x, canvas.y, width * zoom, height * zoom, image, 0, float(low[0]), float(high[0]))
    pixels = paper(canvas, palette(None))
    pixels[canvas.y : canvas.y + canvas.height, canvas.x : canvas.x + canvas.width] = colors
    canvas.own(*cell[:4])
    return canvas.picture((cell,), None, about(one, None), pixels)
