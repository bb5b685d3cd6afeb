"""`heatmap`: one combined map as a picture, and the colours of three channels that are meant as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays.ranges import extent_of
from ..checks import keywords
from ..combinations.similarity import query_position
from ..core.feature_map import FeatureMap, as_map
from ..errors import BadLayout, BadOption
from ..picture.canvas import Frame, outline
from ..picture.caption import about, caption, quantity, special, title_of
from ..picture.codes import GAP, INK, NAN
from ..picture.palette import marks_of, palette
from ..picture.picture import Picture
from ..picture.scale_rules import Beyond
from ..picture.shapes import Cell
from .caveats import outlier, saturated
from .groups import GROUPED, grouped_map, is_grouped
from .options import DrawOptions, Options
from .rgb import is_rgb, key_quantity, paper, rgb_colors, rgb_key, rgb_limits, rgb_text
from .strip import StripOptions, draw_strip

MAP_SIZE = 448


@keywords
def heatmap(
    fm: Any,
    *,
    image: int | str = 0,
    scale: Any = "layer",
    colors: Any = None,
    clip: tuple[float, float] | None = None,
    norm: str | None = None,
    zoom: int | None = None,
    text: float | None = None,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    theme: str = "light",
    layout: str | None = None,
    grid: Sequence[int] | None = None,
) -> Picture:
    """One map of one image, enlarged by a whole number, with its colour bar.

    A map of a dense layer or a sequence becomes a `strip`. The three channels of `pca` become red, green and blue; the
    parts of `nmf` and `clusters` have a colour each, and a legend.

    >>> import numpy as np
    >>> picture = heatmap(np.array([[0.0, 1.0], [2.0, 4.0]]))
    >>> picture.bar.low, picture.bar.high
    (0.0, 4.0)

    Args:
        fm: A `FeatureMap` of one channel, as every combination gives, or of `pca`, `nmf` or `clusters`; or an array.
        image: Which image of `fm`: its number, counted from 0, or its id.
        scale: `"layer"` (the range of this image), `"images"` (of all images of `fm`), `(low, high)` or a `Scale`.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours. By default viridis, or vik
            centred on 0 for values of both signs.
        clip: Two percentiles, such as `(1, 99)`, to which the range is clipped; what lies beyond has the end colour.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        zoom: Picture pixels per unit of the map.
        text: Size of letters and map, 1 (screen) to 4; 3 is for print at 300 dpi.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bar is drawn. Without `caption` and `bar` the map stands alone.
        theme: `"light"`, `"dark"` or `"transparent"` paper.
        layout: The axes of an array, such as `"bchw"`; by default its library's convention.
        grid: (rows, columns) of the tokens of a layout such as `"bnc"`.

    Raises:
        BadLayout: Several channels that haven't been combined, or a volume, which is drawn by `montage`.
        BadScale: A scale, percentiles or colours that don't exist.
        BadOption: Any other option is invalid.
    """
    options = DrawOptions(
        image=image,
        scale=scale,
        colors=colors,
        clip=clip,
        norm=norm,
        zoom=zoom,
        text=text,
        title=title,
        caption=caption,
        bar=bar,
        theme=theme,
    )
    return draw_heatmap(as_map(fm, layout, grid), options).themed(theme)


def draw_heatmap(whole: FeatureMap, options: DrawOptions) -> Picture:
    """The heat map of one image of a map, whatever its channels are."""
    if whole.role in GROUPED and options.clip is not None:
        raise BadOption("clip needs a map of numbers; this one holds groups, each with its own colour")
    options.check_numbers(whole)
    if len(whole.spatial) < 2 and (whole.role in GROUPED or is_rgb(whole) or whole.shape[-1] == 1):
        return draw_strip(whole, replace(StripOptions.like(options), page=0))
    if options.zoom is None:
        options = replace(options, zoom=max(1, round(options.size * max(1, MAP_SIZE // max(whole.spatial, default=1)))))
    if is_grouped(whole):
        return grouped_map(whole, options)
    if not is_rgb(whole) and whole.shape[-1] != 1:
        unnamed = whole.layer.axes == "hwc" and whole.spatial[1] == whole.shape[-1]
        raise BadLayout(
            f"a heat map shows one channel, this map has {whole.shape[-1]}: combine them first (mean, weighted, pca …),"
            " or draw them all with sheet()"
            + (". Of an array [image, height, width] draw one image, array[0], or give layout='bhw'" if unnamed else "")
        )
    if len(whole.spatial) == 3:
        raise BadLayout("a heat map is two-dimensional; the slices of a volume are drawn by montage()")
    return _rgb_map(whole, options) if is_rgb(whole) else _scaled_map(whole, options)


def _scaled_map(whole: FeatureMap, options: DrawOptions) -> Picture:
    """The map of one number at each position."""
    one, image = options.pick(whole)
    extent = extent_of(one.values)
    rule = one_range(options).fit_scale(whole, one, extent)
    codes = rule.codes(one.values[0, ..., 0])
    notes = (*filter(None, (outlier(one, rule, extent[0]),)), *saturated(one, (0,)))
    beyond = Beyond.of(one.values, rule.limits).words(rule, options.clip)
    lines = caption(one, rule, "") + special(one.values, "the map") + beyond + notes
    reach = (float(extent[0, 0, 0]), float(extent[0, 0, 1]))
    zoom, (height, width) = options.zoom or 1, whole.spatial
    size = height * zoom, width * zoom
    frame = Frame(
        title_of(one), lines[0], lines[1:], rule, marks_of(codes), reach, options.letters(size[1]), quantity(one)
    )
    canvas = options.framed(frame).around(*size)
    canvas.body[:] = codes.repeat(zoom, 0).repeat(zoom, 1)
    if (position := query_position(one)) is not None:
        outline(canvas.body, (position[0] * zoom, position[1] * zoom, zoom, zoom), INK, GAP)
    cell = Cell(canvas.x, canvas.y, width * zoom, height * zoom, image, 0, *rule.range())
    return canvas.picture((cell,), rule, about(one, rule), zoom=zoom, notes=notes)


def one_range(options: Options) -> Options:
    """The options of a picture of one map: a range for each channel is one range there."""
    return replace(options, scale="layer") if options.scale == "channel" else options


def _rgb_map(whole: FeatureMap, options: DrawOptions) -> Picture:
    """The map of three channels that are colours."""
    one, image = options.pick(whole)
    zoom, (height, width) = options.zoom or 1, one.spatial
    low, high = rgb_limits(whole, options.clip)
    colors = rgb_colors(one.values[0], low, high).repeat(zoom, 0).repeat(zoom, 1)
    lines = (*caption(one, None, ""), rgb_text(options.clip))
    marks = {NAN} if np.isnan(one.values).any() else set()
    text = options.letters(width * zoom)
    frame = Frame(
        title_of(one), lines[0], lines[1:], marks=marks, text=text, key=rgb_key(one), quantity=key_quantity(one)
    )
    canvas = options.framed(frame).around(height * zoom, width * zoom)
    cell = Cell(canvas.x, canvas.y, width * zoom, height * zoom, image, 0, float(low[0]), float(high[0]))
    pixels = paper(canvas, palette(None))
    pixels[canvas.y : canvas.y + canvas.height, canvas.x : canvas.x + canvas.width] = colors
    canvas.own(*cell[:4])
    return canvas.picture((cell,), None, about(one, None), pixels)
